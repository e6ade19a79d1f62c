//! A sequence of tokens in the KV cache of one executor.

mod cut;
#[cfg(feature = "gpu")]
mod delivery;
mod embed;

#[cfg(feature = "gpu")]
pub use delivery::Delivery;
pub use embed::Embedding;

use crate::error::Error;
use crate::exec::cpu::CpuExecutor;
use crate::exec::{ARGMAX, Batch, Executor};
use crate::model::Model;
use crate::plan::{Extent, MOST_BINDING, Memory, Plan, Row};
use carat_shaders::params::{RESULT_WORDS, STATS_WORDS};
use std::sync::Arc;

/// Where to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU; never a software rasteriser.
    Auto,
    /// The CPU twins.
    Cpu,
    /// A hardware GPU, or none.
    Gpu,
    /// The first adapter whose name contains this, software rasterisers included.
    GpuNamed(String),
    /// The adapter of that index among all that the system offers, software rasterisers included.
    GpuIndex(usize),
}

/// Positions of a prompt that the CPU computes at once: each weight is decoded once for all of them.
pub const CPU_BATCH: u32 = 256;
/// Positions of a prompt that a GPU computes at once: no submission of a slow one takes long.
pub const GPU_BATCH: u32 = 64;

/// Size and place of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// Where to run.
    pub device: DeviceChoice,
    /// Positions of the KV cache; rounded up to pages of 256.
    pub context: u32,
    /// Most positions of a prompt computed at once; `None` for [`CPU_BATCH`] or [`GPU_BATCH`]. Results do not depend on it.
    pub batch: Option<u32>,
    /// Most of them whose logits are wanted at once.
    pub outputs: u32,
    /// Threads of the CPU executor; `None` for every core.
    pub threads: Option<usize>,
    /// CPU: give a mapped tensor's pages back to the system after each step that read it, so that resident
    /// memory stays small for a file of any size. Slower.
    pub release_weights: bool,
    /// Most bytes of memory, weights included: the context becomes as short as that takes.
    pub memory_limit: Option<u64>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            context: 4096,
            batch: None,
            outputs: 1,
            threads: None,
            release_weights: false,
            memory_limit: None,
        }
    }
}

impl SessionOptions {
    /// The plan of such a session: how long its context is and what it takes is known before anything is allocated.
    ///
    /// Errors: a context that cannot be held, a limit on memory that is too small.
    pub fn plan(&self, model: &Model) -> Result<Plan, Error> {
        self.plan_by(model, CPU_BATCH, MOST_BINDING)
    }

    /// Opens the device for such a session, with buffers as large as it needs; `None` is the CPU.
    ///
    /// Errors: as [`SessionOptions::plan`] and [`crate::device::choose`].
    #[cfg(feature = "gpu")]
    pub async fn open_device(&self, model: &Model) -> Result<Option<crate::device::Gpu>, Error> {
        if self.device == DeviceChoice::Cpu {
            return Ok(None);
        }
        let plan = self.plan_by(model, GPU_BATCH, MOST_BINDING)?;
        crate::device::choose(&self.device, plan.largest_buffer()).await
    }

    /// The plan, by `batch` positions of a prompt where the options leave that open, on a device whose buffers have at most
    /// `binding` bytes.
    fn plan_by(&self, model: &Model, batch: u32, binding: u64) -> Result<Plan, Error> {
        let extent = Extent {
            batch: self.batch.unwrap_or(batch),
            outputs: self.outputs,
            context: self.context,
            binding,
        };
        let (spec, directory) = (model.spec(), model.directory());
        match self.memory_limit {
            Some(limit) => Plan::within(spec, directory, extent, self.cpu_threads(), limit),
            None => Plan::new(spec, directory, extent),
        }
    }

    /// What such a session takes on the CPU.
    ///
    /// Errors: as [`SessionOptions::plan`].
    pub fn memory(&self, model: &Model) -> Result<Memory, Error> {
        Ok(self.plan(model)?.memory(self.cpu_threads()))
    }

