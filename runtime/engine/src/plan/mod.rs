//! The program of a forward pass as plain data: buffers and steps. Executors run it; it names no device.
//!
//! A plan is a function of the model, the batch size and the context alone. Whatever changes from one
//! forward pass to the next (tokens, positions) is in the row table, and how many rows give logits is given with it.

mod adapters;
mod build;
mod cost;
mod fusions;
mod lower;
mod memory;
mod widths;

pub use cost::Cost;
pub use memory::Memory;

use crate::error::Error;
use build::Builder;
use carat_adapter::Applied;
use carat_format::{Directory, Encoding, MAX_PART_BYTES, ModelSpec, TILE_ROWS};
use carat_shaders::kv::{CacheBits, KvLayout};
use carat_shaders::params;
pub use carat_shaders::params::PAGE;
use carat_shaders::scales_of;
use fusions::Fusions;
use std::sync::Arc;
use widths::{Widths, most_context};

/// Most sequences whose pages keep beginnings of texts.
const MOST_SPARE: u32 = 1 << 16;

/// Index of a buffer in [`Plan::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// What fills a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Written by steps, zero at first.
    Work,
    /// Written by the executor before each pass: see [`Row`].
    RowTable,
    /// Written by the executor before each pass: see [`Pages`].
    PageTable,
    /// Bytes `offset..offset + 4·words` of the model file.
    File {
        /// Absolute byte offset.
        offset: u64,
    },
    /// Constant words.
    Constant(Vec<u32>),
    /// Words of an adapter.
    Adapter(Arc<[u32]>),
    /// Written by the executor before each pass: how strongly each adapter acts on each sequence, `[sequences][adapters]`.
    Strengths,
}

/// A buffer of 32-bit words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Name for messages and tests.
    pub name: String,
    /// Length in 32-bit words.
    pub words: u64,
    /// What fills it.
    pub content: Content,
}

/// A kernel with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    EmbedRow(params::EmbedRow, Encoding),
    RmsnormRow(params::RmsnormRow),
    QuantizeRow(params::QuantizeRow),
    LinearTile(params::LinearTile, Encoding),
    LinearGated(params::LinearGated, Encoding),
    LinearQkv(params::LinearQkv, Encoding),
    RopeAngles(params::RopeAngles),
    RopeStore(params::RopeStore),
    AttnBlock(params::AttnBlock),
    AttnMerge(params::AttnMerge),
    AttnMergeRow(params::AttnMerge),
    GatedUnit(params::GatedUnit),
    Bias(params::Bias),
    RmsnormHead(params::RmsnormHead),
    RmsnormAdd(params::RmsnormAdd),
    Softcap(params::Softcap),
    LogitsStats(params::LogitsStats),
    LoraRow(params::LoraRow),
}

