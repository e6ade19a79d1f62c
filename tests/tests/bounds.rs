//! The contract's bounds at the extremes, against exact integers or f64.
#![allow(clippy::unwrap_used)]

use carat_format::{
    Coding, Encoding, PackedRow, RowScale, ScaleGroup, Table, TensorLayout, pack_rows,
};
use carat_shaders::cpu::{
    attn_block_q8, attn_merge_i32, linear_tile_q, quantize_row, rope_store_q8,
};
use carat_shaders::params::{AttnBlock, AttnMerge, LinearTile, PAGE, RopeStore};
use carat_shaders::{act_stride, groups_of, kv_page_words, partial_stride, query_stride};
use carat_tests::rng::Rng;

/// Words of a payload.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
        .collect()
}

/// `a · m · 2^-s` in exact arithmetic up to the two roundings that the contract allows.
fn close(got: i32, exact: f64) {
    let bound = f64::from(i32::MAX);
    let exact = exact.clamp(-bound, bound);
    assert!(
        (f64::from(got) - exact).abs() <= 1.0 + exact.abs() * 2e-9,
        "{got} {exact}"
    );
}

#[test]
fn sums_are_exact_at_the_longest_row_and_largest_values() {
    let one_bit = Table::power(Encoding::Pow1, 1.0);
    for ((cols, level, code), group, encoding) in [
        (32_768u64, 127i8, 127i32),
        (32_768, -127, 127),
        (32_768, 127, -127),
        (4864, -127, -127),
        (33, 127, 127),
    ]
    .into_iter()
    .flat_map(|case| ScaleGroup::ALL.map(|group| (case, group)))
    .flat_map(|(c, g)| [Encoding::Int8, Encoding::Pow1].map(|e| (c, g, e)))
    {
        let layout = TensorLayout::new(Coding { encoding, group }, 1, cols).unwrap();
        let weight = match encoding {
            Encoding::Int8 => level as u8,
            _ => u8::from(level > 0),
        };
        let row = PackedRow {
            codes: vec![weight; cols as usize],
            scales: vec![255; layout.scale_groups as usize],
            scale: RowScale {
                mantissa: u16::MAX,
                exponent: -40,
            },
        };
        let weights = words(&pack_rows(&layout, &[row]).unwrap());
        let stride = act_stride(layout.groups as u32);
        let x = vec![code * 1000; cols as usize];
        let mut act = vec![0; stride as usize];
        quantize_row(&x, 0, &mut act);
        let tail = (layout.groups * 8 + layout.groups.div_ceil(4)) as usize;
        let part = &layout.parts[0];
        let p = LinearTile {
            part_rows: 1,
            groups: layout.groups as u32,
            scales: (part.scales / 4) as u32,
            row_scales: (part.row_scales / 4) as u32,
            act_stride: stride,
            out_stride: 1,
            exponent: -10,
            table: one_bit.words(),
            scale_shift: group.shift(),
            ..Default::default()
        };
        let mut out = [0];
        linear_tile_q::run(&p, encoding, 1, &act, &weights, &mut out, &mut [0; 2]);
        // Every code is ±127 and every scale the row's: one product, counted cols times.
        let scale = f64::from(act[layout.groups as usize * 8] & 0xff);
        let unit = f64::from(act[tail]) * f64::from(act[tail + 1] as i32).exp2();
        let q = f64::from(act[0] as u8 as i8);
        let exact =
            cols as f64 * f64::from(level) * 255.0 * q * scale * unit * 65535.0 * 2f64.powi(-30);
        close(out[0], exact);
    }
}

