//! activation(gate)·up of two products; the definition of `wgsl/linear_gated_tile_q.wgsl`.

use super::{gated_unit_row_i32, linear_tile_q};
use crate::params::{LinearGated, LinearTile, STORE};
use carat_format::Encoding;

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
    let len = rows as usize * p.part_rows as usize;
    let (mut gate, mut up) = (vec![0; len], vec![0; len]);
    let [of_gate, of_up] = products(p);
    linear_tile_q::run(
        &of_gate,
        encoding,
        rows,
        act,
        gate_words,
        &mut gate,
        &mut [],
    );
    linear_tile_q::run(&of_up, encoding, rows, act, up_words, &mut up, &mut []);
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gated_unit_row_i32::unit(p.activation, p.gate_exponent, gate, up);
    }
}

/// The gate's product and the up projection's.
pub(crate) fn products(p: &LinearGated) -> [LinearTile; 2] {
    let of = |table, exponent| LinearTile {
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
    };
    [
        of(p.gate_table, p.gate_exponent),
        of(p.up_table, p.up_exponent),
    ]
}
