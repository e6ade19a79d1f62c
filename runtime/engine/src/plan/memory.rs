//! What a plan takes of memory.

use super::{BufferId, Content, Extent, Op, Plan, Row, Rows, Step};
use crate::error::Error;
use carat_adapter::Applied;
use carat_format::{Directory, ModelSpec};
use carat_shaders::cpu::{
    Scratch, attn_block_q8, attn_merge_i32, linear_gated_tile_q, linear_qkv_tile_q, linear_tile_q,
    rmsnorm_row_q8,
};
use carat_shaders::params::PAGE;
use std::collections::BTreeMap;

/// Bytes that a session allocates, and the file's that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the file: mapped by the CPU, whose system may take them back; copied by a GPU.
    pub weights: u64,
    /// Keys and values.
    pub cache: u64,
    /// Intermediates, and what the CPU's threads keep for themselves.
    pub work: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.work
    }
}

/// Words of a kept block beside its tokens: keys, pages, and the two maps' own.
const PREFIX_WORDS: u32 = 96;

impl Plan {
    /// What it takes with `threads` of the CPU; 0 of a GPU.
    pub fn memory(&self, threads: usize) -> Memory {
        let is_cache = |i: usize| self.caches.iter().any(|c| c.buffer == BufferId(i));
        // A tensor that two steps read is there once.
        let mut weights = BTreeMap::new();
        let (mut cache, mut work) = (0, 0);
        for (i, buffer) in self.buffers.iter().enumerate() {
            let bytes = buffer.words * 4;
            match buffer.content {
                Content::File { offset } => {
                    let known = weights.entry(offset).or_insert(0);
                    *known = bytes.max(*known);
                }
                _ if is_cache(i) => cache += bytes,
                _ => work += bytes,
            }
        }
        let scratch = |step: &Step| {
            let rows = match step.rows {
                Rows::Batch => self.extent.batch,
                Rows::Outputs => self.extent.outputs,
            };
            match &step.op {
                Op::LinearTile(p, _) => linear_tile_q::scratch(p, rows),
                Op::LinearGated(p, _) => linear_gated_tile_q::scratch(p, rows),
                Op::LinearQkv(p, _) => linear_qkv_tile_q::scratch(p, rows),
                Op::AttnBlock(p) => attn_block_q8::scratch(p, rows),
                Op::AttnMerge(p) | Op::AttnMergeRow(p) => attn_merge_i32::scratch(p),
                Op::RmsnormRow(p) => rmsnorm_row_q8::scratch(p),
                _ => Scratch::default(),
            }
        };
        let own = self.steps.iter().map(scratch);
        let own = own.fold(Scratch::default(), Scratch::largest);
        let own = if threads == 0 { 0 } else { own.bytes(threads) };
        Memory {
            weights: weights.values().sum(),
            cache,
            work: work + own + self.host_bytes(),
        }
    }

    /// What is kept beside the executor: tokens and page tables of the sequences, what pages are free, the batch, and what
    /// was read.
    pub(crate) fn host_bytes(&self) -> u64 {
        let read = self.buffers[self.logits.0].words + self.buffers[self.results.0].words;
        let rows = size_of::<Row>() as u64 * u64::from(self.extent.batch);
        // A sequence's own page tables and places, the batch's tables, and the keys of pages.
        let blocks = u64::from(self.extent.context / PAGE);
        let tables = 4 * self.pages.len() as u64 * blocks + 8 * blocks;
        let sequence = u64::from(self.extent.context) + tables;
        // Which pages are free, and who holds them.
        let pages: u64 = self.pages.iter().map(|p| 3 * u64::from(p.count)).sum();
        // Tokens and keys of the texts that are kept: none where nobody has room for them.
        let most = self.pages.iter().map(|p| u64::from(p.count)).max();
        let kept = match self.extent.sequences + self.extent.spare {
            0 | 1 => 0,
            _ => most.unwrap_or(0) * u64::from(PAGE + PREFIX_WORDS),
        };
        4 * (u64::from(self.extent.sequences) * sequence + pages + kept + read) + rows
    }

    /// The plan of the longest context up to the extent's that takes no more than `limit` bytes.
    ///
    /// # Errors
    /// As [`Plan::new`]; not even a page of positions is within the limit.
    pub fn within(
        spec: &ModelSpec,
        directory: &Directory,
        adapters: &[Applied],
        extent: Extent,
        threads: usize,
        limit: u64,
    ) -> Result<Self, Error> {
        let of = |pages: u32| {
            let context = pages.saturating_mul(PAGE);
            Plan::with_adapters(spec, directory, adapters, Extent { context, ..extent })
        };
        let most = extent.context.max(1).div_ceil(PAGE);
        let whole = of(most)?;
        if whole.memory(threads).total() <= limit {
            return Ok(whole);
        }
        let mut best = of(1)?;
        let least = best.memory(threads);
        if least.total() > limit {
            return Err(Error::MemoryLimit {
                limit,
                least: least.total(),
                weights: least.weights,
                context: PAGE,
            });
        }
        // `low` pages are within the limit, `high` are not.
        let (mut low, mut high) = (1, most);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let plan = of(middle)?;
            if plan.memory(threads).total() <= limit {
                (best, low) = (plan, middle);
            } else {
                high = middle;
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::internals::{CPU_BATCH, Model, SessionOptions, Verify, selftest};

    fn models() -> Vec<Model> {
        let read = |s: selftest::Shape| Model::from_bytes(&s.bytes(), Verify::Structure).unwrap();
        selftest::shapes().into_iter().map(read).collect()
    }

    fn options(context: u32) -> SessionOptions {
        SessionOptions {
            context,
            threads: Some(2),
            ..SessionOptions::default()
        }
    }

    #[test]
    fn every_buffer_is_in_the_account_once() {
        for model in models() {
            let plan = options(600).plan(&model).unwrap();
            let m = plan.memory(0);
            assert_eq!(m.cache + m.work, plan.work_bytes() + plan.host_bytes());
            assert!(m.cache > 0 && m.weights > 0 && m.weights < model.len());
            assert_eq!(plan.extent.batch, CPU_BATCH);
            assert!(plan.memory(2).work > m.work);
        }
    }

    #[test]
    fn a_limit_gives_the_longest_context_within_it() {
        for model in models() {
            let total = |context| options(context).plan(&model).unwrap().memory(2).total();
            for context in [256, 512, 768, 1024] {
                for spare in [0, 1] {
                    let limited = SessionOptions {
                        memory_limit: Some(total(context) + spare),
                        ..options(2048)
                    };
                    assert_eq!(limited.plan(&model).unwrap().extent.context, context);
                }
            }
            let short = SessionOptions {
                memory_limit: Some(total(1) - 1),
                ..options(2048)
            };
            let Err(Error::MemoryLimit { least, .. }) = short.plan(&model) else {
                panic!("a limit below the least is refused");
            };
            assert_eq!(least, total(1));
        }
    }
}
