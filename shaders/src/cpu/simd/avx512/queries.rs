//! Attention of many queries to one head's page: keys and values are rearranged once, then every query finds sixteen keys,
//! or sixteen dimensions of four values, in a vector, and no sum goes across lanes.

use super::{Line, V, load, splat, store, zero};
use crate::cpu::attn_block_q8::{Pass, Query, share, softmax, top_exponent, weight};
use crate::cpu::scratch::resize;
use crate::cpu::simd::attention::widen_group;
use crate::cpu::simd::kernel::unrolled;
use crate::kv::KvLayout;
use crate::params::{AttnBlock, NARROW_KEYS, NARROW_VALUES, PAGE, SCORE_GROUP_MAX};
use crate::partial_stride;
use crate::reference::attn_block_q8::score_base;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

/// Queries side by side.
pub const SIDE: usize = 4;
/// Positions of a page.
const POSITIONS: usize = PAGE as usize;
/// Vectors of sixteen keys in a page.
const KEYS: usize = POSITIONS / 16;
/// Pairs of dimensions in a group.
const PAIRS: usize = 16;

/// One head's page, its first positions rearranged.
#[derive(Default)]
pub struct Page {
    /// `[sixteen keys][group][pair of dimensions]`: the pair of each key in 16 bits each.
    keys: Vec<Line>,
    /// `[group][four positions]`: of sixteen dimensions the bytes of the four positions, then of the other sixteen.
    values: Vec<[Line; 2]>,
    /// `[group][position]`: the words of the cache.
    scales: Vec<u32>,
    /// `[position][group]`: the levels of codes of 4 bits.
    room: Vec<[u32; 8]>,
    /// Positions that are filled; a multiple of sixteen.
    filled: usize,
    groups: usize,
}

/// Bytes of a page of so many groups, of which parts may have 4 bits.
pub const fn page_bytes(groups: usize, narrow: u32) -> u64 {
    let levels = if narrow == 0 { 0 } else { 32 };
    (POSITIONS * groups * (32 * 2 + 32 + 4 + levels)) as u64
}

/// The first `count` positions of a part and the words of each; of codes of 4 bits their levels, in `room`.
#[target_feature(enable = "avx512f")]
fn levels<'a>(
    part: &'a [u32],
    (words, groups): (usize, usize),
    narrow: bool,
    count: usize,
    room: &'a mut Vec<[u32; 8]>,
) -> (&'a [u32], usize) {
    if !narrow {
        return (part, words);
    }
    resize(room, POSITIONS * groups, [0; 8]);
    let (bytes, _) = bytemuck::cast_slice::<u32, u8>(part).as_chunks::<16>();
    for (bytes, out) in bytes.iter().zip(&mut *room).take(count * groups) {
        widen_group(bytes, bytemuck::cast_mut(out));
    }
    (room.as_flattened(), 8 * groups)
}

