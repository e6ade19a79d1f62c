//! RMSNorm with gains, quantized to activations; twin of `wgsl/rmsnorm_row_q8.wgsl`.

use super::fixed::{bit_len, bit_len64, round_shr64, rsqrt_q30};
use super::{for_chunks, quantize_row};
use crate::params::{ROW_WORDS, RmsnormRow};

/// `act[i] = quantize(h[s] / √(Σh² + D·ε) · gains)` with `s = rows[i].w` if `gather`, else `i`.
///
/// The factor √D is folded into the gains, so the normalised row lies in [−1, 1].
pub fn run(
    p: &RmsnormRow,
    _rows: u32,
    row_table: &[u32],
    h: &[i32],
    gains: &[i32],
    act: &mut [u32],
) {
    let cols = p.cols as usize;
    for_chunks(act, p.act_stride as usize, |i, act| {
        let source = if p.gather == 1 {
            row_table[i * ROW_WORDS as usize + 3] as usize
        } else {
            i
        };
        let h = &h[source * cols..(source + 1) * cols];
        let (r, shift) = inverse_norm(h, p.eps_mantissa, p.eps_exponent);
        let y: Vec<i32> = h
            .iter()
            .zip(gains)
            .map(|(v, gain)| {
                // |v| < 2^31 and r <= 2^31; the result is at most 2^30 in magnitude.
                let n = round_shr64(i64::from(*v) * i64::from(r), shift).clamp(-(1 << 30), 1 << 30);
                round_shr64(n * i64::from(*gain), 30).clamp(-0x7fff_ffff, 0x7fff_ffff) as i32
            })
            .collect();
        quantize_row(&y, p.gain_exponent, act);
    });
}

/// (mantissa, shift) such that `h · mantissa >> shift` is `h / √(Σh² + D·ε)` in Q30.
fn inverse_norm(h: &[i32], eps_mantissa: u32, eps_exponent: i32) -> (u32, u32) {
    let max = h.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let s = bit_len(max).saturating_sub(15);
    // u < 2^15 and at most 2^15 columns: both sums stay under 2^31 + 2^15.
    let (mut low, mut high) = (0u32, 0u32);
    for v in h {
        let u = v.unsigned_abs() >> s;
        low = low.wrapping_add((u * u) & 0xffff);
        high = high.wrapping_add((u * u) >> 16);
    }
    let sum = u64::from(low) + (u64::from(high) << 16);
    let sum = (sum + epsilon(eps_mantissa, eps_exponent - 2 * s as i32)).max(1);
    // sum = n · 4^k with n in [2^30, 2^32).
    let k = (bit_len64(sum) as i32 + 1) / 2 - 16;
    let n = if k >= 0 {
        (sum >> (2 * k)) as u32
    } else {
        (sum as u32) << (-2 * k)
    };
    // 1/√sum = r · 2^-46 · 2^-k; in Q30: r >> (16 + k); and h itself is 2^s too large.
    (rsqrt_q30(n), (16 + k + s as i32) as u32)
}

/// D·ε in units of the squares, at most 2^47.
fn epsilon(mantissa: u32, exponent: i32) -> u64 {
    match exponent {
        e if e > 15 => {
            if mantissa == 0 {
                0
            } else {
                1 << 47
            }
        }
        e if e >= 0 => u64::from(mantissa) << e,
        e if e >= -32 => round_shr64(i64::from(mantissa), e.unsigned_abs()) as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn norm_is_accurate(
            h in prop::collection::vec(-0x7fff_ffffi32..=0x7fff_ffff, 1..300),
            shift in 0u32..31, eps in 0u32..1 << 31, e in -60i32..20,
        ) {
            let h: Vec<i32> = h.iter().map(|v| v >> shift).collect();
            let (r, s) = inverse_norm(&h, eps, e);
            prop_assert!(s <= 62);
            let sum: f64 = h.iter().map(|v| f64::from(*v).powi(2)).sum();
            let eps_value = f64::from(eps) * f64::from(e).exp2();
            // ε beyond the range of the squares is cut off; compare where it is not.
            prop_assume!(eps_value < sum.max(1.0) * 100.0);
            prop_assume!(sum > 1e4);
            let exact = 1.0 / (sum + eps_value).sqrt();
            let got = f64::from(r) * (-f64::from(s)).exp2() / f64::from(1u32 << 30);
            prop_assert!((got / exact - 1.0).abs() < 2e-3, "{got} {exact}");
        }
    }

    #[test]
    fn extremes_stay_within_one() {
        for v in [0, 1, -1, 0x7fff_ffff, -0x7fff_ffff] {
            for n in [1usize, 2, 172, 32_768] {
                let h = vec![v; n];
                for (m, e) in [(0, 0), (1 << 31, 64), (1 << 31, -96), (1 << 30, -30)] {
                    let (r, s) = inverse_norm(&h, m, e);
                    let y = round_shr64(i64::from(v) * i64::from(r), s);
                    assert!(y.abs() <= (1 << 30) + (1 << 16), "{v} {n} {y}");
                }
            }
        }
    }
}
