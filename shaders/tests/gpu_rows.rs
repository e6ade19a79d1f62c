//! Kernels over rows against their twins: embedding, norm, quantization, gated units, logits.
#![allow(clippy::unwrap_used)]

mod common;

use carat_format::{Coding, Encoding, ScaleGroup, TensorLayout};
use carat_shaders::params::{
    EmbedRow, GELU_TANH, GatedUnit, LogitsStats, LoraRow, QuantizeRow, RELU_SQUARED, ReadWords,
    RmsnormRow, SILU, STRENGTH_BITS, STRENGTH_MAX,
};
use carat_shaders::{act_stride, cpu, grid, groups_of};
use common::{FLAVOURS, Random, on_each_driver, same, signed};

const COLS: [u32; 7] = [1, 33, 172, 288, 576, 2100, 4864];

#[test]
fn embed_row_q() {
    on_each_driver("embed_row_q", |gpu| {
        let mut random = Random(1);
        for encoding in Encoding::ALL {
            let shapes = [(1, 1), (33, 40), (172, 70), (576, 33), (4864, 5)];
            for ((cols, rows), group) in shapes
                .into_iter()
                .flat_map(|s| ScaleGroup::ALL.map(|g| (s, g)))
            {
                let layout = TensorLayout::new(Coding { encoding, group }, rows, cols).unwrap();
                let part = &layout.parts[0];
                let mut weights = random.words((part.end / 4) as usize);
                for w in &mut weights[(part.row_scales / 4) as usize..] {
                    *w = *w & 0xffff | (random.range(-96, 64) as u32) << 16;
                }
                let p = EmbedRow {
                    table: std::array::from_fn(|_| random.next() as u32),
                    row_start: 100,
                    part_rows: rows as u32,
                    groups: layout.groups as u32,
                    scales: (part.scales / 4) as u32,
                    row_scales: (part.row_scales / 4) as u32,
                    cols: cols as u32,
                    exponent: random.range(-60, 30),
                    scale_shift: group.shift(),
                };
                // Tokens inside the part, at its borders and outside.
                let last = 100 + rows as u32 - 1;
                let tokens = [
                    100,
                    last,
                    99,
                    last + 1,
                    0,
                    u32::MAX,
                    100 + random.below(rows as u32),
                ];
                let mut table: Vec<u32> = tokens.iter().flat_map(|t| [*t, 5, 6]).collect();
                let h = random.words(tokens.len() * cols as usize);
                let (mut device, mut twin) = (h.clone(), h);
                let rows = tokens.len() as u32;
                cpu::embed_row_q::run(&p, encoding, rows, &table, &weights, signed(&mut twin));
                gpu.kernel(
                    "embed_row_q",
                    &[("CODES", encoding.codes().into())],
                    bytemuck::bytes_of(&p),
                    &mut [&mut table, &mut weights, &mut device],
                    [grid::embed_row_q(&p), rows, 1],
                );
                same(&format!("{encoding:?} {group:?} {cols}"), &device, &twin);
            }
        }
    });
}

#[test]
fn rmsnorm_row_q8() {
    on_each_driver("rmsnorm_row_q8", |gpu| {
        let mut random = Random(2);
        for cols in COLS.into_iter().chain([32_768]) {
            for _ in 0..2 {
                let rows = FLAVOURS;
                let (mantissa, exponent) = random.epsilon();
                let p = RmsnormRow {
                    cols,
                    act_stride: act_stride(groups_of(cols)),
                    eps_mantissa: mantissa,
                    eps_exponent: exponent,
                    gain_exponent: random.range(-64, 32),
                    ..Default::default()
                };
                let mut h = random.rows(cols);
                let flavour = random.below(FLAVOURS);
                let mut gains = random.values(cols as usize, flavour);
                let mut device = random.words((rows * p.act_stride) as usize);
                let mut twin = device.clone();
                cpu::rmsnorm_row_q8::run(&p, signed(&mut h), signed(&mut gains), &mut twin);
                gpu.kernel(
                    "rmsnorm_row_q8",
                    &[],
                    bytemuck::bytes_of(&p),
                    &mut [&mut h, &mut gains, &mut device],
                    [grid::rmsnorm_row_q8(&p), rows, 1],
                );
                same(&format!("{cols} columns"), &device, &twin);
            }
        }
    });
}

#[test]
fn quantize_row_q8() {
    on_each_driver("quantize_row_q8", |gpu| {
        let mut random = Random(3);
        for cols in COLS {
            let p = QuantizeRow {
                cols,
                act_stride: act_stride(groups_of(cols)),
                exponent: random.range(-64, 32),
                pad0: 0,
            };
            // Every flavour, and rows of one magnitude from 1 to 2^31 - 1.
            let mut x = random.rows(cols);
            for bits in 1..32 {
                x.extend((0..cols).map(|_| {
                    random.range(-(i32::MAX >> (31 - bits)), i32::MAX >> (31 - bits)) as u32
                }));
            }
            let rows = x.len() as u32 / cols;
            let mut device = random.words((rows * p.act_stride) as usize);
            let mut twin = device.clone();
            cpu::quantize_row_q8::run(&p, signed(&mut x), &mut twin);
            gpu.kernel(
                "quantize_row_q8",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut x, &mut device],
                [grid::quantize_row_q8(&p), rows, 1],
            );
            same(&format!("{cols} columns"), &device, &twin);
        }
    });
}

