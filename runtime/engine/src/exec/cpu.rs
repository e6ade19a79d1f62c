//! The CPU executor: each step calls its kernel's twin, weights are read in place from the file.

#[cfg(feature = "threads")]
mod team;

use super::Batch;
use crate::error::Error;
use crate::model::Model;
use crate::plan::{BufferId, Content, Op, Plan, Step};
use carat_shaders::params::ROW_WORDS;
use carat_shaders::{cpu, places as at};
use std::ops::Range;
use std::sync::Arc;

/// Buffers and, where threads are asked for, a pool of them.
pub struct CpuExecutor {
    model: Arc<Model>,
    /// Words of each buffer; empty for those in the file.
    memory: Vec<Vec<u32>>,
    /// (offset, words) of each buffer in the file.
    file: Vec<Option<(u64, u64)>>,
    /// The words of each buffer that is an adapter's.
    adapters: Vec<Option<Arc<[u32]>>>,
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
        let mut adapters = Vec::with_capacity(plan.buffers.len());
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
            adapters.push(match &b.content {
                Content::Adapter(words) => Some(words.clone()),
                _ => None,
            });
            memory.push(match &b.content {
                Content::File { .. } | Content::Adapter(_) => Vec::new(),
                Content::Constant(words) => words.clone(),
                // Zeroed pages are not resident before they are written.
                Content::Work | Content::RowTable | Content::PageTable | Content::Strengths => {
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
            adapters,
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
    ///
    /// Errors: as [`Model::intact`]: what the steps wrote is worth nothing then.
    pub fn run(&mut self, plan: &Plan, batch: Batch<'_>, range: Range<usize>) -> Result<(), Error> {
        #[cfg(feature = "threads")]
        {
            let pool = self.pool.clone();
            pool.install(|| team::awake(|| self.steps(plan, batch, range)));
        }
        #[cfg(not(feature = "threads"))]
        self.steps(plan, batch, range);
        self.model.intact()
    }

    fn steps(&mut self, plan: &Plan, batch: Batch<'_>, range: Range<usize>) {
        let table = &mut self.memory[plan.row_table.0];
        for (place, row) in table
            .chunks_exact_mut(ROW_WORDS as usize)
            .zip(batch.row_table())
        {
            place.copy_from_slice(&row);
        }
        for (pages, table) in plan.pages.iter().zip(batch.tables.tables()) {
            self.write(pages.table, table);
        }
        if let Some(strengths) = plan.strengths {
            self.write(strengths, bytemuck::cast_slice(batch.tables.strengths()));
        }
        for step in plan.steps.get(range).unwrap_or(&[]) {
            let rows = batch.rows_of(step);
            if rows > 0 {
                self.step(step, rows as u32, batch.blocks());
            }
        }
    }

    fn step(&mut self, step: &Step, rows: u32, blocks: u32) {
        let mut taken: [Vec<u32>; BINDINGS] = Default::default();
        for (bound, words) in step.bindings.iter().zip(&mut taken) {
            if bound.written {
                *words = std::mem::take(&mut self.memory[bound.buffer.0]);
            }
        }
        let mut buffers = Buffers([const { Words::None }; BINDINGS]);
        for ((bound, words), place) in step.bindings.iter().zip(&mut taken).zip(&mut buffers.0) {
            let len = (u64::from(rows) * bound.stride) as usize;
            *place = match (bound.written, len) {
                (false, _) => Words::Read(self.words(bound.buffer)),
                (true, 0) => Words::Written(words),
                (true, _) => Words::Written(&mut words[..len]),
            };
        }
        dispatch(&step.op, rows, blocks, buffers);
        for (bound, words) in step.bindings.iter().zip(taken) {
            if bound.written {
                self.memory[bound.buffer.0] = words;
            }
        }
        if self.release {
            let files = step.bindings.iter().filter_map(|b| self.file[b.buffer.0]);
            for (offset, words) in files {
                self.model.release(offset, words * 4);
            }
        }
    }

    fn words(&self, id: BufferId) -> &[u32] {
        match (self.file[id.0], &self.adapters[id.0]) {
            (Some((offset, words)), _) => self.model.words(offset, words),
            (None, Some(words)) => words,
            (None, None) => &self.memory[id.0],
        }
    }

    /// Puts the first `words` words of a buffer into `room`, in place of what that held.
    pub fn read(&self, buffer: BufferId, words: u64, room: &mut Vec<u32>) {
        self.read_at(buffer, 0, words, room);
    }

    /// Words from `at` on.
    pub(super) fn read_at(&self, buffer: BufferId, at: u64, words: u64, room: &mut Vec<u32>) {
        let all = self.words(buffer);
        let of = |n: u64| usize::try_from(n).map_or(all.len(), |n| n.min(all.len()));
        room.clear();
        room.extend_from_slice(&all[of(at)..of(at.saturating_add(words))]);
    }

    /// Writes the first words of a buffer that is not in the file.
    pub(super) fn write(&mut self, buffer: BufferId, words: &[u32]) {
        self.write_at(buffer, 0, words);
    }

    /// Writes words from `at` on, as far as there are such.
    pub(super) fn write_at(&mut self, buffer: BufferId, at: u64, words: &[u32]) {
        let memory = &mut self.memory[buffer.0];
        let at = usize::try_from(at).map_or(memory.len(), |at| at.min(memory.len()));
        let memory = memory[at..].iter_mut();
        memory.zip(words).for_each(|(to, word)| *to = *word);
    }

    /// Copies words within a buffer.
    pub(super) fn copy(&mut self, buffer: BufferId, from: u64, to: u64, words: u64) {
        let memory = &mut self.memory[buffer.0];
        let fits = |at: u64| at.saturating_add(words) <= memory.len() as u64;
        if fits(from) && fits(to) {
            let from = from as usize;
            memory.copy_within(from..from + words as usize, to as usize);
        }
    }

    /// What runs the twins.
    pub fn device(&self) -> String {
        #[cfg(feature = "threads")]
        return format!("cpu ({} threads)", self.pool.current_num_threads());
        #[cfg(not(feature = "threads"))]
        return "cpu".into();
    }
}

/// Most storage buffers of a kernel, by WebGPU's default limits.
const BINDINGS: usize = 8;

/// A step's buffers by the places of its kernel's bindings: see [`carat_shaders::places`].
struct Buffers<'a>([Words<'a>; BINDINGS]);

enum Words<'a> {
    None,
    Read(&'a [u32]),
    Written(&'a mut [u32]),
}

impl<'a> Buffers<'a> {
    /// What the kernel reads at a place.
    fn get<T: bytemuck::Pod>(&self, place: usize) -> &'a [T] {
        match &self.0[place] {
            Words::Read(words) => bytemuck::cast_slice(words),
            _ => &[],
        }
    }

    /// What it writes, once.
    fn take<T: bytemuck::Pod>(&mut self, place: usize) -> &'a mut [T] {
        match std::mem::replace(&mut self.0[place], Words::None) {
            Words::Written(words) => bytemuck::cast_slice_mut(words),
            _ => &mut [],
        }
    }
}

