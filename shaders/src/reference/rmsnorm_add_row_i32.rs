//! RMSNorm with gains, added to the residual stream; the definition of `wgsl/rmsnorm_add_row_i32.wgsl`.

use super::fixed::requant64;
use super::norm::InverseNorm;
use super::residual::add_residual;
use crate::params::RmsnormAdd;

/// `h[r] += x / √(Σx² + D·ε) · gains` with saturation and statistics. The unit of `x` contains the exponent
/// of the row of activations that it was made of.
pub fn run(
    p: &RmsnormAdd,
    act: &[u32],
    x: &[i32],
    gains: &[i32],
    h: &mut [i32],
    stats: &mut [u32],
) {
    let cols = p.cols as usize;
    let rows = h.chunks_exact_mut(cols).zip(x.chunks_exact(cols));
    for ((h, x), act) in rows.zip(act.chunks_exact(p.act_stride as usize)) {
        let unit = act[p.act_exponent as usize] as i32;
        let exponent = p.eps_exponent.wrapping_sub(unit.wrapping_mul(2));
        let inverse = InverseNorm::new(x, p.eps_mantissa, exponent);
        for ((h, x), gain) in h.iter_mut().zip(x).zip(gains) {
            // |n| <= 2^30 and |gain| <= 2^31: the product stays within 2^61.
            let product = i64::from(inverse.normalised(*x)) * i64::from(*gain);
            add_residual(h, requant64(product, p.shift), stats);
        }
    }
}
