//! How wide the buffers are that blocks share, and how long a context they hold.

use super::{Extent, PAGE};
use carat_format::ModelSpec;
use carat_format::model::{Attention, Block};
use carat_shaders::{act_stride, grid, groups_of, kv_page_words, partial_stride, query_stride};

/// Words and groups of a head.
#[derive(Clone, Copy)]
pub(super) struct HeadWords {
    /// ceil(head_dim / 4).
    pub(super) words: u32,
    /// ceil(head_dim / 32).
    pub(super) groups: u32,
}

impl HeadWords {
    pub(super) fn new(head_dim: u32) -> Self {
        Self {
            words: head_dim.div_ceil(4),
            groups: groups_of(head_dim),
        }
    }
}

/// Words of one row in each buffer that blocks share: what the widest of them takes.
#[derive(Default)]
pub(super) struct Widths {
    pub(super) d: u64,
    pub(super) q: u64,
    pub(super) kv: u64,
    pub(super) f: u64,
    pub(super) act: u64,
    pub(super) query: u64,
    pub(super) partial: u64,
    /// Whether a norm takes what a branch adds.
    pub(super) branch: bool,
}

impl Widths {
    pub(super) fn new(spec: &ModelSpec, context: u32) -> Self {
        let d = spec.embedding_length;
        let act = |cols: u32| u64::from(act_stride(groups_of(cols)));
        let mut w = Self {
            d: d.into(),
            act: act(d),
            ..Self::default()
        };
        for block in &spec.blocks {
            if let Some(a) = block.attention() {
                let h = HeadWords::new(a.head_dim);
                let heads = u64::from(a.heads);
                let blocks = u64::from(context.div_ceil(PAGE));
                w.q = w.q.max(a.width().into());
                w.kv = w.kv.max(a.kv_width().into());
                w.act = w.act.max(act(a.width()));
                w.query = w.query.max(heads * u64::from(query_stride(h.words)));
                let partial = u64::from(partial_stride(h.words, h.groups));
                w.partial = w.partial.max(heads * blocks * partial);
                w.branch |= a.post_norm;
            }
            if let Some(g) = block.gated() {
                w.f = w.f.max(g.width.into());
                w.act = w.act.max(act(g.width));
                w.branch |= g.post_norm;
            }
        }
        w
    }

    pub(super) fn largest(&self) -> u64 {
        [
            self.d,
            self.q,
            self.kv,
            self.f,
            self.act,
            self.query,
            self.partial,
        ]
        .into_iter()
        .max()
        .unwrap_or(1)
    }
}

/// Positions whose cache and partial results of one row fit buffers of `binding` bytes, whose blocks attention can have as
/// workgroups along one dimension, and whose shares its sums can hold. Rows of the extent's batch go through windows.
pub(super) fn most_context(spec: &ModelSpec, binding: u64, extent: Extent) -> u32 {
    let of_block = |a: &Attention| {
        let h = HeadWords::new(a.head_dim);
        // A window whose pages fit does not limit the context.
        let page = kv_page_words(a.kv_heads, h.words, h.groups, extent.cache.narrow());
        let most = fitting(page, binding);
        let cache = match kept(a.window, extent.batch) <= most {
            true => u64::MAX,
            false => most.into(),
        };
        let partial = u64::from(a.heads) * u64::from(partial_stride(h.words, h.groups));
        cache.min(binding / 4 / partial)
    };
    let pages = spec
        .blocks
        .iter()
        .filter_map(Block::attention)
        .map(of_block);
    let pages = pages.min().unwrap_or(u64::MAX);
    pages.min(grid::MAX_GROUPS.into()) as u32 * PAGE
}

/// Pages of `words` words in a buffer of `binding` bytes.
pub(super) fn fitting(words: u32, binding: u64) -> u32 {
    u32::try_from(binding / 4 / u64::from(words)).unwrap_or(u32::MAX)
}

/// Pages that a batch of rows of one sequence reaches over, wherever it begins: what its first row sees through a window,
/// and the rows. So a sequence can always go back by as many positions as a batch has.
pub(super) fn kept(window: Option<u32>, batch: u32) -> u32 {
    window.map_or(u32::MAX, |w| w.saturating_add(batch).div_ceil(PAGE) + 1)
}
