//! Keys rotated, keys and values quantized, both stored in their page; twin of `wgsl/kv_store_q8.wgsl`.

use super::quantize::{kv_code, kv_unit};
use super::rope_query_q12::Head;
use super::simd::wide;
use crate::kv_page_words;
use crate::params::{KvStore, PAGE, ROW_WORDS};

/// Writes row `r`'s keys and values at `rows[r].position` of `rows[r].sequence`, in groups of 32 dimensions.
pub fn run(
    p: &KvStore,
    rows: u32,
    row_table: &[u32],
    page_table: &[u32],
    angles: &[i32],
    k: &[i32],
    v: &[i32],
    cache: &mut [u32],
) {
    let (heads, dim, words, groups) = (
        p.heads as usize,
        p.head_dim as usize,
        p.head_words as usize,
        p.groups as usize,
    );
    let pairs = dim / 2;
    let head_stride = kv_page_words(1, p.head_words, p.groups) as usize;
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
            let (keys, rest) = cells.split_at_mut(page_len * words);
            let (values, scales) = rest.split_at_mut(page_len * words);
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
