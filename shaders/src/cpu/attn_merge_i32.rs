//! The blocks of one head and row merged; twin of `wgsl/attn_merge_i32.wgsl`.

use super::attn_block_q8::{oldest_seen, score_distance};
use super::fixed::{bit_len64, exp2_neg_q30, recip_q62, round_shr64, scale64};
use super::for_chunks;
use crate::params::{AttnMerge, PAGE, ROW_WORDS, VALUE_SHIFT};
use crate::partial_stride;

/// `out[r][head]` = `Σ_b o_b·2^(m_b − m) / Σ_b l_b·2^(m_b − m)` in the unit `2^exponent`.
pub fn run(p: &AttnMerge, rows: u32, row_table: &[u32], partial: &[u32], out: &mut [i32]) {
    let (heads, dim) = (p.heads as usize, p.head_dim as usize);
    let stride = partial_stride(p.head_words, p.groups) as usize;
    let dims = 4 * p.head_words as usize;
    for_chunks(&mut out[..rows as usize * heads * dim], dim, |i, out| {
        let position = row_table[i / heads * ROW_WORDS as usize + 1];
        let oldest = (oldest_seen(position, p.window) / PAGE) as usize;
        let blocks = (position / PAGE + 1) as usize - oldest;
        let partial = |b: usize| {
            let at = (i * p.max_blocks as usize + oldest + b) * stride;
            &partial[at..at + stride]
        };
        let max = (0..blocks)
            .map(|b| partial(b)[dims + 1] as i32)
            .max()
            .unwrap_or(0);
        // w in Q30; l·w < 2^53, after the shift < 2^38 a block: 2^16 blocks fit 64 bits.
        let weights: Vec<u32> = (0..blocks)
            .map(|b| exp2_neg_q30(score_distance(max, partial(b)[dims + 1] as i32)))
            .collect();
        let total: i64 = (0..blocks)
            .map(|b| round_shr64(i64::from(partial(b)[dims]) * i64::from(weights[b]), 15))
            .sum();
        // The block of the maximum holds p = 1 and w = 1: the total is at least 2^30.
        let total = total.max(1) as u64;
        let bits = bit_len64(total) as i32;
        let normal = if bits >= 32 {
            total >> (bits - 32)
        } else {
            total << (32 - bits)
        } as u32;
        let reciprocal = recip_q62(normal);
        for g in 0..p.groups as usize {
            let exponent = |b: usize| partial(b)[dims + 2 + g] as i32;
            let top = (0..blocks).map(exponent).max().unwrap_or(0);
            for d in g * 32..(g * 32 + 32).min(dim) {
                let sum: i64 = (0..blocks)
                    .map(|b| {
                        // |o| < 2^31, w <= 2^30.
                        let product = i64::from(partial(b)[d] as i32) * i64::from(weights[b]);
                        round_shr64(product, (15 + (top - exponent(b))).min(62) as u32)
                    })
                    .sum();
                // 1/total = reciprocal · 2^-62 · 2^(32 − bits); o has the unit 2^(top + VALUE_SHIFT).
                let shift = 62 - (32 - bits) - (top + VALUE_SHIFT as i32 - p.exponent);
                out[d] = scale64(sum, reciprocal, shift);
            }
        }
    });
}
