//! The wgpu executor: buffers, pipelines and bind groups are made once; a pass is one submission.

mod answers;
mod kernels;
mod loading;
mod upload;

pub use loading::Loading;
pub use upload::{STAGED_BYTES, Upload};

use super::{ARGMAX, Batch};
use crate::device::{Gpu, ProductTuning, Tuning};
use crate::error::Error;
use crate::model::Model;
use crate::plan::{Buffer, BufferId, Content, Op, Plan, Row, Step};
use answers::Answers;
use carat_format::Encoding;
use carat_shaders::{Access, Kernel, grid, kernel};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

/// Distance of the steps' parameters in the uniform buffer: WebGPU's default offset alignment.
const UNIFORM_STEP: u64 = 256;

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

/// A kernel compiled for one encoding.
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// Kernel, encoding and, of products, their constants.
type PipelineKey = (&'static str, Option<Encoding>, Option<ProductTuning>);

fn pipeline_key(op: &Op, tuning: Option<&ProductTuning>) -> PipelineKey {
    let tuning = tuning.filter(|_| op.is_product());
    (op.kernel(), op.encoding(), tuning.copied())
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
            let one = pipeline_key(&s.op, Some(&tuning.one));
            let many = pipeline_key(&s.op, Some(&tuning.many));
            std::iter::once(one).chain(has_many(s, plan).then_some(many))
        })
        .collect();
    (bytes.sum(), keys.len() as u64)
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
    answers: Answers,
    /// The statistics before a pass that may be forgotten.
    held: Option<wgpu::Buffer>,
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
            answers: Answers::default(),
            held: None,
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
        // A binding of vec4<u32> is at least 16 bytes.
        let size = bytes.max(16);
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
        for (i, step) in plan.steps.iter().enumerate() {
            let compiled = self.pipelines.len();
            let one = self.variant(step, &tuning.one, &mut known).await?;
            let many = match has_many(step, plan) {
                true => Some(self.variant(step, &tuning.many, &mut known).await?),
                false => None,
            };
            let layout = &self.pipelines[one.pipeline].layout;
            let offset = i as u64 * UNIFORM_STEP;
            let bind = || self.bind(layout, step, &uniforms, offset);
            let group = self.gpu.scoped(&step.label, bind).await?;
            self.steps.push(Dispatch { group, one, many });
            for pipeline in compiled..self.pipelines.len() {
                self.warm(pipeline, i).await?;
            }
        }
        // Warming wrote to the statistics, which start at zero.
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&self.buffers[plan.stats.0], 0, None);
        self.gpu.queue.submit([encoder.finish()]);
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
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.idle().await?;
        self.loading.pipeline_ready();
        Ok(())
    }

    /// The pipeline of a step with a tuning, compiled where none of its kind is known.
    async fn variant(
        &mut self,
        step: &Step,
        tuning: &ProductTuning,
        known: &mut HashMap<PipelineKey, usize>,
    ) -> Result<Variant, Error> {
        let tuning = step.op.is_product().then_some(tuning);
        let (tiles, rows) = tuning.map_or((1, 1), |t| (t.tiles, t.rows));
        let x = groups_x(&step.op, tiles);
        if x > grid::MAX_GROUPS {
            return Err(self.gpu.error(format!(
                "'{}' needs {x} workgroups, WebGPU allows {}",
                step.label,
                grid::MAX_GROUPS
            )));
        }
        let key = pipeline_key(&step.op, tuning);
        let pipeline = match known.get(&key) {
            Some(p) => *p,
            None => {
                self.loading.check()?;
                let built = self.compile(&step.op, tuning).await?;
                self.pipelines.push(built);
                known.insert(key, self.pipelines.len() - 1);
                self.pipelines.len() - 1
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
            .map(|b| self.buffers[b.0].as_entire_binding());
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

    async fn compile(&self, op: &Op, tuning: Option<&ProductTuning>) -> Result<Pipeline, Error> {
        let name = op.kernel();
        let Some(kernel) = kernel(name) else {
            return Err(self
                .gpu
                .error(format!("kernel '{name}' is not in this build")));
        };
        let mut constants: Vec<(&str, f64)> = Vec::new();
        if let Some(encoding) = op.encoding() {
            constants.push(("CODES", encoding.codes().into()));
        }
        if let Some(t) = tuning {
            constants.push(("SLICES", t.slices.into()));
            constants.push(("ROWS", t.rows.into()));
            if matches!(op, Op::LinearTile(..)) {
                constants.push(("TILES", t.tiles.into()));
            }
            if t.pairs && op.encoding() == Some(Encoding::Pow4) {
                let tables = if matches!(op, Op::LinearGated(..)) {
                    2
                } else {
                    1
                };
                constants.push(("PAIRS", f64::from(256 * tables)));
            }
        }
        let what = format!("compiling kernel '{name}'");
        self.gpu
            .scoped(&what, || compile(&self.gpu.device, kernel, &constants))
            .await
    }

    /// Runs the steps of `range`; their results are ready for a later [`GpuExecutor::read`].
    ///
    /// Errors: the device was lost or reported an error.
    pub async fn run(
        &mut self,
        plan: &Plan,
        batch: Batch<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
        self.answers.forget();
        self.submit(plan, batch, range, false).await
    }

    /// Runs the steps of `range` over one token: the arg-max of the pass before, which the device itself puts in the row
    /// table.
    ///
    /// Errors: the device was lost or reported an error.
    pub(super) async fn run_next(
        &mut self,
        plan: &Plan,
        position: u32,
        range: Range<usize>,
    ) -> Result<(), Error> {
        let row = Row {
            token: 0,
            position,
            sequence: 0,
        };
        let batch = Batch {
            rows: &[row],
            outputs: 1,
        };
        self.submit(plan, batch, range, true).await
    }

    /// Forgets the passes whose results have not been read. What [`GpuExecutor::run_next`] added to the statistics is
    /// taken back; what it wrote to the cache is written again before it is read.
    ///
    /// Errors: the device was lost or reported an error.
    pub(super) fn forget_next(&mut self, plan: &Plan) -> Result<(), Error> {
        self.answers.forget();
        if let Some(held) = &self.held {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let stats = &self.buffers[plan.stats.0];
            encoder.copy_buffer_to_buffer(held, 0, stats, 0, held.size());
            self.gpu.queue.submit([encoder.finish()]);
        }
        self.gpu.check()
    }

    /// Submits the steps of `range`, of a pass over `batch` or, with `next`, over the token that the pass before found.
    async fn submit(
        &mut self,
        plan: &Plan,
        batch: Batch<'_>,
        range: Range<usize>,
        next: bool,
    ) -> Result<(), Error> {
        use wgpu::BufferUsages as U;
        self.gpu.check()?;
        let begins_next = next && range.start == 0;
        let answers = range.end >= plan.steps.len() && batch.outputs > 0;
        let results = self.buffers[self.results.0].clone();
        let stats = self.buffers[plan.stats.0].clone();
        if begins_next && self.held.is_none() {
            let usage = U::COPY_SRC | U::COPY_DST;
            self.held = Some(
                self.allocate("held statistics", stats.size(), usage)
                    .await?,
            );
        }
        let mut answer = None;
        if answers {
            answer = self.answers.unused();
            if answer.is_none() {
                let usage = U::MAP_READ | U::COPY_DST;
                answer = Some(self.allocate("answer", results.size(), usage).await?);
            }
        }
        let rows_buffer = &self.buffers[plan.row_table.0];
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        if !next || begins_next {
            let table: Vec<_> = batch.row_table().collect();
            let bytes = bytemuck::cast_slice(&table);
            self.gpu.queue.write_buffer(rows_buffer, 0, bytes);
        }
        if let Some(held) = self.held.as_ref().filter(|_| begins_next) {
            encoder.copy_buffer_to_buffer(&stats, 0, held, 0, held.size());
            let argmax = ARGMAX as u64 * 4;
            encoder.copy_buffer_to_buffer(&results, argmax, rows_buffer, 0, 4);
        }
        let mut dispatches = 0;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let steps = plan.steps.iter().zip(&self.steps);
            for (step, dispatch) in steps.take(range.end).skip(range.start) {
                let rows = batch.rows_of(step.rows) as u32;
                if rows == 0 {
                    continue;
                }
                let blocks = match step.op {
                    Op::AttnBlock(_) => batch.blocks(),
                    _ => 1,
                };
                self.encode(&mut pass, dispatch, rows, blocks);
                dispatches += 1;
            }
        }
        self.dispatches += dispatches;
        if let Some(answer) = &answer {
            encoder.copy_buffer_to_buffer(&results, 0, answer, 0, results.size());
        }
        let submission = self.gpu.queue.submit([encoder.finish()]);
        if let Some(answer) = answer {
            self.answers.push(answer, submission);
        }
        self.gpu.check()
    }

    fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatch: &Dispatch,
        rows: u32,
        blocks: u32,
    ) {
        let variant = match dispatch.many {
            Some(many) if rows > 1 => many,
            _ => dispatch.one,
        };
        let (y, lacking) = grid::product_rows(rows, variant.rows);
        pass.set_pipeline(&self.pipelines[variant.pipeline].pipeline);
        pass.set_bind_group(0, &dispatch.group, &[]);
        pass.dispatch_workgroups(variant.x, y, blocks.max(lacking));
    }

    /// Puts the first `words` words of a buffer into `room`, after everything submitted before.
    ///
    /// Errors: the device was lost or reported an error.
    pub async fn read(
        &mut self,
        buffer: BufferId,
        words: u64,
        room: &mut Vec<u32>,
    ) -> Result<(), Error> {
        room.clear();
        let source = self.buffers[buffer.0].clone();
        let bytes = (words * 4).min(source.size());
        if bytes == 0 {
            return Ok(());
        }
        if buffer == self.results
            && let Some((answer, submission)) = self.answers.oldest()
        {
            self.mapped(&answer, bytes, Some(submission), room).await?;
            self.answers.give_back(answer);
            return Ok(());
        }
        let staging = match self.staging.take().filter(|s| s.size() >= bytes) {
            Some(staging) => staging,
            None => {
                use wgpu::BufferUsages as U;
                self.allocate("read-back", bytes, U::MAP_READ | U::COPY_DST)
                    .await?
            }
        };
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&source, 0, &staging, 0, bytes);
        self.gpu.queue.submit([encoder.finish()]);
        self.mapped(&staging, bytes, None, room).await?;
        self.staging = Some(staging);
        Ok(())
    }

    /// Appends the first `bytes` bytes, whole words, of a buffer that can be mapped.
    async fn mapped(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        submission: Option<wgpu::SubmissionIndex>,
        room: &mut Vec<u32>,
    ) -> Result<(), Error> {
        self.gpu.map(buffer, bytes, submission).await?;
        {
            let view = buffer
                .get_mapped_range(0..bytes)
                .map_err(|e| self.gpu.error(e))?;
            // The view need not be aligned.
            let words = view.chunks_exact(4);
            room.extend(words.map(bytemuck::pod_read_unaligned::<u32>));
        }
        buffer.unmap();
        self.gpu.check()
    }

    /// Writes the first words of a buffer, before whatever is submitted next.
    ///
    /// Errors: the device was lost or reported an error.
    pub(super) fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<(), Error> {
        let bytes = bytemuck::cast_slice(words);
        self.gpu
            .queue
            .write_buffer(&self.buffers[buffer.0], 0, bytes);
        self.gpu.check()
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

fn compile(device: &wgpu::Device, kernel: &Kernel, constants: &[(&str, f64)]) -> Pipeline {
    let entries: Vec<wgpu::BindGroupLayoutEntry> = kernel
        .bindings
        .iter()
        .enumerate()
        .map(|(i, b)| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match b.access {
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(kernel.name),
        entries: &entries,
    });
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(kernel.name),
        source: wgpu::ShaderSource::Wgsl(kernel.wgsl.into()),
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(kernel.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { pipeline, layout }
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
        Op::RopeQuery(p) => grid::rope_query_q12(p),
        Op::KvStore(p) => grid::kv_store_q8(p),
        Op::AttnBlock(p) => grid::attn_block_q8(p),
        Op::AttnMerge(p) => grid::attn_merge_i32(p),
        Op::GatedUnit(p) => grid::gated_unit_row_i32(p),
        Op::Bias(p) => grid::bias_row_i32(p),
        Op::RmsnormHead(p) => grid::rmsnorm_head_i32(p),
        Op::RmsnormAdd(p) => grid::rmsnorm_add_row_i32(p),
        Op::Softcap(p) => grid::softcap_row_i32(p),
        Op::LogitsStats(p) => grid::logits_stats_i32(p),
    }
}
