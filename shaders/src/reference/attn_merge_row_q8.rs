//! The blocks of every head of a row merged, and the row quantized to activations; the definition of
//! `wgsl/attn_merge_row_q8.wgsl`.

use super::{attn_merge_i32, quantize_row};
use crate::params::AttnMerge;

/// `out` as [`attn_merge_i32`] gives it, and `act[r] = quantize(out[r])`.
pub fn run(
    p: &AttnMerge,
    rows: u32,
    row_table: &[u32],
    partial: &[u32],
    out: &mut [i32],
    act: &mut [u32],
) {
    attn_merge_i32::run(p, rows, row_table, partial, out);
    let merged = out.chunks_exact(p.heads as usize * p.head_dim as usize);
    let act = act.chunks_exact_mut(p.act_stride as usize);
    for (row, act) in merged.zip(act).take(rows as usize) {
        quantize_row(row, p.exponent, act);
    }
}
