//! The blocks of one head and row merged; the definition of `wgsl/attn_merge_i32.wgsl`.

use super::attn_block_q8::{oldest_seen, score_distance};
use super::fixed::{bit_len64, exp2_neg_q30, recip_q62, round_shr64, scale64};
use crate::params::{AttnMerge, PAGE, ROW_WORDS, VALUE_SHIFT};
use crate::partial_stride;

/// `out[r][head]` = `Σ_b o_b·2^(m_b − m) / Σ_b l_b·2^(m_b − m)` in the unit `2^exponent`.
pub fn run(p: &AttnMerge, rows: u32, row_table: &[u32], partial: &[u32], out: &mut [i32]) {
    let stride = partial_stride(p.head_words, p.groups) as usize;
    let partial = partial.chunks_exact(p.max_blocks as usize * stride);
    let out = out.chunks_exact_mut(p.head_dim as usize);
    let heads = (0..rows).flat_map(|r| (0..p.heads).map(move |_| r));
    for ((r, partial), out) in heads.zip(partial).zip(out) {
        let position = row_table[(r * ROW_WORDS + 1) as usize];
        let oldest = (oldest_seen(position, p.window) / PAGE) as usize;
        let newest = (position / PAGE) as usize;
        let blocks: Vec<&[u32]> = partial.chunks_exact(stride).collect();
        for (d, out) in out.iter_mut().enumerate() {
            *out = merged(p, &blocks[oldest..=newest], d);
        }
    }
}

/// Dimension `d` of the blocks of a head.
fn merged(p: &AttnMerge, blocks: &[&[u32]], d: usize) -> i32 {
    let dims = 4 * p.head_words as usize;
    let score = |b: &[u32]| b[dims + 1] as i32;
    let exponent = |b: &[u32]| b[dims + 2 + d / 32] as i32;
    let max = blocks.iter().map(|b| score(b)).max().unwrap_or(0);
    let top = blocks.iter().map(|b| exponent(b)).max().unwrap_or(0);
    // In Q30. l·w < 2^53, after the shift < 2^38 a block: 2^16 blocks fit 64 bits; |o| < 2^31.
    let weight = |b: &[u32]| i64::from(exp2_neg_q30(score_distance(max, score(b))));
    let part = |b: &&[u32]| round_shr64(i64::from(b[dims]) * weight(b), 15);
    let share = |b: &&[u32]| {
        let shift = (15 + (top - exponent(b))).min(62) as u32;
        round_shr64(i64::from(b[d] as i32) * weight(b), shift)
    };
    let (reciprocal, bits) = inverse(blocks.iter().map(part).sum());
    let sum = blocks.iter().map(share).sum();
    scale64(sum, reciprocal, scale_shift(p, bits, top))
}

/// (`2^62` by the upper 32 bits of the sum of probabilities, how many bits it has).
#[inline(always)]
pub(crate) fn inverse(total: i64) -> (u32, i32) {
    // The block of the maximum holds p = 1 and w = 1: the total is at least 2^30.
    let total = total.max(1) as u64;
    let bits = bit_len64(total) as i32;
    let normal = if bits >= 32 {
        total >> (bits - 32)
    } else {
        total << (32 - bits)
    };
    (recip_q62(normal as u32), bits)
}

/// The shift of a sum of values times the reciprocal, into the unit of the result.
#[inline(always)]
pub(crate) fn scale_shift(p: &AttnMerge, bits: i32, top: i32) -> i32 {
    // 1/total = reciprocal · 2^-62 · 2^(32 − bits); o has the unit 2^(top + VALUE_SHIFT).
    62 - (32 - bits) - (top + VALUE_SHIFT as i32 - p.exponent)
}