    /// What it takes on a GPU: the device's, and the system's while it is filled.
    ///
    /// Errors: as [`SessionOptions::plan`].
    #[cfg(feature = "gpu")]
    pub fn gpu_memory(&self, model: &Model) -> Result<Memory, Error> {
        let plan = self.plan_by(model, GPU_BATCH, MOST_BINDING)?;
        let mut memory = plan.memory(0);
        memory.work += crate::exec::gpu::extra_bytes(&plan);
        memory.work += crate::exec::gpu::STAGED_BYTES.min(memory.weights);
        Ok(memory)
    }

    /// Threads that the CPU executor has.
    pub fn cpu_threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}

/// The 64-bit checksum of one row of logits.
pub type Checksum = u64;

/// Which of the given tokens' logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Those of the last token.
    Last,
    /// Those of the tokens from this index on.
    From(usize),
    /// The last token's checksum and arg-max, not its logits.
    LastResult,
    /// The same, where the next token will be that arg-max: a GPU begins its pass before the host has read the result.
    Greedy,
}

/// Logits of one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output<'a> {
    /// Position of the token whose successor they predict.
    pub position: u32,
    /// Logits in units of `2^Session::logits_exponent`; empty where only the result was wanted.
    pub logits: &'a [i32],
    /// Order-free checksum, computed on the device.
    pub checksum: Checksum,
    /// The largest logit's id, ties to the lower.
    pub argmax: u32,
}

/// blake3 over the exponent and the checksums of every row of logits that was sampled.
#[derive(Clone, Debug)]
pub struct LogitsHash(blake3::Hasher);

impl LogitsHash {
    /// No rows yet.
    pub fn new(exponent: i32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&exponent.to_le_bytes());
        Self(hasher)
    }

    /// Takes in one row's checksum.
    pub fn push(&mut self, checksum: Checksum) {
        self.0.update(&checksum.to_le_bytes());
    }

    /// The hash so far, in hexadecimal.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// One sequence on one device.
pub struct Session {
    model: Arc<Model>,
    plan: Plan,
    executor: Executor,
    tokens: Vec<u32>,
    submissions: cut::Submissions,
    ahead: Option<Ahead>,
    room: Room,
}

/// A pass that a GPU was given for the token after the last, before anybody knew it.
struct Ahead {
    /// Its token, once the result before it has been read; `None` also where the cache was cut since.
    token: Option<u32>,
}

/// Memory kept from pass to pass: once it is as large as a pass needs, none is allocated.
#[derive(Default)]
struct Room {
    rows: Vec<Row>,
    results: Vec<u32>,
    logits: Vec<u32>,
}

impl Session {
    /// Plans, allocates and, on a GPU, uploads.
    ///
    /// Errors: no such device, a context that cannot be held, a device that refuses.
    pub async fn new(model: Arc<Model>, options: &SessionOptions) -> Result<Self, Error> {
        let (plan, executor) = open(&model, options).await?;
        Ok(Self::with(model, plan, executor))
    }

    /// The same on a device that is open: sessions one after another on one compile each kernel once.
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

