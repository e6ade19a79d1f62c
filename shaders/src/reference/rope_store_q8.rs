//! Queries and keys rotated; queries quantized to 12 bits, keys and values stored in their page; the definition of
//! `wgsl/rope_store_q8.wgsl`.

use super::fixed::{bit_len, round_shr64, sat32};
use super::narrow::{half, narrowed, turn};
use super::quantize::{kv_code, kv_unit};
use super::set_byte;
use crate::kv::KvLayout;
use crate::params::{
    NARROW_KEYS, NARROW_VALUES, PAGE, QUERY_MAX, ROW_WORDS, RopeStore, TURN_SHIFT,
};
use crate::query_stride;

/// `query[r][head]` = planes of `q12 = 32·high + low` (high in ±64, low in −16..=15) and their exponent. Row `r`'s keys and
/// values are written at `rows[r].position` of `rows[r].sequence`, in groups of 32 dimensions.
///
/// Pairs are `(i, i + head_dim/2)`: rotate-half order. Where keys have 4 bits, queries and keys are turned after that.
pub fn run(
    p: &RopeStore,
    rows: u32,
    [row_table, page_table]: [&[u32]; 2],
    angles: &[i32],
    [q, k, v]: [&[i32]; 3],
    query: &mut [u32],
    cache: &mut [u32],
) {
    let (dim, groups) = (p.head_dim as usize, p.groups as usize);
    let (heads, kv_heads, page_len) = (p.heads as usize, p.kv_heads as usize, PAGE as usize);
    for r in 0..rows as usize {
        let row = &row_table[r * ROW_WORDS as usize..];
        let (position, sequence) = (row[1] as usize, row[2] as usize);
        let angles = &angles[r * (dim / 2) * 2..];
        for i in r * heads..(r + 1) * heads {
            let stride = query_stride(p.head_words) as usize;
            let out = &mut query[i * stride..(i + 1) * stride];
            store_query(p, &rotated(p, &q[i * dim..(i + 1) * dim], angles), out);
        }
        let page = page_table[sequence * p.table_stride as usize + position / page_len] as usize;
        let slot = position % page_len;
        for head in 0..kv_heads {
            let i = r * kv_heads + head;
            let key = rotated(p, &k[i * dim..(i + 1) * dim], angles);
            let value = &v[i * dim..(i + 1) * dim];
            let layout = KvLayout::new(p.head_words, p.groups, p.narrow);
            let of_head = layout.page(1) as usize;
            let cells = &mut cache[(page * kv_heads + head) * of_head..][..of_head];
            let [keys, values, scales] = layout.split_mut(cells);
            let cell = |part: usize| {
                let words = layout.strides()[part];
                slot * words..(slot + 1) * words
            };
            let are = |bit: u32| p.narrow & bit != 0;
            let (keys, values) = (&mut keys[cell(0)], &mut values[cell(1)]);
            let key_scales = store(&key, p.key_exponent, are(NARROW_KEYS), keys);
            let value_scales = store(value, p.value_exponent, are(NARROW_VALUES), values);
            for g in 0..groups {
                scales[slot * groups + g] = key_scales[g] | value_scales[g] << 16;
            }
        }
    }
}

/// A head rotated by its position's angles, and turned where keys have 4 bits.
fn rotated(p: &RopeStore, x: &[i32], angles: &[i32]) -> Vec<i32> {
    let half = x.len() / 2;
    let mut out = vec![0; x.len()];
    for i in 0..half {
        let angle = [angles[2 * i], angles[2 * i + 1]];
        (out[i], out[i + half]) = rotated_pair(x[i], x[i + half], angle);
    }
    if p.narrow & NARROW_KEYS != 0 {
        turn(&mut out);
    }
    out
}

/// The pair `(a, b)` rotated by an angle's cos and sin.
///
/// |a|, |b| < 2^31 and |cos|, |sin| <= 2^30: both sums stay within 2^62.
#[inline(always)]
pub(crate) fn rotated_pair(a: i32, b: i32, angle: [i32; 2]) -> (i32, i32) {
    let [a, b, cos, sin] = [a, b, angle[0], angle[1]].map(i64::from);
    (
        sat32(round_shr64(a * cos - b * sin, 30)),
        sat32(round_shr64(b * cos + a * sin, 30)),
    )
}

/// One head's rotated query, scaled and rounded to 12 bits.
fn store_query(p: &RopeStore, x: &[i32], out: &mut [u32]) {
    let x: Vec<i32> = x.iter().map(|v| scaled(p, *v)).collect();
    let shift = query_shift(&x);
    out.fill(0);
    for (d, v) in x.iter().enumerate() {
        let (high, low) = query_planes(*v, shift);
        set_byte(out, d, high);
        set_byte(out, 4 * p.head_words as usize + d, low);
    }
    out[2 * p.head_words as usize] = query_exponent(p, shift);
}

/// An element of a query times the normalised mantissa of the scale.
///
/// |v| < 2^31 times the mantissa (<= 2^31), back to 32 bits.
#[inline(always)]
pub(crate) fn scaled(p: &RopeStore, v: i32) -> i32 {
    sat32(round_shr64(i64::from(v) * i64::from(p.scale_mantissa), 31))
}

/// The shift that rounds a head's largest magnitude to 11 bits.
#[inline(always)]
pub(crate) fn query_shift(x: &[i32]) -> u32 {
    let max = x.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
    bit_len(max).saturating_sub(11)
}

/// An element rounded to 12 bits, as `32·high + low`.
#[inline(always)]
pub(crate) fn query_planes(v: i32, shift: u32) -> (i32, i32) {
    let q12 = (round_shr64(i64::from(v), shift) as i32).clamp(-QUERY_MAX, QUERY_MAX);
    let low = ((q12 + 16) & 31) - 16;
    ((q12 - low) >> 5, low)
}

/// The exponent of a query, as its last word has it.
#[inline(always)]
pub(crate) fn query_exponent(p: &RopeStore, shift: u32) -> u32 {
    let turned = if p.narrow & NARROW_KEYS != 0 {
        TURN_SHIFT as i32
    } else {
        0
    };
    (p.query_exponent + p.scale_exponent + 31 + shift as i32 + turned) as u32
}

/// A head's codes, of 4 bits or 8; returns the scale of each group as `mantissa | exponent << 8`.
fn store(x: &[i32], exponent: i32, narrow: bool, out: &mut [u32]) -> Vec<u32> {
    out.fill(0);
    let mut scales = Vec::new();
    for (g, group) in x.chunks(32).enumerate() {
        let max = group.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
        let (mantissa, e) = kv_unit(max);
        for (i, v) in group.iter().enumerate() {
            let code = e.map_or(0, |e| kv_code(*v, mantissa, e));
            if narrow {
                let (byte, bit) = half(i);
                set_byte(out, g * 16 + byte, (narrowed(code) << bit) as i32);
            } else {
                set_byte(out, g * 32 + i, code);
            }
        }
        scales.push(kv_scale(mantissa, e, exponent));
    }
    scales
}

/// A group's scale as a page has it; `e` is relative to the unit `2^exponent`, none for zeros alone.
#[inline(always)]
pub(crate) fn kv_scale(mantissa: u32, e: Option<i32>, exponent: i32) -> u32 {
    // Exponents of keys and values are in -64..=32 by the file's check, e in -14..=17.
    let e = e.map_or(-128, |e| (e + exponent).clamp(-127, 127));
    mantissa | u32::from(e as u8) << 8
}
