//! A generation, one step at a time.

use super::{GenerateError, GenerateOptions, Generation};
use crate::error::Error;
use crate::model::Model;
use crate::sample::{Sampler, TokenMetrics};
use crate::session::{Checksum, LogitsHash, Output, Session, Want};
use carat_text::constraint::{Constraint, Mask};
use carat_text::stop::{StopReason, StopStrings};
use carat_text::tokenizer::Tokenizer;
use carat_text::utf8::Utf8Stream;

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// So many of the prompt's tokens are computed.
    Prompt {
        /// Tokens done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was chosen; `text` is what became certain by it, possibly nothing.
    Token {
        /// Its id.
        id: u32,
        /// Text to show.
        text: String,
        /// What the model thought of it, if [`GenerateOptions::metrics`] asks.
        metrics: Option<TokenMetrics>,
    },
    /// The generation has ended: see [`Generator::finish`].
    End,
}

/// Where a generation goes on.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The model.
    pub model: &'a Model,
    /// The unit of its logits.
    pub exponent: i32,
    /// Tokens of the sequence.
    pub used: usize,
    /// Most of them.
    pub context: u32,
}

/// What a generation needs computed to go on: see [`Generator::demand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The tokens behind those that are computed.
    pub tokens: &'a [u32],
    /// Which of their logits.
    pub want: Want,
}

/// What is known of the last position of a demand, beside its logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The position.
    pub position: u32,
    /// The checksum of its logits.
    pub checksum: Checksum,
    /// The largest logit's id.
    pub argmax: u32,
}

impl From<&Output<'_>> for Row {
    fn from(o: &Output<'_>) -> Self {
        Self {
            position: o.position,
            checksum: o.checksum,
            argmax: o.argmax,
        }
    }
}

/// A generation between its steps. It holds no session: a step that fails by its device can be taken again with another
/// session that holds the same tokens, and the text goes on as if nothing had happened.
#[derive(Clone)]
pub struct Generator {
    options: GenerateOptions,
    sampler: Sampler,
    stops: StopStrings,
    /// Control tokens that stop strings name, which have no text, with the strings' indices.
    stop_ids: Vec<(u32, usize)>,
    utf8: Utf8Stream,
    hash: LogitsHash,
    exponent: i32,
    want: Want,
    /// What the last demand wanted, and the tokens that may follow.
    asked: Want,
    mask: Option<Mask>,
    /// Of the last position, where more than the arg-max is wanted.
    logits: Vec<i32>,
    /// Tokens of the prompt.
    total: usize,
    /// Tokens that the session does not hold yet.
    pending: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    reason: Option<StopReason>,
}

impl Generator {
    /// The start of a generation that continues the session with `prompt`; `constrained` if its steps get a constraint.
    ///
    /// Errors: a model without a head, an empty prompt, one longer than the context, a parameter outside its range.
    pub fn new(
        session: &Session,
        prompt: &[u32],
        options: &GenerateOptions,
        constrained: bool,
    ) -> Result<Self, GenerateError> {
        let place = Place {
            model: session.model(),
            exponent: session.logits_exponent(),
            used: session.tokens().len(),
            context: session.context(),
        };
        Self::at(place, prompt, options, constrained)
    }

