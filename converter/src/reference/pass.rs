//! A block's branches over the rows of a batch, stage by stage: [`Pass::enter`] gives what a branch's readers multiply,
//! [`Pass::inner`] what its writer multiplies, [`Pass::leave`] adds it to the residual stream. [`run`] goes through all of
//! a model, the loop over blocks outermost so that each weight is read once; [`Stream`](super::Stream) stops between the
//! stages.

use super::attention::{Segment, attend};
use super::math::{self, Rotations};
use super::weights::Weights;
use super::{ReferenceError, Run};
use carat_format::Tensor;
use carat_format::model::{Attention, Branch, Function, Reals};
use rayon::prelude::*;

/// Keys and values of one block for the positions so far, rotated: `[positions, kv heads · head_dim]`.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockCache {
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// What the positions of a batch are, in the order of its rows.
pub(super) enum Batch<'b> {
    /// Independent sequences of these lengths, each from position 0.
    Sequences(&'b [usize]),
    /// The next positions of one sequence, whose cache (one entry per block) they extend.
    Next {
        past: usize,
        caches: &'b mut [BlockCache],
    },
}

impl Batch<'_> {
    /// Position of each of `rows` rows.
    fn positions(&self, rows: usize) -> Vec<usize> {
        match self {
            Batch::Sequences(lengths) => lengths.iter().flat_map(|n| 0..*n).collect(),
            Batch::Next { past, .. } => (*past..past + rows).collect(),
        }
    }
}

/// A branch of a block.
#[derive(Clone, Copy)]
pub(super) struct At<'b> {
    pub block: u32,
    pub branch: &'b Branch,
}

impl At<'_> {
    /// Names of the observed intermediates: of the normalised stream, and of the stream afterwards.
    fn names(&self) -> [&'static str; 2] {
        match self.branch.function {
            Function::Attention => ["attention_norm", "attention_residual"],
            Function::Gated => ["ffn_norm", "ffn_residual"],
        }
    }
}

/// Queries, keys and values of a branch: `raw` before the norm of heads, where it has one and is asked for.
#[derive(Default)]
pub(super) struct Projected {
    pub raw: Vec<Vec<f32>>,
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

/// What all stages of a pass share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, 'c> {
    pub weights: &'a Weights<'c>,
    /// One for each rotary table.
    pub rotations: &'a [Rotations],
    /// Of each row.
    pub positions: &'a [usize],
}

/// Angles of each rotary table at positions below `end`.
pub(super) fn rotations(weights: &Weights<'_>, end: usize) -> Vec<Rotations> {
    let tables = weights.checkpoint().hyper().rope_tables.iter();
    tables.map(|t| Rotations::new(t, end)).collect()
}

