//! Attention of one head, row and block of 256 positions; twin of `wgsl/attn_block_q8.wgsl`.

use super::fixed::{exp2_neg_q30, requant64, round_shr64};
use super::softcap::Cap;
use super::{byte, for_chunks};
use crate::params::{
    AttnBlock, PAGE, ROW_WORDS, SCORE_BITS, SCORE_GROUP_MAX, SCORE_MAX, VALUE_SHIFT,
};
use crate::{kv_page_words, partial_stride, query_stride};
use std::ops::Range;

/// `partial[r][head][block]` = `Σ p'·v` per dimension, `Σ p` in Q15, the largest score and each group's
/// value exponent, over the block's positions up to the row's own.
///
/// Blocks beyond a row's position or before its window are left alone.
pub fn run(
    p: &AttnBlock,
    rows: u32,
    blocks: u32,
    row_table: &[u32],
    page_table: &[u32],
    query: &[u32],
    cache: &[u32],
    partial: &mut [u32],
) {
    let (heads, max_blocks) = (p.heads as usize, p.max_blocks as usize);
    let stride = partial_stride(p.head_words, p.groups) as usize;
    for_chunks(
        &mut partial[..rows as usize * heads * max_blocks * stride],
        max_blocks * stride,
        |i, out| {
            let (r, head) = (i / heads, i % heads);
            let row = &row_table[r * ROW_WORDS as usize..];
            let (position, sequence) = (row[1], row[2]);
            let query_words = query_stride(p.head_words) as usize;
            let query = &query[i * query_words..(i + 1) * query_words];
            let kv_head = head / p.heads_per_kv as usize;
            let kv_heads = heads / p.heads_per_kv as usize;
            let head_stride = kv_page_words(1, p.head_words, p.groups) as usize;
            let oldest = oldest_seen(position, p.window);
            for block in oldest / PAGE..blocks.min(position / PAGE + 1) {
                let page = page_table[(sequence * p.table_stride + block) as usize] as usize;
                let base = (page * kv_heads + kv_head) * head_stride;
                let visible = (position - block * PAGE + 1).min(PAGE);
                let start = oldest.max(block * PAGE) - block * PAGE;
                let out = &mut out[block as usize * stride..(block as usize + 1) * stride];
                attend(
                    p,
                    query,
                    &cache[base..base + head_stride],
                    start as usize..visible as usize,
                    out,
                );
            }
        },
    );
}

/// One block: `cells` is the head's page, `visible` its positions that the row sees (at least one).
fn attend(p: &AttnBlock, query: &[u32], cells: &[u32], visible: Range<usize>, out: &mut [u32]) {
    let (words, groups, page) = (p.head_words as usize, p.groups as usize, PAGE as usize);
    let (keys, rest) = cells.split_at(page * words);
    let (values, scales) = rest.split_at(page * words);
    let dims = 4 * words;
    let exponent = query[2 * words] as i32;
    let q: Vec<i32> = (0..dims)
        .map(|d| 32 * i32::from(byte(query, d) as i8) + i32::from(byte(&query[words..], d) as i8))
        .collect();

    let cap = (p.cap_mantissa > 0).then_some(Cap {
        mantissa: p.cap_mantissa,
        shift: p.cap_shift,
        rate_mantissa: p.rate_mantissa,
        rate_shift: p.rate_shift,
    });
    let mut scores = [0i32; PAGE as usize];
    let scores = &mut scores[visible.clone()];
    for (t, score) in visible.clone().zip(scores.iter_mut()) {
        let key: &[u8] = bytemuck::cast_slice(&keys[t * words..(t + 1) * words]);
        let mut sum = 0i32;
        for g in 0..groups {
            let range = g * 32..(g * 32 + 32).min(dims);
            // |q| <= 2047 and |k| <= 127 over 32: |d| < 2^23; times the mantissa < 2^31.
            let d: i32 = q[range.clone()]
                .iter()
                .zip(&key[range])
                .map(|(q, k)| q * i32::from(*k as i8))
                .sum();
            let scale = scales[t * groups + g];
            let shift = -(SCORE_BITS as i32 + exponent + i32::from((scale >> 8) as i8));
            let share = requant64(i64::from(d) * i64::from(scale & 0xff), shift);
            sum += share.clamp(-SCORE_GROUP_MAX, SCORE_GROUP_MAX);
        }
        let sum = sum.clamp(-SCORE_MAX, SCORE_MAX);
        *score = cap.map_or(sum, |c| c.apply(sum));
    }
    let max = scores.iter().copied().max().unwrap_or(0);
    // p in Q15: at most 2^15, and the sum over 256 positions at most 2^23.
    let weights: Vec<u32> = scores.iter().map(|s| probability_q15(max, *s)).collect();
    out[dims] = weights.iter().sum();
    out[dims + 1] = max as u32;
    for g in 0..groups {
        let scale = |t: usize| scales[t * groups + g] >> 16;
        let top = visible
            .clone()
            .map(|t| i32::from((scale(t) >> 8) as i8))
            .max()
            .unwrap_or(0);
        out[dims + 2 + g] = top as u32;
        let range = g * 32..(g * 32 + 32).min(dims);
        let mut sums = [0i32; 32];
        for (t, w) in visible.clone().zip(&weights) {
            let s = scale(t);
            let shift = VALUE_SHIFT + (top - i32::from((s >> 8) as i8)) as u32;
            // See VALUE_SHIFT for the bound of the sum.
            let w = if shift > 31 {
                0
            } else {
                round_shr64(i64::from(w * (s & 0xff)), shift) as i32
            };
            let value: &[u8] = bytemuck::cast_slice(&values[t * words..(t + 1) * words]);
            for (sum, v) in sums.iter_mut().zip(&value[range.clone()]) {
                *sum += w * i32::from(*v as i8);
            }
        }
        for (o, s) in out[range].iter_mut().zip(sums) {
            *o = s as u32;
        }
    }
}

/// Oldest position that a row at `position` sees through a window; 0 is none.
pub(crate) fn oldest_seen(position: u32, window: u32) -> u32 {
    if window > 0 && window <= position {
        position + 1 - window
    } else {
        0
    }
}

/// `2^(score − max)` in Q15, rounded half up.
#[inline(always)]
fn probability_q15(max: i32, score: i32) -> u32 {
    (exp2_neg_q30(score_distance(max, score)) + (1 << 14)) >> 15
}

/// `max − score` in Q16, cut off where 2^-x is 0 in Q30 anyway.
#[inline(always)]
pub(crate) fn score_distance(max: i32, score: i32) -> u32 {
    let d = (max - score) as u32;
    if d >= 32 << SCORE_BITS {
        32 << 16
    } else {
        d << (16 - SCORE_BITS)
    }
}
