//! Where a model runs and how large.

use crate::error::Error;
use crate::model::Model;
use crate::plan::{Extent, MOST_BINDING, Memory, Plan};
use carat_adapter::Applied;
use carat_shaders::kv::CacheBits;

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
    /// Most positions of a sequence; rounded up to pages of 256.
    pub context: u32,
    /// Most positions of a prompt computed at once; `None` for [`CPU_BATCH`] or [`GPU_BATCH`]. Results do not depend on it.
    pub batch: Option<u32>,
    /// Most of them whose logits are wanted at once.
    pub outputs: u32,
    /// Most sequences of a pass.
    pub sequences: u32,
    /// For how many more there are pages, which keep the beginnings of texts: see [`Loaded::begin`](super::Loaded::begin).
    pub spare: u32,
    /// Positions that all sequences together may hold; `None`: as many as `sequences` and `spare` of them with a whole context.
    pub pool: Option<u32>,
    /// Bits of keys and values. With 4 the cache is half as large, and the model is slightly another one.
    pub cache: CacheBits,
    /// Threads of the CPU executor; `None` for every core.
    pub threads: Option<usize>,
    /// CPU: give a mapped tensor's pages back to the system after each step that read it, so that resident
    /// memory stays small for a file of any size. Slower.
    pub release_weights: bool,
    /// Most bytes of memory, weights included: the context becomes as short as that takes.
    pub memory_limit: Option<u64>,
    /// Adapters, and how strongly each acts on sequences that say nothing else.
    pub adapters: Vec<Applied>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            context: 4096,
            batch: None,
            outputs: 1,
            sequences: 1,
            spare: 0,
            pool: None,
            cache: CacheBits::default(),
            threads: None,
            release_weights: false,
            memory_limit: None,
            adapters: Vec::new(),
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
    pub(super) fn plan_by(&self, model: &Model, batch: u32, binding: u64) -> Result<Plan, Error> {
        let extent = Extent {
            batch: self.batch.unwrap_or(batch),
            outputs: self.outputs,
            context: self.context,
            sequences: self.sequences,
            spare: self.spare,
            pool: self.pool,
            cache: self.cache,
            binding,
        };
        let (spec, directory) = (model.spec(), model.directory());
        let adapters = &self.adapters[..];
        match self.memory_limit {
            Some(limit) => {
                let threads = self.cpu_threads();
                Plan::within(spec, directory, adapters, extent, threads, limit)
            }
            None => Plan::with_adapters(spec, directory, adapters, extent),
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
        // The host keeps its copy of an adapter.
        let adapters = self.adapters.iter().map(|a| a.adapter.bytes());
        memory.work += adapters.sum::<u64>();
        Ok(memory)
    }

    /// Threads that the CPU executor has.
    pub fn cpu_threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or_else(all)
    }
}
