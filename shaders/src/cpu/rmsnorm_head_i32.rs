//! RMSNorm with gains of each head, in place; twin of `wgsl/rmsnorm_head_i32.wgsl`.

use super::fixed::{round_shr64, sat32};
use super::for_chunks;
use super::norm::InverseNorm;
use crate::params::RmsnormHead;

/// `x[r][head] = x / √(Σx² + head_dim·ε) · gains` in the unit of the gains, into which √head_dim is folded.
pub fn run(p: &RmsnormHead, rows: u32, gains: &[i32], x: &mut [i32]) {
    let dim = p.head_dim as usize;
    let len = rows as usize * p.heads as usize * dim;
    for_chunks(&mut x[..len], dim, |_, x| {
        let inverse = InverseNorm::new(x, p.eps_mantissa, p.eps_exponent);
        for (v, gain) in x.iter_mut().zip(gains) {
            let n = i64::from(inverse.normalised(*v));
            *v = sat32(round_shr64(n * i64::from(*gain), 30));
        }
    });
}
