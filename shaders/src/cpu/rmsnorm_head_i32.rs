//! RMSNorm with gains of each head, in place; twin of `wgsl/rmsnorm_head_i32.wgsl`.

use super::for_chunks;
use crate::params::RmsnormHead;
use crate::reference::norm::InverseNorm;

/// As [`crate::reference::rmsnorm_head_i32::run`].
pub fn run(p: &RmsnormHead, rows: u32, gains: &[i32], x: &mut [i32]) {
    let dim = p.head_dim as usize;
    let len = rows as usize * p.heads as usize * dim;
    for_chunks(&mut x[..len], dim, |_, x| {
        let inverse = InverseNorm::new(x, p.eps_mantissa, p.eps_exponent);
        for (v, gain) in x.iter_mut().zip(gains) {
            *v = inverse.with_gain(*v, *gain);
        }
    });
}
