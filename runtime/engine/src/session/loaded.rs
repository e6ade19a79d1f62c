//! A model on a device: weights, kernels, threads and the pages of the cache, once for all sequences.

use super::cut::Submissions;
use super::pool::{PagesInUse, Pool};
use super::sequence::{Copy, Sequence};
use super::{Output, SessionOptions};
use crate::error::Error;
use crate::exec::cpu::CpuExecutor;
use crate::exec::{ARGMAX, Batch, Executor, PageTables};
use crate::model::Model;
use crate::plan::{Plan, Row};
use carat_adapter::Strength;
use carat_shaders::params::{RESULT_WORDS, STATS_WORDS};
use std::ops::Range;
use std::sync::Arc;

/// A model on a device.
pub struct Loaded {
    pub(super) model: Arc<Model>,
    pub(super) plan: Plan,
    pub(super) executor: Executor,
    pub(super) submissions: Submissions,
    pub(super) room: Room,
    pool: Arc<Pool>,
}

/// Tokens of one sequence in a pass.
pub struct Part<'a> {
    /// The sequence that they are appended to.
    pub sequence: &'a mut Sequence,
    /// The tokens.
    pub tokens: &'a [u32],
    /// Of how many of its last tokens the logits are wanted.
    pub outputs: usize,
}

/// Memory kept from pass to pass: once it is as large as a pass needs, none is allocated.
pub(super) struct Room {
    pub rows: Vec<Row>,
    pub tables: PageTables,
    results: Vec<u32>,
    logits: Vec<u32>,
}

impl Loaded {
    /// Plans, allocates and, on a GPU, uploads.
    ///
    /// Errors: no such device, a context that cannot be held, a device that refuses; as [`Model::intact`].
    pub async fn new(model: Arc<Model>, options: &SessionOptions) -> Result<Self, Error> {
        let (plan, executor) = open(&model, options).await?;
        Ok(Self::with(model, plan, executor))
    }

    /// The same on a device that is open: models one after another on one compile each kernel once.
    ///
    /// Errors: a context that cannot be held, a device that refuses.
    #[cfg(feature = "gpu")]
    pub async fn on(
        model: Arc<Model>,
        options: &SessionOptions,
        gpu: crate::device::Gpu,
    ) -> Result<Self, Error> {
        let (plan, executor) = open_on(&model, options, gpu).await?;
        Ok(Self::with(model, plan, executor))
    }

