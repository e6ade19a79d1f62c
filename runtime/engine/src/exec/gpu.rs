//! The wgpu executor: buffers, pipelines and bind groups are made once; a pass is one submission.

mod answers;
mod kernels;
mod loading;
mod passes;
mod pipelines;
mod upload;

pub use loading::Loading;
pub(crate) use pipelines::Pipelines;
pub use upload::{STAGED_BYTES, Upload};

use crate::device::{Gpu, ProductTuning, Tuning};
use crate::error::Error;
use crate::model::Model;
use crate::plan::{Buffer, BufferId, Content, Op, Plan, Step};
use answers::Answers;
use carat_shaders::{grid, kernel};
use pipelines::{Pipeline, PipelineKey, compile};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Distance of the steps' parameters in the uniform buffer: WebGPU's default offset alignment.
const UNIFORM_STEP: u64 = 256;

/// Bytes of the smallest buffer: a binding of vec4<u32>.
const SMALLEST: u64 = 16;

/// A dispatch without the numbers that change from pass to pass.
struct Dispatch {
    group: wgpu::BindGroup,
    one: Variant,
    /// For passes of several rows, where the kernel has a pipeline for them.
    many: Option<Variant>,
}

/// A pipeline for a dispatch.
#[derive(Clone, Copy)]
struct Variant {
    pipeline: usize,
    /// Workgroups along x.
    x: u32,
    /// Rows of the batch that a workgroup has.
    rows: u32,
}

/// Whether a step has a pipeline of its own for passes of several rows.
fn has_many(step: &Step, plan: &Plan) -> bool {
    step.op.is_product() && plan.extent.batch > 1
}

/// Bytes of the file and pipelines that a plan needs on a device.
fn needs(plan: &Plan, tuning: &Tuning) -> (u64, u64) {
    let file = |b: &&Buffer| matches!(b.content, Content::File { .. });
    let bytes = plan.buffers.iter().filter(file).map(|b| b.words * 4);
    let keys: HashSet<PipelineKey> = plan
        .steps
        .iter()
        .flat_map(|s| {
            let one = PipelineKey::new(&s.op, &tuning.one, tuning.lanes);
            let many = PipelineKey::new(&s.op, &tuning.many, tuning.lanes);
            std::iter::once(one).chain(has_many(s, plan).then_some(many))
        })
        .collect();
    (bytes.sum(), keys.len() as u64)
}

/// Bytes that an executor allocates beside the plan's buffers: parameters of the steps, what results and logits are read back
/// through, two answers, the statistics that are held, and a page that is copied.
pub fn extra_bytes(plan: &Plan) -> u64 {
    let bytes = |b: BufferId| (plan.buffers[b.0].words * 4).max(SMALLEST);
    let steps = plan.steps.len() as u64 * UNIFORM_STEP;
    let page = plan.caches.iter().map(|c| u64::from(c.page()) * 4).max();
    let page = page.unwrap_or(0).max(SMALLEST);
    // Pages are read back too, where a session is saved.
    let read = bytes(plan.logits).max(page);
    steps + read + 2 * bytes(plan.results) + bytes(plan.stats) + page
}

/// Everything that a plan needs on one device.
pub struct GpuExecutor {
    gpu: Gpu,
    tuning: Tuning,
    loading: Arc<Loading>,
    buffers: Vec<wgpu::Buffer>,
    pipelines: Vec<Pipeline>,
    steps: Vec<Dispatch>,
    /// Kept between reads; taken while one is under way, so that a read given up leaves no mapped buffer.
    staging: Option<wgpu::Buffer>,
    results: BufferId,
    /// The page tables that the device has.
    tables: Vec<Vec<u32>>,
    /// The strengths of adapters that it has.
    strengths: Vec<i32>,
    answers: Answers,
    /// The statistics before a pass that may be forgotten.
    held: Option<wgpu::Buffer>,
    /// Kept between copies within a buffer.
    between: Option<wgpu::Buffer>,
    allocated: u64,
    dispatches: u64,
}

impl GpuExecutor {
    /// Allocates the plan's buffers, uploads the weights, compiles every kernel and runs each once, so
    /// that the first token waits for nothing.
    ///
    /// Errors: the device refuses an allocation or a kernel, a tensor lies outside the file.
    pub async fn new(model: &Arc<Model>, plan: &Plan, gpu: Gpu) -> Result<Self, Error> {
        let mut upload = Upload::begin(plan, gpu, Arc::default()).await?;
        // The device has its copy, and nobody else reads the file.
        upload.put_all(model, true).await?;
        upload.finish(plan).await
    }

