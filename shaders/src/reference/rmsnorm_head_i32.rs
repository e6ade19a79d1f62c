//! RMSNorm with gains of each head, in place; the definition of `wgsl/rmsnorm_head_i32.wgsl`.

use super::norm::InverseNorm;
use crate::params::RmsnormHead;

/// `x[r][head] = x / √(Σx² + head_dim·ε) · gains` in the unit of the gains, into which √head_dim is folded.
pub fn run(p: &RmsnormHead, rows: u32, gains: &[i32], x: &mut [i32]) {
    let heads = x.chunks_exact_mut(p.head_dim as usize);
    for x in heads.take(rows as usize * p.heads as usize) {
        let inverse = InverseNorm::new(x, p.eps_mantissa, p.eps_exponent);
        for (v, gain) in x.iter_mut().zip(gains) {
            *v = inverse.with_gain(*v, *gain);
        }
    }
}
