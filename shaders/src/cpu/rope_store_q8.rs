//! Queries and keys rotated; queries quantized to 12 bits, keys and values stored in their page; twin of
//! `wgsl/rope_store_q8.wgsl`.

use super::for_chunks;
use super::simd::wide;
use crate::kv::KvLayout;
use crate::params::{PAGE, ROW_WORDS, RopeStore};
use crate::query_stride;
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
    let (heads, dim, words, groups) = (
        p.kv_heads as usize,
        p.head_dim as usize,
        p.head_words as usize,
        p.groups as usize,
    );
    let pairs = dim / 2;
    let layout = KvLayout::new(p.head_words, p.groups);
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
            let key = room.rotate(&k[at..at + dim], angles);
            let base = (page * heads + head) * head_stride;
            let cells = &mut cache[base..base + head_stride];
            let [keys, values, scales] = layout.split_mut(cells);
            let scales = &mut scales[slot * groups..(slot + 1) * groups];
            scales.fill(0);
            wide::store_head(
                key,
                &mut keys[slot * words..(slot + 1) * words],
                p.key_exponent,
                0,
                scales,
            );
            wide::store_head(
                &v[at..at + dim],
                &mut values[slot * words..(slot + 1) * words],
                p.value_exponent,
                16,
                scales,
            );
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
    let q = room.rotate(q, angles);
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

/// Packs a head's codes, and the scale of each group as `mantissa | exponent << 8` into the scales' bits from `bit` on.
#[inline(always)]
pub(super) fn store(x: &[i32], out: &mut [u32], exponent: i32, bit: u32, scales: &mut [u32]) {
    let codes: &mut [i8] = bytemuck::cast_slice_mut(out);
    let groups = x.chunks(32).zip(codes.chunks_mut(32)).zip(scales);
    for ((group, codes), scale) in groups {
        let max = group.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
        let (mantissa, e) = kv_unit(max);
        codes.fill(0);
        if let Some(e) = e {
            for (code, v) in codes.iter_mut().zip(group) {
                *code = kv_code(*v, mantissa, e) as i8;
            }
        }
        *scale |= kv_scale(mantissa, e, exponent) << bit;
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
    /// One head rotated by its position's angles.
    #[inline(always)]
    pub fn rotate(&mut self, head: &[i32], angles: &[i32]) -> &mut [i32] {
        let out = &mut self.0[..head.len()];
        let (firsts, seconds) = head.split_at(head.len() / 2);
        let (out_firsts, out_seconds) = out.split_at_mut(firsts.len());
        let outs = out_firsts.iter_mut().zip(out_seconds);
        let pairs = firsts.iter().zip(seconds).zip(angles.chunks_exact(2));
        for (((a, b), angle), (first, second)) in pairs.zip(outs) {
            (*first, *second) = rotated_pair(*a, *b, [angle[0], angle[1]]);
        }
        out
    }
}