    /// The buffers of a plan, not yet filled.
    async fn with_buffers(plan: &Plan, gpu: Gpu, loading: Arc<Loading>) -> Result<Self, Error> {
        let mut this = Self {
            tuning: gpu.tuning(),
            gpu,
            loading,
            buffers: Vec::with_capacity(plan.buffers.len()),
            pipelines: Vec::new(),
            steps: Vec::with_capacity(plan.steps.len()),
            staging: None,
            results: plan.results,
            tables: vec![Vec::new(); plan.pages.len()],
            strengths: Vec::new(),
            answers: Answers::default(),
            held: None,
            between: None,
            allocated: 0,
            dispatches: 0,
        };
        let (bytes, pipelines) = needs(plan, &this.tuning);
        this.loading.start(bytes, pipelines);
        for b in &plan.buffers {
            use wgpu::BufferUsages as U;
            let usage = U::STORAGE | U::COPY_SRC | U::COPY_DST;
            let buffer = this.allocate(&b.name, b.words * 4, usage).await?;
            this.buffers.push(buffer);
        }
        this.gpu.allocated();
        Ok(this)
    }

    /// Compiles what the plan's steps need and runs each kernel once.
    async fn ready(mut self, plan: &Plan) -> Result<Self, Error> {
        self.prepare(plan).await?;
        self.gpu.idle().await?;
        self.gpu.check()?;
        Ok(self)
    }

    async fn allocate(
        &mut self,
        name: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, Error> {
        let size = bytes.max(SMALLEST);
        let what = format!(
            "allocating {size} bytes for '{name}' after {} bytes",
            self.allocated
        );
        let descriptor = wgpu::BufferDescriptor {
            label: Some(name),
            size,
            usage,
            mapped_at_creation: false,
        };
        let buffer = self
            .gpu
            .scoped(&what, || self.gpu.device.create_buffer(&descriptor))
            .await?;
        self.allocated += size;
        Ok(buffer)
    }

    /// Uniforms, pipelines and bind groups.
    async fn prepare(&mut self, plan: &Plan) -> Result<(), Error> {
        use wgpu::BufferUsages as U;
        let mut bytes = Vec::new();
        for step in &plan.steps {
            bytes.extend_from_slice(step.op.params());
            bytes.resize(bytes.len().next_multiple_of(UNIFORM_STEP as usize), 0);
        }
        let size = bytes.len() as u64;
        let uniforms = self
            .allocate("parameters", size, U::UNIFORM | U::COPY_DST)
            .await?;
        self.gpu.queue.write_buffer(&uniforms, 0, &bytes);

        let tuning = self.tuning;
        let mut known = HashMap::new();
        let mut compiled = Vec::new();
        for (i, step) in plan.steps.iter().enumerate() {
            let one = self
                .variant(step, &tuning.one, &mut known, &mut compiled)
                .await?;
            let many = match has_many(step, plan) {
                true => Some(
                    self.variant(step, &tuning.many, &mut known, &mut compiled)
                        .await?,
                ),
                false => None,
            };
            let layout = &self.pipelines[one.pipeline].layout;
            let offset = i as u64 * UNIFORM_STEP;
            let bind = || self.bind(layout, step, &uniforms, offset);
            let group = self.gpu.scoped(&step.label, bind).await?;
            self.steps.push(Dispatch { group, one, many });
            for (key, pipeline) in compiled.drain(..) {
                self.warm(pipeline, i).await?;
                self.gpu.pipelines.keep(key, &self.pipelines[pipeline]);
            }
        }
        // Warming wrote to the statistics, which start at zero.
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.buffers[plan.stats.0], 0, None);
        self.gpu.submit(Some(encoder.finish()));
        Ok(())
    }

