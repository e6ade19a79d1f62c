//! silu(gate) · up; twin of `wgsl/swiglu_row_i32.wgsl`.

use super::fixed::{exp2_neg_q30, recip_q62, round_shr64, sat32};
use super::for_chunks;
use crate::params::{LOG2_E_Q30, Swiglu};

/// `out[r] = silu(gate[r]) · up[r]`, its exponent the sum of both and 30: `|gate|, |up| ≤ 2^30` never
/// saturate.
pub fn run(p: &Swiglu, gate: &[i32], up: &[i32], out: &mut [i32]) {
    let cols = p.cols as usize;
    for_chunks(out, cols, |r, out| {
        let at = r * cols;
        for (i, o) in out.iter_mut().enumerate() {
            let silu = silu(gate[at + i], p.gate_exponent);
            *o = sat32(round_shr64(i64::from(silu) * i64::from(up[at + i]), 30));
        }
    });
}

/// `g / (1 + e^-g)` for `g` in the unit `2^exponent`, in the same unit.
pub fn silu(g: i32, exponent: i32) -> i32 {
    // |g|·log2 e in Q16; from 32 on e^-|g| is 0 in Q30.
    let x = super::fixed::requant64(
        i64::from(g.unsigned_abs()) * i64::from(LOG2_E_Q30),
        14i32.wrapping_sub(exponent),
    );
    let e = exp2_neg_q30(x.unsigned_abs());
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
            let got = f64::from(silu(g, exponent)) * unit;
            prop_assert!((got - exact).abs() <= unit + x.abs() * 3e-5 * (-x.abs()).exp().max(1e-4), "{x} {got} {exact}");
        }
    }
}