#[test]
fn products_agree_with_f64_in_odd_sizes() {
    let mut rng = Rng(11);
    for (encoding, group) in Encoding::ALL
        .into_iter()
        .flat_map(|e| ScaleGroup::ALL.map(|g| (e, g)))
    {
        for cols in [1u64, 31, 33, 172, 288, 576, 4864] {
            let rows = 37;
            let layout = TensorLayout::new(Coding { encoding, group }, rows, cols).unwrap();
            let table = Table::power(encoding, 1.4);
            let data: Vec<PackedRow> = (0..rows)
                .map(|_| PackedRow {
                    codes: (0..cols)
                        .map(|_| rng.below(u64::from(encoding.codes())) as u8)
                        .collect(),
                    scales: (0..layout.scale_groups)
                        .map(|_| 1 + rng.below(255) as u8)
                        .collect(),
                    scale: RowScale {
                        mantissa: 0x8000 | rng.bits() as u16,
                        exponent: -30 - rng.below(4) as i16,
                    },
                })
                .collect();
            let payload = pack_rows(&layout, &data).unwrap();
            let x: Vec<i32> = (0..cols)
                .map(|_| (rng.bits() as i32) >> rng.below(20))
                .collect();
            let stride = act_stride(layout.groups as u32);
            let mut act = vec![0; stride as usize];
            quantize_row(&x, -20, &mut act);
            let part = &layout.parts[0];
            let p = LinearTile {
                table: table.words(),
                part_rows: rows as u32,
                groups: layout.groups as u32,
                scales: (part.scales / 4) as u32,
                row_scales: (part.row_scales / 4) as u32,
                act_stride: stride,
                out_stride: rows as u32,
                exponent: -12,
                scale_shift: group.shift(),
                ..Default::default()
            };
            let mut out = vec![0; rows as usize];
            linear_tile_q::run(
                &p,
                encoding,
                1,
                &act,
                &words(&payload),
                &mut out,
                &mut [0; 2],
            );
            let codes: &[u8] = bytemuck::cast_slice(&act);
            let tail = (layout.groups * 8 + layout.groups.div_ceil(4)) as usize;
            let unit = f64::from(act[tail]) * f64::from(act[tail + 1] as i32).exp2();
            for (r, row) in data.iter().enumerate() {
                let sum: i64 = (0..cols as usize)
                    .map(|i| {
                        let level = encoding.level(&table.bytes(), row.codes[i]);
                        let scale = i64::from(row.scales[i / group.weights()])
                            * i64::from(codes[layout.groups as usize * 32 + i / 32]);
                        i64::from(level) * i64::from(codes[i] as i8) * scale
                    })
                    .sum();
                let weight = f64::from(row.scale.mantissa) * f64::from(row.scale.exponent).exp2();
                close(out[r], sum as f64 * unit * weight * 4096.0);
            }
        }
    }
}

#[test]
fn the_residual_saturates_and_counts() {
    let layout = TensorLayout::new(Encoding::Int8, 2, 32).unwrap();
    let row = |level: i8| PackedRow {
        codes: vec![level as u8; 32],
        scales: vec![255],
        scale: RowScale {
            mantissa: u16::MAX,
            exponent: 0,
        },
    };
    let weights = words(&pack_rows(&layout, &[row(127), row(-127)]).unwrap());
    let stride = act_stride(1);
    let mut act = vec![0; stride as usize];
    quantize_row(&[i32::MAX; 32], 10, &mut act);
    let part = &layout.parts[0];
    let p = LinearTile {
        part_rows: 2,
        groups: 1,
        scales: (part.scales / 4) as u32,
        row_scales: (part.row_scales / 4) as u32,
        act_stride: stride,
        out_stride: 2,
        exponent: -17,
        mode: carat_shaders::params::ACCUMULATE,
        ..Default::default()
    };
    let (mut h, mut stats) = ([5, -5], [0; 2]);
    linear_tile_q::run(&p, Encoding::Int8, 1, &act, &weights, &mut h, &mut stats);
    assert_eq!((h, stats), ([i32::MAX, -i32::MAX], [2, i32::MAX as u32]));
}

/// One head's attention over `keys`, `values` for `query` at the last position; f32 in, real values out.
struct Head {
    dim: u32,
}

/// Units of the fixed-point inputs below: 2^-16.
const UNIT: i32 = -16;

impl Head {
    fn fixed(x: impl AsRef<[f64]>) -> Vec<i32> {
        let unit = |v: &f64| (v * 65536.0).round() as i32;
        x.as_ref().iter().map(unit).collect()
    }

    fn attend(&self, query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
        let (dim, n) = (self.dim, keys.len() as u32);
        let (words, groups, blocks) = (dim.div_ceil(4), groups_of(dim), n.div_ceil(PAGE));
        // No rotation: cos 1, sin 0.
        let angles: Vec<i32> = (0..dim / 2).flat_map(|_| [1 << 30, 0]).collect();
        let pages: Vec<u32> = (0..blocks).rev().collect();
        let mut cache = vec![0; (blocks * kv_page_words(1, words, groups, 0)) as usize];
        let scale = carat_format::Fixed::from_f64(std::f64::consts::LOG2_E / f64::from(dim).sqrt())
            .unwrap();
        let store = RopeStore {
            heads: 1,
            kv_heads: 1,
            head_dim: dim,
            head_words: words,
            groups,
            query_exponent: UNIT,
            scale_mantissa: scale.mantissa,
            scale_exponent: scale.exponent,
            key_exponent: UNIT,
            value_exponent: UNIT,
            table_stride: blocks,
            narrow: 0,
        };
        let mut q = vec![0; query_stride(words) as usize];
        for (t, (k, v)) in keys.iter().zip(values).enumerate() {
            let heads = [query, k.as_slice(), v].map(Self::fixed);
            rope_store_q8::run(
                &store,
                1,
                [&[0, t as u32, 0], &pages],
                &angles,
                [&heads[0], &heads[1], &heads[2]],
                &mut q,
                &mut cache,
            );
        }
        let row = [0, n - 1, 0];
        let block = AttnBlock {
            heads: 1,
            heads_per_kv: 1,
            head_words: words,
            groups,
            table_stride: blocks,
            max_blocks: blocks,
            ..Default::default()
        };
        let mut partial = vec![0; (blocks * partial_stride(words, groups)) as usize];
        attn_block_q8::run(&block, 1, blocks, &row, &pages, &q, &cache, &mut partial);
        let merge = AttnMerge {
            heads: 1,
            head_dim: dim,
            head_words: words,
            groups,
            max_blocks: blocks,
            exponent: UNIT,
            ..Default::default()
        };
        let mut out = vec![0; dim as usize];
        attn_merge_i32::run(&merge, 1, &row, &partial, &mut out);
        out.iter().map(|v| f64::from(*v) / 65536.0).collect()
    }