    /// The same at a place that is no session's.
    ///
    /// Errors: as there.
    pub fn at(
        place: Place<'_>,
        prompt: &[u32],
        options: &GenerateOptions,
        constrained: bool,
    ) -> Result<Self, GenerateError> {
        let Place {
            model,
            exponent,
            used,
            context,
        } = place;
        model.check_head()?;
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt.len() > (context as usize).saturating_sub(used) {
            let asked = prompt.len();
            return Err(Error::ContextFull {
                asked,
                used,
                context,
            }
            .into());
        }
        let control_id = |(index, text): (usize, &String)| {
            let tokenizer = model.tokenizer().ok()?;
            Some((tokenizer.control_id(text)?, index))
        };
        let stop_ids = options.stops.iter().enumerate();
        let stop_ids = stop_ids.filter_map(control_id).collect();
        // Greedy choice among all tokens needs the arg-max alone, which the device finds.
        let argmax_only =
            options.sampling.takes_likeliest() && options.metrics.is_none() && !constrained;
        Ok(Self {
            sampler: Sampler::new(options.sampling.clone())?,
            stops: StopStrings::new(options.stops.clone())?,
            stop_ids,
            options: options.clone(),
            utf8: Utf8Stream::new(),
            hash: LogitsHash::new(exponent),
            exponent,
            want: if argmax_only {
                Want::Greedy
            } else {
                Want::Last
            },
            asked: Want::Last,
            mask: None,
            logits: Vec::new(),
            total: prompt.len(),
            pending: prompt.to_vec(),
            ids: Vec::new(),
            text: String::new(),
            reason: None,
        })
    }

    /// Computes a part of the prompt, or chooses a token.
    ///
    /// Errors: a device's failure, after which the step may be taken again; a limit of the constraint, no token that fits.
    pub async fn step(
        &mut self,
        session: &mut Session,
        mut constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Step, GenerateError> {
        let batch = session.plan().extent.batch as usize;
        let room = session.context() as usize - session.tokens().len();
        let model = session.model().clone();
        let tokenizer = model.tokenizer().map_err(GenerateError::from)?;
        let follow = constraint.as_deref_mut();
        let Demand { tokens, want } = match self.demand(tokenizer, batch, room, follow)? {
            Some(demand) => demand,
            None => return Ok(Step::End),
        };
        let fed = tokens.len();
        let (tokens, _, room) = self.parts(fed);
        let mut output = None;
        let sink = &mut |o: Output<'_>| {
            room.clear();
            room.extend_from_slice(o.logits);
            output = Some(Row::from(&o));
        };
        session.forward(tokens, want, sink).await?;
        self.take(tokenizer, session.tokens(), fed, output, constraint)
    }

    /// The tokens that are to be computed next, at most `most`, and what is wanted of them; `None` if the generation has ended.
    /// `room` has the positions that are left. A demand may be asked for again.
    ///
    /// Errors: a limit of the constraint.
    pub fn demand(
        &mut self,
        tokenizer: &Tokenizer,
        most: usize,
        room: usize,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Option<Demand<'_>>, GenerateError> {
        if self.reason.is_some() {
            return Ok(None);
        }
        if self.pending.len() > most {
            let tokens = &self.pending[..most];
            let want = Want::From(most);
            return Ok(Some(Demand { tokens, want }));
        }
        if self.ids.len() >= self.options.max_tokens {
            return Ok(self.end(StopReason::Length));
        }
        if self.pending.len() > room {
            return Ok(self.end(StopReason::Context));
        }
        self.mask = None;
        if let Some(constraint) = constraint {
            let mut mask = constraint.mask()?;
            if let Some(mask) = mask.as_mut().filter(|_| self.options.ignore_end) {
                tokenizer.ends().for_each(|id| mask.remove(id));
            }
            if mask.as_ref().is_none_or(|m| m.is_empty()) {
                return Ok(self.end(StopReason::Complete));
            }
            self.mask = mask;
        }
        let want = match self.want {
            // A loop can make another token than the likeliest the best one.
            Want::Greedy if self.sampler.avoids_one_after(&self.ids) => Want::Last,
            // After the last token no pass is needed.
            Want::Greedy if self.ids.len() + 1 >= self.options.max_tokens => Want::LastResult,
            want => want,
        };
        self.asked = want;
        let tokens = &self.pending[..];
        Ok(Some(Demand { tokens, want }))
    }

