//! Attention of one head, row and block of 256 positions; twin of `wgsl/attn_block_q8.wgsl`.

use super::fixed::{exp2_neg_q30, requant64, round_shr64};
use super::simd::{Isa, attention};
use super::softcap::Cap;
use super::{byte, for_chunks};
use crate::params::{
    AttnBlock, PAGE, ROW_WORDS, SCORE_BITS, SCORE_GROUP_MAX, SCORE_MAX, VALUE_SHIFT,
};
use crate::{kv_page_words, partial_stride, query_stride};
use carat_format::bounds::MAX_HEAD_DIM;
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
    let isa = Isa::get();
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
                    isa,
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
fn attend(
    isa: Isa,
    p: &AttnBlock,
    query: &[u32],
    cells: &[u32],
    visible: Range<usize>,
    out: &mut [u32],
) {
    let exponent = query[2 * p.head_words as usize] as i32;
    let codes = |d| {
        32 * i16::from(byte(query, d) as i8)
            + i16::from(byte(&query[p.head_words as usize..], d) as i8)
    };
    let mut q = [[0i16; 32]; MAX_HEAD_DIM as usize / 32];
    for (d, q) in q.as_flattened_mut()[..4 * p.head_words as usize]
        .iter_mut()
        .enumerate()
    {
        *q = codes(d);
    }
    let block = Block {
        p,
        q: &q,
        exponent,
        cells,
        visible,
    };
    attention::attend(isa, &block, out);
}

/// A head's block of positions under a query.
pub(super) struct Block<'a> {
    p: &'a AttnBlock,
    /// The query, 12 bits an element, zeros behind its last.
    q: &'a [[i16; 32]; MAX_HEAD_DIM as usize / 32],
    /// Of the query.
    exponent: i32,
    /// The head's page.
    cells: &'a [u32],
    /// The positions that the row sees.
    visible: Range<usize>,
}

/// 32 elements of a key or value.
pub(super) type Codes = [i8; 32];

/// Twice [`Codes`] with a weight each.
pub(super) struct Pair<'a> {
    pub weights: [u16; 2],
    pub values: [&'a Codes; 2],
}

