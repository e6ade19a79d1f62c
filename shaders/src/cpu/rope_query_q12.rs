//! Queries: rotated, scaled, quantized to 12 bits; twin of `wgsl/rope_query_q12.wgsl`.

use super::fixed::{bit_len, round_shr64, sat32};
use super::for_chunks;
use crate::params::{QUERY_MAX, RopeQuery};
use crate::query_stride;

/// `query[r][head]` = planes of `q12 = 32·high + low` (high in ±64, low in −16..=15) and their exponent.
///
/// Pairs are `(i, i + head_dim/2)`: rotate-half order.
pub fn run(p: &RopeQuery, rows: u32, angles: &[i32], q: &[i32], query: &mut [u32]) {
    let (heads, dim, words) = (p.heads as usize, p.head_dim as usize, p.head_words as usize);
    let pairs = dim / 2;
    let stride = query_stride(p.head_words) as usize;
    for_chunks(
        &mut query[..rows as usize * heads * stride],
        stride,
        |i, out| {
            let angles = &angles[i / heads * pairs * 2..(i / heads + 1) * pairs * 2];
            let head = rotate(&q[i * dim..(i + 1) * dim], angles);
            // |rotated| < 2^31 times the normalised mantissa (<= 2^31), back to 32 bits.
            let scaled: Vec<i32> = head
                .iter()
                .map(|v| sat32(round_shr64(i64::from(*v) * i64::from(p.scale_mantissa), 31)))
                .collect();
            let max = scaled.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
            let shift = bit_len(max).saturating_sub(11);
            out.fill(0);
            for (d, v) in scaled.iter().enumerate() {
                let q12 = (round_shr64(i64::from(*v), shift) as i32).clamp(-QUERY_MAX, QUERY_MAX);
                let low = ((q12 + 16) & 31) - 16;
                let high = (q12 - low) >> 5;
                out[d / 4] |= u32::from(high as u8) << (8 * (d % 4));
                out[words + d / 4] |= u32::from(low as u8) << (8 * (d % 4));
            }
            out[2 * words] = (p.exponent + p.scale_exponent + 31 + shift as i32) as u32;
        },
    );
}

/// One head rotated by its position's angles.
pub(crate) fn rotate(head: &[i32], angles: &[i32]) -> Vec<i32> {
    let pairs = head.len() / 2;
    let mut out = vec![0; head.len()];
    for i in 0..pairs {
        let (cos, sin) = (i64::from(angles[2 * i]), i64::from(angles[2 * i + 1]));
        let (a, b) = (i64::from(head[i]), i64::from(head[i + pairs]));
        // |a|, |b| < 2^31 and |cos|, |sin| <= 2^30: both sums stay within 2^62.
        out[i] = sat32(round_shr64(a * cos - b * sin, 30));
        out[i + pairs] = sat32(round_shr64(b * cos + a * sin, 30));
    }
    out
}
