//! Integer arithmetic shared by all kernels; the definition of `wgsl/shared/fixed.wgsl`.
//!
//! One rounding rule everywhere: half up, `floor(x + 1/2)`. Every function is total: no input panics
//! or overflows, also under overflow checks.

/// High word of a 32 × 32 product.
#[inline(always)]
pub fn mulhi(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

/// `floor(a / 2^s + 1/2)` for `s` in 0..=62 and `|a| ≤ 2^62`.
#[inline(always)]
pub fn round_shr64(a: i64, s: u32) -> i64 {
    if s == 0 {
        a
    } else {
        a.wrapping_add(1 << (s - 1)) >> s
    }
}

/// The value as i32, saturated to ±(2^31 − 1).
#[inline(always)]
pub fn sat32(a: i64) -> i32 {
    a.clamp(-0x7fff_ffff, 0x7fff_ffff) as i32
}

/// `a · 2^-s` rounded half up and saturated; `|a| ≤ 2^62`, any `s`: a negative one shifts left.
#[inline(always)]
pub fn requant64(a: i64, s: i32) -> i32 {
    if s > 62 {
        return 0;
    }
    if s >= 0 {
        return sat32(round_shr64(a, s as u32));
    }
    let bits = bit_len64(a.unsigned_abs());
    if bits == 0 {
        return 0;
    }
    if bits as i32 > s.saturating_add(31) {
        return if a < 0 { -0x7fff_ffff } else { 0x7fff_ffff };
    }
    sat32(a << -s)
}

/// `a · m · 2^-s`: `a` (`|a| < 2^62`) is first rounded to 30 bits, so the product stays within 2^62.
///
/// Proof: after the shift by `bits − 30` and rounding up, `|n| ≤ 2^30`; `m < 2^32`; `|n·m| < 2^62`.
#[inline(always)]
pub fn scale64(a: i64, m: u32, s: i32) -> i32 {
    let drop = bit_len64(a.unsigned_abs()).saturating_sub(30);
    let n = round_shr64(a, drop);
    requant64(n * i64::from(m), s.wrapping_sub(drop as i32))
}

/// Bits of `a`: 0 for 0.
#[inline(always)]
pub fn bit_len64(a: u64) -> u32 {
    64 - a.leading_zeros()
}

/// Bits of `a`: 0 for 0.
#[inline(always)]
pub fn bit_len(a: u32) -> u32 {
    32 - a.leading_zeros()
}

/// `2^30 / √(n / 2^32)` for `n` in [2^30, 2^32): in (2^30, 2^31].
///
/// A chord, then four Newton steps `y (3 − n y²) / 2`; relative error under 1e-8.
#[inline]
pub fn rsqrt_q30(n: u32) -> u32 {
    let h = n.wrapping_sub(0x4000_0000);
    let mut y = 0x7a00_0000u32
        .wrapping_sub(h >> 2)
        .wrapping_sub(h >> 4)
        .wrapping_sub(h >> 6);
    for _ in 0..4 {
        let t = mulhi(n, mulhi(y, y));
        y = mulhi(y, 0x3000_0000u32.wrapping_sub(t)) << 3;
    }
    y
}

/// `2^62 / x` for `x` in [2^31, 2^32): in (2^30, 2^31]. A 16-bit quotient, then one Newton step; of every `x` the relative
/// error is from −4.6033e-9 (at 4,278,256,913) to 9.3e-10.
#[inline(always)]
pub fn recip_q62(x: u32) -> u32 {
    let y = (0x7fff_ffff / (x >> 16).max(1)) << 15;
    mulhi(y, 0x8000_0000u32.wrapping_sub(mulhi(x, y))) << 2
}

/// `2^-x` in Q30 for an unsigned Q16 `x`; 0 from 31 on. Polynomial of degree 5, error under 2e-7.
#[inline(always)]
pub fn exp2_neg_q30(x: u32) -> u32 {
    let q = x >> 16;
    if q >= 31 {
        return 0;
    }
    let f = (x & 0xffff) << 16;
    let mut p = 0x000f_8654u32;
    for c in [
        0x0097_05e3,
        0x038a_40e4,
        0x0f5f_3de8,
        0x2c5c_7c93,
        0x4000_0000u32,
    ] {
        p = c - mulhi(p, f);
    }
    p >> q
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rsqrt_is_accurate(n in 1u32 << 30..=u32::MAX) {
            let exact = f64::from(1u32 << 30) / (f64::from(n) / 4294967296.0).sqrt();
            prop_assert!((f64::from(rsqrt_q30(n)) / exact - 1.0).abs() < 1e-8);
        }

        #[test]
        fn reciprocal_is_accurate(x in 1u32 << 31..=u32::MAX) {
            let exact = 4611686018427387904.0 / f64::from(x);
            prop_assert!((f64::from(recip_q62(x)) / exact - 1.0).abs() < 4.61e-9, "{}", recip_q62(x));
        }

        #[test]
        fn exp2_is_accurate(x in 0u32..40 << 16) {
            let exact = (-(f64::from(x)) / 65536.0).exp2();
            prop_assert!((f64::from(exp2_neg_q30(x)) / f64::from(1 << 30) - exact).abs() < 2e-7);
        }

        #[test]
        fn scaling_is_within_a_rounding(a in -(1i64 << 61)..1 << 61, m in any::<u32>(), s in -70i32..130) {
            let exact = a as f64 * f64::from(m) * f64::from(-s).exp2();
            let got = f64::from(scale64(a, m, s));
            let bound = 0x7fff_ffff as f64;
            let slack = 0.51 + exact.abs().min(bound) * 1e-8;
            prop_assert!((got - exact.clamp(-bound, bound)).abs() <= slack, "{got} {exact}");
        }
    }

    /// The largest error of all 2^31 inputs.
    #[test]
    fn the_worst_reciprocal() {
        let worst = 4_278_256_913;
        let exact = 4611686018427387904.0 / f64::from(worst);
        let error = f64::from(recip_q62(worst)) / exact - 1.0;
        assert!((-4.6034e-9..-4.6032e-9).contains(&error), "{error:e}");
    }

    #[test]
    fn extremes_do_not_panic() {
        let e = [i64::MIN >> 1, -(1 << 62), -1, 0, 1, (1 << 62) - 1];
        for a in e {
            for s in [i32::MIN, -64, -63, -31, -1, 0, 1, 31, 62, 63, i32::MAX] {
                requant64(a, s);
                for m in [0, 1, u32::MAX] {
                    scale64(a / 2, m, s);
                }
            }
        }
        assert_eq!(requant64(5, 1), 3);
        assert_eq!(requant64(-5, 1), -2);
        assert_eq!(requant64(i64::MIN >> 1, 0), -0x7fff_ffff);
        assert!(rsqrt_q30(1 << 30) > (1 << 31) - 32);
    }
}