impl Op {
    /// Name of the kernel and of its twin.
    pub fn kernel(&self) -> &'static str {
        match self {
            Op::EmbedRow(..) => "embed_row_q",
            Op::RmsnormRow(_) => "rmsnorm_row_q8",
            Op::QuantizeRow(_) => "quantize_row_q8",
            Op::LinearTile(..) => "linear_tile_q",
            Op::LinearGated(..) => "linear_gated_tile_q",
            Op::LinearQkv(..) => "linear_qkv_tile_q",
            Op::RopeAngles(_) => "rope_angles_q30",
            Op::RopeStore(_) => "rope_store_q8",
            Op::AttnBlock(_) => "attn_block_q8",
            Op::AttnMerge(_) => "attn_merge_i32",
            Op::AttnMergeRow(_) => "attn_merge_row_q8",
            Op::GatedUnit(_) => "gated_unit_row_i32",
            Op::Bias(_) => "bias_row_i32",
            Op::RmsnormHead(_) => "rmsnorm_head_i32",
            Op::RmsnormAdd(_) => "rmsnorm_add_row_i32",
            Op::Softcap(_) => "softcap_row_i32",
            Op::LogitsStats(_) => "logits_stats_i32",
            Op::LoraRow(_) => "lora_row_q8",
        }
    }

    /// The uniform's bytes.
    pub fn params(&self) -> &[u8] {
        match self {
            Op::EmbedRow(p, _) => bytemuck::bytes_of(p),
            Op::RmsnormRow(p) => bytemuck::bytes_of(p),
            Op::QuantizeRow(p) => bytemuck::bytes_of(p),
            Op::LinearTile(p, _) => bytemuck::bytes_of(p),
            Op::LinearGated(p, _) => bytemuck::bytes_of(p),
            Op::LinearQkv(p, _) => bytemuck::bytes_of(p),
            Op::RopeAngles(p) => bytemuck::bytes_of(p),
            Op::RopeStore(p) => bytemuck::bytes_of(p),
            Op::AttnBlock(p) => bytemuck::bytes_of(p),
            Op::AttnMerge(p) | Op::AttnMergeRow(p) => bytemuck::bytes_of(p),
            Op::GatedUnit(p) => bytemuck::bytes_of(p),
            Op::Bias(p) => bytemuck::bytes_of(p),
            Op::RmsnormHead(p) => bytemuck::bytes_of(p),
            Op::RmsnormAdd(p) => bytemuck::bytes_of(p),
            Op::Softcap(p) => bytemuck::bytes_of(p),
            Op::LogitsStats(p) => bytemuck::bytes_of(p),
            Op::LoraRow(p) => bytemuck::bytes_of(p),
        }
    }

    /// The encoding of the codes that it reads, for kernels that do.
    pub fn encoding(&self) -> Option<Encoding> {
        match self {
            Op::EmbedRow(_, e)
            | Op::LinearTile(_, e)
            | Op::LinearGated(_, e)
            | Op::LinearQkv(_, e) => Some(*e),
            _ => None,
        }
    }

    /// Which of the cache's codes have 4 bits, for kernels that know the cache: see [`CacheBits::narrow`].
    pub fn narrow(&self) -> Option<u32> {
        match self {
            Op::RopeStore(p) => Some(p.narrow),
            Op::AttnBlock(p) => Some(p.narrow),
            _ => None,
        }
    }

    /// That of a gated unit.
    pub fn activation(&self) -> Option<u32> {
        match self {
            Op::LinearGated(p, _) => Some(p.activation),
            Op::GatedUnit(p) => Some(p.activation),
            _ => None,
        }
    }

    /// Whether a workgroup of its kernel has a head, and as many lanes as suit the device.
    pub fn is_of_heads(&self) -> bool {
        matches!(
            self,
            Op::RopeStore(_) | Op::AttnBlock(_) | Op::AttnMerge(_) | Op::RmsnormHead(_)
        )
    }

    /// Whether it is one of the kernels of products, which share their workgroups' constants.
    pub fn is_product(&self) -> bool {
        matches!(
            self,
            Op::LinearTile(..) | Op::LinearGated(..) | Op::LinearQkv(..)
        )
    }
}

/// How many rows a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Every row of the batch.
    Batch,
    /// The rows whose logits are wanted, which are the first; the step is left out where there are none.
    Outputs,
}

/// A buffer at a kernel's binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The binding's name.
    pub name: &'static str,
    /// Whether the kernel writes it.
    pub written: bool,
    /// The buffer.
    pub buffer: BufferId,
    /// Words of a row, of what is written by rows; 0 of all else.
    pub stride: u64,
}

/// One dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Name of the intermediate that it computes, e.g. `blk.0.attn_q`.
    pub label: String,
    /// The kernel and its parameters.
    pub op: Op,
    /// Storage buffers in the order of the kernel's bindings, the uniform left out: see [`carat_shaders::places`].
    pub bindings: Vec<Bound>,
    /// Rows it works on.
    pub rows: Rows,
    /// The adapter that it is of: it is left out where that acts on no sequence of a pass.
    pub adapter: Option<usize>,
}

impl Step {
    /// What is bound under the kernel's name for it.
    pub fn bound(&self, name: &str) -> Option<&Bound> {
        self.bindings.iter().find(|b| b.name == name)
    }
}

/// One row of a batch: a token at a position of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Token id.
    pub token: u32,
    /// Absolute position, from 0.
    pub position: u32,
    /// Its sequence's place in the batch: a row of the page tables.
    pub sequence: u32,
}