    fn exact(&self, query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
        let scores: Vec<f64> = keys
            .iter()
            .map(|k| {
                k.iter().zip(query).map(|(a, b)| a * b).sum::<f64>() / f64::from(self.dim).sqrt()
            })
            .collect();
        let max = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..self.dim as usize)
            .map(|d| {
                weights
                    .iter()
                    .zip(values)
                    .map(|(w, v)| w * v[d])
                    .sum::<f64>()
                    / total
            })
            .collect()
    }
}

#[test]
fn the_tail_survives_a_sink() {
    // One key far above 8,191 equal ones: the tail's mass must come through within 1 %.
    let (dim, n) = (32u32, 8192usize);
    let head = Head { dim };
    for gap in [0.0, 6.0, 10.0, 12.0, 13.0, 14.0, 15.0] {
        // A key of one coordinate; a query that turns it into `gap` units of log2.
        let key = 127.0;
        let mut query = vec![0.0; dim as usize];
        query[0] = gap * f64::from(dim).sqrt() / std::f64::consts::LOG2_E / key;
        let mut keys = vec![vec![0.0; dim as usize]; n];
        keys[0][0] = key;
        let mut values = vec![vec![1.0; dim as usize]; n];
        values[0] = vec![0.0; dim as usize];
        let got = head.attend(&query, &keys, &values)[5];
        let tail = (n - 1) as f64 * (-gap).exp2();
        let exact = tail / (1.0 + tail);
        assert!((got / exact - 1.0).abs() < 0.01, "gap {gap}: {got} {exact}");
    }
}

#[test]
fn key_biases_of_200_leave_attention_accurate() {
    // Keys with large constant coordinates, as Qwen2's biases give, and small informative ones elsewhere.
    let mut rng = Rng(5);
    let mut unit = || (rng.bits() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
    for dim in [64u32, 128] {
        let head = Head { dim };
        let n = 300;
        let bias: Vec<f64> = (0..dim)
            .map(|d| {
                if d % 32 == 3 {
                    if d % 64 == 3 { 200.0 } else { -200.0 }
                } else {
                    0.0
                }
            })
            .collect();
        let mut key = || -> Vec<f64> {
            let mut k: Vec<f64> = bias
                .iter()
                .map(|b| if *b == 0.0 { 0.0 } else { b + unit() })
                .collect();
            // Coordinates without a bias carry information too.
            for v in k.iter_mut().skip(32).take(28) {
                *v += 2.0 * unit();
            }
            k
        };
        let keys: Vec<Vec<f64>> = (0..n).map(|_| key()).collect();
        let values: Vec<Vec<f64>> = (0..n).map(|_| (0..dim).map(|_| unit()).collect()).collect();
        let query: Vec<f64> = (0..dim).map(|_| unit()).collect();
        let (got, exact) = (
            head.attend(&query, &keys, &values),
            head.exact(&query, &keys, &values),
        );
        let error = got
            .iter()
            .zip(&exact)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>();
        let size = exact.iter().map(|v| v * v).sum::<f64>();
        println!("dim {dim}: relative error {:.4}", (error / size).sqrt());
        assert!((error / size).sqrt() < 0.15, "{got:?}\n{exact:?}");
    }
}

#[test]
fn attention_agrees_with_f64_for_every_head_size() {
    let mut rng = Rng(9);
    let mut unit = || (rng.bits() >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0;
    for dim in [2u32, 6, 8, 32, 64, 80, 128, 256] {
        for n in [1usize, 2, 255, 256, 257, 600] {
            let head = Head { dim };
            let mut vectors = |scale: f64| -> Vec<Vec<f64>> {
                (0..n)
                    .map(|_| (0..dim).map(|_| scale * unit()).collect())
                    .collect()
            };
            let (keys, values, query) = (vectors(3.0), vectors(1.0), vectors(2.0).remove(0));
            let (got, exact) = (
                head.attend(&query, &keys, &values),
                head.exact(&query, &keys, &values),
            );
            for (a, b) in got.iter().zip(&exact) {
                assert!((a - b).abs() < 0.02, "dim {dim} n {n}: {a} {b}");
            }
        }
    }
}
