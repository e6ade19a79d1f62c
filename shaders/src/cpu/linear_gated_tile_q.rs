//! activation(gate)·up of two products; twin of `wgsl/linear_gated_tile_q.wgsl`.

use super::linear_tile_q::{self, AHEAD, BAND, Product, for_bands};
use super::scratch::Scratch;
use super::simd::{self, Isa, wide};
use crate::params::LinearGated;
use crate::reference::linear_gated_tile_q::products;
use carat_format::{Encoding, TILE_ROWS};
use std::cell::RefCell;

thread_local! {
    /// A band of rows of the gate and of the up projection, kept from call to call.
    static BANDS: RefCell<[Vec<i32>; 2]> = RefCell::default();
}

/// What is kept for `rows` rows.
pub fn scratch(p: &LinearGated, rows: u32) -> Scratch {
    let of_one = linear_tile_q::scratch(&products(p)[0], rows);
    Scratch {
        band: 0,
        pair: 2 * of_one.band,
        ..of_one
    }
}

/// As [`crate::reference::linear_gated_tile_q::run`].
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
    let [of_gate, of_up] = products(p);
    linear_tile_q::with_batch(isa, &of_gate, encoding, rows, act, |batch| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act_stride;
    use crate::cpu::random::Random;
    use crate::cpu::simd::tests::with_each;
    use crate::params::{GELU_TANH, RELU_SQUARED, SILU};
    use crate::reference;
    use carat_format::{Coding, ScaleGroup, TensorLayout};
    use proptest::prelude::*;
    use proptest::sample::select;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn units_are_the_defined_ones(
            encoding in select(Encoding::ALL.to_vec()),
            group in select(ScaleGroup::ALL.to_vec()),
            columns in select(vec![1u64, 31, 32, 33, 128, 140]),
            width in select(vec![1u64, 33, 129]),
            rows in select(vec![1u32, 2, 7, 9, 20]),
            activation in select(vec![SILU, GELU_TANH, RELU_SQUARED]),
            (low, high) in select(vec![(-16, -15), (-64, 33)]),
            seed in any::<u64>(),
        ) {
            let mut random = Random(seed);
            let layout = TensorLayout::new(Coding { encoding, group }, columns, width).unwrap();
            let part = &layout.parts[0];
            let (gate_words, up_words) = (random.part(part, low..high), random.part(part, low..high));
            let groups = layout.groups as u32;
            let stride = act_stride(groups);
            let act = random.activations(rows, groups, stride, 0..8);
            let p = LinearGated {
                gate_table: random.array(),
                up_table: random.array(),
                part_rows: columns as u32,
                groups,
                scales: (part.scales / 4) as u32,
                row_scales: (part.row_scales / 4) as u32,
                act_stride: stride,
                gate_exponent: random.range(-20, -9),
                up_exponent: random.range(0, 11),
                scale_shift: group.shift(),
                activation,
                ..Default::default()
            };
            let size = (u64::from(rows) * columns) as usize;
            let mut expected = vec![0; size];
            reference::linear_gated_tile_q::run(&p, encoding, rows, &act, &gate_words, &up_words, &mut expected);
            with_each(|isa| {
                let mut found = vec![7; size];
                run(&p, encoding, rows, &act, &gate_words, &up_words, &mut found);
                assert_eq!(found, expected, "{isa:?}");
            });
        }
    }
}