impl Page {
    /// Takes the first `count` positions of a head's page, `cells` as [`KvLayout`] lays it out.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub fn fill(&mut self, p: &AttnBlock, cells: &[u32], count: usize) {
        let (words, groups) = (p.head_words as usize, p.groups as usize);
        let line = Line([0; 64]);
        resize(&mut self.keys, KEYS * groups * PAIRS, line);
        resize(&mut self.values, groups * POSITIONS / 4, [line; 2]);
        resize(&mut self.scales, groups * POSITIONS, 0);
        (self.filled, self.groups) = (count.next_multiple_of(16).min(POSITIONS), groups);
        let [keys, values, scales] = KvLayout::new(p.head_words, p.groups, p.narrow).split(cells);
        let (count, of) = (self.filled, (words, groups));
        let is_narrow = |bit: u32| p.narrow & bit != 0;
        let (keys, words) = levels(keys, of, is_narrow(NARROW_KEYS), count, &mut self.room);
        for (i, lines) in self.keys.chunks_exact_mut(groups * PAIRS).enumerate() {
            if i * 16 >= self.filled {
                break;
            }
            let keys = &keys[i * 16 * words..(i + 1) * 16 * words];
            for (word, pair) in lines.chunks_exact_mut(2).enumerate() {
                if word < words {
                    let mut column = [0u32; 16];
                    for (c, key) in column.iter_mut().zip(keys.chunks_exact(words)) {
                        *c = key[word];
                    }
                    widen(&column, pair);
                } else {
                    pair.fill(line);
                }
            }
        }
        let (values, words) = levels(values, of, is_narrow(NARROW_VALUES), count, &mut self.room);
        for (g, lines) in self.values.chunks_exact_mut(POSITIONS / 4).enumerate() {
            let bytes: &[u8] = bytemuck::cast_slice(values);
            let dims = g * 32..(g * 32 + 32).min(4 * words);
            let four = bytes.chunks_exact(16 * words);
            for (lines, four) in lines.iter_mut().zip(four).take(self.filled / 4) {
                let mut rows = [Line([0; 64]); 2];
                for (t, value) in four.chunks_exact(4 * words).enumerate() {
                    let value = &value[dims.clone()];
                    rows[t / 2].0[t % 2 * 32..][..value.len()].copy_from_slice(value);
                }
                interleave(&rows, lines);
            }
        }
        for (g, plane) in self.scales.chunks_exact_mut(POSITIONS).enumerate() {
            let cells = scales.chunks_exact(groups).take(self.filled);
            for (scale, cell) in plane.iter_mut().zip(cells) {
                *scale = cell[g];
            }
        }
    }
}

/// Both pairs of the four bytes of sixteen keys, as 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(column: &[u32; 16], pair: &mut [Line]) {
    // SAFETY: `column` is 64 readable bytes; the load is unaligned.
    let v = unsafe { _mm512_loadu_si512(column.as_ptr().cast()) };
    let low = splat(0xffff);
    // Each byte into the upper half of 16 bits, then down again with its sign.
    let spread = |two: V| {
        let bytes = _mm512_or_si512(_mm512_slli_epi32::<8>(two), _mm512_slli_epi32::<16>(two));
        _mm512_srai_epi16::<8>(bytes)
    };
    for (line, two) in pair
        .iter_mut()
        .zip([_mm512_and_si512(v, low), _mm512_srli_epi32::<16>(v)])
    {
        store(&mut line.0, spread(two));
    }
}

