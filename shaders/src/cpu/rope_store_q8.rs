//! Queries and keys rotated; queries quantized to 12 bits, keys and values stored in their page; twin of
//! `wgsl/rope_store_q8.wgsl`.

use super::for_chunks;
use super::simd::wide;
use crate::kv::KvLayout;
use crate::params::{NARROW_KEYS, NARROW_VALUES, PAGE, ROW_WORDS, RopeStore, TURN_SHIFT};
use crate::query_stride;
use crate::reference::fixed::sat32;
use crate::reference::narrow::narrowed;
use crate::reference::quantize::{kv_code, kv_unit};
use crate::reference::rope_store_q8::{
    kv_scale, query_exponent, query_planes, query_shift, rotated_pair, scaled,
};
use carat_format::bounds::MAX_HEAD_DIM;

/// As [`crate::reference::rope_store_q8::run`].
pub fn run(
    p: &RopeStore,
    rows: u32,
    [row_table, page_table]: [&[u32]; 2],
    angles: &[i32],
    [q, k, v]: [&[i32]; 3],
    query: &mut [u32],
    cache: &mut [u32],
) {
    queries(p, rows, angles, q, query);
    let table = [row_table, page_table];
    keys_and_values(p, rows, table, angles, [k, v], cache);
}

fn keys_and_values(
    p: &RopeStore,
    rows: u32,
    [row_table, page_table]: [&[u32]; 2],
    angles: &[i32],
    [k, v]: [&[i32]; 2],
    cache: &mut [u32],
) {
    let (heads, dim, groups) = (p.kv_heads as usize, p.head_dim as usize, p.groups as usize);
    let pairs = dim / 2;
    let layout = KvLayout::new(p.head_words, p.groups, p.narrow);
    let [key_words, value_words, _] = layout.strides();
    let head_stride = layout.page(1) as usize;
    let page_len = PAGE as usize;
    for r in 0..rows as usize {
        let row = &row_table[r * ROW_WORDS as usize..];
        let (position, sequence) = (row[1] as usize, row[2] as usize);
        let page = page_table[sequence * p.table_stride as usize + position / page_len] as usize;
        let slot = position % page_len;
        let angles = &angles[r * pairs * 2..(r + 1) * pairs * 2];
        for head in 0..heads {
            let at = (r * heads + head) * dim;
            let mut room = Head::default();
            let key = room.rotate(p, &k[at..at + dim], angles);
            let base = (page * heads + head) * head_stride;
            let cells = &mut cache[base..base + head_stride];
            let [keys, values, scales] = layout.split_mut(cells);
            let scales = &mut scales[slot * groups..(slot + 1) * groups];
            scales.fill(0);
            let keys = Cell {
                codes: &mut keys[slot * key_words..][..key_words],
                narrow: p.narrow & NARROW_KEYS != 0,
                bit: 0,
            };
            wide::store_head(key, keys, p.key_exponent, scales);
            let values = Cell {
                codes: &mut values[slot * value_words..][..value_words],
                narrow: p.narrow & NARROW_VALUES != 0,
                bit: 16,
            };
            wide::store_head(&v[at..at + dim], values, p.value_exponent, scales);
        }
    }
}

fn queries(p: &RopeStore, rows: u32, angles: &[i32], q: &[i32], query: &mut [u32]) {
    let (heads, dim, words) = (p.heads as usize, p.head_dim as usize, p.head_words as usize);
    let pairs = dim / 2;
    let stride = query_stride(p.head_words) as usize;
    // A task is a row: a head alone is little work.
    let all = &mut query[..rows as usize * heads * stride];
    for_chunks(all, heads * stride, |r, out| {
        let angles = &angles[r * pairs * 2..(r + 1) * pairs * 2];
        for (head, out) in out.chunks_exact_mut(stride).enumerate() {
            let at = (r * heads + head) * dim;
            wide::query_head(p, angles, &q[at..at + dim], words, out);
        }
    });
}