    /// Drivers compile at the first dispatch: runs one row of a step that uses the pipeline. But for the statistics, what it
    /// writes is written again before it is read.
    async fn warm(&self, pipeline: usize, step: usize) -> Result<(), Error> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&self.pipelines[pipeline].pipeline);
            pass.set_bind_group(0, &self.steps[step].group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        self.gpu.submit(Some(encoder.finish()));
        self.gpu.idle().await?;
        self.loading.pipeline_ready();
        Ok(())
    }

    /// The pipeline of a step with a tuning: this executor's, else the device's, else one that is now `compiled`.
    async fn variant(
        &mut self,
        step: &Step,
        tuning: &ProductTuning,
        known: &mut HashMap<PipelineKey, usize>,
        compiled: &mut Vec<(PipelineKey, usize)>,
    ) -> Result<Variant, Error> {
        let (tiles, rows) = match step.op.is_product() {
            true => (tuning.tiles, tuning.rows),
            false => (1, 1),
        };
        let x = groups_x(&step.op, tiles);
        if x > grid::MAX_GROUPS {
            return Err(self.gpu.error(format!(
                "'{}' needs {x} workgroups, WebGPU allows {}",
                step.label,
                grid::MAX_GROUPS
            )));
        }
        let key = PipelineKey::new(&step.op, tuning, self.tuning.lanes);
        let pipeline = match known.get(&key) {
            Some(p) => *p,
            None => {
                let place = self.pipelines.len();
                let pipeline = match self.gpu.pipelines.get(&key) {
                    Some(known) => {
                        self.loading.pipeline_ready();
                        known
                    }
                    None => {
                        compiled.push((key, place));
                        self.compile(&step.op, key).await?
                    }
                };
                self.pipelines.push(pipeline);
                known.insert(key, place);
                place
            }
        };
        Ok(Variant { pipeline, x, rows })
    }

    fn bind(
        &self,
        layout: &wgpu::BindGroupLayout,
        step: &Step,
        uniforms: &wgpu::Buffer,
        offset: u64,
    ) -> wgpu::BindGroup {
        let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: uniforms,
            offset,
            size: NonZeroU64::new(step.op.params().len() as u64),
        });
        let storage = step
            .bindings
            .iter()
            .map(|b| self.buffers[b.buffer.0].as_entire_binding());
        let entries: Vec<wgpu::BindGroupEntry<'_>> = std::iter::once(uniform)
            .chain(storage)
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry {
                binding: i as u32,
                resource,
            })
            .collect();
        self.gpu
            .device
            .create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(&step.label),
                layout,
                entries: &entries,
            })
    }

    async fn compile(&self, op: &Op, key: PipelineKey) -> Result<Pipeline, Error> {
        self.loading.check()?;
        let name = op.kernel();
        let Some(kernel) = kernel(name) else {
            return Err(self
                .gpu
                .error(format!("kernel '{name}' is not in this build")));
        };
        let what = format!("compiling kernel '{name}'");
        let constants = key.constants(op);
        let compile = || compile(&self.gpu.device, kernel, &constants);
        self.gpu.scoped(&what, compile).await
    }

    /// The device's name.
    pub fn device(&self) -> String {
        self.gpu.name()
    }

    /// Dispatches so far, without those that warm the pipelines.
    pub fn dispatches(&self) -> u64 {
        self.dispatches
    }

    /// Bytes allocated on the device.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Compiled pipelines.
    pub fn pipelines(&self) -> usize {
        self.pipelines.len()
    }
}

/// Workgroups of a step along x, `tiles` tiles each where the kernel takes several.
fn groups_x(op: &Op, tiles: u32) -> u32 {
    match op {
        Op::EmbedRow(p, _) => grid::embed_row_q(p),
        Op::RmsnormRow(p) => grid::rmsnorm_row_q8(p),
        Op::QuantizeRow(p) => grid::quantize_row_q8(p),
        Op::LinearTile(p, _) => grid::linear_tile_q(p, tiles),
        Op::LinearGated(p, _) => grid::linear_gated_tile_q(p),
        Op::LinearQkv(p, _) => grid::linear_qkv_tile_q(p),
        Op::RopeAngles(p) => grid::rope_angles_q30(p),
        Op::RopeStore(p) => grid::rope_store_q8(p),
        Op::AttnBlock(p) => grid::attn_block_q8(p),
        Op::AttnMerge(p) => grid::attn_merge_i32(p),
        Op::AttnMergeRow(p) => grid::attn_merge_row_q8(p),
        Op::GatedUnit(p) => grid::gated_unit_row_i32(p),
        Op::Bias(p) => grid::bias_row_i32(p),
        Op::RmsnormHead(p) => grid::rmsnorm_head_i32(p),
        Op::RmsnormAdd(p) => grid::rmsnorm_add_row_i32(p),
        Op::Softcap(p) => grid::softcap_row_i32(p),
        Op::LogitsStats(p) => grid::logits_stats_i32(p),
        Op::LoraRow(p) => grid::lora_row_q8(p),
    }
}