    fn with(model: Arc<Model>, plan: Plan, executor: Executor) -> Self {
        Self {
            tokens: Vec::with_capacity(plan.extent.context as usize),
            model,
            plan,
            executor,
            submissions: cut::Submissions::default(),
            ahead: None,
            room: Room::default(),
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

    /// The executor, for tests that look at intermediates.
    pub fn executor(&mut self) -> (&mut Executor, &Plan) {
        // A lost device says so again at whatever is done with it.
        let _ = self.forget_ahead();
        (&mut self.executor, &self.plan)
    }

    /// The device's name.
    pub fn device(&self) -> String {
        self.executor.device()
    }

    /// Dispatches sent to a device so far; 0 on the CPU.
    pub fn dispatches(&self) -> u64 {
        self.executor.dispatches()
    }

    /// Tokens in the cache.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions of the cache.
    pub fn context(&self) -> u32 {
        self.plan.extent.context
    }

    /// Unit of the logits: `2^logits_exponent`.
    pub fn logits_exponent(&self) -> i32 {
        self.plan.logits_exponent
    }

    /// Forgets every token from position `len` on. What follows is computed as in a new session with the same
    /// tokens: attention reads only positions before its own, and those of forgotten ones are written anew.
    pub fn truncate(&mut self, len: usize) {
        if let Some(ahead) = self.ahead.as_mut().filter(|_| len < self.tokens.len()) {
            ahead.token = None;
        }
        self.tokens.truncate(len);
    }

    /// Takes back a pass that ran ahead.
    fn forget_ahead(&mut self) -> Result<(), Error> {
        match self.ahead.take() {
            Some(_) => self.executor.forget_next(&self.plan),
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
        let mut stats = Vec::new();
        let words = STATS_WORDS.into();
        other
            .executor
            .read(other.plan.stats, words, &mut stats)
            .await?;
        self.executor.write(self.plan.stats, &stats)
    }

    /// Runs the pass of one more token `times` times, as many positions after the cache's start as if it held `used`, and
    /// forgets it: for measuring how long a token takes there. `each` is called before the first and after every one. No
    /// later result depends on it. With a full cache nothing is run.
    ///
    /// Errors: a device's failure.
    pub async fn rehearse(
        &mut self,
        used: usize,
        times: usize,
        mut each: impl FnMut(),
    ) -> Result<(), Error> {
        let last = self.context().saturating_sub(1) as usize;
        let row = Row {
            token: 0,
            // Behind what the cache holds: a token there writes it anew before it reads it.
            position: used.max(self.tokens.len()).min(last) as u32,
            sequence: 0,
        };
        let batch = Batch {
            rows: &[row],
            outputs: 1,
        };
        if self.tokens.len() > last {
            return Ok(());
        }
        self.forget_ahead()?;
        let (mut stats, mut results) = (Vec::new(), Vec::new());
        self.executor
            .read(self.plan.stats, STATS_WORDS.into(), &mut stats)
            .await?;
        each();
        for _ in 0..times {
            let mut step = 0;
            while step < self.plan.steps.len() {
                let range = self.submissions.next(&self.plan, 1, step);
                step = range.end;
                self.executor.run(&self.plan, batch, range).await?;
            }
            self.executor
                .read(self.plan.results, RESULT_WORDS.into(), &mut results)
                .await?;
            each();
        }
        self.executor.write(self.plan.stats, &stats)
    }

    /// Appends `tokens` and gives `sink` the wanted outputs in order of position.
    ///
    /// Errors: a token outside the vocabulary, a full context, a device's failure. After an error the
    /// cache holds the tokens before the batch that failed.
    pub async fn forward(
        &mut self,
        tokens: &[u32],
        want: Want,
        sink: &mut dyn FnMut(Output<'_>),
    ) -> Result<(), Error> {
        self.check(tokens)?;
        let mut room = std::mem::take(&mut self.room);
        let done = self.passes(tokens, want, &mut room, sink).await;
        self.room = room;
        done
    }

    async fn passes(
        &mut self,
        tokens: &[u32],
        want: Want,
        room: &mut Room,
        sink: &mut dyn FnMut(Output<'_>),
    ) -> Result<(), Error> {
        // A pass that ran ahead counts if it is this one.
        let under_way = match (&self.ahead, want) {
            (Some(Ahead { token: Some(id) }), Want::Greedy | Want::LastResult) => tokens == [*id],
            _ => false,
        };
        if !under_way {
            self.forget_ahead()?;
        }
        self.ahead = None;
        let used = self.tokens.len();
        let first = match want {
            Want::Last | Want::LastResult | Want::Greedy => tokens.len().saturating_sub(1),
            Want::From(i) => i,
        };
        let Extent { batch, outputs, .. } = self.plan.extent;
        let mut at = 0;
        while at < tokens.len() {
            // A batch ends where its rows or its outputs would be too many.
            let mut end = (at + batch as usize).min(tokens.len());
            if end > first {
                end = end.min(at.max(first) + outputs as usize);
            }
            // Those whose logits are wanted come first.
            let wanted = at.max(first).min(end)..end;
            let outputs = wanted.len();
            let order = wanted.clone().chain(at..wanted.start);
            room.rows.clear();
            room.rows.extend(order.map(|i| Row {
                token: tokens[i],
                position: (used + i) as u32,
                sequence: 0,
            }));
            let batch = Batch {
                rows: &room.rows,
                outputs,
            };
            if !under_way {
                let mut step = 0;
                while step < self.plan.steps.len() {
                    let range = self.submissions.next(&self.plan, end - at, step);
                    step = range.end;
                    self.executor.run(&self.plan, batch, range).await?;
                }
            }
            self.submissions.count(&self.plan, end - at);
            if want == Want::Greedy && end == tokens.len() {
                self.run_ahead((used + end) as u32).await?;
            }
            let argmax = self.emit(room, outputs, want, sink).await?;
            if let Some(ahead) = &mut self.ahead {
                ahead.token = argmax;
            }
            self.tokens.extend(&tokens[at..end]);
            at = end;
        }
        Ok(())
    }

    /// Begins the pass of the next token at `position`, if there is one.
    async fn run_ahead(&mut self, position: u32) -> Result<(), Error> {
        if !self.executor.runs_ahead() || position >= self.context() {
            return Ok(());
        }
        self.ahead = Some(Ahead { token: None });
        let mut step = 0;
        while step < self.plan.steps.len() {
            let range = self.submissions.next(&self.plan, 1, step);
            step = range.end;
            self.executor.run_next(&self.plan, position, range).await?;
        }
        Ok(())
    }

    /// Whether the tokens can be appended.
    fn check(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab = self.model.spec().vocab_size;
        if let Some(id) = tokens.iter().copied().find(|id| *id >= vocab) {
            return Err(Error::Token { id, vocab });
        }
        let (used, context) = (self.tokens.len(), self.context());
        if tokens.len() > context as usize - used.min(context as usize) {
            return Err(Error::ContextFull {
                asked: tokens.len(),
                used,
                context,
            });
        }
        Ok(())
    }

    /// Gives `sink` the first `wanted` rows' outputs; the last one's arg-max.
    async fn emit(
        &mut self,
        room: &mut Room,
        wanted: usize,
        want: Want,
        sink: &mut dyn FnMut(Output<'_>),
    ) -> Result<Option<u32>, Error> {
        if wanted == 0 {
            return Ok(None);
        }
        let Room {
            rows,
            results,
            logits,
        } = room;
        let n = wanted as u64;
        let vocab = u64::from(self.model.spec().vocab_size);
        let words = n * u64::from(RESULT_WORDS);
        self.executor
            .read(self.plan.results, words, results)
            .await?;
        logits.clear();
        if !matches!(want, Want::LastResult | Want::Greedy) {
            self.executor
                .read(self.plan.logits, n * vocab, logits)
                .await?;
        }
        let mut last = None;
        for (i, (row, result)) in rows[..wanted]
            .iter()
            .zip(results.chunks_exact(RESULT_WORDS as usize))
            .enumerate()
        {
            let at = i * vocab as usize;
            let logits = logits.get(at..at + vocab as usize).unwrap_or(&[]);
            last = Some(result[ARGMAX]);
            sink(Output {
                position: row.position,
                logits: bytemuck::cast_slice(logits),
                checksum: u64::from(result[0]) | u64::from(result[1]) << 32,
                argmax: result[ARGMAX],
            });
        }
        Ok(last)
    }

    /// (saturated elements of the residual stream, its largest magnitude in units of the stream).
    pub async fn residual_stats(&mut self) -> Result<(u32, u32), Error> {
        self.forget_ahead()?;
        let mut stats = Vec::new();
        self.executor
            .read(self.plan.stats, STATS_WORDS.into(), &mut stats)
            .await?;
        Ok((
            stats.first().copied().unwrap_or(0),
            stats.get(1).copied().unwrap_or(0),
        ))
    }
}

#[cfg(feature = "gpu")]
async fn open_on(
    model: &Arc<Model>,
    options: &SessionOptions,
    gpu: crate::device::Gpu,
) -> Result<(Plan, Executor), Error> {
    let plan = options.plan_by(model, GPU_BATCH, gpu.binding())?;
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
                Err(e) if options.device == DeviceChoice::Auto => {
                    tracing::warn!("the GPU is left aside: {e}");
                }
                Err(e) => return Err(e),
            }
        }
    }
    #[cfg(not(feature = "gpu"))]
    if let DeviceChoice::Gpu | DeviceChoice::GpuNamed(_) | DeviceChoice::GpuIndex(_) =
        options.device
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
