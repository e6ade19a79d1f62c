//! activation(gate)·up of two products; twin of `wgsl/linear_gated_tile_q.wgsl`.

use super::linear_tile_q::{self, AHEAD, BAND, Product, for_bands};
use super::scratch::Scratch;
use super::simd::{self, Isa, wide};
use crate::params::{LinearGated, LinearTile, STORE};
use carat_format::{Encoding, TILE_ROWS};
use std::cell::RefCell;

thread_local! {
    /// A band of rows of the gate and of the up projection, kept from call to call.
    static BANDS: RefCell<[Vec<i32>; 2]> = RefCell::default();
}

/// What is kept for `rows` rows.
pub fn scratch(p: &LinearGated, rows: u32) -> Scratch {
    let of_one = linear_tile_q::scratch(&product(p, p.gate_table, p.gate_exponent), rows);
    Scratch {
        band: 0,
        pair: 2 * of_one.band,
        ..of_one
    }
}

/// `out[r] = activation(gate·x[r]) · (up·x[r])`: the products rounded as [`linear_tile_q`] stores them, then
/// [`super::gated_unit_row_i32`] of both. `gate_words` and `up_words` are the only parts of their matrices, of one layout.
pub fn run(
    p: &LinearGated,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    gate_words: &[u32],
    up_words: &[u32],
    out: &mut [i32],
) {
    let (isa, rows, columns) = (Isa::get(), rows as usize, p.part_rows as usize);
    let of_gate = product(p, p.gate_table, p.gate_exponent);
    let of_up = product(p, p.up_table, p.up_exponent);
    linear_tile_q::with_batch(isa, &of_gate, rows, act, |batch| {
        let gate = Product::new(isa, &of_gate, encoding, batch, gate_words);
        let up = Product::new(isa, &of_up, encoding, batch, up_words);
        let unit = |gate: &[i32], up: &[i32], out: &mut [i32]| {
            let len = out.len();
            wide::gated_unit(p.activation, p.gate_exponent, &gate[..len], &up[..len], out);
        };
        if rows == 1 {
            super::for_chunks(&mut out[..columns], TILE_ROWS, |t, out| {
                unit(&gate.tile_of_one(t), &up.tile_of_one(t), out);
            });
            return;
        }
        let out = &mut out[..rows * columns];
        for_bands(out, columns, 0..columns, |i, band| {
            let mut products = BANDS.take();
            let [gates, ups] = &mut products;
            gate.band(i, gates);
            up.band(i, ups);
            let products_of = gates.chunks_exact(BAND).zip(ups.chunks_exact(BAND));
            for (r, (gates, ups)) in products_of.take(rows).enumerate() {
                if let Some(next) = band.get(r + AHEAD) {
                    simd::fetch_to_write(next);
                }
                unit(gates, ups, band[r]);
            }
            BANDS.set(products);
        });
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act_stride;
    use crate::cpu::gated_unit_row_i32;
    use crate::cpu::random::Random;
    use crate::params::{GELU_TANH, GatedUnit, RELU_SQUARED, SILU};
    use carat_format::{Coding, ScaleGroup, TensorLayout};
    use proptest::prelude::*;
    use proptest::sample::select;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_the_unit_of_both_products(
            encoding in select(Encoding::ALL.to_vec()),
            group in select(ScaleGroup::ALL.to_vec()),
            columns in select(vec![1u64, 31, 32, 33, 128, 140]),
            width in select(vec![1u64, 33, 129]),
            rows in select(vec![1u32, 2, 7, 20]),
            activation in select(vec![SILU, GELU_TANH, RELU_SQUARED]),
            seed in any::<u64>(),
        ) {
            let mut random = Random::new(seed);
            let layout = TensorLayout::new(Coding { encoding, group }, columns, width).unwrap();
            let part = &layout.parts[0];
            let (gate_words, up_words) = (random.part(part, -16..-15), random.part(part, -16..-15));
            let groups = layout.groups as u32;
            let stride = act_stride(groups);
            let act = random.activations(rows, groups, stride);
            let p = LinearGated {
                gate_table: random.words(),
                up_table: random.words(),
                part_rows: columns as u32,
                groups,
                scales: (part.scales / 4) as u32,
                row_scales: (part.row_scales / 4) as u32,
                act_stride: stride,
                gate_exponent: -20 + (random.word() % 12) as i32,
                up_exponent: (random.word() % 12) as i32,
                scale_shift: group.shift(),
                activation,
                ..Default::default()
            };
            let size = (rows as u64 * columns) as usize;
            let (mut gate, mut up) = (vec![0; size], vec![0; size]);
            let of = product(&p, p.gate_table, p.gate_exponent);
            linear_tile_q::run(&of, encoding, rows, &act, &gate_words, &mut gate, &mut []);
            let of = product(&p, p.up_table, p.up_exponent);
            linear_tile_q::run(&of, encoding, rows, &act, &up_words, &mut up, &mut []);
            let unit = GatedUnit {
                cols: columns as u32,
                gate_exponent: p.gate_exponent,
                activation,
                ..Default::default()
            };
            let (mut expected, mut found) = (vec![0; size], vec![7; size]);
            gated_unit_row_i32::run(&unit, &gate, &up, &mut expected);
            run(&p, encoding, rows, &act, &gate_words, &up_words, &mut found);
            prop_assert_eq!(found, expected);
        }
    }
}
