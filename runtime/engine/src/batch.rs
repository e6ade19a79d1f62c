//! Many texts at once: continuous batching.
//!
//! A pass takes rows of every text under way: one of each that chooses tokens, and pieces of the prompts of those that begin. Whose
//! turn it is follows from what is asked for and in which order ([`turns`]), from no clock and no device. A text's tokens and
//! logits are those that it has alone, bit for bit, whatever is beside it: no kernel's result depends on another row.

#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
mod host;
mod kept;
mod turns;

#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
pub use host::{Host, Listener, Ticket};
pub use turns::{Shares, Turn, have_pages, turns};

use crate::error::Error;
use crate::generate::{
    Advance, Demand, Draft, Drafter, Forcing, GenerateError, GenerateOptions, Generation,
    Generator, Place, Room, Step,
};
use crate::sample::TokenMetrics;
use crate::session::{Embedding, Loaded, LogitsHash, Output, Part, Sequence, Want};
use carat_adapter::Strength;
use carat_format::Pooling;
use carat_text::constraint::Constraint;
use carat_text::stop::StopReason;
use carat_text::tokenizer::Tokenizer;
use std::collections::VecDeque;

/// Names a text of a [`Batcher`]. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// A text to generate.
pub struct Request {
    /// The tokens that it begins with.
    pub prompt: Vec<u32>,
    /// How it goes on.
    pub options: GenerateOptions,
    /// What restricts it.
    pub constraint: Option<Box<dyn Constraint + Send>>,
    /// What decides some of its tokens, as where it may reason so much.
    pub forcing: Option<Box<dyn Forcing>>,
    /// How strongly each adapter acts on it; `None`: as they were loaded.
    pub strengths: Option<Vec<Strength>>,
}

/// What happened to a text.
#[derive(Debug)]
pub enum News {
    /// It has begun; so many of the prompt's tokens were kept of an earlier text and are not computed again.
    Begun {
        /// Tokens that are there.
        cached: usize,
    },
    /// So many of the prompt's other tokens are computed.
    Prompt {
        /// Tokens so far.
        done: usize,
        /// All of them.
        total: usize,
    },
    /// A token was chosen.
    Token {
        /// Its id.
        id: u32,
        /// Text that became certain by it, possibly none.
        text: String,
        /// What the model thought of it, where that was asked for.
        metrics: Option<Box<TokenMetrics>>,
    },
    /// It has ended: the last news of it.
    End {
        /// All of it.
        generation: Generation,
        /// Text that was held back and is certain now.
        tail: String,
    },
    /// It failed: the last news of it.
    Failed(GenerateError),
}

/// A text that has pages.
struct Job {
    id: JobId,
    sequence: Sequence,
    generator: Generator,
    constraint: Option<Box<dyn Constraint + Send>>,
    /// What the smaller model keeps of it.
    draft: Option<Draft>,
    /// Positions that it may come to.
    reach: usize,
}

/// Texts on one loaded model.
pub struct Batcher {
    loaded: Loaded,
    /// In the order of their arrival.
    running: Vec<Job>,
    waiting: VecDeque<(JobId, Request)>,
    /// Those that ended before they began.
    cancelled: Vec<JobId>,
    next: u64,
    /// Rows of prompts in a pass that also chooses tokens.
    piece: usize,
    /// A smaller model that proposes tokens, where few texts are under way.
    drafter: Option<Drafter>,
}

/// Rows of prompts beside texts that choose tokens, as a part of a pass: those wait for no more than that.
const PIECE: u32 = 4;

/// Texts under way beside which tokens are computed in advance.
const FEW: usize = 2;

impl Batcher {
    /// Nothing to do yet.
    pub fn new(loaded: Loaded) -> Self {
        let batch = loaded.plan().extent.batch;
        Self {
            loaded,
            running: Vec::new(),
            waiting: VecDeque::new(),
            cancelled: Vec::new(),
            next: 0,
            piece: (batch / PIECE).max(1) as usize,
            drafter: None,
        }
    }