/// Bytes of four positions beside each other: of dimensions 0 to 15, then of 16 to 31.
#[inline]
#[target_feature(enable = "avx512f,avx512vbmi")]
fn interleave(rows: &[Line; 2], out: &mut [Line; 2]) {
    let [a, b] = rows.each_ref().map(|l| get(l));
    for (half, line) in out.iter_mut().enumerate() {
        // Byte 4·d + t is byte d of position t; positions 0 and 1 lie in `a`, 2 and 3 in `b`.
        let mut index = [0u8; 64];
        for (i, index) in index.iter_mut().enumerate() {
            *index = (i % 4 * 32 + half * 16 + i / 4) as u8;
        }
        // SAFETY: `index` is 64 readable bytes; the load is unaligned.
        let index = unsafe { _mm512_loadu_si512(index.as_ptr().cast()) };
        store(&mut line.0, _mm512_permutex2var_epi8(a, index, b));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn get(line: &Line) -> V {
    // SAFETY: a line is 64 readable bytes, aligned to as many.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

thread_local! {
    /// A rearranged page, kept from call to call.
    static KEPT: RefCell<Page> = RefCell::default();
}

/// Every block of every head of the rows from `first` on, `out` their partial results.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub fn band(pass: &Pass<'_>, first: usize, out: &mut [u32]) {
    let p = pass.p;
    let (heads, side) = (p.heads as usize, p.heads_per_kv as usize);
    let stride = partial_stride(p.head_words, p.groups) as usize;
    let of_head = p.max_blocks as usize * stride;
    let rows = first..first + out.len() / (heads * of_head);
    let mut kept = KEPT.take();
    for kv_head in 0..heads / side {
        for block in pass.blocks() {
            // The page that `kept` holds; rows of one sequence share it.
            let mut held = None;
            for r in rows.clone() {
                let Some((page, visible)) = pass.seen(r, block) else {
                    continue;
                };
                if held != Some(page) {
                    let others = rows.clone().filter_map(|r| pass.seen(r, block));
                    let same = others.filter(|(other, _)| *other == page);
                    let count = same.map(|(_, v)| v.end).max().unwrap_or(0);
                    kept.fill(p, pass.cells(page, kv_head), count);
                    held = Some(page);
                }
                let at = ((r - first) * heads + kv_head * side) * of_head;
                let of_row = out[at..at + side * of_head].chunks_exact_mut(of_head);
                let mut places = of_row.map(|o| &mut o[block as usize * stride..][..stride]);
                for head in (0..side).step_by(SIDE) {
                    let count = SIDE.min(side - head);
                    let query = |i: usize| pass.query(r, kv_head * side + head + i.min(count - 1));
                    let queries: [Query; SIDE] = std::array::from_fn(query);
                    let mut own: [&mut [u32]; SIDE] =
                        std::array::from_fn(|_| places.next().unwrap_or_default());
                    attend(
                        p,
                        &kept,
                        &queries[..count],
                        visible.clone(),
                        &mut own[..count],
                    );
                }
            }
        }
    }
    KEPT.set(kept);
}

/// The page's part for each of at most [`SIDE`] queries of one row, as [`crate::reference::attn_block_q8`] defines it.
///
/// `visible` is not empty and ends within what is filled; `out` has a partial result for each query.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub fn attend(
    p: &AttnBlock,
    page: &Page,
    queries: &[Query],
    visible: Range<usize>,
    out: &mut [&mut [u32]],
) {
    match queries.len() {
        4 => side::<4>(p, page, queries, visible, out),
        3 => side::<3>(p, page, queries, visible, out),
        2 => side::<2>(p, page, queries, visible, out),
        1 => side::<1>(p, page, queries, visible, out),
        _ => {}
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn side<const B: usize>(
    p: &AttnBlock,
    page: &Page,
    queries: &[Query],
    visible: Range<usize>,
    out: &mut [&mut [u32]],
) {
    assert!(visible.end <= page.filled && visible.start < visible.end);
    let dims = 4 * p.head_words as usize;
    let mut scores = [[0i32; POSITIONS]; B];
    products::<B>(page, queries, &visible, &mut scores);
    let mut probabilities = [[0u32; POSITIONS]; B];
    for (b, (scores, out)) in scores.iter_mut().zip(&mut *out).enumerate() {
        let probabilities = &mut probabilities[b][visible.clone()];
        let (sum, max) = softmax(p, &mut scores[visible.clone()], probabilities);
        (out[dims], out[dims + 1]) = (sum, max as u32);
    }
    // Both bytes of the weights apart; 0 for positions that the row does not see.
    let mut bytes = [[[0u8; POSITIONS]; 2]; B];
    for g in 0..page.groups {
        let scales = &page.scales[g * POSITIONS..][visible.clone()];
        let top = top_exponent(scales);
        for b in 0..B {
            let [low, high] = &mut bytes[b];
            let (low, high) = (&mut low[visible.clone()], &mut high[visible.clone()]);
            weigh_bytes(&probabilities[b][visible.clone()], scales, top, low, high);
            out[b][dims + 2 + g] = top as u32;
        }
        sums::<B>(page, g, &bytes, &visible, out, dims);
    }
}

/// Adds each group's shares of the scores of the keys that are seen. Others, up to whole vectors, mean nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn products<const B: usize>(
    page: &Page,
    queries: &[Query],
    visible: &Range<usize>,
    scores: &mut [[i32; POSITIONS]; B],
) {
    let Ok(queries) = <&[Query; B]>::try_from(queries) else {
        return;
    };
    for at in visible.start / 16..visible.end.div_ceil(16) {
        let lanes = at * 16..at * 16 + 16;
        for g in 0..page.groups {
            let keys = &page.keys[(at * page.groups + g) * PAIRS..][..PAIRS];
            let mut d = [zero(); B];
            for (i, key) in keys.iter().enumerate() {
                let key = get(key);
                unrolled!(b < B, {
                    let pair = splat(queries[b].pairs(g)[i] as i32);
                    d[b] = _mm512_dpwssd_epi32(d[b], key, pair);
                });
            }
            let scales = &page.scales[g * POSITIONS..][lanes.clone()];
            let scale = load(bytemuck::cast_slice(scales), 0);
            let mantissa = _mm512_and_si512(scale, splat(0xff));
            let exponent = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<16>(scale));
            unrolled!(b < B, {
                let scores = &mut scores[b][lanes.clone()];
                let base = splat(score_base(queries[b].exponent));
                let shift = _mm512_sub_epi32(base, exponent);
                // A shift right by 1 to 31, as in all but odd files.
                let less = _mm512_sub_epi32(shift, splat(1));
                if _mm512_cmpge_epu32_mask(less, splat(31)) == 0 {
                    // Below 2^31; half up by two shifts, so that no sum leaves 32 bits.
                    let product = _mm512_srav_epi32(_mm512_mullo_epi32(d[b], mantissa), less);
                    let rounded = _mm512_srai_epi32::<1>(_mm512_add_epi32(product, splat(1)));
                    let most = splat(SCORE_GROUP_MAX);
                    let least = splat(-SCORE_GROUP_MAX);
                    let part = _mm512_max_epi32(_mm512_min_epi32(rounded, most), least);
                    let bytes: &mut [u8] = bytemuck::cast_slice_mut(scores);
                    store(bytes, _mm512_add_epi32(load(bytes, 0), part));
                } else {
                    let mut all = Line([0; 64]);
                    store(&mut all.0, d[b]);
                    let all: &[i32] = bytemuck::cast_slice(&all.0);
                    for ((score, d), scale) in scores.iter_mut().zip(all).zip(scales) {
                        *score = score.wrapping_add(share(*d, *scale, queries[b].exponent));
                    }
                }
            });
        }
    }
}

/// Both bytes of each position's weight.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn weigh_bytes(probabilities: &[u32], scales: &[u32], top: i32, low: &mut [u8], high: &mut [u8]) {
    let bytes = low.iter_mut().zip(high);
    for ((p, scale), (low, high)) in probabilities.iter().zip(scales).zip(bytes) {
        let weight = weight(*p, *scale, top);
        (*low, *high) = (weight as u8, (weight >> 8) as u8);
    }
}

