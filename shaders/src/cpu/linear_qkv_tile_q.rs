//! Queries, keys and values; twin of `wgsl/linear_qkv_tile_q.wgsl`.

use super::linear_tile_q;
use super::scratch::Scratch;
use super::simd::Isa;
use crate::params::LinearQkv;
use crate::reference::linear_qkv_tile_q::product;
use carat_format::Encoding;

/// What is kept for `rows` rows.
pub fn scratch(p: &LinearQkv, rows: u32) -> Scratch {
    let of = |m| linear_tile_q::scratch(&product(p, m), rows);
    of(0).largest(of(1)).largest(of(2))
}

/// As [`crate::reference::linear_qkv_tile_q::run`].
pub fn run(
    p: &LinearQkv,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    words: [&[u32]; 3],
    out: [&mut [i32]; 3],
) {
    let isa = Isa::get();
    // All three read the same rows.
    linear_tile_q::with_batch(isa, &product(p, 0), encoding, rows as usize, act, |batch| {
        for (m, (words, out)) in words.into_iter().zip(out).enumerate() {
            linear_tile_q::of_batch(isa, &product(p, m), encoding, batch, words, out, &mut []);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act_stride;
    use crate::cpu::random::Random;
    use crate::cpu::simd::tests::with_each;
    use crate::reference;
    use carat_format::{Coding, ScaleGroup, TensorLayout};
    use proptest::prelude::*;
    use proptest::sample::select;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn queries_keys_and_values_are_the_defined_ones(
            encoding in select(Encoding::ALL.to_vec()),
            group in select(ScaleGroup::ALL.to_vec()),
            lens in select(vec![[64u64, 32, 32], [1, 33, 130]]),
            width in select(vec![1u64, 33, 129]),
            rows in select(vec![1u32, 2, 7, 17]),
            seed in any::<u64>(),
        ) {
            let mut random = Random(seed);
            let mut p = LinearQkv {
                q_table: random.array(),
                k_table: random.array(),
                v_table: random.array(),
                scale_shift: group.shift(),
                ..Default::default()
            };
            let words = [0, 1, 2].map(|m| {
                let layout = TensorLayout::new(Coding { encoding, group }, lens[m], width).unwrap();
                let part = &layout.parts[0];
                (p.groups, p.act_stride) = (layout.groups as u32, act_stride(layout.groups as u32));
                (p.rows[m], p.exponents[m]) = (lens[m] as u32, random.range(0, 11));
                (p.scales[m], p.row_scales[m]) = ((part.scales / 4) as u32, (part.row_scales / 4) as u32);
                random.part(part, -20..0)
            });
            let words = words.each_ref().map(|w| &w[..]);
            let act = random.activations(rows, p.groups, p.act_stride, 0..8);
            let before = lens.map(|n| vec![7; n as usize * rows as usize]);
            let mut expected = before.clone();
            let out = expected.each_mut().map(|o| &mut o[..]);
            reference::linear_qkv_tile_q::run(&p, encoding, rows, &act, words, out);
            with_each(|isa| {
                let mut found = before.clone();
                run(&p, encoding, rows, &act, words, found.each_mut().map(|o| &mut o[..]));
                assert_eq!(found, expected, "{isa:?}");
            });
        }
    }
}
