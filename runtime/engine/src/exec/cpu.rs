//! The CPU executor: each step calls its kernel's twin, weights are read in place from the file.

#[cfg(feature = "threads")]
mod team;

use super::Batch;
use crate::error::Error;
use crate::model::Model;
use crate::plan::{BufferId, Content, Op, Plan, Step};
use carat_shaders::cpu;
use carat_shaders::params::ROW_WORDS;
use std::ops::Range;
use std::sync::Arc;

/// Buffers and, where threads are asked for, a pool of them.
pub struct CpuExecutor {
    model: Arc<Model>,
    /// Words of each buffer; empty for those in the file.
    memory: Vec<Vec<u32>>,
    /// (offset, words) of each buffer in the file.
    file: Vec<Option<(u64, u64)>>,
    release: bool,
    #[cfg(feature = "threads")]
    pool: Arc<rayon::ThreadPool>,
}

impl CpuExecutor {
    /// Allocates the plan's buffers; `threads` of `None` takes every core.
    ///
    /// Errors: threads cannot be started, a tensor lies outside the file.
    pub fn new(model: Arc<Model>, plan: &Plan, threads: Option<usize>) -> Result<Self, Error> {
        #[cfg(not(feature = "threads"))]
        let _ = threads;
        let mut memory = Vec::with_capacity(plan.buffers.len());
        let mut file = Vec::with_capacity(plan.buffers.len());
        for b in &plan.buffers {
            file.push(match b.content {
                Content::File { offset }
                    if model.words(offset, b.words).len() as u64 == b.words =>
                {
                    Some((offset, b.words))
                }
                Content::File { .. } => return Err(Error::MissingTensor(b.name.clone())),
                _ => None,
            });
            memory.push(match &b.content {
                Content::File { .. } => Vec::new(),
                Content::Constant(words) => words.clone(),
                Content::PageTable => (0..b.words as u32).collect(),
                // Zeroed pages are not resident before they are written.
                Content::Work | Content::RowTable => {
                    let zeroed = usize::try_from(b.words).ok();
                    let zeroed = zeroed.and_then(|n| bytemuck::try_zeroed_slice_box(n).ok());
                    let memory = || Error::Memory {
                        buffer: b.name.clone(),
                        bytes: b.words * 4,
                    };
                    zeroed.ok_or_else(memory)?.into_vec()
                }
            });
        }
        Ok(Self {
            model,
            memory,
            file,
            release: false,
            #[cfg(feature = "threads")]
            pool: rayon::ThreadPoolBuilder::new()
                .num_threads(threads.unwrap_or(0))
                .build()
                .map_err(|e| Error::Threads {
                    threads: threads.unwrap_or_else(|| {
                        std::thread::available_parallelism().map_or(1, usize::from)
                    }),
                    reason: e.to_string(),
                })?
                .into(),
        })
    }

    /// Whether a tensor's pages are given back after each step that read it.
    pub fn release_weights(&mut self, on: bool) {
        self.release = on;
    }

    /// Runs the steps of `range`: all of them in the pool, whose threads stay awake meanwhile.
    pub fn run(&mut self, plan: &Plan, batch: Batch<'_>, range: Range<usize>) {
        #[cfg(feature = "threads")]
        {
            let pool = self.pool.clone();
            pool.install(|| team::awake(|| self.steps(plan, batch, range)));
        }
        #[cfg(not(feature = "threads"))]
        self.steps(plan, batch, range);
    }

    fn steps(&mut self, plan: &Plan, batch: Batch<'_>, range: Range<usize>) {
        let table = &mut self.memory[plan.row_table.0];
        for (place, row) in table
            .chunks_exact_mut(ROW_WORDS as usize)
            .zip(batch.row_table())
        {
            place.copy_from_slice(&row);
        }
        for step in plan.steps.get(range).unwrap_or(&[]) {
            let rows = batch.rows_of(step.rows);
            if rows > 0 {
                self.step(step, rows as u32, batch.blocks());
            }
        }
    }

    fn step(&mut self, step: &Step, rows: u32, blocks: u32) {
        let result = step.bindings[step.result];
        let mut out = std::mem::take(&mut self.memory[result.0]);
        // What adds to the residual stream writes a second buffer, the statistics.
        let stats_id = step.op.statistics().map(|i| step.bindings[i]);
        let mut stats = stats_id
            .map(|id| std::mem::take(&mut self.memory[id.0]))
            .unwrap_or_default();
        let more = step.op.more_results();
        let mut others = more.map(|m| {
            m.map(|(i, _)| std::mem::take(&mut self.memory[step.bindings[i].0]))
                .unwrap_or_default()
        });
        let [second, third] = &mut others;
        self.dispatch(step, rows, blocks, &mut out, [second, third], &mut stats);
        for (result, words) in more.into_iter().zip(others) {
            if let Some((i, _)) = result {
                self.memory[step.bindings[i].0] = words;
            }
        }
        self.memory[result.0] = out;
        if self.release {
            for (offset, words) in step.bindings.iter().filter_map(|b| self.file[b.0]) {
                self.model.release(offset, words * 4);
            }
        }
        if let Some(id) = stats_id {
            self.memory[id.0] = stats;
        }
    }

    fn words(&self, id: BufferId) -> &[u32] {
        match self.file[id.0] {
            Some((offset, words)) => self.model.words(offset, words),
            None => &self.memory[id.0],
        }
    }