/// The size of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Most rows of a pass.
    pub batch: u32,
    /// Most rows of a pass that give logits.
    pub outputs: u32,
    /// Most positions of a sequence, a multiple of [`PAGE`].
    pub context: u32,
    /// Most sequences of a pass.
    pub sequences: u32,
    /// For how many more there are pages, which keep the beginnings of texts.
    pub spare: u32,
    /// Positions that all sequences together may hold, a multiple of [`PAGE`]; `None`: the whole context each.
    pub pool: Option<u32>,
    /// Bits of keys and values.
    pub cache: CacheBits,
    /// Most bytes of a buffer, of whatever the device allows: at least [`DEFAULT_BINDING`], at most [`MOST_BINDING`].
    pub binding: u64,
}

impl Default for Extent {
    /// A token of one sequence that holds a page.
    fn default() -> Self {
        Self {
            batch: 1,
            outputs: 1,
            context: PAGE,
            sequences: 1,
            spare: 0,
            pool: None,
            cache: CacheBits::default(),
            binding: DEFAULT_BINDING,
        }
    }
}

/// Pages of keys and values, of all blocks that keep as many of a sequence. A page table says where a sequence's pages are,
/// `[sequences][pages of the context]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The page table.
    pub table: BufferId,
    /// Most that are kept of a sequence: all, or as many as a window reaches over. Page `i` takes the place of page
    /// `i - kept`.
    pub kept: u32,
    /// Positions that a row sees, its own included; `u32::MAX` is all.
    pub window: u32,
    /// Pages of all sequences.
    pub count: u32,
}

/// The first page that the row behind `len` tokens sees through a window.
pub(crate) fn oldest(window: u32, len: usize) -> usize {
    (len + 1).saturating_sub(window as usize) / PAGE as usize
}

/// The pages of one block's keys and values, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBuffer {
    /// The buffer.
    pub buffer: BufferId,
    /// Which of [`Plan::pages`] it holds.
    pub kind: usize,
    /// Positions that a row sees of it, its own included; `u32::MAX` is all.
    pub window: u32,
    /// Heads of a page.
    pub heads: u32,
    /// A head of a page.
    pub layout: KvLayout,
}

impl CacheBuffer {
    /// Words of a page.
    pub fn page(&self) -> u32 {
        self.layout.page(self.heads)
    }

    /// The first page that the row behind `len` tokens sees.
    pub fn oldest(&self, len: usize) -> usize {
        oldest(self.window, len)
    }
}

/// Bytes of a buffer that every device allows: WebGPU's default `maxStorageBufferBindingSize`.
pub const DEFAULT_BINDING: u64 = MAX_PART_BYTES;
/// Most bytes of a buffer where the device allows more: kernels count them in 32 bits.
pub const MOST_BINDING: u64 = (1 << 32) - 4;

/// A forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Buffers by [`BufferId`].
    pub buffers: Vec<Buffer>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Its size, after fitting every buffer into a binding.
    pub extent: Extent,
    /// The row table.
    pub row_table: BufferId,
    /// Pages of the cache, by how many a block keeps.
    pub pages: Vec<Pages>,
    /// The buffers that those are in.
    pub caches: Vec<CacheBuffer>,
    /// Logits, `[outputs, vocab]` i32.
    pub logits: BufferId,
    /// Results, `[outputs, RESULT_WORDS]`: see the kernel `logits_stats_i32`.
    pub results: BufferId,
    /// Statistics: saturated elements, largest |residual|.
    pub stats: BufferId,
    /// Exponent of the logits.
    pub logits_exponent: i32,
    /// Adapters, and how strongly each acts on sequences that say nothing else.
    pub adapters: Vec<Applied>,
    /// How strongly they act on the sequences of a pass, where there are some.
    pub strengths: Option<BufferId>,
}

impl Plan {
    /// Plans a pass of at most `extent.batch` rows over a cache of `extent.context` positions.
    ///
    /// Only the cache, and one row's partial results of it, may be larger than [`DEFAULT_BINDING`]; the batch shrinks until
    /// all else fits that. Errors: a context whose cache cannot fit the extent's, or a tensor that the directory lacks.
    pub fn new(spec: &ModelSpec, directory: &Directory, extent: Extent) -> Result<Self, Error> {
        Self::with_adapters(spec, directory, &[], extent)
    }