impl Block<'_> {
    /// The block's part: `dot` multiplies a group of a query with one of a key, `add` adds a pair of weighted values to
    /// their sums.
    #[inline(always)]
    pub fn attend(
        &self,
        dot: impl Fn(&[i16; 32], &Codes) -> i32,
        add: impl Fn(&mut [i32; 32], &Pair<'_>),
        out: &mut [u32],
    ) {
        let p = self.p;
        let (words, groups, page) = (p.head_words as usize, p.groups as usize, PAGE as usize);
        let (keys, rest) = self.cells.split_at(page * words);
        let (values, scales) = rest.split_at(page * words);
        let dims = 4 * words;
        let cap = (p.cap_mantissa > 0).then_some(Cap {
            mantissa: p.cap_mantissa,
            shift: p.cap_shift,
            rate_mantissa: p.rate_mantissa,
            rate_shift: p.rate_shift,
        });
        // The last group of a head whose dimensions are no multiple of 32 is filled up with zeros.
        let group = |cells: &[u32], t: usize, g: usize| -> Codes {
            let bytes: &[i8] = bytemuck::cast_slice(&cells[t * words..(t + 1) * words]);
            let bytes = &bytes[g * 32..(g * 32 + 32).min(dims)];
            match bytes.try_into() {
                Ok(whole) => whole,
                Err(_) => {
                    let mut filled = [0; 32];
                    filled[..bytes.len()].copy_from_slice(bytes);
                    filled
                }
            }
        };
        let visible = self.visible.clone();
        let mut scores = [0i32; PAGE as usize];
        let scores = &mut scores[..visible.len()];
        for (t, score) in visible.clone().zip(scores.iter_mut()) {
            let mut sum = 0i32;
            for (g, q) in self.q.iter().enumerate().take(groups) {
                // |q| <= 2047 and |k| <= 127 over 32: |d| < 2^23; times the mantissa < 2^31.
                let d = dot(q, &group(keys, t, g));
                let scale = scales[t * groups + g];
                let shift = -(SCORE_BITS as i32 + self.exponent + i32::from((scale >> 8) as i8));
                let share = requant64(i64::from(d) * i64::from(scale & 0xff), shift);
                sum += share.clamp(-SCORE_GROUP_MAX, SCORE_GROUP_MAX);
            }
            let sum = sum.clamp(-SCORE_MAX, SCORE_MAX);
            *score = cap.map_or(sum, |c| c.apply(sum));
        }
        let max = scores.iter().copied().max().unwrap_or(0);
        // p in Q15: at most 2^15, and the sum over 256 positions at most 2^23.
        let mut weights = [0u32; PAGE as usize];
        let weights = &mut weights[..visible.len()];
        for (w, s) in weights.iter_mut().zip(scores.iter()) {
            *w = probability_q15(max, *s);
        }
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
            let weight = |i: usize| -> u16 {
                let (Some(w), t) = (weights.get(i), visible.start + i) else {
                    return 0;
                };
                let s = scale(t);
                let shift = VALUE_SHIFT + (top - i32::from((s >> 8) as i8)) as u32;
                // See VALUE_SHIFT for the bound, which is that of 16 bits too.
                if shift > 31 {
                    0
                } else {
                    round_shr64(i64::from(w * (s & 0xff)), shift) as u16
                }
            };
            let mut sums = [0i32; 32];
            for i in (0..weights.len()).step_by(2) {
                let t = visible.start + i;
                let last = weights.len() - 1 + visible.start;
                add(
                    &mut sums,
                    &Pair {
                        weights: [weight(i), weight(i + 1)],
                        values: [&group(values, t, g), &group(values, last.min(t + 1), g)],
                    },
                );
            }
            let range = g * 32..(g * 32 + 32).min(dims);
            for (o, s) in out[range].iter_mut().zip(sums) {
                *o = s as u32;
            }
        }
    }
}

/// A group of a query times one of a key.
#[inline(always)]
pub(super) fn dot(q: &[i16; 32], k: &Codes) -> i32 {
    let products = q.iter().zip(k).map(|(q, k)| i32::from(*q) * i32::from(*k));
    products.sum()
}

/// Adds weighted values.
#[inline(always)]
pub(super) fn add(sums: &mut [i32; 32], pair: &Pair<'_>) {
    for (weight, values) in pair.weights.iter().zip(pair.values) {
        for (sum, v) in sums.iter_mut().zip(values) {
            *sum += i32::from(*weight) * i32::from(*v);
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_version_has_the_same_integers(
            words in 1u32..=64, heads in 1usize..3, start in 0usize..256, count in 1usize..257,
            seed in any::<u64>(),
        ) {
            let groups = words.div_ceil(8);
            let mut state = seed | 1;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 32) as u32
            };
            let mut p = AttnBlock::zeroed();
            (p.head_words, p.groups) = (words, groups);
            let visible = start.min(255)..(start + count).min(256);
            for _ in 0..heads {
                let mut query: Vec<u32> = (0..query_stride(words)).map(|_| next()).collect();
                query[2 * words as usize] = (next() % 24) as i32 as u32;
                let size = kv_page_words(1, words, groups) as usize;
                let mut cells: Vec<u32> = (0..size).map(|_| next()).collect();
                // Exponents near each other, as real pages have them; some far off.
                for scale in &mut cells[2 * PAGE as usize * words as usize..] {
                    if *scale % 16 > 0 {
                        *scale = *scale & 0x00ff_00ff | 0xf600_f400;
                    }
                }
                let mut expected = vec![0; partial_stride(words, groups) as usize];
                attend(Isa::Portable, &p, &query, &cells, visible.clone(), &mut expected);
                for isa in Isa::ALL.iter().filter(|i| i.supported()) {
                    let mut found = vec![0; expected.len()];
                    attend(*isa, &p, &query, &cells, visible.clone(), &mut found);
                    prop_assert_eq!(&found, &expected, "{}", isa.name());
                }
            }
        }
    }
}