impl<'a> Pass<'a, '_> {
    /// What the readers of a branch multiply, replacing `out`.
    pub fn enter(&self, at: At<'_>, x: &[f32], out: &mut Vec<f32>) -> Result<(), ReferenceError> {
        norm(self.weights, at.branch.norm.of(at.block), x, out)
    }

    /// The attention of a block. A branch with this function has one.
    pub fn attention(&self, at: At<'_>) -> Option<&'a Attention<Reals>> {
        let blocks = &self.weights.checkpoint().hyper().blocks;
        blocks.get(at.block as usize)?.attention()
    }

    /// The angles of a block's attention.
    pub fn rotations_of(&self, a: &Attention<Reals>) -> Option<&'a Rotations> {
        self.rotations.get(a.rope as usize)
    }

    /// Products of the readers, in their order, replacing `out`.
    pub fn products(
        &self,
        at: At<'_>,
        normed: &[f32],
        out: &mut Vec<Vec<f32>>,
    ) -> Result<(), ReferenceError> {
        out.resize_with(at.branch.readers.len(), Vec::new);
        for (site, out) in at.branch.readers.iter().zip(out) {
            self.weights.multiply(site.part.of(at.block), normed, out)?;
        }
        Ok(())
    }

    /// Queries, keys and values of these products, rotated by their positions. `keep`: raw ones too.
    pub fn project(
        &self,
        at: At<'_>,
        a: &Attention<Reals>,
        products: &mut [Vec<f32>],
        keep: bool,
    ) -> Result<Projected, ReferenceError> {
        let mut each = products.iter_mut().map(std::mem::take);
        let mut next = || each.next().unwrap_or_default();
        let mut p = Projected {
            raw: Vec::new(),
            q: next(),
            k: next(),
            v: next(),
        };
        for ((gains, _), rows) in at.branch.gains.iter().zip([&mut p.q, &mut p.k]) {
            let mut normed = Vec::new();
            norm(self.weights, gains.of(at.block), rows, &mut normed)?;
            std::mem::swap(rows, &mut normed);
            if keep {
                p.raw.push(normed);
            }
        }
        if let Some(rotations) = self.rotations_of(a) {
            for (rows, width) in [(&mut p.q, a.width()), (&mut p.k, a.kv_width())] {
                let rows = rows.par_chunks_exact_mut(width as usize);
                let rows = rows.zip(self.positions);
                rows.for_each(|(row, p)| rotations.apply(row, *p));
            }
        }
        Ok(p)
    }

    /// Attention of rotated queries, keys and values, replacing `out`.
    pub fn attend(
        &self,
        at: At<'_>,
        a: &Attention<Reals>,
        p: &Projected,
        batch: &mut Batch<'_>,
        out: &mut Vec<f32>,
    ) {
        let arithmetic = self.weights.arithmetic;
        match batch {
            Batch::Sequences(lengths) => {
                let (width, kv_width) = (a.width() as usize, a.kv_width() as usize);
                let (mut q, mut k, mut v) = (&p.q[..], &p.k[..], &p.v[..]);
                let segments: Vec<Segment<'_>> = lengths
                    .iter()
                    .map(|n| Segment {
                        queries: take(&mut q, n * width),
                        keys: take(&mut k, n * kv_width),
                        values: take(&mut v, n * kv_width),
                    })
                    .collect();
                attend(arithmetic, a, &segments, out);
            }
            Batch::Next { caches, .. } => {
                let cache = &mut caches[at.block as usize];
                cache.keys.extend_from_slice(&p.k);
                cache.values.extend_from_slice(&p.v);
                let segment = Segment {
                    queries: &p.q,
                    keys: &cache.keys,
                    values: &cache.values,
                };
                attend(arithmetic, a, &[segment], out);
            }
        }
    }

    /// What the writer of a branch multiplies, from what [`enter`](Self::enter) gave, replacing `out`.
    pub fn inner(
        &self,
        at: At<'_>,
        normed: &[f32],
        batch: &mut Batch<'_>,
        run: &mut Run<'_>,
        out: &mut Vec<f32>,
    ) -> Result<(), ReferenceError> {
        let mut products = Vec::new();
        self.products(at, normed, &mut products)?;
        match at.branch.function {
            Function::Attention => {
                let Some(a) = self.attention(at) else {
                    return Ok(());
                };
                let p = self.project(at, a, &mut products, false)?;
                for (name, rows) in [("query", &p.q), ("key", &p.k), ("value", &p.v)] {
                    run.see(at.block, name, rows);
                }
                self.attend(at, a, &p, batch, out);
                run.see(at.block, "attention", out);
            }
            Function::Gated => {
                for (name, rows) in ["ffn_gate", "ffn_up"].iter().zip(&products) {
                    run.see(at.block, name, rows);
                }
                self.gate(at, products, out);
                run.see(at.block, "ffn_product", out);
            }
        }
        if let Some(gains) = at.branch.sub_norm {
            let mut normed = Vec::new();
            norm(self.weights, gains.of(at.block), out, &mut normed)?;
            *out = normed;
        }
        Ok(())
    }

    /// The gated product of gate and up, replacing `out`.
    pub fn gate(&self, at: At<'_>, products: Vec<Vec<f32>>, out: &mut Vec<f32>) {
        let blocks = &self.weights.checkpoint().hyper().blocks;
        let gated = blocks.get(at.block as usize).and_then(|b| b.gated());
        let mut each = products.into_iter();
        if let (Some(gated), Some(gate), Some(up)) = (gated, each.next(), each.next()) {
            *out = gate;
            math::gated_product(gated.activation, out, &up);
        }
    }

    /// Adds a branch to the residual stream: its last matrix, then its norm where it has one.
    pub fn leave(&self, at: At<'_>, inner: &[f32], x: &mut [f32]) -> Result<(), ReferenceError> {
        let mut out = Vec::new();
        let writer = at.branch.writer.part.of(at.block);
        self.weights.multiply(writer, inner, &mut out)?;
        if let Some(gains) = at.branch.post_norm {
            let mut normed = Vec::new();
            norm(self.weights, gains.of(at.block), &out, &mut normed)?;
            out = normed;
        }
        math::add(x, &out);
        Ok(())
    }
}

