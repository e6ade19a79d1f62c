//! i32 rows quantized to activations; the definition of `wgsl/quantize_row_q8.wgsl`.

use super::quantize_row;
use crate::params::QuantizeRow;

/// `act[i] = quantize(x[i])`.
pub fn run(p: &QuantizeRow, x: &[i32], act: &mut [u32]) {
    let rows = x.chunks_exact(p.cols as usize);
    for (x, act) in rows.zip(act.chunks_exact_mut(p.act_stride as usize)) {
        quantize_row(x, p.exponent, act);
    }
}