    /// Goes on after the first `fed` tokens of a demand were computed. `history` has all tokens of the sequence, those included;
    /// `output` is what was wanted, whose logits are in the room of [`Generator::parts`].
    ///
    /// Errors: a limit of the constraint, no token that fits.
    pub fn take(
        &mut self,
        tokenizer: &Tokenizer,
        history: &[u32],
        fed: usize,
        output: Option<Row>,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Step, GenerateError> {
        if fed < self.pending.len() {
            self.pending.drain(..fed);
            return Ok(Step::Prompt {
                done: self.total - self.pending.len(),
                total: self.total,
            });
        }
        let Some(Row {
            position,
            checksum,
            argmax,
        }) = output
        else {
            self.end(StopReason::Cancelled);
            return Ok(Step::End);
        };
        self.hash.push(checksum);
        let id = if matches!(self.asked, Want::Greedy | Want::LastResult) {
            argmax
        } else {
            // The history is the whole sequence, so a penalty sees the prompt too.
            let (logits, generated) = (&self.logits, self.ids.len());
            let mask = self.mask.as_ref();
            self.sampler
                .sample_among(logits, self.exponent, history, generated, mask)?
        };
        self.ids.push(id);
        self.pending.clear();
        self.pending.push(id);
        if let Some(constraint) = constraint {
            constraint.accept(id)?;
        }
        let metrics = self
            .options
            .metrics
            .and_then(|top| TokenMetrics::new(position + 1, id, &self.logits, self.exponent, top));
        let ends = !self.options.ignore_end && tokenizer.is_end(id);
        let text = if ends {
            String::new()
        } else {
            let bytes = tokenizer.decode_bytes(id, false);
            self.stops.push(&self.utf8.push(bytes))
        };
        self.text.push_str(&text);
        self.reason = if ends {
            Some(StopReason::End { id })
        } else {
            let named = self.stop_ids.iter().find(|stop| stop.0 == id);
            let hit = self.stops.hit().or(named.map(|stop| stop.1));
            hit.map(|index| StopReason::StopString { index })
        };
        Ok(Step::Token { id, text, metrics })
    }

    /// The first `fed` tokens of a demand, whether an output of the last one is wanted, and room for its logits.
    pub fn parts(&mut self, fed: usize) -> (&[u32], bool, &mut Vec<i32>) {
        let fed = fed.min(self.pending.len());
        let wanted = fed == self.pending.len();
        (&self.pending[..fed], wanted, &mut self.logits)
    }

    /// Tokens that are not computed yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether no further token comes.
    pub fn has_ended(&self) -> bool {
        self.reason.is_some() || self.ids.len() >= self.options.max_tokens
    }

    fn end(&mut self, reason: StopReason) -> Option<Demand<'_>> {
        self.reason = Some(reason);
        None
    }

    /// Ends the generation, unless it has ended already.
    pub fn cancel(&mut self) {
        self.reason.get_or_insert(StopReason::Cancelled);
    }

    /// Goes on after a limit: of a generation that had all the tokens it was to have, or was cancelled, `max_tokens` is the
    /// new most. What comes is what would have come without the end. Whatever else ended it holds.
    pub fn extend(&mut self, max_tokens: usize) {
        if let Some(StopReason::Length | StopReason::Cancelled) = self.reason {
            self.reason = None;
        }
        self.options.max_tokens = max_tokens;
    }

    /// What it was asked for.
    pub fn options(&self) -> &GenerateOptions {
        &self.options
    }

    /// The text that is certain so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tokens chosen so far.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The hash over the logits so far: see [`LogitsHash`].
    pub fn logits_hash(&self) -> String {
        self.hash.hex()
    }

    /// The generation, and text that was held back and is certain now that it has ended.
    pub fn finish(
        mut self,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> (Generation, String) {
        let mut tail = self.stops.push(&self.utf8.flush());
        tail.push_str(&self.stops.flush());
        self.text.push_str(&tail);
        let reason = self.reason.unwrap_or({
            match self.ids.len() >= self.options.max_tokens {
                true => StopReason::Length,
                false => StopReason::Cancelled,
            }
        });
        let cut = matches!(reason, StopReason::StopString { .. });
        let generation = Generation {
            ids: self.ids,
            text: self.text,
            complete: constraint.map(|c| !cut && c.is_complete()),
            reason,
            logits_hash: self.hash.hex(),
        };
        (generation, tail)
    }
}
