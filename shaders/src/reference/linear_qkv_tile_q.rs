//! Queries, keys and values; the definition of `wgsl/linear_qkv_tile_q.wgsl`.

use super::linear_tile_q;
use crate::params::{LinearQkv, LinearTile, STORE};
use carat_format::Encoding;

/// The products of three matrices with the same activations, each as [`linear_tile_q`] stores it. `words` are the only
/// parts of the matrices, `out` their products: queries, keys, values.
pub fn run(
    p: &LinearQkv,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    words: [&[u32]; 3],
    out: [&mut [i32]; 3],
) {
    for (m, (words, out)) in words.into_iter().zip(out).enumerate() {
        // Nothing is added to the residual stream.
        linear_tile_q::run(&product(p, m), encoding, rows, act, words, out, &mut []);
    }
}

/// One of the products.
pub(crate) fn product(p: &LinearQkv, m: usize) -> LinearTile {
    LinearTile {
        table: [p.q_table, p.k_table, p.v_table][m],
        part_rows: p.rows[m],
        groups: p.groups,
        scales: p.scales[m],
        row_scales: p.row_scales[m],
        act_stride: p.act_stride,
        out_stride: p.rows[m],
        exponent: p.exponents[m],
        mode: STORE,
        scale_shift: p.scale_shift,
        ..Default::default()
    }
}
