//! Passes: steps submitted, results read.

use super::{Dispatch, GpuExecutor, SMALLEST};
use crate::error::Error;
use crate::exec::{ARGMAX, Batch};
use crate::plan::{BufferId, Op, Plan};
use carat_shaders::grid;
use std::ops::Range;

impl GpuExecutor {
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

    /// Runs the steps of `range` over a batch of one row, whose token is the arg-max of the pass before: the device itself
    /// puts it in the row table.
    ///
    /// Errors: the device was lost or reported an error.
    pub(in crate::exec) async fn run_next(
        &mut self,
        plan: &Plan,
        batch: Batch<'_>,
        range: Range<usize>,
    ) -> Result<(), Error> {
        self.submit(plan, batch, range, true).await
    }

    /// Forgets the passes whose results have not been read. What [`GpuExecutor::run_next`] added to the statistics is
    /// taken back; what it wrote to the cache is written again before it is read.
    ///
    /// Errors: the device was lost or reported an error.
    pub(in crate::exec) fn forget_next(&mut self, plan: &Plan) -> Result<(), Error> {
        self.answers.forget();
        if let Some(held) = &self.held {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let stats = &self.buffers[plan.stats.0];
            encoder.copy_buffer_to_buffer(held, 0, stats, 0, held.size());
            self.gpu.submit(Some(encoder.finish()));
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
            let tables = plan.pages.iter().zip(batch.tables.tables());
            for ((pages, table), known) in tables.zip(&mut self.tables) {
                if known != table {
                    let bytes = bytemuck::cast_slice(table);
                    let buffer = &self.buffers[pages.table.0];
                    self.gpu.queue.write_buffer(buffer, 0, bytes);
                    known.clear();
                    known.extend_from_slice(table);
                }
            }
            let strengths = batch.tables.strengths();
            if let Some(id) = plan.strengths.filter(|_| self.strengths != strengths) {
                let bytes = bytemuck::cast_slice(strengths);
                self.gpu.queue.write_buffer(&self.buffers[id.0], 0, bytes);
                self.strengths.clear();
                self.strengths.extend_from_slice(strengths);
            }
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
                let rows = batch.rows_of(step) as u32;
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
        let submission = self.gpu.submit(Some(encoder.finish()));
        if let Some(answer) = answer {
            self.answers.push(answer, submission);
        }
        self.gpu.check()
    }

    pub(super) fn encode(
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
        let bytes = (words * 4).min(self.buffers[buffer.0].size());
        if bytes > 0
            && buffer == self.results
            && let Some((answer, submission)) = self.answers.oldest()
        {
            room.clear();
            self.mapped(&answer, bytes, Some(submission), room).await?;
            self.answers.give_back(answer);
            return Ok(());
        }
        self.read_at(buffer, 0, words, room).await
    }

    /// Words of a buffer from `at` on, as far as there are such.
    ///
    /// Errors: the device was lost or reported an error.
    pub(in crate::exec) async fn read_at(
        &mut self,
        buffer: BufferId,
        at: u64,
        words: u64,
        room: &mut Vec<u32>,
    ) -> Result<(), Error> {
        room.clear();
        let source = self.buffers[buffer.0].clone();
        let at = (at * 4).min(source.size());
        let bytes = (words * 4).min(source.size() - at);
        if bytes == 0 {
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
        encoder.copy_buffer_to_buffer(&source, at, &staging, 0, bytes);
        self.gpu.submit(Some(encoder.finish()));
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
    pub(in crate::exec) fn write(&mut self, buffer: BufferId, words: &[u32]) -> Result<(), Error> {
        self.write_at(buffer, 0, words)
    }

    /// Writes words of a buffer from `at` on, before whatever is submitted next.
    ///
    /// Errors: the device was lost or reported an error.
    pub(in crate::exec) fn write_at(
        &mut self,
        buffer: BufferId,
        at: u64,
        words: &[u32],
    ) -> Result<(), Error> {
        let bytes = bytemuck::cast_slice(words);
        let buffer = &self.buffers[buffer.0];
        self.gpu.queue.write_buffer(buffer, at * 4, bytes);
        self.gpu.check()
    }

    /// Copies words within a buffer, before whatever is submitted next. WebGPU copies between two buffers alone, so the words
    /// pass through a third one.
    ///
    /// Errors: the device was lost or reported an error.
    pub(in crate::exec) fn copy(
        &mut self,
        buffer: BufferId,
        from: u64,
        to: u64,
        words: u64,
    ) -> Result<(), Error> {
        let bytes = words * 4;
        let between = match self.between.take().filter(|b| b.size() >= bytes) {
            Some(between) => between,
            None => self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("page on its way"),
                size: bytes.max(SMALLEST),
                usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        };
        let pages = &self.buffers[buffer.0];
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(pages, from * 4, &between, 0, bytes);
        encoder.copy_buffer_to_buffer(&between, 0, pages, to * 4, bytes);
        self.gpu.submit(Some(encoder.finish()));
        self.between = Some(between);
        self.gpu.check()
    }
}
