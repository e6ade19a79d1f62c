//! Sequences of tokens on a device, and the convenience of a device with one.

mod adapters;
mod cut;
#[cfg(feature = "gpu")]
mod delivery;
mod embed;
mod loaded;
mod options;
mod outputs;
mod pool;
mod prefixes;
mod probe;
mod saved;
mod sequence;

pub use carat_shaders::kv::{CacheBits, KvBits};
#[cfg(feature = "gpu")]
pub use delivery::Delivery;
pub use embed::Embedding;
pub use loaded::{Loaded, Part};
pub use options::{CPU_BATCH, DeviceChoice, GPU_BATCH, SessionOptions};
pub use outputs::{Checksum, LogitsHash, Output, Want};
pub use pool::PagesInUse;
pub use probe::Probe;
pub use saved::{Beside, Saved, SavedError, SavedHead};
pub use sequence::Sequence;

use crate::error::Error;
use crate::exec::Executor;
use crate::model::Model;
use crate::plan::{Extent, PAGE, Plan, Row};
use carat_shaders::params::RESULT_WORDS;
use std::io::{Read, Write};
use std::sync::Arc;

/// A model on a device, with one sequence.
pub struct Session {
    loaded: Loaded,
    sequence: Sequence,
    ahead: Option<Ahead>,
}

/// A pass that a GPU was given for the token after the last, before anybody knew it.
struct Ahead {
    /// Its token, once the result before it has been read; `None` also where the cache was cut since.
    token: Option<u32>,
}

impl From<Loaded> for Session {
    fn from(loaded: Loaded) -> Self {
        Self {
            sequence: loaded.sequence(),
            loaded,
            ahead: None,
        }
    }
}

impl Session {
    /// Plans, allocates and, on a GPU, uploads.
    ///
    /// Errors: as of [`Loaded::new`].
    pub async fn new(model: Arc<Model>, options: &SessionOptions) -> Result<Self, Error> {
        Ok(Loaded::new(model, options).await?.into())
    }

    /// The same on a device that is open: sessions one after another on one compile each kernel once.
    ///
    /// Errors: as of [`Loaded::on`].
    #[cfg(feature = "gpu")]
    pub async fn on(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: crate::device::Gpu,
    ) -> Result<Self, Error> {
        Ok(Loaded::on(model, options, gpu).await?.into())
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        self.loaded.model()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        self.loaded.plan()
    }

    /// The executor, for tests that look at intermediates.
    pub fn executor(&mut self) -> (&mut Executor, &Plan) {
        // A lost device says so again at whatever is done with it.
        let _ = self.forget_ahead();
        (&mut self.loaded.executor, &self.loaded.plan)
    }

    /// The device's name.
    pub fn device(&self) -> String {
        self.loaded.device()
    }

    /// Whether a GPU computes it, or a rasteriser that stands in for one.
    pub fn is_on_gpu(&self) -> bool {
        !matches!(self.loaded.executor, Executor::Cpu(_))
    }

    /// Dispatches sent to a device so far; 0 on the CPU.
    pub fn dispatches(&self) -> u64 {
        self.loaded.dispatches()
    }

