//! What adapters add to products, as steps: `W x + Σ s · B(A x)`.
//!
//! `A x` is a product like any other. The kernel `lora_row_q8` makes activations of it and puts the strength into their
//! mantissa, a strength for each sequence. `B`'s product is then added as products are added to the residual stream: rounded
//! to the unit of what it is added to, and saturated. A strength of 0 adds exactly 0, so a row has the value that it has
//! without the adapter, whatever the rows beside it have.

use super::build::{Builder, Work};
use super::{BufferId, Content, Op, Rows};
use crate::error::Error;
use carat_adapter::Packed;
use carat_format::{Tensor, TensorEntry};
use carat_shaders::params::{self, ACCUMULATE, STATS_WORDS, STORE_RELATIVE};
use carat_shaders::{act_stride, groups_of};

/// The buffers that all adapters share.
#[derive(Clone, Copy)]
pub(super) struct LowRankWork {
    /// `[sequences][adapters]`.
    pub(super) strengths: BufferId,
    /// Products with `A`.
    product: BufferId,
    /// Activations of those.
    act: BufferId,
    /// Statistics of what is not the residual stream, which nobody reads.
    stats: BufferId,
}

/// A matrix of an adapter's pair, in one part, and what becomes of its product.
struct Product<'a> {
    matrix: &'a Packed,
    act: BufferId,
    out: BufferId,
    exponent: i32,
    mode: u32,
    stats: BufferId,
}

impl Builder<'_> {
    pub(super) fn low_rank_work(&mut self) -> Option<LowRankWork> {
        let rank = self.adapters.iter().map(|a| a.adapter.rank()).max()?;
        let strengths = u64::from(self.extent.sequences) * self.adapters.len() as u64;
        Some(LowRankWork {
            strengths: self.buffer("strengths", strengths, Content::Strengths),
            product: self.work("lora.product", rank.into()),
            act: self.work("lora.act", act_stride(groups_of(rank)).into()),
            stats: self.buffer("lora.stats", STATS_WORDS.into(), Content::Work),
        })
    }

    /// Whether an adapter adds to the products with a matrix.
    pub(super) fn is_adapted(&self, tensor: Tensor) -> bool {
        let mut adapters = self.adapters.iter();
        adapters.any(|a| a.adapter.matrix(tensor).is_some())
    }

    /// Adds what every adapter adds to the product of `work.act` with a matrix, which is in a buffer of an exponent. `mode` is how
    /// it got there.
    pub(super) fn adapt(
        &mut self,
        work: &Work,
        entry: &TensorEntry,
        (out, exponent): (BufferId, i32),
        mode: u32,
        label: &str,
        rows: Rows,
    ) -> Result<(), Error> {
        let Some(low_rank) = work.low_rank else {
            return Ok(());
        };
        let input = entry.layout.groups as u32;
        let adapters = self.adapters;
        for (adapter, applied) in adapters.iter().enumerate() {
            let Some(m) = applied.adapter.matrix(entry.tensor) else {
                continue;
            };
            let first = self.steps.len();
            let label = format!("{label}.lora.{adapter}");
            let product = Product {
                matrix: &m.a,
                act: work.act,
                out: low_rank.product,
                exponent: m.exponent,
                mode: STORE_RELATIVE,
                stats: low_rank.stats,
            };
            self.low_rank_product(format!("{label}.a"), product, rows)?;
            let rank = m.rank();
            let stride = act_stride(groups_of(rank));
            let op = Op::LoraRow(params::LoraRow {
                cols: rank,
                act_stride: stride,
                exponent: m.exponent,
                input_stride: act_stride(input),
                input_exponent: input * 8 + input.div_ceil(4) + 1,
                relative: u32::from(mode == STORE_RELATIVE),
                adapter: adapter as u32,
                adapters: adapters.len() as u32,
            });
            let buffers = [
                ("row_table", work.row_table),
                ("strengths", low_rank.strengths),
                ("input", work.act),
                ("x", low_rank.product),
                ("act", low_rank.act),
            ];
            let results = [("act", stride.into())];
            self.step(format!("{label}.act"), op, rows, &buffers, &results)?;
            let product = Product {
                matrix: &m.b,
                act: low_rank.act,
                out,
                exponent,
                mode: ACCUMULATE,
                stats: match mode {
                    ACCUMULATE => work.stats,
                    _ => low_rank.stats,
                },
            };
            self.low_rank_product(label, product, rows)?;
            let own = self.steps.iter_mut().skip(first);
            own.for_each(|s| s.adapter = Some(adapter));
        }
        Ok(())
    }

    fn low_rank_product(&mut self, label: String, p: Product<'_>, rows: Rows) -> Result<(), Error> {
        let layout = &p.matrix.layout;
        let words = p.matrix.words.len() as u64;
        let content = Content::Adapter(p.matrix.words.clone());
        let weights = self.buffer(&label, words, content);
        // It has one part.
        let op = Op::LinearTile(
            params::LinearTile {
                part_rows: layout.rows as u32,
                groups: layout.groups as u32,
                scales: (layout.parts[0].scales / 4) as u32,
                row_scales: (layout.parts[0].row_scales / 4) as u32,
                act_stride: act_stride(layout.groups as u32),
                out_stride: layout.rows as u32,
                exponent: p.exponent,
                mode: p.mode,
                scale_shift: layout.group.shift(),
                ..Default::default()
            },
            layout.encoding,
        );
        let buffers = [
            ("act", p.act),
            ("weights", weights),
            ("h", p.out),
            ("stats", p.stats),
        ];
        self.step(label, op, rows, &buffers, &[("h", layout.rows)])
    }
}
