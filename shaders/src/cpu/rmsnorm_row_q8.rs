//! RMSNorm with gains, quantized to activations; twin of `wgsl/rmsnorm_row_q8.wgsl`.

use super::scratch::{Scratch, resize};
use super::simd::wide;
use super::{for_chunks, quantize_row};
use crate::params::RmsnormRow;
use crate::reference::norm::InverseNorm;
use std::cell::Cell;

thread_local! {
    /// A normalised row, kept from call to call.
    static ROW: Cell<Vec<i32>> = const { Cell::new(Vec::new()) };
}

/// What is kept.
pub fn scratch(p: &RmsnormRow) -> Scratch {
    Scratch {
        row: 4 * u64::from(p.cols),
        ..Scratch::default()
    }
}

/// As [`crate::reference::rmsnorm_row_q8::run`].
pub fn run(p: &RmsnormRow, h: &[i32], gains: &[i32], act: &mut [u32]) {
    let cols = p.cols as usize;
    for_chunks(act, p.act_stride as usize, |i, act| {
        let h = &h[i * cols..(i + 1) * cols];
        let inverse = InverseNorm::new(h, p.eps_mantissa, p.eps_exponent);
        let mut y = ROW.take();
        resize(&mut y, cols, 0);
        wide::normalise(inverse, h, gains, &mut y);
        quantize_row(&y, p.gain_exponent, act);
        ROW.set(y);
    });
}

/// The normalised row times its gains.
#[inline(always)]
pub(super) fn normalise(inverse: InverseNorm, h: &[i32], gains: &[i32], out: &mut [i32]) {
    for ((out, v), gain) in out.iter_mut().zip(h).zip(gains) {
        *out = inverse.with_gain(*v, *gain);
    }
}
