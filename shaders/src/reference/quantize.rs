//! Rows of i32 to int8 codes in groups of 32; the definition of `wgsl/shared/quantize.wgsl`.

use super::fixed::{bit_len, round_shr64};
use crate::act_stride;

/// The scale of a row: `mantissa · 2^(exponent)` in units of the input, and the shift that normalises
/// the row's maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowUnit {
    /// 32768..=65535.
    pub mantissa: u32,
    /// Power of two, relative to the input's unit.
    pub exponent: i32,
    shift: u32,
    halved: u32,
}

/// The unit of a row whose largest magnitude is `max`: `127 · 255 · mantissa · 2^exponent ≥ max`.
pub(crate) fn row_unit(max: u32) -> RowUnit {
    if max == 0 {
        return RowUnit {
            mantissa: 0x8000,
            exponent: 0,
            shift: 0,
            halved: 0,
        };
    }
    let max = max.min(0x7fff_ffff);
    let shift = 31 - bit_len(max);
    // max << shift is in [2^30, 2^31), so the quotient + 1 is in 33156..=66313.
    let mantissa = (max << shift) / (127 * 255) + 1;
    let halved = u32::from(mantissa > 0xffff);
    RowUnit {
        mantissa: (mantissa + halved) >> halved,
        exponent: halved as i32 - shift as i32,
        shift,
        halved,
    }
}

/// Scale of a group whose largest magnitude is `max` (not above the row's): 1..=255.
///
/// Proof: `max << shift < 127·255·(mantissa before halving)`, so the quotient is at most 254.
pub(crate) fn group_scale(unit: RowUnit, max: u32) -> u32 {
    ((max.min(0x7fff_ffff) << unit.shift) >> unit.halved) / (127 * unit.mantissa) + 1
}

/// (reciprocal, shift) such that `x · reciprocal >> shift` is `x / (scale · mantissa · 2^exponent)`.
pub(crate) fn group_divisor(unit: RowUnit, scale: u32) -> (u32, u32) {
    let d = unit.mantissa * scale; // < 2^24
    let bits = bit_len(d); // 16..=24
    (
        u32::MAX / (d >> (bits - 16)),
        (16 + bits as i32 + unit.exponent) as u32,
    )
}

/// `x` in units of its group: rounded half up, within ±127.
#[inline(always)]
pub(crate) fn code(x: i32, (reciprocal, shift): (u32, u32)) -> i32 {
    // |x| < 2^31 and reciprocal <= 2^17 + 2: |product| < 2^49; shift is in 2..=41.
    let product = i64::from(x) * i64::from(reciprocal);
    ((product + (1 << (shift - 1))) >> shift).clamp(-127, 127) as i32
}

/// Quantizes a row of i32 of unit `2^exponent` into one row of activations (see [`act_stride`]).
#[inline(always)]
pub fn quantize_row(x: &[i32], exponent: i32, act: &mut [u32]) {
    let groups = x.len().div_ceil(32);
    debug_assert_eq!(act.len(), act_stride(groups as u32) as usize);
    let largest = |x: &[i32]| x.iter().map(|v| v.unsigned_abs()).fold(0, u32::max);
    let unit = row_unit(largest(x));
    let (codes, tail) = act.split_at_mut(groups * 8);
    tail.fill(0);
    let codes: &mut [i8] = bytemuck::cast_slice_mut(codes);
    for (g, (chunk, out)) in x.chunks(32).zip(codes.chunks_exact_mut(32)).enumerate() {
        let scale = group_scale(unit, largest(chunk));
        let divisor = group_divisor(unit, scale);
        if chunk.len() < 32 {
            out.fill(0);
        }
        for (out, v) in out.iter_mut().zip(chunk) {
            *out = code(*v, divisor) as i8;
        }
        tail[g / 4] |= scale << (8 * (g % 4));
    }
    let words = groups.div_ceil(4);
    tail[words] = unit.mantissa;
    tail[words + 1] = exponent.wrapping_add(unit.exponent) as u32;
}

/// The unit of a group of keys or values: (mantissa 128..=255, exponent relative to the input);
/// `127 · mantissa · 2^exponent ≥ max`. A group of zeros has the least exponent.
pub(crate) fn kv_unit(max: u32) -> (u32, Option<i32>) {
    if max == 0 {
        return (128, None);
    }
    let max = max.min(0x7fff_ffff);
    let shift = 31 - bit_len(max) as i32;
    // [2^30, 2^31) / 127 >> 16 is 129..=258.
    let mantissa = (((max << shift) / 127) >> 16) + 1;
    let halved = u32::from(mantissa > 255);
    (
        (mantissa + halved) >> halved,
        Some(16 - shift + halved as i32),
    )
}

/// `x` in units of its group of keys or values, within ±127.
#[inline(always)]
pub(crate) fn kv_code(x: i32, mantissa: u32, exponent: i32) -> i32 {
    // reciprocal <= 2^25; shift is 32 + (-14..=17).
    round_shr64(
        i64::from(x) * i64::from(u32::MAX / mantissa),
        (32 + exponent) as u32,
    )
    .clamp(-127, 127) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quantized_rows_are_within_half_a_step(
            x in prop::collection::vec(prop_oneof![-0x7fff_ffffi32..=0x7fff_ffff, -300i32..300, Just(0)], 1..100),
        ) {
            let groups = x.len().div_ceil(32);
            let mut act = vec![0; act_stride(groups as u32) as usize];
            quantize_row(&x, 0, &mut act);
            let tail = groups * 8 + groups.div_ceil(4);
            let unit = f64::from(act[tail]) * f64::from(act[tail + 1] as i32).exp2();
            for (i, v) in x.iter().enumerate() {
                let code = crate::reference::byte(&act, i) as i8;
                let scale = f64::from(crate::reference::byte(&act[groups * 8..], i / 32)) * unit;
                prop_assert!(code != i8::MIN && scale > 0.0);
                let error = (f64::from(code) * scale - f64::from(*v)).abs();
                prop_assert!(error <= scale * 0.51 + 1e-9, "{i}: {v} {code} {scale}");
            }
        }

        #[test]
        fn keys_and_values_are_within_half_a_step(x in -0x7fff_ffffi32..=0x7fff_ffff, shift in 0u32..31, below in 0u32..0x7fff_ffff) {
            let x = x >> shift;
            let max = x.unsigned_abs().max(below >> shift);
            let (m, e) = kv_unit(max);
            if let Some(e) = e {
                prop_assert!((128..=255).contains(&m));
                let scale = f64::from(m) * f64::from(e).exp2();
                let error = (f64::from(kv_code(x, m, e)) * scale - f64::from(x)).abs();
                prop_assert!(error <= scale * 0.501 + 1e-9, "{x} {m} {e} {error} {scale}");
            } else {
                prop_assert_eq!(max, 0);
            }
        }
    }
}