/// Calls the twin.
fn dispatch(op: &Op, rows: u32, blocks: u32, mut b: Buffers<'_>) {
    match op {
        Op::EmbedRow(p, e) => {
            use at::embed_row_q::*;
            let (table, weights) = (b.get(ROW_TABLE), b.get(WEIGHTS));
            cpu::embed_row_q::run(p, *e, rows, table, weights, b.take(H));
        }
        Op::RmsnormRow(p) => {
            use at::rmsnorm_row_q8::*;
            cpu::rmsnorm_row_q8::run(p, b.get(H), b.get(GAINS), b.take(ACT));
        }
        Op::QuantizeRow(p) => {
            use at::quantize_row_q8::*;
            cpu::quantize_row_q8::run(p, b.get(X), b.take(ACT));
        }
        Op::LinearTile(p, e) => {
            use at::linear_tile_q::*;
            let (act, weights) = (b.get(ACT), b.get(WEIGHTS));
            cpu::linear_tile_q::run(p, *e, rows, act, weights, b.take(H), b.take(STATS));
        }
        Op::LinearGated(p, e) => {
            use at::linear_gated_tile_q::*;
            let (act, gate, up) = (b.get(ACT), b.get(GATE), b.get(UP));
            cpu::linear_gated_tile_q::run(p, *e, rows, act, gate, up, b.take(OUT));
        }
        Op::LinearQkv(p, e) => {
            use at::linear_qkv_tile_q::*;
            let weights = [b.get(Q_WEIGHTS), b.get(K_WEIGHTS), b.get(V_WEIGHTS)];
            let out = [b.take(Q), b.take(K), b.take(V)];
            cpu::linear_qkv_tile_q::run(p, *e, rows, b.get(ACT), weights, out);
        }
        Op::RopeAngles(p) => {
            use at::rope_angles_q30::*;
            let (table, increments) = (b.get(ROW_TABLE), b.get(INCREMENTS));
            cpu::rope_angles_q30::run(p, rows, table, increments, b.take(ANGLES));
        }
        Op::RopeStore(p) => {
            use at::rope_store_q8::*;
            let table = [b.get(ROW_TABLE), b.get(PAGE_TABLE)];
            let heads = [b.get(Q), b.get(K), b.get(V)];
            let (query, cache) = (b.take(QUERY), b.take(CACHE));
            cpu::rope_store_q8::run(p, rows, table, b.get(ANGLES), heads, query, cache);
        }
        Op::AttnBlock(p) => {
            use at::attn_block_q8::*;
            let (table, pages) = (b.get(ROW_TABLE), b.get(PAGE_TABLE));
            let (query, cache) = (b.get(QUERY), b.get(CACHE));
            let partial = b.take(PARTIAL);
            cpu::attn_block_q8::run(p, rows, blocks, table, pages, query, cache, partial);
        }
        Op::AttnMerge(p) => {
            use at::attn_merge_i32::*;
            let (table, partial) = (b.get(ROW_TABLE), b.get(PARTIAL));
            cpu::attn_merge_i32::run(p, rows, table, partial, b.take(OUT));
        }
        Op::AttnMergeRow(p) => {
            use at::attn_merge_row_q8::*;
            let (table, partial) = (b.get(ROW_TABLE), b.get(PARTIAL));
            let (out, act) = (b.take(OUT), b.take(ACT));
            cpu::attn_merge_row_q8::run(p, rows, table, partial, out, act);
        }
        Op::GatedUnit(p) => {
            use at::gated_unit_row_i32::*;
            cpu::gated_unit_row_i32::run(p, b.get(GATE), b.get(UP), b.take(OUT));
        }
        Op::Bias(p) => {
            use at::bias_row_i32::*;
            cpu::bias_row_i32::run(p, b.get(BIAS), b.take(H), b.take(STATS));
        }
        Op::RmsnormHead(p) => {
            use at::rmsnorm_head_i32::*;
            cpu::rmsnorm_head_i32::run(p, rows, b.get(GAINS), b.take(X));
        }
        Op::RmsnormAdd(p) => {
            use at::rmsnorm_add_row_i32::*;
            let (act, x, gains) = (b.get(ACT), b.get(X), b.get(GAINS));
            cpu::rmsnorm_add_row_i32::run(p, act, x, gains, b.take(H), b.take(STATS));
        }
        Op::Softcap(p) => cpu::softcap_row_i32::run(p, b.take(at::softcap_row_i32::LOGITS)),
        Op::LogitsStats(p) => {
            use at::logits_stats_i32::*;
            cpu::logits_stats_i32::run(p, b.get(LOGITS), b.take(RESULTS));
        }
        Op::LoraRow(p) => {
            use at::lora_row_q8::*;
            let (table, strengths) = (b.get(ROW_TABLE), b.get(STRENGTHS));
            let (input, x) = (b.get(INPUT), b.get(X));
            cpu::lora_row_q8::run(p, table, strengths, input, x, b.take(ACT));
        }
    }
}
