//! The blocks of every head of a row merged, and the row quantized to activations; twin of `wgsl/attn_merge_row_q8.wgsl`.

use super::{attn_merge_i32, for_chunks, quantize_row};
use crate::params::AttnMerge;

/// As [`crate::reference::attn_merge_row_q8::run`].
pub fn run(
    p: &AttnMerge,
    rows: u32,
    row_table: &[u32],
    partial: &[u32],
    out: &mut [i32],
    act: &mut [u32],
) {
    attn_merge_i32::run(p, rows, row_table, partial, out);
    let cols = p.heads as usize * p.head_dim as usize;
    let act = &mut act[..rows as usize * p.act_stride as usize];
    for_chunks(act, p.act_stride as usize, |r, act| {
        quantize_row(&out[r * cols..(r + 1) * cols], p.exponent, act);
    });
}
