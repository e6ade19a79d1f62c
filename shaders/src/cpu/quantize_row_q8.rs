//! i32 rows quantized to activations; twin of `wgsl/quantize_row_q8.wgsl`.

use super::{for_chunks, quantize_row};
use crate::params::QuantizeRow;

/// `act[i] = quantize(x[i])`.
pub fn run(p: &QuantizeRow, x: &[i32], act: &mut [u32]) {
    let cols = p.cols as usize;
    for_chunks(act, p.act_stride as usize, |i, act| {
        quantize_row(&x[i * cols..(i + 1) * cols], p.exponent, act);
    });
}
