//! A bias added to rows; the definition of `wgsl/bias_row_i32.wgsl`.

use super::fixed::{requant64, sat32};
use super::residual::add_residual;
use crate::params::Bias;

/// `x[r] += bias · 2^-shift`, saturated; with statistics where the rows are the residual stream.
pub fn run(p: &Bias, bias: &[i32], x: &mut [i32], stats: &mut [u32]) {
    for row in x.chunks_exact_mut(p.cols as usize) {
        for (x, b) in row.iter_mut().zip(bias) {
            let v = requant64(i64::from(*b), p.shift);
            if p.residual == 1 {
                add_residual(x, v, stats);
            } else {
                *x = sat32(i64::from(*x) + i64::from(v));
            }
        }
    }
}
