//! Queries and keys rotated; queries quantized to 12 bits, keys and values stored in their page; twin of
//! `wgsl/rope_store_q8.wgsl`.

use super::fixed::{bit_len, round_shr64, sat32};
use super::for_chunks;
use super::quantize::{kv_code, kv_unit};
use super::simd::wide;
use crate::kv::KvLayout;
use crate::params::{PAGE, QUERY_MAX, ROW_WORDS, RopeStore};
use crate::query_stride;
use carat_format::bounds::MAX_HEAD_DIM;

/// `query[r][head]` = planes of `q12 = 32·high + low` (high in ±64, low in −16..=15) and their exponent. Row `r`'s keys and
/// values are written at `rows[r].position` of `rows[r].sequence`, in groups of 32 dimensions.
///
/// Pairs are `(i, i + head_dim/2)`: rotate-half order.
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
    let scaled = room.rotate(q, angles);
    // |rotated| < 2^31 times the normalised mantissa (<= 2^31), back to 32 bits.
    for v in scaled.iter_mut() {
        *v = sat32(round_shr64(i64::from(*v) * i64::from(p.scale_mantissa), 31));
    }
    let max = scaled.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
    let shift = bit_len(max).saturating_sub(11);
    let (codes, exponent) = out.split_at_mut(2 * words);
    codes.fill(0);
    let (highs, lows) = codes.split_at_mut(words);
    let highs: &mut [i8] = bytemuck::cast_slice_mut(highs);
    let lows: &mut [i8] = bytemuck::cast_slice_mut(lows);
    for ((v, high), low) in scaled.iter().zip(highs).zip(lows) {
        let q12 = (round_shr64(i64::from(*v), shift) as i32).clamp(-QUERY_MAX, QUERY_MAX);
        let rest = ((q12 + 16) & 31) - 16;
        (*high, *low) = (((q12 - rest) >> 5) as i8, rest as i8);
    }
    exponent[0] = (p.query_exponent + p.scale_exponent + 31 + shift as i32) as u32;
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
        // Exponents of keys and values are in -64..=32 by the file's check, e in -14..=17.
        let e = e.map_or(-128, |e| (e + exponent).clamp(-127, 127));
        *scale |= (mantissa | u32::from(e as u8) << 8) << bit;
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
            let (cos, sin) = (i64::from(angle[0]), i64::from(angle[1]));
            let (a, b) = (i64::from(*a), i64::from(*b));
            // |a|, |b| < 2^31 and |cos|, |sin| <= 2^30: both sums stay within 2^62.
            *first = sat32(round_shr64(a * cos - b * sin, 30));
            *second = sat32(round_shr64(b * cos + a * sin, 30));
        }
        out
    }
}
