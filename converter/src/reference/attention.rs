//! Causal attention with grouped heads, in f32.

use super::gemm::{self, Arithmetic, Matrix};
use super::math::{soft_cap, softmax};
use carat_format::model::{Attention, Reals};
use rayon::prelude::*;

/// Queries of a task.
const QUERIES: usize = 64;

/// Queries of one sequence and the keys and values that they see.
pub(super) struct Segment<'a> {
    /// `[len, heads · head_dim]`, at positions `keys − len ..`.
    pub queries: &'a [f32],
    /// `[keys, kv heads · head_dim]`.
    pub keys: &'a [f32],
    /// `[keys, kv heads · head_dim]`.
    pub values: &'a [f32],
}

/// Attention of every segment within the block's window, one after the other: `[Σ len, heads · head_dim]`, replacing `out`.
pub(super) fn attend(
    arithmetic: Arithmetic,
    a: &Attention<Reals>,
    segments: &[Segment<'_>],
    out: &mut Vec<f32>,
) {
    let dim = a.head_dim as usize;
    let (heads, shared) = (a.heads as usize, a.heads_per_kv() as usize);
    let (width, kv_width) = (a.width() as usize, a.kv_width() as usize);
    let scale = a.scale as f32;
    let cap = a.softcap.map(|c| c as f32);
    let window = a.window.map_or(usize::MAX, |w| w as usize);
    let mut jobs = Vec::new();
    let mut row = 0;
    for segment in segments {
        let len = segment.queries.len() / width;
        for first in (0..len).step_by(QUERIES) {
            jobs.extend((0..heads).map(|h| (segment, row, first, QUERIES.min(len - first), h)));
        }
        row += len;
    }
    out.clear();
    out.resize(row * width, 0.0);
    for wave in jobs.chunks(1024) {
        let parts: Vec<Vec<f32>> = wave
            .par_iter()
            .map(|(segment, _, first, len, head)| {
                let past = (segment.keys.len() / kv_width) - segment.queries.len() / width;
                let seen = past + first + len;
                let kv = head / shared * dim;
                let queries = Matrix {
                    data: &segment.queries[first * width + head * dim..],
                    row: width,
                    col: 1,
                };
                let keys = Matrix {
                    data: &segment.keys[kv..],
                    row: kv_width,
                    col: 1,
                };
                let values = Matrix {
                    data: &segment.values[kv..],
                    row: 1,
                    col: kv_width,
                };
                let mut scores = vec![0.0; len * seen];
                gemm::multiply(arithmetic, (*len, seen, dim), queries, keys, &mut scores);
                for (i, scores) in scores.chunks_exact_mut(seen).enumerate() {
                    let end = past + first + i + 1;
                    let (before, after) = scores.split_at_mut(end);
                    let (outside, before) = before.split_at_mut(end.saturating_sub(window));
                    match cap {
                        None => softmax(before, scale),
                        Some(cap) => {
                            soft_cap(before, scale, cap);
                            softmax(before, 1.0);
                        }
                    }
                    outside.fill(0.0);
                    after.fill(0.0);
                }
                let mut part = vec![0.0; len * dim];
                gemm::multiply(
                    arithmetic,
                    (*len, dim, seen),
                    Matrix::rows(&scores, seen),
                    values,
                    &mut part,
                );
                part
            })
            .collect();
        for ((_, row, first, _, head), part) in wave.iter().zip(&parts) {
            for (i, p) in part.chunks_exact(dim).enumerate() {
                out[(row + first + i) * width + head * dim..][..dim].copy_from_slice(p);
            }
        }
    }
}