/// Sums of a group's values by their weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
fn sums<const B: usize>(
    page: &Page,
    group: usize,
    bytes: &[[[u8; POSITIONS]; 2]; B],
    visible: &Range<usize>,
    out: &mut [&mut [u32]],
    dims: usize,
) {
    let words = bytes.each_ref().map(|b| {
        b.each_ref().map(|b| {
            let words: &[[u8; 4]; POSITIONS / 4] = bytemuck::cast_ref(b);
            words
        })
    });
    let values = &page.values[group * POSITIONS / 4..][..POSITIONS / 4];
    let mut low = [[zero(); 2]; B];
    let mut high = [[zero(); 2]; B];
    for at in visible.start / 4..visible.end.div_ceil(4) {
        let v = values[at].each_ref().map(|l| get(l));
        unrolled!(b < B, {
            let [l, h] = words[b].map(|w| splat(i32::from_le_bytes(w[at])));
            low[b][0] = _mm512_dpbusd_epi32(low[b][0], l, v[0]);
            low[b][1] = _mm512_dpbusd_epi32(low[b][1], l, v[1]);
            high[b][0] = _mm512_dpbusd_epi32(high[b][0], h, v[0]);
            high[b][1] = _mm512_dpbusd_epi32(high[b][1], h, v[1]);
        });
    }
    unrolled!(b < B, {
        let mut all = [Line([0; 64]); 2];
        for half in 0..2 {
            let sum = _mm512_add_epi32(low[b][half], _mm512_slli_epi32::<8>(high[b][half]));
            store(&mut all[half].0, sum);
        }
        let all: &[u32] = bytemuck::cast_slice(&all);
        let range = group * 32..(group * 32 + 32).min(dims);
        let len = range.len();
        out[b][range].copy_from_slice(&all[..len]);
    });
}
