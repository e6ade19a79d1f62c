//! activation(gate) · up; twin of `wgsl/gated_unit_row_i32.wgsl`.

use super::for_chunks;
use super::simd::wide;
use crate::params::{GELU_TANH, GatedUnit, RELU_SQUARED, SILU};
pub use crate::reference::gated_unit_row_i32::exponent;
use crate::reference::gated_unit_row_i32::unit;

/// `out[r] = activation(gate[r]) · up[r]` in the unit of [`exponent`]: `|gate|, |up| ≤ 2^30` never
/// saturate.
pub fn run(p: &GatedUnit, gate: &[i32], up: &[i32], out: &mut [i32]) {
    // Elements know no rows.
    for_chunks(out, TASK, |task, out| {
        let at = task * TASK;
        let (gate, up) = (&gate[at..at + out.len()], &up[at..at + out.len()]);
        wide::gated_unit(p.activation, p.gate_exponent, gate, up, out);
    });
}

/// Elements of a task.
const TASK: usize = 1024;

/// `activation(gate)·up` of as many elements of each, the gate's in the unit `2^exponent`: a loop for each activation.
#[inline(always)]
pub(super) fn elements(activation: u32, exponent: i32, gate: &[i32], up: &[i32], out: &mut [i32]) {
    let inputs = gate.iter().zip(up).zip(out);
    match activation {
        SILU => {
            for ((g, u), o) in inputs {
                *o = unit(SILU, exponent, *g, *u);
            }
        }
        GELU_TANH => {
            for ((g, u), o) in inputs {
                *o = unit(GELU_TANH, exponent, *g, *u);
            }
        }
        _ => {
            for ((g, u), o) in inputs {
                *o = unit(RELU_SQUARED, exponent, *g, *u);
            }
        }
    }
}