/// One head's query.
#[inline(always)]
pub(super) fn query(p: &RopeStore, angles: &[i32], q: &[i32], words: usize, out: &mut [u32]) {
    let mut room = Head::default();
    let q = room.rotate(p, q, angles);
    for v in q.iter_mut() {
        *v = scaled(p, *v);
    }
    let shift = query_shift(q);
    let (codes, exponent) = out.split_at_mut(2 * words);
    codes.fill(0);
    let (highs, lows) = codes.split_at_mut(words);
    let highs: &mut [i8] = bytemuck::cast_slice_mut(highs);
    let lows: &mut [i8] = bytemuck::cast_slice_mut(lows);
    for ((v, high), low) in q.iter().zip(highs).zip(lows) {
        let planes = query_planes(*v, shift);
        (*high, *low) = (planes.0 as i8, planes.1 as i8);
    }
    exponent[0] = query_exponent(p, shift);
}

/// Where a position's keys, or its values, are kept of a head.
pub(crate) struct Cell<'a> {
    /// Their words.
    codes: &'a mut [u32],
    /// Whether codes have 4 bits.
    narrow: bool,
    /// From which bit on the scales' words have theirs.
    bit: u32,
}

/// Packs a head's codes, and the scale of each group as `mantissa | exponent << 8` into the scales' bits.
#[inline(always)]
pub(super) fn store(x: &[i32], cell: Cell<'_>, exponent: i32, scales: &mut [u32]) {
    let bytes: &mut [i8] = bytemuck::cast_slice_mut(cell.codes);
    let size = if cell.narrow { 16 } else { 32 };
    let groups = x.chunks(32).zip(bytes.chunks_mut(size)).zip(scales);
    for ((group, bytes), scale) in groups {
        let max = group.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
        let (mantissa, e) = kv_unit(max);
        if cell.narrow {
            let mut codes = [0u8; 32];
            for (code, v) in codes.iter_mut().zip(group) {
                *code = narrowed(e.map_or(0, |e| kv_code(*v, mantissa, e))) as u8;
            }
            let (lows, highs) = codes.split_at(16);
            for ((byte, low), high) in bytes.iter_mut().zip(lows).zip(highs) {
                *byte = (low | high << 4) as i8;
            }
        } else {
            bytes.fill(0);
            if let Some(e) = e {
                for (code, v) in bytes.iter_mut().zip(group) {
                    *code = kv_code(*v, mantissa, e) as i8;
                }
            }
        }
        *scale |= kv_scale(mantissa, e, exponent) << cell.bit;
    }
}

/// Turns every whole group as [`crate::reference::narrow::turn`] does, in five passes over it: no sum leaves 36 bits.
#[inline(always)]
fn turn(x: &mut [i32]) {
    for group in x.chunks_exact_mut(32) {
        let mut sums: [i64; 32] = std::array::from_fn(|i| i64::from(group[i]));
        for step in [1, 2, 4, 8, 16] {
            for pair in sums.chunks_exact_mut(2 * step) {
                let (firsts, seconds) = pair.split_at_mut(step);
                for (a, b) in firsts.iter_mut().zip(seconds) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        for (out, sum) in group.iter_mut().zip(sums) {
            *out = sat32((sum + (1 << (TURN_SHIFT - 1))) >> TURN_SHIFT);
        }
    }
}

/// Room for one head.
pub(crate) struct Head([i32; MAX_HEAD_DIM as usize]);

impl Default for Head {
    fn default() -> Self {
        Self([0; MAX_HEAD_DIM as usize])
    }
}

impl Head {
    /// One head rotated by its position's angles, and turned where keys have 4 bits.
    #[inline(always)]
    pub fn rotate(&mut self, p: &RopeStore, head: &[i32], angles: &[i32]) -> &mut [i32] {
        let out = &mut self.0[..head.len()];
        let (firsts, seconds) = head.split_at(head.len() / 2);
        let (out_firsts, out_seconds) = out.split_at_mut(firsts.len());
        let outs = out_firsts.iter_mut().zip(out_seconds);
        let pairs = firsts.iter().zip(seconds).zip(angles.chunks_exact(2));
        for (((a, b), angle), (first, second)) in pairs.zip(outs) {
            (*first, *second) = rotated_pair(*a, *b, [angle[0], angle[1]]);
        }
        if p.narrow & NARROW_KEYS != 0 {
            turn(out);
        }
        out
    }
}
