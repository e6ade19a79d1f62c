//! activation(gate) · up; the definition of `wgsl/gated_unit_row_i32.wgsl`.

use super::fixed::{exp2_neg_q30, mulhi, recip_q62, requant64, round_shr64, sat32, scale64};
use crate::params::{
    GELU_CUBIC_Q35, GELU_LINEAR_Q27, GELU_TANH, GatedUnit, LOG2_E_Q30, RELU_SQUARED, SILU,
};

/// The exponent of the result for a gate and an up projection of these exponents.
pub const fn exponent(activation: u32, gate: i32, up: i32) -> i32 {
    match activation {
        RELU_SQUARED => 2 * gate + up + 60,
        _ => gate + up + 30,
    }
}

/// `out[r] = activation(gate[r]) · up[r]` in the unit of [`exponent`]: `|gate|, |up| ≤ 2^30` never
/// saturate.
pub fn run(p: &GatedUnit, gate: &[i32], up: &[i32], out: &mut [i32]) {
    for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
        *out = unit(p.activation, p.gate_exponent, *g, *u);
    }
}

/// `activation(g)·u`, g in the unit `2^exponent`.
#[inline(always)]
pub(crate) fn unit(activation: u32, exponent: i32, g: i32, u: i32) -> i32 {
    let rate = match activation {
        SILU => silu_rate(g, exponent),
        GELU_TANH => gelu_rate(g, exponent),
        _ => return relu_squared_product(g, u),
    };
    let a = i64::from(sigmoid_product(g, rate));
    sat32(round_shr64(a * i64::from(u), 30))
}

/// `max(g, 0)² · u · 2^-60`: g² < 2^62 is rounded to 30 bits and multiplied exactly.
#[inline(always)]
fn relu_squared_product(g: i32, u: i32) -> i32 {
    let g = i64::from(g.max(0));
    let m = scale64(g * g, u.unsigned_abs(), 60);
    if u < 0 { -m } else { m }
}

/// `|z|·log2(e)` in Q16 for silu's `z = g`, `g` in the unit `2^exponent`; from 32 on e^-z is 0 in Q30.
#[inline(always)]
fn silu_rate(g: i32, exponent: i32) -> u32 {
    let x = i64::from(g.unsigned_abs()) * i64::from(LOG2_E_Q30);
    requant64(x, 14i32.wrapping_sub(exponent)).unsigned_abs()
}

/// `|z|·log2(e)` in Q16 for `z = 2·√(2/π)·(g + 0.044715·g³)`: GELU's `(1 + tanh(z/2))/2` is σ(z).
#[inline(always)]
fn gelu_rate(g: i32, exponent: i32) -> u32 {
    // |g| in Q27, cut off at 8, where e^-z is 0 in Q30.
    let t = requant64(i64::from(g.unsigned_abs()), (-27i32).wrapping_sub(exponent))
        .unsigned_abs()
        .min(1 << 30);
    // t² in Q24 ≤ 64; the sum in Q27 < 2^31.
    let square = ((u64::from(t) * u64::from(t)) >> 30) as u32;
    let rate = GELU_LINEAR_Q27 + mulhi(square, GELU_CUBIC_Q35);
    round_shr64(i64::from(t) * i64::from(rate), 38) as u32
}

/// `g / (1 + e^-z)` in the unit of g, z of g's sign with `|z|·log2(e)` in Q16.
#[inline(always)]
fn sigmoid_product(g: i32, rate: u32) -> i32 {
    let e = exp2_neg_q30(rate);
    // 1 + e in Q31, just below 2 where |g| rounds to 0.
    let sigmoid = recip_q62(((1u64 << 31) + (u64::from(e) << 1)).min(u64::from(u32::MAX)) as u32);
    // sigmoid(|g|) in Q31; sigmoid(-|g|) = e · sigmoid(|g|).
    let sigmoid = if g < 0 {
        ((u64::from(sigmoid) * u64::from(e) + (1 << 29)) >> 30) as u32
    } else {
        sigmoid
    };
    round_shr64(i64::from(g) * i64::from(sigmoid), 31) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn silu_is_accurate(g in -(1i32 << 30)..1 << 30, exponent in -30i32..-10) {
            let unit = f64::from(exponent).exp2();
            let x = f64::from(g) * unit;
            let exact = x / (1.0 + (-x).exp());
            let got = f64::from(sigmoid_product(g, silu_rate(g, exponent))) * unit;
            prop_assert!((got - exact).abs() <= unit + x.abs() * 3e-5 * (-x.abs()).exp().max(1e-4), "{x} {got} {exact}");
        }

        #[test]
        fn gelu_is_accurate(g in -(1i32 << 30)..1 << 30, shift in 0u32..20, exponent in -30i32..-10) {
            let g = g >> shift;
            let unit = f64::from(exponent).exp2();
            let x = f64::from(g) * unit;
            let z = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let exact = x / 2.0 * (1.0 + z.tanh());
            let got = f64::from(sigmoid_product(g, gelu_rate(g, exponent))) * unit;
            prop_assert!((got - exact).abs() <= unit + x.abs() * 3e-5 * (-z.abs()).exp().max(1e-4), "{x} {got} {exact}");
        }

        #[test]
        fn relu_squared_is_accurate(g: i32, u in -0x7fff_ffffi32..=0x7fff_ffff, shift in 0u32..31) {
            let (g, u) = (g >> shift, u >> (shift / 2));
            let exact = f64::from(g.max(0)).powi(2) * f64::from(u) / 60f64.exp2();
            let got = f64::from(relu_squared_product(g, u));
            let bound = f64::from(i32::MAX);
            prop_assert!((got - exact.clamp(-bound, bound)).abs() <= 0.51 + exact.abs() * 1e-8, "{exact} {got}");
        }
    }
}
