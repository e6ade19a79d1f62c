//! Inverse of a row's root of squares; the definition of `wgsl/shared/norm.wgsl`.

use super::fixed::{bit_len, bit_len64, round_shr64, rsqrt_q30, sat32};

/// `1 / √(Σh² + n·ε)`: `h · mantissa >> shift` is the normalised element in Q30.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InverseNorm {
    mantissa: u32,
    shift: u32,
}

impl InverseNorm {
    /// Of a row of at most 2^15 elements, n·ε relative to the square of their unit. Its mantissa
    /// is zero or in [2^30, 2^31].
    pub fn new(h: &[i32], eps_mantissa: u32, eps_exponent: i32) -> Self {
        let (mantissa, shift) = inverse_norm(h, eps_mantissa, eps_exponent);
        Self { mantissa, shift }
    }

    /// The element in Q30, within ±2^30. |v| < 2^31 and the mantissa is at most 2^31.
    #[inline(always)]
    pub fn normalised(self, v: i32) -> i32 {
        let n = round_shr64(i64::from(v) * i64::from(self.mantissa), self.shift);
        n.clamp(-(1 << 30), 1 << 30) as i32
    }

    /// The element times its gain, in the gain's unit. |n| <= 2^30 and |gain| <= 2^31: the product stays within 2^61.
    #[inline(always)]
    pub fn with_gain(self, v: i32, gain: i32) -> i32 {
        sat32(round_shr64(
            i64::from(self.normalised(v)) * i64::from(gain),
            30,
        ))
    }
}

fn inverse_norm(h: &[i32], eps_mantissa: u32, eps_exponent: i32) -> (u32, u32) {
    let max = h.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let s = bit_len(max).saturating_sub(15);
    // Magnitudes below 2^15 and at most 2^15 columns: the sum stays below 2^45.
    let squares = h.iter().map(|v| u64::from(v.unsigned_abs() >> s).pow(2));
    let sum: u64 = squares.sum();
    let sum = (sum + epsilon(eps_mantissa, eps_exponent.wrapping_sub(2 * s as i32))).max(1);
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

/// n·ε in units of the squares, 2^47 where it is more: four times any sum of squares. A mantissa
/// of 2^30 and more reaches 2^47 by an exponent of 17.
fn epsilon(mantissa: u32, exponent: i32) -> u64 {
    match exponent {
        e if e > 16 => {
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
            shift in 0u32..31,
            eps in prop_oneof![1 => Just(0u32), 9 => 1u32 << 30..=1 << 31], e in -60i32..60,
        ) {
            let h: Vec<i32> = h.iter().map(|v| v >> shift).collect();
            let (r, s) = inverse_norm(&h, eps, e);
            prop_assert!(s <= 62);
            let sum: f64 = h.iter().map(|v| f64::from(*v).powi(2)).sum();
            let max = h.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
            let most = f64::from(47 + 2 * bit_len(max).saturating_sub(15)).exp2();
            let eps_value = (f64::from(eps) * f64::from(e).exp2()).min(most);
            // n·ε is rounded to a unit of the squares, and the sum is at least one.
            let sum = (sum + eps_value).max(1.0);
            let exact = 1.0 / sum.sqrt();
            let got = f64::from(r) * (-f64::from(s)).exp2() / f64::from(1u32 << 30);
            prop_assert!((got / exact - 1.0).abs() < 2e-3 + 0.5 / sum, "{got} {exact}");
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
