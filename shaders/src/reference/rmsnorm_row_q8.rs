//! RMSNorm with gains, quantized to activations; the definition of `wgsl/rmsnorm_row_q8.wgsl`.

use super::norm::InverseNorm;
use super::quantize_row;
use crate::params::RmsnormRow;

/// `act[i] = quantize(h[i] / √(Σh² + D·ε) · gains)`.
///
/// The factor √D is folded into the gains, so the normalised row lies in [−1, 1].
pub fn run(p: &RmsnormRow, h: &[i32], gains: &[i32], act: &mut [u32]) {
    let rows = h.chunks_exact(p.cols as usize);
    for (h, act) in rows.zip(act.chunks_exact_mut(p.act_stride as usize)) {
        let inverse = InverseNorm::new(h, p.eps_mantissa, p.eps_exponent);
        let elements = h.iter().zip(gains);
        let y: Vec<i32> = elements
            .map(|(v, gain)| inverse.with_gain(*v, *gain))
            .collect();
        quantize_row(&y, p.gain_exponent, act);
    }
}