/// Runs every block on the residual stream `x` `[rows, D]`, then the last norm, in place.
pub(super) fn run(
    weights: &Weights<'_>,
    mut batch: Batch<'_>,
    x: &mut Vec<f32>,
    run: &mut Run<'_>,
) -> Result<(), ReferenceError> {
    let hyper = weights.checkpoint().hyper();
    let rows = x.len() / hyper.embedding_length as usize;
    let positions = batch.positions(rows);
    let last = positions.iter().max().map_or(0, |p| p + 1);
    let rotations = rotations(weights, last);
    let pass = Pass {
        weights,
        rotations: &rotations,
        positions: &positions,
    };
    let (mut normed, mut inner) = (Vec::new(), Vec::new());
    run.see(0, "embedding", x);
    for block in 0..hyper.block_count() {
        for branch in &hyper.branches(block) {
            let at = At { block, branch };
            let [entered, left] = at.names();
            pass.enter(at, x, &mut normed)?;
            run.see(block, entered, &normed);
            pass.inner(at, &normed, &mut batch, run, &mut inner)?;
            pass.leave(at, &inner, x)?;
            run.see(block, left, x);
        }
        run.progress
            .step(u64::from(block) + 1, u64::from(hyper.block_count()));
        if run.progress.cancelled() {
            return Err(ReferenceError::Cancelled);
        }
    }
    norm(weights, Tensor::OutputNorm, x, &mut normed)?;
    run.see(hyper.block_count(), "output_norm", &normed);
    std::mem::swap(x, &mut normed);
    Ok(())
}

/// `x` normalised, with the gains of `tensor`, replacing `out`.
pub(super) fn norm(
    weights: &Weights<'_>,
    tensor: Tensor,
    x: &[f32],
    out: &mut Vec<f32>,
) -> Result<(), ReferenceError> {
    let epsilon = weights.checkpoint().hyper().epsilon;
    math::rms_norm(x, weights.gains(tensor)?, epsilon, out);
    Ok(())
}

/// Logits `[rows, vocab]` of rows after the last norm, replacing `out`.
pub(super) fn logits(
    weights: &Weights<'_>,
    hidden: &[f32],
    out: &mut Vec<f32>,
) -> Result<(), ReferenceError> {
    let hyper = weights.checkpoint().hyper();
    weights.multiply(hyper.head(), hidden, out)?;
    if let Some(cap) = hyper.logits_softcap {
        math::soft_cap(out, 1.0, cap as f32);
    }
    Ok(())
}

/// Splits the first `n` elements off a slice.
pub(super) fn take<'a>(slice: &mut &'a [f32], n: usize) -> &'a [f32] {
    let (first, rest) = slice.split_at(n);
    *slice = rest;
    first
}
