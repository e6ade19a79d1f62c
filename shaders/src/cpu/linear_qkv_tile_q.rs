//! Queries, keys and values; twin of `wgsl/linear_qkv_tile_q.wgsl`.

use super::linear_tile_q;
use super::scratch::Scratch;
use crate::params::{LinearQkv, LinearTile, STORE};
use carat_format::Encoding;

/// What is kept for `rows` rows.
pub fn scratch(p: &LinearQkv, rows: u32) -> Scratch {
    let of = |m| linear_tile_q::scratch(&product(p, m, p.q_table), rows);
    of(0).largest(of(1)).largest(of(2))
}

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
    let tables = [p.q_table, p.k_table, p.v_table];
    for (m, ((words, out), table)) in words.into_iter().zip(out).zip(tables).enumerate() {
        // Nothing is added to the residual stream.
        linear_tile_q::run(
            &product(p, m, table),
            encoding,
            rows,
            act,
            words,
            out,
            &mut [],
        );
    }
}

/// One of the products.
fn product(p: &LinearQkv, m: usize, table: [u32; 4]) -> LinearTile {
    LinearTile {
        table,
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