    /// Tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        self.sequence.tokens()
    }

    /// How many of its tokens the cache holds: see [`Sequence::held`].
    pub fn held(&self) -> usize {
        self.sequence.held()
    }

    /// Positions of the cache.
    pub fn context(&self) -> u32 {
        self.sequence.context()
    }

    /// Unit of the logits: `2^logits_exponent`.
    pub fn logits_exponent(&self) -> i32 {
        self.loaded.logits_exponent()
    }

    /// Forgets every token from position `len` on: see [`Sequence::truncate`], whose result it returns. Nothing but time
    /// depends on that: what the cache does not hold the next pass computes again.
    pub fn truncate(&mut self, len: usize) -> usize {
        let cuts = len < self.tokens().len();
        if let Some(ahead) = self.ahead.as_mut().filter(|_| cuts) {
            ahead.token = None;
        }
        self.sequence.truncate(len)
    }

    /// Takes back a pass that ran ahead.
    fn forget_ahead(&mut self) -> Result<(), Error> {
        match self.ahead.take() {
            Some(_) => self.loaded.executor.forget_next(&self.loaded.plan),
            None => Ok(()),
        }
    }

    /// Brings a session with no tokens to the state of one that holds `tokens`.
    ///
    /// Errors: as for [`Session::forward`].
    pub async fn replay(&mut self, tokens: &[u32]) -> Result<(), Error> {
        let none = Want::From(tokens.len());
        self.forward(tokens, none, &mut |_| ()).await
    }

    /// Goes on counting where another session of the model stands, whose tokens this one was brought to by
    /// [`Session::replay`]: what a replay counts depends on the device.
    ///
    /// Errors: a device's failure.
    pub async fn take_statistics(&mut self, other: &mut Session) -> Result<(), Error> {
        other.forget_ahead()?;
        self.forget_ahead()?;
        let stats = other.loaded.statistics().await?;
        self.loaded.executor.write(self.loaded.plan.stats, &stats)
    }

    /// Runs the pass of one more token `times` times, about as many positions after the cache's start as if it held `used`,
    /// and forgets it: for measuring how long a token takes there. `each` is called before the first and after every one.
    /// No later result depends on it. With a full cache nothing is run.
    ///
    /// Errors: a full pool, a device's failure.
    pub async fn rehearse(
        &mut self,
        used: usize,
        times: usize,
        mut each: impl FnMut(),
    ) -> Result<(), Error> {
        let (len, page) = (self.tokens().len(), PAGE as usize);
        let last = self.context().saturating_sub(1) as usize;
        if len > last {
            return Ok(());
        }
        self.forget_ahead()?;
        // What it writes is the last position of the page of the cache's next token, wherever it seems to be: nobody reads
        // that before it is written anew.
        let seeming = used.max(len).min(last) / page;
        self.loaded.reserve(&mut self.sequence, 1)?;
        self.sequence.touch(len);
        let room = &mut self.loaded.room;
        room.rows.clear();
        room.rows.push(Row {
            token: 0,
            position: (seeming * page + page - 1) as u32,
            sequence: 0,
        });
        room.tables.clear();
        room.tables
            .push(self.sequence.tables(), self.sequence.strengths())?;
        room.tables.alias(seeming, len / page);
        let stats = self.loaded.statistics().await?;
        let mut results = Vec::new();
        each();
        for _ in 0..times {
            self.loaded.run(1).await?;
            let Loaded { executor, plan, .. } = &mut self.loaded;
            let words = RESULT_WORDS.into();
            executor.read(plan.results, words, &mut results).await?;
            each();
        }
        self.loaded.executor.write(self.loaded.plan.stats, &stats)
    }

    /// Appends `tokens` and gives `sink` the wanted outputs in order of position.
    ///
    /// Errors: a token outside the vocabulary, a full context, a device's failure; on the CPU as [`Model::intact`]. After an
    /// error the cache holds the tokens before the batch that failed.
    pub async fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(Output<'_>),
    ) -> Result<(), Error> {
        self.loaded.check(tokens)?;
        self.loaded.reserve(&mut self.sequence, tokens.len())?;
        // A pass that ran ahead counts if it is this one.
        let under_way = match (&self.ahead, want) {
            (Some(Ahead { token: Some(id) }), Want::Greedy | Want::LastResult) => tokens == [*id],
            _ => false,
        };
        if !under_way {
            self.forget_ahead()?;
            self.loaded.restore(&mut self.sequence).await?;
        }
        self.ahead = None;
        let first = match want {
            Want::Last | Want::LastResult | Want::Greedy => tokens.len().saturating_sub(1),
            Want::From(i) | Want::FromResult(i) => i,
        };
        let logits = matches!(want, Want::Last | Want::From(_));
        let Extent { batch, outputs, .. } = self.loaded.plan.extent;
        let mut at = 0;
        while at < tokens.len() {
            // A batch ends where its rows or its outputs would be too many.
            let mut end = (at + batch as usize).min(tokens.len());
            if end > first {
                end = end.min(at.max(first) + outputs as usize);
            }
            let mut parts = [Part {
                sequence: &mut self.sequence,
                tokens: &tokens[at..end],
                outputs: end - at.max(first).min(end),
            }];
            let wanted = self.loaded.gather(&mut parts)?;
            if !under_way {
                self.loaded.run(wanted).await?;
            }
            if want == Want::Greedy && end == tokens.len() {
                self.run_ahead(end - at).await?;
            }
            let mut sink = |_: usize, output: Output<'_>| sink(output);
            let argmax = self.loaded.emit(wanted, logits, &mut sink).await?;
            if let Some(ahead) = &mut self.ahead {
                ahead.token = argmax;
            }
            self.sequence.append(&tokens[at..end]);
            at = end;
        }
        Ok(())
    }

    /// Begins the pass of the token behind those of a pass of `rows`, if there is one.
    async fn run_ahead(&mut self, rows: usize) -> Result<(), Error> {
        let position = self.tokens().len() + rows;
        let runs = self.loaded.executor.runs_ahead();
        if !runs || self.loaded.reserve(&mut self.sequence, rows + 1).is_err() {
            return Ok(());
        }
        self.sequence.touch(position);
        self.ahead = Some(Ahead { token: None });
        self.loaded.run_next(&self.sequence, position as u32).await
    }

    /// Writes what it holds, and what goes beside it: see [`Loaded::save`].
    ///
    /// Errors: as there.
    pub async fn save(&mut self, beside: &Beside, to: &mut dyn Write) -> Result<(), Error> {
        self.forget_ahead()?;
        self.loaded.save(&self.sequence, beside, to).await
    }

    /// Holds what was saved, and returns what was beside it: see [`Loaded::open_saved`]. After an error it is as before, or empty.
    ///
    /// Errors: as there.
    pub fn open_saved(&mut self, from: &mut dyn Read) -> Result<Beside, Error> {
        let header = self.loaded.read_header(from)?;
        if header.0.strengths() != self.strengths() {
            return Err(SavedError::Adapters.into());
        }
        self.forget_ahead()?;
        // Its own pages are what the saved ones need.
        self.sequence.truncate(0);
        let Saved { sequence, beside } = self.loaded.read_pages(header, from)?;
        self.sequence = sequence;
        Ok(beside)
    }

    /// (saturated elements of the residual stream, its largest magnitude in units of the stream).
    pub async fn residual_stats(&mut self) -> Result<(u32, u32), Error> {
        self.forget_ahead()?;
        let stats = self.loaded.statistics().await?;
        let of = |i: usize| stats.get(i).copied().unwrap_or(0);
        Ok((of(0), of(1)))
    }
}
