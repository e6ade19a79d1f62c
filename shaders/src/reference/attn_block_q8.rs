//! Attention of one head, row and block of 256 positions; the definition of `wgsl/attn_block_q8.wgsl`.

use super::byte;
use super::fixed::{exp2_neg_q30, requant64};
use super::narrow::{half, level};
use super::softcap::Cap;
use crate::kv::KvLayout;
use crate::params::{
    AttnBlock, NARROW_KEYS, NARROW_VALUES, PAGE, ROW_WORDS, SCORE_BITS, SCORE_GROUP_MAX, SCORE_MAX,
    VALUE_SHIFT,
};
use crate::{partial_stride, query_stride};
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
    let kv_heads = p.heads / p.heads_per_kv;
    let queries = query.chunks_exact(query_stride(p.head_words) as usize);
    let stride = partial_stride(p.head_words, p.groups) as usize;
    let partial = partial.chunks_exact_mut(p.max_blocks as usize * stride);
    let heads = (0..rows).flat_map(|r| (0..p.heads).map(move |head| (r, head)));
    for (((r, head), query), partial) in heads.zip(queries).zip(partial) {
        let row = &row_table[(r * ROW_WORDS) as usize..];
        let (position, sequence) = (row[1], row[2]);
        for (block, out) in (0..blocks).zip(partial.chunks_exact_mut(stride)) {
            let Some(seen) = seen(position, p.window, block) else {
                continue;
            };
            let page = page_table[(sequence * p.table_stride + block) as usize];
            let layout = KvLayout::new(p.head_words, p.groups, p.narrow);
            let of_head = layout.page(1) as usize;
            let at = (page * kv_heads + head / p.heads_per_kv) as usize * of_head;
            attend(p, query, &cache[at..at + of_head], seen, out);
        }
    }
}

/// The part of one block: `query` of one head, `cells` of its keys and values in the block's page, of which the positions
/// `seen` count.
fn attend(p: &AttnBlock, query: &[u32], cells: &[u32], seen: Range<usize>, out: &mut [u32]) {
    let (dims, groups) = (4 * p.head_words as usize, p.groups as usize);
    let [keys, values, scales] = KvLayout::new(p.head_words, p.groups, p.narrow).split(cells);
    let code = |codes: &[u32], bit: u32, t: usize, d: usize| {
        if p.narrow & bit == 0 {
            return i64::from(byte(codes, t * dims + d) as i8);
        }
        let (at, bit) = half(d % 32);
        let both = byte(codes, (t * groups + d / 32) * 16 + at);
        i64::from(level(u32::from(both) >> bit & 15))
    };
    let dims_of = |g: usize| g * 32..dims.min(g * 32 + 32);

    let exponent = query[2 * p.head_words as usize] as i32;
    let mut scores = Vec::new();
    for t in seen.clone() {
        let mut sum = 0;
        for g in 0..groups {
            let mut product = 0;
            for d in dims_of(g) {
                product += query_code(query, d, dims) * code(keys, NARROW_KEYS, t, d);
            }
            sum += i64::from(share(product, scales[t * groups + g], exponent));
        }
        scores.push(limited(p, sum));
    }
    let max = scores.iter().copied().max().unwrap_or(0);
    let probabilities: Vec<u32> = scores.iter().map(|s| probability_q15(max, *s)).collect();
    // At most 2^15 each, 2^23 over 256 positions.
    out[dims] = probabilities.iter().sum();
    out[dims + 1] = max as u32;

    for g in 0..groups {
        let scale = |t: usize| value_scale(scales[t * groups + g]);
        let top = seen.clone().map(|t| scale(t).1).max().unwrap_or(0);
        out[dims + 2 + g] = top as u32;
        for d in dims_of(g) {
            // See VALUE_SHIFT for the bound.
            let mut sum = 0;
            for (t, p) in seen.clone().zip(&probabilities) {
                sum += weight(*p, scale(t), top) * code(values, NARROW_VALUES, t, d);
            }
            out[d] = sum as i32 as u32;
        }
    }
}