    /// The same with what adapters add.
    ///
    /// Errors: as [`Plan::new`]; an adapter of another model.
    pub fn with_adapters(
        spec: &ModelSpec,
        directory: &Directory,
        adapters: &[Applied],
        extent: Extent,
    ) -> Result<Self, Error> {
        if let Some(other) = adapters.iter().find(|a| !a.adapter.fits(spec)) {
            return Err(Error::Adapter(other.adapter.name().into()));
        }
        let binding = extent.binding.clamp(DEFAULT_BINDING, MOST_BINDING);
        let most = most_context(spec, binding, extent);
        let too_long = || Error::Context {
            asked: extent.context,
            most,
            binding,
        };
        let context = extent
            .context
            .max(1)
            .checked_next_multiple_of(PAGE)
            .ok_or_else(too_long)?;
        if context > most {
            return Err(too_long());
        }
        let widths = Widths::new(spec, context);
        let fits = |stride: u64| (DEFAULT_BINDING / 4 / stride.max(1)).clamp(1, 65_535) as u32;
        let rank = adapters.iter().map(|a| u64::from(a.adapter.rank())).max();
        let largest = widths.largest().max(rank.unwrap_or(0));
        let batch = extent.batch.clamp(1, fits(largest));
        let outputs = extent
            .outputs
            .clamp(1, batch)
            .min(fits(u64::from(spec.vocab_size)));
        let words = u64::from(context / PAGE).max(adapters.len() as u64);
        let sequences = extent.sequences.clamp(1, fits(words));
        let spare = extent.spare.min(MOST_SPARE);
        let all = context.saturating_mul(sequences + spare);
        let pool = extent.pool.unwrap_or(all).clamp(1, all / PAGE * PAGE);
        let extent = Extent {
            batch,
            outputs,
            context,
            sequences,
            spare,
            pool: Some(pool.next_multiple_of(PAGE)),
            binding,
            ..extent
        };
        Builder {
            spec,
            directory,
            buffers: Vec::new(),
            steps: Vec::new(),
            pages: Vec::new(),
            caches: Vec::new(),
            extent,
            fusions: Fusions::of(directory),
            adapters,
        }
        .build()
    }

    /// Bytes of its largest buffer.
    pub fn largest_buffer(&self) -> u64 {
        self.buffers.iter().map(|b| b.words * 4).max().unwrap_or(0)
    }

