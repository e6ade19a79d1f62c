//! The blocks of one head and row merged; twin of `wgsl/attn_merge_i32.wgsl`.

use super::for_chunks;
use super::scratch::Scratch;
use super::simd::wide;
use crate::params::{AttnMerge, PAGE, ROW_WORDS};
use crate::partial_stride;
use crate::reference::attn_block_q8::{oldest_seen, score_distance};
use crate::reference::attn_merge_i32::{inverse, scale_shift};
use crate::reference::fixed::{exp2_neg_q30, round_shr64, scale64};
use std::cell::Cell;

/// As [`crate::reference::attn_merge_i32::run`].
pub fn run(p: &AttnMerge, rows: u32, row_table: &[u32], partial: &[u32], out: &mut [i32]) {
    let (heads, dim) = (p.heads as usize, p.head_dim as usize);
    let stride = partial_stride(p.head_words, p.groups) as usize;
    // A task is a row, as a head alone is little work; of one row, a head.
    let task = if rows == 1 { 1 } else { heads };
    for_chunks(
        &mut out[..rows as usize * heads * dim],
        task * dim,
        |i, out| {
            for (j, out) in out.chunks_exact_mut(dim).enumerate() {
                let head = i * task + j;
                let position = row_table[head / heads * ROW_WORDS as usize + 1];
                let oldest = (oldest_seen(position, p.window) / PAGE) as usize;
                let blocks = (position / PAGE + 1) as usize - oldest;
                let at = (head * p.max_blocks as usize + oldest) * stride;
                wide::merge_head(p, &partial[at..at + blocks * stride], out);
            }
        },
    );
}

thread_local! {
    /// Weights of a head's blocks, kept from call to call.
    static WEIGHTS: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// What is kept.
pub fn scratch(p: &AttnMerge) -> Scratch {
    Scratch {
        weights: 4 * u64::from(p.max_blocks),
        ..Scratch::default()
    }
}

/// The blocks of one head, one after another.
#[inline(always)]
pub(super) fn head(p: &AttnMerge, partials: &[u32], out: &mut [i32]) {
    let stride = partial_stride(p.head_words, p.groups) as usize;
    let dims = 4 * p.head_words as usize;
    let blocks = || partials.chunks_exact(stride);
    let score = |b: &[u32]| b[dims + 1] as i32;
    let max = blocks().map(score).max().unwrap_or(0);
    let mut weights = WEIGHTS.take();
    weights.clear();
    weights.reserve_exact(p.max_blocks as usize);
    weights.extend(blocks().map(|b| exp2_neg_q30(score_distance(max, score(b)))));
    let shares = blocks().zip(&weights);
    let total: i64 = shares
        .map(|(b, w)| round_shr64(i64::from(b[dims]) * i64::from(*w), 15))
        .sum();
    let (reciprocal, bits) = inverse(total);
    for (g, out) in out.chunks_mut(32).enumerate() {
        let exponent = |b: &[u32]| b[dims + 2 + g] as i32;
        let top = blocks().map(exponent).max().unwrap_or(0);
        let mut sums = [0i64; 32];
        for (b, w) in blocks().zip(&weights) {
            let shift = (15 + (top - exponent(b))).min(62) as u32;
            for (sum, o) in sums.iter_mut().zip(&b[g * 32..dims.min(g * 32 + 32)]) {
                // |o| < 2^31, w <= 2^30.
                let product = i64::from(*o as i32) * i64::from(*w);
                *sum += (product + (1 << (shift - 1))) >> shift;
            }
        }
        let shift = scale_shift(p, bits, top);
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = scale64(sum, reciprocal, shift);
        }
    }
    WEIGHTS.set(weights);
}