#[test]
fn lora_row_q8() {
    on_each_driver("lora_row_q8", |gpu| {
        let mut random = Random(13);
        for (cols, relative) in [
            (1, 0),
            (4, 1),
            (16, 0),
            (33, 1),
            (64, 0),
            (172, 0),
            (1024, 1),
        ] {
            let p = LoraRow {
                cols,
                act_stride: act_stride(groups_of(cols)),
                exponent: random.range(-64, 32),
                input_stride: 12,
                input_exponent: 9,
                relative,
                adapter: 1,
                adapters: 3,
            };
            let mut x = random.rows(cols);
            let rows = x.len() as u32 / cols;
            let mut table: Vec<u32> = (0..rows).flat_map(|r| [7, r, r % 5]).collect();
            let mut input = random.words((rows * p.input_stride) as usize);
            for row in input.chunks_mut(p.input_stride as usize) {
                row[9] = random.range(-70, 70) as u32;
            }
            let one = 1 << STRENGTH_BITS;
            let own = [0, one, -one, STRENGTH_MAX, -1];
            let mut strengths: Vec<u32> = own
                .into_iter()
                .flat_map(|s| [5, s as u32, random.next() as u32])
                .collect();
            let mut device = random.words((rows * p.act_stride) as usize);
            let mut twin = device.clone();
            let (s, t) = (signed(&mut strengths).to_vec(), signed(&mut x).to_vec());
            cpu::lora_row_q8::run(&p, &table, &s, &input, &t, &mut twin);
            gpu.kernel(
                "lora_row_q8",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut table, &mut strengths, &mut input, &mut x, &mut device],
                [grid::lora_row_q8(&p), rows, 1],
            );
            same(&format!("{cols} columns"), &device, &twin);
        }
    });
}

#[test]
fn gated_unit_row_i32() {
    on_each_driver("gated_unit_row_i32", |gpu| {
        let mut random = Random(4);
        for activation in [SILU, GELU_TANH, RELU_SQUARED] {
            for (n, cols) in COLS.into_iter().chain([4864; 6]).enumerate() {
                let gate_exponent = [-20, -64, 32, 0, -27, -30, -16][n % 7];
                let p = GatedUnit {
                    cols,
                    gate_exponent,
                    activation,
                    ..Default::default()
                };
                let rows = FLAVOURS * FLAVOURS;
                let (mut gate, mut up) = (Vec::new(), Vec::new());
                for flavour in 0..rows {
                    gate.extend(random.values(cols as usize, flavour % FLAVOURS));
                    up.extend(random.values(cols as usize, flavour / FLAVOURS));
                }
                let mut device = vec![9; gate.len()];
                let mut twin = vec![0; gate.len()];
                let (g, u) = (signed(&mut gate), signed(&mut up));
                cpu::gated_unit_row_i32::run(&p, g, u, signed(&mut twin));
                gpu.kernel(
                    "gated_unit_row_i32",
                    &[("ACTIVATION", activation.into())],
                    bytemuck::bytes_of(&p),
                    &mut [&mut gate, &mut up, &mut device],
                    [grid::gated_unit_row_i32(&p), rows, 1],
                );
                let what = format!("{activation}: {cols} columns, exponent {gate_exponent}");
                same(&what, &device, &twin);
            }
        }
    });
}

#[test]
fn logits_stats_i32() {
    on_each_driver("logits_stats_i32", |gpu| {
        let mut random = Random(5);
        for cols in COLS.into_iter().chain([255, 256, 257, 50_001]) {
            let p = LogitsStats {
                cols,
                ..Default::default()
            };
            // Flavours 2, 4 and 6 are full of ties; the last row holds the least i32 alone.
            let mut logits = random.rows(cols);
            logits.extend(vec![0x8000_0000; cols as usize]);
            let rows = FLAVOURS + 1;
            let (mut device, mut twin) = (vec![9; rows as usize * 4], vec![0; rows as usize * 4]);
            cpu::logits_stats_i32::run(&p, signed(&mut logits), &mut twin);
            gpu.kernel(
                "logits_stats_i32",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut logits, &mut device],
                [grid::logits_stats_i32(&p), rows, 1],
            );
            same(&format!("{cols} columns"), &device, &twin);
        }
    });
}

#[test]
fn read_words_u32() {
    on_each_driver("read_words_u32", |gpu| {
        let mut random = Random(12);
        for (quads, lanes) in [(1u32, 8u32), (63, 64), (1024, 8), (1027, 8), (70_001, 64)] {
            let mut words = random.words(quads as usize * 4 + 4);
            let p = ReadWords {
                quads,
                ..Default::default()
            };
            let (mut device, mut twin) = ([7; 4], [7; 4]);
            cpu::read_words_u32::run(&p, &words, &mut twin);
            gpu.kernel(
                "read_words_u32",
                &[("LANES", lanes.into())],
                bytemuck::bytes_of(&p),
                &mut [&mut words, &mut device],
                [grid::read_words_u32(&p, lanes), 1, 1],
            );
            same(&format!("{quads} quads"), &device, &twin);
        }
    });
}