    /// The step whose label is `label`.
    pub fn step(&self, label: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.label == label)
    }

    /// Bytes of weights that a pass of one row with logits reads: codes, group scales and row scales of every
    /// matrix without padding, the gains of the norms, and of the embedding one row. A tensor that two steps
    /// read counts twice, as a tied head does beside the embedding's row.
    pub fn decode_weight_bytes(&self) -> u64 {
        let mut embedded = false;
        let bytes = |step: &Step| match &step.op {
            // Of an embedding in parts only one holds the token's row.
            Op::EmbedRow(..) if std::mem::replace(&mut embedded, true) => 0,
            _ => self.weight_bytes(step),
        };
        self.steps.iter().map(bytes).sum()
    }

    /// Bytes of weights that a step reads for one row, counted as [`Plan::decode_weight_bytes`] does.
    pub fn weight_bytes(&self, step: &Step) -> u64 {
        let row = |groups: u32, shift: u32, e: &Encoding| {
            // A tile's share: ternary cells have half a byte a row that is not whole.
            let codes = u64::from(groups) * e.cell_bytes() as u64 / TILE_ROWS as u64;
            codes + u64::from(scales_of(groups, shift)) + 4
        };
        match &step.op {
            Op::EmbedRow(p, e) => row(p.groups, p.scale_shift, e),
            Op::LinearTile(p, e) => u64::from(p.part_rows) * row(p.groups, p.scale_shift, e),
            Op::LinearGated(p, e) => 2 * u64::from(p.part_rows) * row(p.groups, p.scale_shift, e),
            Op::LinearQkv(p, e) => {
                let rows: u64 = p.rows.iter().map(|r| u64::from(*r)).sum();
                rows * row(p.groups, p.scale_shift, e)
            }
            _ => {
                let in_file = |b: &&Buffer| matches!(b.content, Content::File { .. });
                let bound = step.bindings.iter().map(|b| &self.buffers[b.buffer.0]);
                bound.filter(in_file).map(|b| b.words * 4).sum()
            }
        }
    }

    /// Bytes of all buffers that a device allocates beside the weights.
    pub fn work_bytes(&self) -> u64 {
        self.buffers
            .iter()
            .filter(|b| !matches!(b.content, Content::File { .. }))
            .map(|b| b.words * 4)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internals::{Model, Verify};
    use crate::selftest::{Flavour, Shape};
    use carat_format::{Coding, TensorLayout};
    use std::collections::BTreeSet;

    /// Pipelines that a GPU needs for a plan's steps.
    fn pipelines(plan: &Plan) -> usize {
        let of = |s: &Step| (s.op.kernel(), s.op.encoding(), s.op.is_product());
        let kinds: BTreeSet<_> = plan.steps.iter().map(of).collect();
        kinds.iter().map(|k| if k.2 { 2 } else { 1 }).sum()
    }

    #[test]
    fn a_longer_context_takes_larger_buffers() {
        let model = Model::from_bytes(&Shape::default().bytes(), Verify::Structure).unwrap();
        let of = |context, binding| {
            let extent = Extent {
                batch: 8,
                context,
                binding,
                ..Extent::default()
            };
            Plan::new(model.spec(), model.directory(), extent)
        };
        let longest = |binding| match of(u32::MAX, binding) {
            Err(Error::Context { most, .. }) => most,
            other => panic!("{other:?}"),
        };
        for binding in [DEFAULT_BINDING, 200 << 20, MOST_BINDING] {
            let most = longest(binding);
            let plan = of(most, binding).unwrap();
            assert!(plan.largest_buffer() <= binding);
            assert!(of(most + 1, binding).is_err());
            // But for the cache nothing is larger than the default.
            let larger = |b: &&Buffer| b.words * 4 > DEFAULT_BINDING;
            for buffer in plan.buffers.iter().filter(larger) {
                assert!(buffer.name.contains("cache"), "{}", buffer.name);
            }
        }
        let default = longest(DEFAULT_BINDING);
        assert!(default < longest(200 << 20));
        // Attention's blocks are workgroups along one dimension.
        assert_eq!(longest(MOST_BINDING), 65_535 * PAGE);
        // What no device has is not asked for.
        assert_eq!(longest(0), default);
        assert_eq!(longest(u64::MAX), longest(MOST_BINDING));
    }

    #[test]
    fn a_model_has_at_most_30_pipelines() {
        let mut fused = BTreeSet::new();
        for flavour in Flavour::ALL {
            for encodings in 1..=Encoding::ALL.len() {
                let shape = Shape {
                    flavour,
                    blocks: 12,
                    ..Shape::default()
                };
                let model = Model::from_bytes(&shape.bytes(), Verify::Structure).unwrap();
                let mut directory = model.directory().clone();
                // Matrices of a block of one encoding, block after block, so that every fusion is possible.
                for (i, matrix) in directory.matrices.iter_mut().enumerate() {
                    let coding = Coding {
                        encoding: Encoding::ALL[i / 7 % encodings],
                        group: matrix.layout.group,
                    };
                    let (rows, cols) = (matrix.layout.rows, matrix.layout.cols);
                    matrix.layout = TensorLayout::new(coding, rows, cols).unwrap();
                }
                let extent = Extent {
                    batch: 8,
                    ..Extent::default()
                };
                let plan = Plan::new(model.spec(), &directory, extent).unwrap();
                let count = pipelines(&plan);
                assert!(count <= 30, "{flavour:?}, {encodings} encodings: {count}");
                for step in &plan.steps {
                    fused.insert((step.op.kernel(), encodings));
                }
            }
        }
        for (kernel, most) in [("linear_gated_tile_q", 4), ("linear_qkv_tile_q", 2)] {
            let with = fused.iter().filter(|(k, _)| *k == kernel).map(|k| k.1);
            assert_eq!(with.max(), Some(most), "{kernel}");
        }
    }
}