    /// Lets a smaller model propose tokens of texts that begin from now on.
    pub fn draft_with(&mut self, drafter: Drafter) {
        self.drafter = Some(drafter);
    }

    /// The model that is loaded, where nothing is under way.
    pub fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }

    /// Texts that have pages, and texts that wait for some.
    pub fn len(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.cancelled.is_empty()
    }

    /// Takes a text. It begins when there are pages for it, after those that came before.
    pub fn add(&mut self, request: Request) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        self.waiting.push_back((id, request));
        id
    }

    /// Ends a text: its last news comes with the next pass, and its pages are free then.
    pub fn cancel(&mut self, id: JobId) {
        if let Some(job) = self.running.iter_mut().find(|j| j.id == id) {
            job.generator.cancel();
        }
        if let Some(at) = self.waiting.iter().position(|(i, _)| *i == id) {
            self.waiting.remove(at);
            self.cancelled.push(id);
        }
    }

    /// Begins what there is room for, and runs a pass over what is under way. `tell` gets the news.
    ///
    /// Errors: a device's failure, a file that lost bytes; every text under way has that as its last news too.
    pub async fn pass(&mut self, tell: &mut dyn FnMut(JobId, News)) -> Result<(), Error> {
        for id in std::mem::take(&mut self.cancelled) {
            let generation = Generation {
                ids: Vec::new(),
                text: String::new(),
                reason: StopReason::Cancelled,
                complete: None,
                logits_hash: LogitsHash::new(self.loaded.logits_exponent()).hex(),
            };
            let tail = String::new();
            tell(id, News::End { generation, tail });
        }
        self.begin(tell);
        match self.run(tell).await {
            Ok(()) => Ok(()),
            Err(e) => {
                for job in self.running.drain(..) {
                    let same = e.of_damage().unwrap_or_else(|| Error::Device {
                        device: self.loaded.device(),
                        reason: e.to_string(),
                    });
                    tell(job.id, News::Failed(same.into()));
                }
                Err(e)
            }
        }
    }

    /// Begins the texts that there are pages for, in order.
    fn begin(&mut self, tell: &mut dyn FnMut(JobId, News)) {
        let extent = self.loaded.plan().extent;
        while let Some((id, request)) = self.waiting.front() {
            let id = *id;
            let most = (request.prompt.len()).saturating_add(request.options.max_tokens);
            let reach = most.min(extent.context as usize);
            let mut reaches: Vec<usize> = self.running.iter().map(|j| j.reach).collect();
            reaches.push(reach);
            // A device's buffers may hold fewer pages than were asked for.
            let kinds = self.loaded.plan().pages.iter();
            let room = have_pages(kinds.map(|p| (p.kept, p.count)), &reaches);
            let first = self.running.is_empty();
            if self.running.len() >= extent.sequences as usize || !(first || room) {
                return;
            }
            let Some((_, request)) = self.waiting.pop_front() else {
                return;
            };
            match self.job(id, request, reach) {
                Ok(job) => {
                    let cached = job.sequence.tokens().len();
                    tell(id, News::Begun { cached });
                    self.running.push(job);
                }
                Err(e) => tell(id, News::Failed(e)),
            }
        }
    }

    fn job(&mut self, id: JobId, request: Request, reach: usize) -> Result<Job, GenerateError> {
        let Request {
            prompt,
            options,
            constraint,
            forcing,
            strengths,
        } = request;
        let model = self.loaded.model().clone();
        let vocab = model.spec().vocab_size;
        if let Some(id) = prompt.iter().copied().find(|id| *id >= vocab) {
            return Err(Error::Token { id, vocab }.into());
        }
        let place = Place {
            model: &model,
            exponent: self.loaded.logits_exponent(),
            used: 0,
            context: self.loaded.plan().extent.context,
        };
        // What is wrong with a request shows before a page is taken.
        let mut generator = Generator::at(place, &prompt, &options, constraint.is_some())?;
        let sequence = self.loaded.begin_with(&prompt, strengths.as_deref())?;
        generator.skip(sequence.tokens().len());
        if let Some(forcing) = forcing {
            generator.force(forcing);
        }
        Ok(Job {
            id,
            sequence,
            generator,
            constraint,
            draft: self.drafter.as_ref().map(Drafter::draft),
            reach,
        })
    }

    /// Embeddings of a text: see [`Loaded::embed`].
    ///
    /// Errors: as there.
    pub async fn embed(
        &mut self,
        tokens: &[u32],
        pooling: Pooling,
    ) -> Result<Vec<Embedding>, Error> {
        let mut sequence = self.loaded.sequence();
        self.loaded.embed(&mut sequence, tokens, pooling).await
    }

    /// What the model thinks of each token of a text but the first, with the `top` likeliest ones. Other texts wait meanwhile.
    ///
    /// Errors: a model without a head, more tokens than the context has, a device's failure.
    pub async fn score(&mut self, tokens: &[u32], top: usize) -> Result<Vec<TokenMetrics>, Error> {
        self.loaded.model().check_head()?;
        let extent = self.loaded.plan().extent;
        let exponent = self.loaded.logits_exponent();
        let mut sequence = self.loaded.sequence();
        let mut found = Vec::new();
        // Nothing follows the last one.
        let predicting = tokens.len().saturating_sub(1);
        let rows = extent.batch.min(extent.outputs) as usize;
        for piece in tokens[..predicting].chunks(rows) {
            let mut parts = [Part {
                sequence: &mut sequence,
                tokens: piece,
                outputs: piece.len(),
            }];
            let mut sink =
                |_: usize, o: Output<'_>| {
                    let next = tokens.get(o.position as usize + 1).copied();
                    found.extend(next.and_then(|id| {
                        TokenMetrics::new(o.position + 1, id, o.logits, exponent, top)
                    }));
                };
            self.loaded.pass(&mut parts, true, &mut sink).await?;
        }
        Ok(found)
    }

    /// A pass over what is under way.
    async fn run(&mut self, tell: &mut dyn FnMut(JobId, News)) -> Result<(), Error> {
        let extent = self.loaded.plan().extent;
        let model = self.loaded.model().clone();
        let Ok(tokenizer) = model.tokenizer() else {
            // Without one no text can be told.
            for job in self.running.drain(..) {
                if let Err(e) = model.tokenizer() {
                    tell(job.id, News::Failed(e.into()));
                }
            }
            return Ok(());
        };
        let waits: Vec<Turn> = self.running.iter().map(Job::turn).collect();
        let shares = turns(&waits, extent.batch, extent.outputs, self.piece);
        // Rows that nobody waits for are for tokens in advance, where few texts are under way: with many the pass is full of work.
        let mut spare = match waits.len() <= FEW {
            true => shares.rows.min(shares.outputs),
            false => 0,
        };
        let mut fed = vec![0; self.running.len()];
        let mut logits = false;
        let (mut ended, mut failed) = (Vec::new(), Vec::new());
        for (i, (job, share)) in self.running.iter_mut().zip(shares.tokens).enumerate() {
            // Ended ones have no turn, and are asked all the same.
            if share == 0 && !job.generator.has_ended() {
                continue;
            }
            let history = job.sequence.tokens();
            let ahead = match waits[i] {
                Turn::Token(_) => spare,
                Turn::Prompt(_) | Turn::None => 0,
            };
            let room = Room {
                rows: share.max(1) + ahead,
                outputs: 1 + ahead,
                positions: extent.context as usize - history.len(),
            };
            if let (Some(drafter), Some(draft), true) =
                (&mut self.drafter, &mut job.draft, ahead > 0)
            {
                let generator = &mut job.generator;
                drafter.propose(draft, generator, history, room).await?;
            }
            let constraint = job.constraint.as_deref_mut();
            let constraint = constraint.map(|c| c as &mut dyn Constraint);
            match job.generator.demand(tokenizer, history, room, constraint) {
                Ok(Some(Demand {
                    tokens,
                    want,
                    outputs,
                })) => {
                    fed[i] = tokens.len();
                    spare -= outputs.saturating_sub(1).min(spare);
                    logits |= outputs > 0 && matches!(want, Want::Last | Want::From(_));
                }
                Ok(None) => ended.push(i),
                Err(e) => failed.push((i, e)),
            }
        }
        let mut parts = Vec::with_capacity(self.running.len());
        let mut rooms = Vec::with_capacity(self.running.len());
        let jobs = self.running.iter_mut().zip(&fed);
        for (job, fed) in jobs.filter(|(_, fed)| **fed > 0) {
            let (tokens, outputs, room) = job.generator.parts(*fed);
            parts.push(Part {
                sequence: &mut job.sequence,
                tokens,
                outputs,
            });
            rooms.push(room);
        }
        if !parts.is_empty() {
            let mut sink = |part: usize, o: Output<'_>| {
                if let Some(room) = rooms.get_mut(part) {
                    room.push(&o);
                }
            };
            self.loaded.pass(&mut parts, logits, &mut sink).await?;
        }
        for (i, (job, fed)) in self.running.iter_mut().zip(fed).enumerate() {
            if fed == 0 {
                continue;
            }
            let begins = job.generator.ids().is_empty();
            match job.take(tokenizer, fed, tell) {
                Ok(true) => ended.push(i),
                Ok(false) => {}
                Err(e) => failed.push((i, e)),
            }
            // With its first token a prompt is whole: others may begin as it does.
            let all = begins && !job.generator.ids().is_empty();
            self.loaded.publish(&mut job.sequence, all);
        }
        self.end(ended, failed, tell);
        Ok(())
    }

    /// Takes out the texts of those indices.
    fn end(
        &mut self,
        ended: Vec<usize>,
        failed: Vec<(usize, GenerateError)>,
        tell: &mut dyn FnMut(JobId, News),
    ) {
        if ended.is_empty() && failed.is_empty() {
            return;
        }
        let mut failed = failed
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>();
        for (i, mut job) in std::mem::take(&mut self.running).into_iter().enumerate() {
            if let Some(e) = failed.remove(&i) {
                tell(job.id, News::Failed(e));
            } else if ended.contains(&i) {
                self.loaded.publish(&mut job.sequence, true);
                let constraint = job
                    .constraint
                    .as_deref_mut()
                    .map(|c| c as &mut dyn Constraint);
                let (generation, tail) = job.generator.finish(constraint);
                tell(job.id, News::End { generation, tail });
            } else {
                self.running.push(job);
            }
        }
    }
}

