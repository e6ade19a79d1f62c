//! The transformer's blocks over a batch of sequences, the loop over blocks outermost so that each
//! weight is read once.

use super::attention::{Segment, attend};
use super::math::{self, Rotations};
use super::weights::Weights;
use super::{ReferenceError, Run};
use carat_format::Tensor;
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
    /// The next positions of one sequence, whose cache (one entry a block) they extend.
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
    let tables = hyper.rope_tables.iter();
    let rotations: Vec<Rotations> = tables.map(|t| Rotations::new(t, last)).collect();
    let width = hyper.head_count as usize * hyper.head_dim as usize;
    let kv_width = hyper.head_count_kv as usize * hyper.head_dim as usize;
    let (mut normed, mut out) = (Vec::new(), Vec::new());
    let (mut q, mut k, mut v, mut attention) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut gate, mut up) = (Vec::new(), Vec::new());
    let extras = hyper.extras;
    let norm = |tensor, x: &[f32], out: &mut Vec<f32>| norm(weights, tensor, x, out);
    run.see(0, "embedding", x);
    for b in 0..hyper.block_count {
        norm(Tensor::AttnNorm(b), x, &mut normed)?;
        run.see(b, "attention_norm", &normed);
        let block = hyper.blocks.get(b as usize).copied().unwrap_or_default();
        let rotations = rotations.get(block.rope as usize);
        project(
            weights,
            b,
            &normed,
            (&positions, rotations),
            [&mut q, &mut k, &mut v],
            &mut out,
        )?;
        run.see(b, "query", &q);
        run.see(b, "key", &k);
        run.see(b, "value", &v);
        match &mut batch {
            Batch::Sequences(lengths) => {
                let (mut q, mut k, mut v) = (&q[..], &k[..], &v[..]);
                let segments: Vec<Segment<'_>> = lengths
                    .iter()
                    .map(|n| Segment {
                        queries: take(&mut q, n * width),
                        keys: take(&mut k, n * kv_width),
                        values: take(&mut v, n * kv_width),
                    })
                    .collect();
                attend(weights.arithmetic, hyper, block, &segments, &mut attention);
            }
            Batch::Next { caches, .. } => {
                let cache = &mut caches[b as usize];
                cache.keys.extend_from_slice(&k);
                cache.values.extend_from_slice(&v);
                let segment = Segment {
                    queries: &q,
                    keys: &cache.keys,
                    values: &cache.values,
                };
                attend(weights.arithmetic, hyper, block, &[segment], &mut attention);
            }
        }
        run.see(b, "attention", &attention);
        if extras.sub_norm {
            norm(Tensor::AttnSubNorm(b), &attention, &mut normed)?;
            std::mem::swap(&mut attention, &mut normed);
        }
        let branch = (Tensor::AttnOutput(b), Tensor::AttnPostNorm(b));
        add_branch(weights, branch, &attention, x, [&mut out, &mut normed])?;
        run.see(b, "attention_residual", x);
        norm(Tensor::FfnNorm(b), x, &mut normed)?;
        run.see(b, "ffn_norm", &normed);
        weights.multiply(Tensor::FfnGate(b), &normed, &mut gate)?;
        weights.multiply(Tensor::FfnUp(b), &normed, &mut up)?;
        run.see(b, "ffn_gate", &gate);
        run.see(b, "ffn_up", &up);
        math::gated_product(hyper.activation, &mut gate, &up);
        run.see(b, "ffn_product", &gate);
        if extras.sub_norm {
            norm(Tensor::FfnSubNorm(b), &gate, &mut normed)?;
            std::mem::swap(&mut gate, &mut normed);
        }
        let branch = (Tensor::FfnDown(b), Tensor::FfnPostNorm(b));
        add_branch(weights, branch, &gate, x, [&mut out, &mut normed])?;
        run.see(b, "ffn_residual", x);
        run.progress
            .step(u64::from(b) + 1, u64::from(hyper.block_count));
        if run.progress.cancelled() {
            return Err(ReferenceError::Cancelled);
        }
    }
    norm(Tensor::OutputNorm, x, &mut normed)?;
    run.see(hyper.block_count, "output_norm", &normed);
    std::mem::swap(x, &mut normed);
    Ok(())
}

/// `x` normalised, with the gains of `tensor`.
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

/// Queries, keys and values of block `b`, rotated by their positions.
pub(super) fn project(
    weights: &Weights<'_>,
    b: u32,
    normed: &[f32],
    (positions, rotations): (&[usize], Option<&Rotations>),
    [q, k, v]: [&mut Vec<f32>; 3],
    scratch: &mut Vec<f32>,
) -> Result<(), ReferenceError> {
    let hyper = weights.checkpoint().hyper();
    weights.multiply(Tensor::AttnQ(b), normed, q)?;
    weights.multiply(Tensor::AttnK(b), normed, k)?;
    weights.multiply(Tensor::AttnV(b), normed, v)?;
    if hyper.extras.qk_norm {
        for (tensor, rows) in [
            (Tensor::AttnQNorm(b), &mut *q),
            (Tensor::AttnKNorm(b), &mut *k),
        ] {
            norm(weights, tensor, rows, scratch)?;
            std::mem::swap(rows, scratch);
        }
    }
    let Some(rotations) = rotations else {
        return Ok(());
    };
    for (rows, heads) in [(q, hyper.head_count), (k, hyper.head_count_kv)] {
        let width = heads as usize * hyper.head_dim as usize;
        let rows = rows.par_chunks_exact_mut(width).zip(positions);
        rows.for_each(|(row, p)| rotations.apply(row, *p));
    }
    Ok(())
}

/// Logits `[rows, vocab]` of rows after the last norm, replacing `out`.
pub(super) fn logits(
    weights: &Weights<'_>,
    hidden: &[f32],
    out: &mut Vec<f32>,
) -> Result<(), ReferenceError> {
    let hyper = weights.checkpoint().hyper();
    let head = if hyper.tied {
        Tensor::TokenEmbedding
    } else {
        Tensor::Output
    };
    weights.multiply(head, hidden, out)?;
    if let Some(cap) = hyper.logits_softcap {
        math::soft_cap(out, 1.0, cap as f32);
    }
    Ok(())
}

/// Adds a branch to the residual stream: its last matrix, then its norm where it has one.
pub(super) fn add_branch(
    weights: &Weights<'_>,
    (matrix, post_norm): (Tensor, Tensor),
    input: &[f32],
    x: &mut [f32],
    [out, scratch]: [&mut Vec<f32>; 2],
) -> Result<(), ReferenceError> {
    weights.multiply(matrix, input, out)?;
    if weights.checkpoint().hyper().extras.post_norm {
        norm(weights, post_norm, out, scratch)?;
        std::mem::swap(out, scratch);
    }
    math::add(x, out);
    Ok(())
}

/// Splits the first `n` elements off a slice.
pub(super) fn take<'a>(slice: &mut &'a [f32], n: usize) -> &'a [f32] {
    let (first, rest) = slice.split_at(n);
    *slice = rest;
    first
}
