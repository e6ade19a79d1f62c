//! Queries: rotated, scaled, quantized to 12 bits; twin of `wgsl/rope_query_q12.wgsl`.

use super::fixed::{bit_len, round_shr64, sat32};
use super::for_chunks;
use super::simd::wide;
use crate::params::{QUERY_MAX, RopeQuery};
use crate::query_stride;
use carat_format::bounds::MAX_HEAD_DIM;

/// `query[r][head]` = planes of `q12 = 32·high + low` (high in ±64, low in −16..=15) and their exponent.
///
/// Pairs are `(i, i + head_dim/2)`: rotate-half order.
pub fn run(p: &RopeQuery, rows: u32, angles: &[i32], q: &[i32], query: &mut [u32]) {
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
pub(super) fn head(p: &RopeQuery, angles: &[i32], q: &[i32], words: usize, out: &mut [u32]) {
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
    exponent[0] = (p.exponent + p.scale_exponent + 31 + shift as i32) as u32;
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
