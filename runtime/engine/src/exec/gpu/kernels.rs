//! Single kernels of a plan and a plain read of its weights, run for measuring them.

use super::{GpuExecutor, UNIFORM_STEP, compile};
use crate::device::{Adapter, Tuning};
use crate::error::Error;
use crate::plan::{Content, Op, Plan};
use carat_shaders::params::ReadWords;
use carat_shaders::{READ, grid, kernel};
use std::collections::HashMap;
use std::num::NonZeroU64;

/// The kernel that only reads, bound to every weight buffer of a plan.
pub struct PlainRead {
    pipeline: wgpu::ComputePipeline,
    groups: Vec<(wgpu::BindGroup, u32)>,
    bytes: u64,
}

impl PlainRead {
    /// Bytes that it reads.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl GpuExecutor {
    /// Prepares the plain read.
    ///
    /// Errors: the device refuses an allocation or the kernel.
    pub async fn plain_read(&mut self, plan: &Plan) -> Result<PlainRead, Error> {
        use wgpu::BufferUsages as U;
        let Some(read) = kernel(READ) else {
            return Err(self
                .gpu
                .error(format!("kernel '{READ}' is not in this build")));
        };
        let lanes = self.tuning.lanes;
        let constants = [("LANES", f64::from(lanes))];
        let built = self
            .gpu
            .scoped(READ, || compile(&self.gpu.device, read, &constants))
            .await?;
        let weights: Vec<usize> = plan
            .buffers
            .iter()
            .enumerate()
            .filter(|(_, b)| matches!(b.content, Content::File { .. }))
            .map(|(i, _)| i)
            .collect();
        let params: Vec<ReadWords> = weights
            .iter()
            .map(|i| ReadWords {
                quads: (plan.buffers[*i].words / 4) as u32,
                ..Default::default()
            })
            .collect();
        let mut bytes = Vec::new();
        for p in &params {
            bytes.extend_from_slice(bytemuck::bytes_of(p));
            bytes.resize(bytes.len().next_multiple_of(UNIFORM_STEP as usize), 0);
        }
        let uniforms = self
            .allocate(
                "parameters of reads",
                bytes.len() as u64,
                U::UNIFORM | U::COPY_DST,
            )
            .await?;
        self.gpu.queue.write_buffer(&uniforms, 0, &bytes);
        let sum = self.allocate("sum of reads", 4, U::STORAGE).await?;
        let mut groups = Vec::new();
        for (n, (i, p)) in weights.iter().zip(&params).enumerate() {
            let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &uniforms,
                offset: n as u64 * UNIFORM_STEP,
                size: NonZeroU64::new(size_of::<ReadWords>() as u64),
            });
            let resources = [
                uniform,
                self.buffers[*i].as_entire_binding(),
                sum.as_entire_binding(),
            ];
            let entries: Vec<_> = (0..)
                .zip(resources)
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let descriptor = wgpu::BindGroupDescriptor {
                label: Some(READ),
                layout: &built.layout,
                entries: &entries,
            };
            let group = self
                .gpu
                .scoped(READ, || self.gpu.device.create_bind_group(&descriptor))
                .await?;
            groups.push((group, grid::read_words_u32(p, lanes)));
        }
        Ok(PlainRead {
            pipeline: built.pipeline,
            groups,
            bytes: params.iter().map(|p| u64::from(p.quads) * 16).sum(),
        })
    }

    /// Reads all weights once, and waits for the end.
    ///
    /// Errors: the device was lost or reported an error.
    pub async fn read_weights(&mut self, read: &PlainRead) -> Result<(), Error> {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&read.pipeline);
            for (group, x) in &read.groups {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(*x, 1, 1);
            }
        }
        self.finish(encoder).await
    }

    /// The device's adapter.
    pub fn adapter(&self) -> &Adapter {
        self.gpu.adapter()
    }

    /// The numbers that its kernels were compiled with.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Compiles the kernels of products with other numbers. What they were before stays allocated: this is for
    /// measuring.
    ///
    /// Errors: the device refuses them.
    pub async fn retune(&mut self, plan: &Plan, tuning: Tuning) -> Result<(), Error> {
        self.tuning = tuning;
        let mut known = HashMap::new();
        // They have not run yet, so the device does not keep them.
        let mut compiled = Vec::new();
        for (i, step) in plan
            .steps
            .iter()
            .enumerate()
            .filter(|(_, s)| s.op.is_product())
        {
            let one = self
                .variant(step, &tuning.one, &mut known, &mut compiled)
                .await?;
            let many = self
                .variant(step, &tuning.many, &mut known, &mut compiled)
                .await?;
            if let Some(dispatch) = self.steps.get_mut(i) {
                dispatch.one = one;
                dispatch.many = dispatch.many.map(|_| many);
            }
        }
        Ok(())
    }

    /// Runs the steps of these indices in order, one submission, and waits for its end. Rows are what the buffers
    /// hold: times are right, results mean nothing. `blocks` is how many blocks attention reads.
    ///
    /// Errors: the device was lost or reported an error.
    pub async fn run_steps(
        &mut self,
        plan: &Plan,
        steps: &[usize],
        rows: u32,
        blocks: u32,
    ) -> Result<(), Error> {
        self.answers.forget();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let of = |i: &usize| plan.steps.get(*i).zip(self.steps.get(*i));
            for (step, dispatch) in steps.iter().filter_map(of) {
                let blocks = match step.op {
                    Op::AttnBlock(_) => blocks,
                    _ => 1,
                };
                self.encode(&mut pass, dispatch, rows, blocks);
            }
        }
        self.finish(encoder).await
    }

    async fn finish(&self, encoder: wgpu::CommandEncoder) -> Result<(), Error> {
        self.gpu.check()?;
        self.gpu.submit(Some(encoder.finish()));
        self.gpu.idle().await?;
        self.gpu.check()
    }
}