    fn ints(&self, id: BufferId) -> &[i32] {
        bytemuck::cast_slice(self.words(id))
    }

    fn dispatch(
        &self,
        step: &Step,
        rows: u32,
        blocks: u32,
        out: &mut [u32],
        more: [&mut [u32]; 2],
        stats: &mut [u32],
    ) {
        let b = &step.bindings;
        let len = (u64::from(rows) * step.result_stride) as usize;
        let out = if len > 0 { &mut out[..len] } else { out };
        match &step.op {
            Op::EmbedRow(p, e) => {
                cpu::embed_row_q::run(
                    p,
                    *e,
                    rows,
                    self.words(b[0]),
                    self.words(b[1]),
                    bytemuck::cast_slice_mut(out),
                );
            }
            Op::RmsnormRow(p) => {
                cpu::rmsnorm_row_q8::run(p, self.ints(b[0]), self.ints(b[1]), out);
            }
            Op::QuantizeRow(p) => cpu::quantize_row_q8::run(p, self.ints(b[0]), out),
            Op::LinearTile(p, e) => {
                let (act, weights) = (self.words(b[0]), self.words(b[1]));
                cpu::linear_tile_q::run(
                    p,
                    *e,
                    rows,
                    act,
                    weights,
                    bytemuck::cast_slice_mut(out),
                    stats,
                );
            }
            Op::LinearGated(p, e) => {
                let (act, gate, up) = (self.words(b[0]), self.words(b[1]), self.words(b[2]));
                let out = bytemuck::cast_slice_mut(out);
                cpu::linear_gated_tile_q::run(p, *e, rows, act, gate, up, out);
            }
            Op::LinearQkv(p, e) => {
                let words = [self.words(b[1]), self.words(b[2]), self.words(b[3])];
                let [k, v] = more;
                let out = [out, k, v].map(bytemuck::cast_slice_mut);
                cpu::linear_qkv_tile_q::run(p, *e, rows, self.words(b[0]), words, out);
            }
            Op::RopeAngles(p) => {
                cpu::rope_angles_q30::run(
                    p,
                    rows,
                    self.words(b[0]),
                    self.words(b[1]),
                    bytemuck::cast_slice_mut(out),
                );
            }
            Op::RopeStore(p) => {
                let table = [self.words(b[0]), self.words(b[1])];
                let heads = [self.ints(b[3]), self.ints(b[4]), self.ints(b[5])];
                let [query, _] = more;
                cpu::rope_store_q8::run(p, rows, table, self.ints(b[2]), heads, query, out);
            }
            Op::AttnBlock(p) => {
                let (table, pages) = (self.words(b[0]), self.words(b[1]));
                cpu::attn_block_q8::run(
                    p,
                    rows,
                    blocks,
                    table,
                    pages,
                    self.words(b[2]),
                    self.words(b[3]),
                    out,
                );
            }
            Op::AttnMerge(p) => {
                cpu::attn_merge_i32::run(
                    p,
                    rows,
                    self.words(b[0]),
                    self.words(b[1]),
                    bytemuck::cast_slice_mut(out),
                );
            }
            Op::AttnMergeRow(p) => {
                let (table, partial) = (self.words(b[0]), self.words(b[1]));
                let merged = bytemuck::cast_slice_mut(more[0]);
                cpu::attn_merge_row_q8::run(p, rows, table, partial, merged, out);
            }
            Op::GatedUnit(p) => {
                let (gate, up) = (self.ints(b[0]), self.ints(b[1]));
                cpu::gated_unit_row_i32::run(p, gate, up, bytemuck::cast_slice_mut(out));
            }
            Op::Bias(p) => {
                let out = bytemuck::cast_slice_mut(out);
                cpu::bias_row_i32::run(p, self.ints(b[0]), out, stats);
            }
            Op::RmsnormHead(p) => {
                let out = bytemuck::cast_slice_mut(out);
                cpu::rmsnorm_head_i32::run(p, rows, self.ints(b[0]), out);
            }
            Op::RmsnormAdd(p) => {
                cpu::rmsnorm_add_row_i32::run(
                    p,
                    self.words(b[0]),
                    self.ints(b[1]),
                    self.ints(b[2]),
                    bytemuck::cast_slice_mut(out),
                    stats,
                );
            }
            Op::Softcap(p) => cpu::softcap_row_i32::run(p, bytemuck::cast_slice_mut(out)),
            Op::LogitsStats(p) => cpu::logits_stats_i32::run(p, self.ints(b[0]), out),
        }
    }

    /// Puts the first `words` words of a buffer into `room`, in place of what that held.
    pub fn read(&self, buffer: BufferId, words: u64, room: &mut Vec<u32>) {
        let all = self.words(buffer);
        let words = usize::try_from(words).map_or(all.len(), |w| w.min(all.len()));
        room.clear();
        room.extend_from_slice(&all[..words]);
    }

    /// Writes the first words of a buffer that is not in the file.
    pub(super) fn write(&mut self, buffer: BufferId, words: &[u32]) {
        let memory = &mut self.memory[buffer.0];
        let n = words.len().min(memory.len());
        memory[..n].copy_from_slice(&words[..n]);
    }

    /// What runs the twins.
    pub fn device(&self) -> String {
        #[cfg(feature = "threads")]
        return format!("cpu ({} threads)", self.pool.current_num_threads());
        #[cfg(not(feature = "threads"))]
        return "cpu".into();
    }
}