/// The positions of block `block` that a row at `position` sees, counted from the block's first; none beyond its position
/// or before its window.
pub(crate) fn seen(position: u32, window: u32, block: u32) -> Option<Range<usize>> {
    let oldest = oldest_seen(position, window);
    if block > position / PAGE || block < oldest / PAGE {
        return None;
    }
    let end = (position - block * PAGE + 1).min(PAGE);
    let start = oldest.max(block * PAGE) - block * PAGE;
    Some(start as usize..end as usize)
}

/// Oldest position that a row at `position` sees through a window; 0 is none.
pub(crate) fn oldest_seen(position: u32, window: u32) -> u32 {
    if window > 0 && window <= position {
        position + 1 - window
    } else {
        0
    }
}

/// Element `d` of a query of `dims` elements, 12 bits from two planes.
fn query_code(query: &[u32], d: usize, dims: usize) -> i64 {
    32 * i64::from(byte(query, d) as i8) + i64::from(byte(query, dims + d) as i8)
}

/// Mantissa and exponent of a key's scale.
#[inline(always)]
pub(crate) fn key_scale(scale: u32) -> (u32, i32) {
    (scale & 0xff, i32::from((scale >> 8) as i8))
}

/// Mantissa and exponent of a value's scale.
#[inline(always)]
pub(crate) fn value_scale(scale: u32) -> (u32, i32) {
    (scale >> 16 & 0xff, i32::from((scale >> 24) as i8))
}

/// A group's share of a score: the product `d` of its codes by the key's scale, in 2^-SCORE_BITS, within
/// ±SCORE_GROUP_MAX; `exponent` is the query's.
///
/// |q| ≤ 2047 and |k| ≤ 127 over 32: |d| < 2^23, times the mantissa < 2^31.
pub(crate) fn share(d: i64, scale: u32, exponent: i32) -> i32 {
    let (mantissa, key_exponent) = key_scale(scale);
    let shift = score_base(exponent).wrapping_sub(key_exponent);
    requant64(d * i64::from(mantissa), shift).clamp(-SCORE_GROUP_MAX, SCORE_GROUP_MAX)
}

/// The shift right of a key's product, less the exponent of its scale.
#[inline(always)]
pub(crate) fn score_base(exponent: i32) -> i32 {
    -(SCORE_BITS as i32).wrapping_add(exponent)
}

/// The sum of a score's shares, at most 8, cut off and capped.
fn limited(p: &AttnBlock, sum: i64) -> i32 {
    let score = sum.clamp(-i64::from(SCORE_MAX), i64::from(SCORE_MAX)) as i32;
    cap(p).map_or(score, |cap| cap.apply(score))
}

/// The cap of scores, where there is one.
#[inline(always)]
pub(crate) fn cap(p: &AttnBlock) -> Option<Cap> {
    (p.cap_mantissa > 0).then_some(Cap {
        mantissa: p.cap_mantissa,
        shift: p.cap_shift,
        rate_mantissa: p.rate_mantissa,
        rate_shift: p.rate_shift,
    })
}

/// `2^(score − max)` in Q15, rounded half up.
#[inline(always)]
pub(crate) fn probability_q15(max: i32, score: i32) -> u32 {
    (exp2_neg_q30(score_distance(max, score)) + (1 << 14)) >> 15
}

/// `max − score` in Q16, cut off where 2^-x is 0 in Q30 anyway.
#[inline(always)]
pub(crate) fn score_distance(max: i32, score: i32) -> u32 {
    // A soft-cap may lift a score beyond SCORE_MAX, and two of them differ by more than 2^31.
    let d = (max as u32).wrapping_sub(score as u32);
    if d >= 32 << SCORE_BITS {
        32 << 16
    } else {
        d << (16 - SCORE_BITS)
    }
}

/// `p'`: a probability by its value's scale, relative to the largest exponent. See VALUE_SHIFT for the bound.
fn weight(p: u32, (mantissa, exponent): (u32, i32), top: i32) -> i64 {
    let product = i64::from(p) * i64::from(mantissa);
    i64::from(requant64(product, VALUE_SHIFT as i32 + top - exponent))
}