impl Job {
    /// Chooses what can be chosen after the first `fed` tokens of a demand were computed. Whether it has ended then.
    fn take(
        &mut self,
        tokenizer: &Tokenizer,
        fed: usize,
        tell: &mut dyn FnMut(JobId, News),
    ) -> Result<bool, GenerateError> {
        if let Some(Step::Prompt { done, total }) = self.generator.fed(fed) {
            tell(self.id, News::Prompt { done, total });
            return Ok(false);
        }
        loop {
            let constraint = self.constraint.as_deref_mut();
            let constraint = constraint.map(|c| c as &mut dyn Constraint);
            let history = self.sequence.tokens();
            let Advance { step, cut } = self.generator.advance(tokenizer, history, constraint)?;
            if cut > 0 {
                self.sequence.truncate(self.sequence.tokens().len() - cut);
            }
            match step {
                Some(Step::Token { id, text, metrics }) => {
                    let metrics = metrics.map(Box::new);
                    tell(self.id, News::Token { id, text, metrics });
                }
                Some(_) => return Ok(true),
                None => return Ok(self.generator.has_ended()),
            }
        }
    }

    /// What it waits for.
    fn turn(&self) -> Turn {
        match self.generator.has_ended() {
            true => Turn::None,
            false if self.generator.ids().is_empty() => Turn::Prompt(self.generator.pending()),
            false => Turn::Token(self.generator.pending()),
        }
    }
}
