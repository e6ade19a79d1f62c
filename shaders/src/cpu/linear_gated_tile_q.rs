//! activation(gate)·up of two products; twin of `wgsl/linear_gated_tile_q.wgsl`.

use super::{gated_unit_row_i32, linear_tile_q};
use crate::params::{GatedUnit, LinearGated, LinearTile, STORE};
use carat_format::Encoding;
use std::cell::RefCell;

thread_local! {
    /// Rows of the gate and of the up projection, kept from call to call.
    static PRODUCTS: RefCell<[Vec<i32>; 2]> = RefCell::default();
}

/// Bytes that a thread keeps for `rows` rows: both products, and what [`linear_tile_q`] keeps.
pub fn scratch_bytes(p: &LinearGated, rows: u32) -> u64 {
    let products = 2 * 4 * u64::from(p.part_rows) * u64::from(rows);
    products + linear_tile_q::scratch_bytes(&product(p, p.gate_table, p.gate_exponent), rows)
}

/// `out[r] = activation(gate·x[r]) · (up·x[r])`: the products rounded as [`linear_tile_q`] stores them, then
/// [`gated_unit_row_i32`] of both. `gate_words` and `up_words` are the only parts of their matrices, of one layout.
pub fn run(
    p: &LinearGated,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    gate_words: &[u32],
    up_words: &[u32],
    out: &mut [i32],
) {
    let mut products = PRODUCTS.take();
    let [gate, up] = &mut products;
    let of = [
        (gate_words, p.gate_table, p.gate_exponent, &mut *gate),
        (up_words, p.up_table, p.up_exponent, &mut *up),
    ];
    for (words, table, exponent, product_rows) in of {
        product_rows.resize(out.len(), 0);
        let params = product(p, table, exponent);
        // Nothing is added to the residual stream.
        let (to, stats) = (&mut product_rows[..], &mut [][..]);
        linear_tile_q::run(&params, encoding, rows, act, words, to, stats);
    }
    let unit = GatedUnit {
        cols: p.part_rows,
        gate_exponent: p.gate_exponent,
        activation: p.activation,
        ..Default::default()
    };
    gated_unit_row_i32::run(&unit, gate, up, out);
    PRODUCTS.set(products);
}

/// One of the two products.
fn product(p: &LinearGated, table: [u32; 4], exponent: i32) -> LinearTile {
    LinearTile {
        table,
        part_rows: p.part_rows,
        groups: p.groups,
        scales: p.scales,
        row_scales: p.row_scales,
        act_stride: p.act_stride,
        out_stride: p.part_rows,
        exponent,
        mode: STORE,
        scale_shift: p.scale_shift,
        ..Default::default()
    }
}
