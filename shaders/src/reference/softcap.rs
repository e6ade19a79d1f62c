//! cap·tanh(x/cap); the definition of `wgsl/shared/softcap.wgsl`.

use super::fixed::{exp2_neg_q30, mulhi, recip_q62, requant64, round_shr64};
use crate::params::{LN_2_Q32, LOG2_E_Q30};

/// The cap of scores or logits in the form that the kernels take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// The cap is `mantissa · 2^(30 − shift)` units.
    pub mantissa: u32,
    /// See `mantissa`.
    pub shift: i32,
    /// `x · rate_mantissa · 2^-rate_shift` is 2·log2(e)·x/cap in Q26.
    pub rate_mantissa: u32,
    /// See `rate_mantissa`.
    pub rate_shift: i32,
}

impl Cap {
    /// Of a cap of `mantissa · 2^exponent` units; the mantissa in 2^30..=2^31.
    pub fn new(mantissa: u32, exponent: i32) -> Self {
        // 2·log2(e)/mantissa: 2^63 > LOG2_E_Q30 · 2^32 > 2^62, so the quotient has 31 to 33 bits.
        let quotient = (u64::from(LOG2_E_Q30) << 32) / u64::from(mantissa.max(1));
        let drop = (64 - quotient.leading_zeros()).saturating_sub(32);
        // LOG2_E_Q30 / 2^29 is 2·log2(e); the quotient has the unit 2^-32, the result 2^26.
        Self {
            mantissa,
            shift: 30 - exponent,
            rate_mantissa: (quotient >> drop) as u32,
            rate_shift: 29 + 32 - drop as i32 - 26 + exponent,
        }
    }

    /// `cap · tanh(x / cap)` in the unit of `x`.
    pub fn apply(self, x: i32) -> i32 {
        let product = u64::from(x.unsigned_abs()) * u64::from(self.rate_mantissa);
        let t = requant64((product >> 1) as i64, self.rate_shift.wrapping_sub(1));
        // tanh <= 2^30 and the mantissa < 2^32.
        let y = i64::from(tanh_q30(t.unsigned_abs())) * i64::from(self.mantissa);
        let y = requant64(y, self.shift);
        if x < 0 { -y } else { y }
    }
}

/// tanh of `t·ln(2)/2` in Q30, t unsigned Q26, from e = 2^-t: (1 − e) / (1 + e).
fn tanh_q30(t: u32) -> u32 {
    let coarse = exp2_neg_q30(t >> 10);
    // 2^-l = 1 − l·ln 2 for the low 10 bits l < 2^-16: the next term is below 2^-33.
    let e = coarse - mulhi(coarse, mulhi((t & 1023) << 6, LN_2_Q32));
    // 1 + e in Q31, just below 2 where e = 1.
    let denominator = ((1u64 << 31) + (u64::from(e) << 1)).min(u64::from(u32::MAX)) as u32;
    let product = u64::from((1 << 30) - e) * u64::from(recip_q62(denominator));
    round_shr64(product as i64, 31) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn softcap_is_accurate(
            x in -0x7fff_ffffi32..=0x7fff_ffff, shift in 0u32..31,
            mantissa in 1u32 << 30..=1 << 31, exponent in -20i32..20,
        ) {
            let x = x >> shift;
            let cap = f64::from(mantissa) * f64::from(exponent).exp2();
            let exact = (cap * (f64::from(x) / cap).tanh()).clamp(-2147483647.0, 2147483647.0);
            let got = f64::from(Cap::new(mantissa, exponent).apply(x));
            prop_assert!((got - exact).abs() <= 1.0 + cap * 3e-7, "{x} {cap} {got} {exact}");
        }
    }

    #[test]
    fn extremes_do_not_panic() {
        for (m, e) in [(0, 0), (1, i32::MIN / 2), (u32::MAX, 64), (1 << 30, -200)] {
            for x in [i32::MIN, -1, 0, 1, i32::MAX] {
                let cap = Cap::new(m, e);
                assert_eq!(cap.apply(x.max(-i32::MAX)), -cap.apply(-x.max(-i32::MAX)));
            }
        }
    }
}