    pub(super) fn with(model: Arc<Model>, plan: Plan, executor: Executor) -> Self {
        Self {
            room: Room {
                rows: Vec::with_capacity(plan.extent.batch as usize),
                tables: PageTables::new(&plan),
                results: Vec::new(),
                logits: Vec::new(),
            },
            pool: Arc::new(Pool::new(&plan)),
            submissions: Submissions::default(),
            model,
            plan,
            executor,
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The executor.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The device's name.
    pub fn device(&self) -> String {
        self.executor.device()
    }

    /// Dispatches sent to a device so far; 0 on the CPU.
    pub fn dispatches(&self) -> u64 {
        self.executor.dispatches()
    }

    /// Unit of the logits: `2^logits_exponent`.
    pub fn logits_exponent(&self) -> i32 {
        self.plan.logits_exponent
    }

    /// A sequence of no tokens. Its pages come from what all sequences share, as its tokens need them.
    pub fn sequence(&self) -> Sequence {
        Sequence::new(&self.plan, self.pool.clone())
    }

    /// A sequence that is to hold `tokens`, with as many of them computed as are kept of earlier texts, at most all but the last.
    /// Nothing but time depends on it.
    ///
    /// Errors: a device's failure.
    pub fn begin(&mut self, tokens: &[u32]) -> Result<Sequence, Error> {
        self.begin_with(tokens, None)
    }

    /// The same with strengths of the adapters, where they are not those of the load.
    ///
    /// Errors: other strengths than there are adapters, a device's failure.
    pub fn begin_with(
        &mut self,
        tokens: &[u32],
        strengths: Option<&[Strength]>,
    ) -> Result<Sequence, Error> {
        let mut sequence = self.sequence();
        if let Some(strengths) = strengths {
            self.set_strengths(&mut sequence, strengths)?;
        }
        let copies = sequence.adopt(tokens, tokens.len().saturating_sub(1));
        self.copy(&copies)?;
        Ok(sequence)
    }

    /// Keeps what a sequence holds for those that begin in the same way: its whole pages, and with `all` also the tokens behind
    /// them. The pages are shared, and stay until others need them.
    pub fn publish(&self, sequence: &mut Sequence, all: bool) {
        if sequence.is_of(&self.pool) {
            sequence.publish(all);
        }
    }

    /// How many pages of each of [`Plan::pages`] are used for what.
    pub fn pages_in_use(&self) -> Vec<PagesInUse> {
        self.pool.lock().in_use()
    }

    /// Tokens that are kept of texts.
    pub fn published(&self) -> usize {
        self.pool.lock().prefixes.tokens()
    }

    /// Keeps nothing of earlier texts any more.
    pub fn clear_published(&self) {
        self.pool.lock().clear();
    }

    /// Copies pages, in every buffer that has such.
    fn copy(&mut self, copies: &[Copy]) -> Result<(), Error> {
        for copy in copies {
            for cache in self.plan.caches.iter().filter(|c| c.kind == copy.kind) {
                let page = u64::from(cache.page());
                let [from, to] = [copy.from, copy.to].map(|id| u64::from(id) * page);
                self.executor.copy(cache.buffer, from, to, page)?;
            }
        }
        Ok(())
    }

    /// Takes pages for `more` tokens.
    ///
    /// Errors: the context or the pool has none left, a device's failure.
    pub(super) fn reserve(&mut self, sequence: &mut Sequence, more: usize) -> Result<(), Error> {
        let copies = sequence.reserve(more)?;
        self.copy(&copies)
    }

    /// One pass over tokens of several sequences. `sink` gets the wanted outputs with the index of their part, by parts and
    /// positions; with `logits` false without their logits.
    ///
    /// Errors: a token outside the vocabulary, a full context or pool, a sequence of another model, more rows, outputs or
    /// parts than were planned, a device's failure; on the CPU as [`Model::intact`]. After an error the sequences hold the tokens
    /// that they had.
    pub async fn pass(
        &mut self,
        parts: &mut [Part<'_>],
        logits: bool,
        sink: &mut dyn FnMut(usize, Output<'_>),
    ) -> Result<(), Error> {
        for part in parts.iter_mut() {
            self.restore(part.sequence).await?;
        }
        let outputs = self.gather(parts)?;
        self.run(outputs).await?;
        self.emit(outputs, logits, sink).await?;
        commit(parts);
        Ok(())
    }

    /// Computes the tokens of a sequence that the cache no longer holds: see [`Sequence::truncate`]. The statistics do not
    /// count them again.
    ///
    /// Errors: as of [`Loaded::pass`].
    pub(crate) async fn restore(&mut self, sequence: &mut Sequence) -> Result<(), Error> {
        let (held, end) = (sequence.held(), sequence.tokens().len());
        if held == end {
            return Ok(());
        }
        self.owns(sequence)?;
        let stats = self.statistics().await?;
        for start in (held..end).step_by(self.plan.extent.batch as usize) {
            let end = end.min(start + self.plan.extent.batch as usize);
            self.reserve(sequence, 0)?;
            sequence.touch(end - 1);
            self.room.rows.clear();
            let tokens = (start..end).zip(&sequence.tokens()[start..end]);
            self.room.rows.extend(tokens.map(|(i, token)| Row {
                token: *token,
                position: i as u32,
                sequence: 0,
            }));
            self.room.tables.clear();
            let strengths = sequence.strengths();
            self.room.tables.push(sequence.tables(), strengths)?;
            self.run(0).await?;
            sequence.restored(end);
        }
        self.executor.write(self.plan.stats, &stats)
    }

    /// Errors: a sequence of another model.
    pub(super) fn owns(&self, sequence: &Sequence) -> Result<(), Error> {
        match sequence.is_of(&self.pool) {
            true => Ok(()),
            false => Err(Error::Batch(
                "a sequence is of another model that is loaded".into(),
            )),
        }
    }

    /// Errors: a token outside the vocabulary.
    pub(super) fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab = self.model.spec().vocab_size;
        match tokens.iter().copied().find(|id| *id >= vocab) {
            Some(id) => Err(Error::Token { id, vocab }),
            None => Ok(()),
        }
    }

    /// Makes the rows and page tables of a pass; returns how many outputs it has. Rows whose logits are wanted come first:
    /// here they are put so, and whatever works on `Rows::Outputs` takes the first.
    ///
    /// Errors: as of [`Loaded::pass`].
    pub(super) fn gather(&mut self, parts: &mut [Part<'_>]) -> Result<usize, Error> {
        let wanted = |p: &Part<'_>| p.tokens.len() - p.outputs.min(p.tokens.len());
        let outputs: usize = parts.iter().map(|p| p.tokens.len() - wanted(p)).sum();
        let rows: usize = parts.iter().map(|p| p.tokens.len()).sum();
        let most = self.plan.extent.batch as usize;
        if rows > most {
            return Err(Error::Batch(format!("it has {rows} rows, at most {most}")));
        }
        self.room.tables.clear();
        for part in parts.iter_mut() {
            self.owns(part.sequence)?;
            self.check(part.tokens)?;
            self.reserve(part.sequence, part.tokens.len())?;
            let strengths = part.sequence.strengths();
            self.room.tables.push(part.sequence.tables(), strengths)?;
        }
        for part in parts.iter_mut().filter(|p| !p.tokens.is_empty()) {
            let last = part.sequence.tokens().len() + part.tokens.len() - 1;
            part.sequence.touch(last);
        }
        self.room.rows.clear();
        for first in [true, false] {
            for (i, part) in parts.iter().enumerate() {
                let used = part.sequence.tokens().len();
                let range = match first {
                    true => wanted(part)..part.tokens.len(),
                    false => 0..wanted(part),
                };
                self.room.rows.extend(range.map(|t| Row {
                    token: part.tokens[t],
                    position: (used + t) as u32,
                    sequence: i as u32,
                }));
            }
        }
        Ok(outputs)
    }

    /// Runs every step over the rows that were gathered.
    ///
    /// Errors: more outputs than were planned, a device's failure.
    pub(super) async fn run(&mut self, outputs: usize) -> Result<(), Error> {
        let most = self.plan.extent.outputs as usize;
        if outputs > most {
            let reason = format!("{outputs} outputs are wanted, at most {most}");
            return Err(Error::Batch(reason));
        }
        let mut step = 0;
        while step < self.plan.steps.len() {
            let rows = self.room.rows.len();
            let range = self.submissions.next(&self.plan, rows, step);
            step = range.end;
            self.run_steps(outputs, range).await?;
        }
        Ok(())
    }

    /// Runs the steps of `range` over the rows that were gathered.
    pub(super) async fn run_steps(
        &mut self,
        outputs: usize,
        range: Range<usize>,
    ) -> Result<(), Error> {
        let batch = Batch {
            rows: &self.room.rows,
            outputs,
            tables: &self.room.tables,
        };
        self.executor.run(&self.plan, batch, range).await
    }

    /// Begins the pass of a sequence's next token at `position`, which only the device knows, if it does that.
    pub(super) async fn run_next(
        &mut self,
        sequence: &Sequence,
        position: u32,
    ) -> Result<(), Error> {
        let row = Row {
            token: 0,
            position,
            sequence: 0,
        };
        self.room.tables.clear();
        let strengths = sequence.strengths();
        self.room.tables.push(sequence.tables(), strengths)?;
        let batch = Batch {
            rows: &[row],
            outputs: 1,
            tables: &self.room.tables,
        };
        let mut step = 0;
        while step < self.plan.steps.len() {
            let range = self.submissions.next(&self.plan, 1, step);
            step = range.end;
            self.executor.run_next(&self.plan, batch, range).await?;
        }
        Ok(())
    }

    /// Gives `sink` the first `wanted` rows' outputs; the last one's arg-max.
    pub(super) async fn emit(
        &mut self,
        wanted: usize,
        with_logits: bool,
        sink: &mut dyn FnMut(usize, Output<'_>),
    ) -> Result<Option<u32>, Error> {
        self.submissions.count(&self.plan, self.room.rows.len());
        if wanted == 0 {
            return Ok(None);
        }
        let Room {
            rows,
            results,
            logits,
            ..
        } = &mut self.room;
        let n = wanted as u64;
        let vocab = u64::from(self.model.spec().vocab_size);
        let words = n * u64::from(RESULT_WORDS);
        self.executor
            .read(self.plan.results, words, results)
            .await?;
        logits.clear();
        if with_logits {
            self.executor
                .read(self.plan.logits, n * vocab, logits)
                .await?;
        }
        let mut last = None;
        let results = results.chunks_exact(RESULT_WORDS as usize);
        for (i, (row, result)) in rows[..wanted].iter().zip(results).enumerate() {
            let at = i * vocab as usize;
            let logits = logits.get(at..at + vocab as usize).unwrap_or(&[]);
            last = Some(result[ARGMAX]);
            let output = Output {
                position: row.position,
                logits: bytemuck::cast_slice(logits),
                checksum: u64::from(result[0]) | u64::from(result[1]) << 32,
                argmax: result[ARGMAX],
            };
            sink(row.sequence as usize, output);
        }
        Ok(last)
    }

    /// The statistics: saturated elements of the residual stream, its largest magnitude in units of the stream.
    pub(super) async fn statistics(&mut self) -> Result<Vec<u32>, Error> {
        let mut stats = Vec::new();
        let words = STATS_WORDS.into();
        self.executor
            .read(self.plan.stats, words, &mut stats)
            .await?;
        Ok(stats)
    }
}

/// The sequences hold the tokens of a pass now.
pub(super) fn commit(parts: &mut [Part<'_>]) {
    for part in parts {
        part.sequence.append(part.tokens);
    }
}

#[cfg(feature = "gpu")]
async fn open_on(
    model: &Arc<Model>,
    options: &SessionOptions,
    gpu: crate::device::Gpu,
) -> Result<(Plan, Executor), Error> {
    let plan = options.plan_by(model, super::GPU_BATCH, gpu.binding())?;
    let executor = crate::exec::gpu::GpuExecutor::new(model, &plan, gpu).await?;
    Ok((plan, Executor::Gpu(Box::new(executor))))
}

async fn open(model: &Arc<Model>, options: &SessionOptions) -> Result<(Plan, Executor), Error> {
    #[cfg(feature = "gpu")]
    {
        if let Some(gpu) = options.open_device(model).await? {
            match open_on(model, options, gpu).await {
                Ok(opened) => return Ok(opened),
                // Nobody asked for this GPU: the processor gives the same tokens.
                Err(e) if options.device == super::DeviceChoice::Auto => {
                    tracing::warn!("the GPU is left aside: {e}");
                }
                Err(e) => return Err(e),
            }
        }
    }
    #[cfg(not(feature = "gpu"))]
    if let super::DeviceChoice::Gpu
    | super::DeviceChoice::GpuNamed(_)
    | super::DeviceChoice::GpuIndex(_) = options.device
    {
        return Err(Error::NoDevice {
            asked: "gpu".into(),
            available: "cpu (this build has no GPU support)".into(),
        });
    }
    let plan = options.plan(model)?;
    let mut cpu = CpuExecutor::new(model.clone(), &plan, options.threads)?;
    cpu.release_weights(options.release_weights);
    Ok((plan, Executor::Cpu(Box::new(cpu))))
}
