//! `linear_tile_q` against its twin.
#![allow(clippy::unwrap_used)]

mod common;

use carat_format::{Coding, Encoding, ScaleGroup, TensorLayout};
use carat_shaders::params::{ACCUMULATE, LinearTile, STATS_WORDS, STORE_RELATIVE};
use carat_shaders::{act_stride, cpu, grid};
use common::{Gpu, Random, on_each_driver, same, signed};

/// How codes, activations and scales are drawn.
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// Any bits.
    Random,
    /// The largest magnitudes that a file may hold, all of one sign.
    Largest,
    /// The same with signs mixed by group.
    Alternating,
}

struct Case {
    encoding: Encoding,
    group: ScaleGroup,
    rows: u64,
    cols: u64,
    batch: u32,
    mode: u32,
    fill: Fill,
    slices: u32,
}

fn check(gpu: &mut Gpu, random: &mut Random, case: &Case) {
    let coding = Coding {
        encoding: case.encoding,
        group: case.group,
    };
    let layout = TensorLayout::new(coding, case.rows, case.cols).unwrap();
    let part = &layout.parts[0];
    let groups = layout.groups as u32;
    let mut weights = random.words((part.end / 4) as usize);
    let stride = act_stride(groups);
    let mut act = random.words((case.batch * stride) as usize);
    let mut table: [u32; 4] = std::array::from_fn(|_| random.next() as u32);
    if !matches!(case.fill, Fill::Random) {
        table = [0x7f7f_7f7f; 4];
        weights.fill(0x7f7f_7f7f);
        weights[(part.scales / 4) as usize..].fill(u32::MAX);
        act.fill(u32::MAX);
    }
    for w in &mut weights[(part.row_scales / 4) as usize..] {
        // The extremes of a file's check and what lies between.
        let exponent = match random.below(4) {
            0 => -64,
            1 => 32,
            _ => random.range(-40, -10),
        };
        *w = *w & 0xffff | (exponent as u32) << 16;
    }
    for row in act.chunks_mut(stride as usize) {
        if !matches!(case.fill, Fill::Random) {
            for (g, codes) in row[..groups as usize * 8].chunks_mut(8).enumerate() {
                let negative = matches!(case.fill, Fill::Alternating) && g % 3 == 1;
                codes.fill(if negative { 0x8181_8181 } else { 0x7f7f_7f7f });
            }
        }
        // Activations are never −128: their kernels round to ±127.
        let codes: &mut [u8] = bytemuck::cast_slice_mut(&mut row[..groups as usize * 8]);
        codes
            .iter_mut()
            .filter(|c| **c == 0x80)
            .for_each(|c| *c = 0x81);
        let tail = (groups * 8 + groups.div_ceil(4)) as usize;
        row[tail] &= 0xffff;
        row[tail + 1] = random.range(-40, 20) as u32;
    }
    let p = LinearTile {
        table,
        row_start: 3,
        part_rows: case.rows as u32,
        groups,
        scales: (part.scales / 4) as u32,
        row_scales: (part.row_scales / 4) as u32,
        act_stride: stride,
        out_stride: case.rows as u32 + 5,
        exponent: random.range(-24, 0),
        mode: case.mode,
        scale_shift: case.group.shift(),
        ..Default::default()
    };
    let out = random.values((case.batch * p.out_stride) as usize, 5);
    let stats = [0xffff_fffe, 17];
    assert_eq!(stats.len() as u32, STATS_WORDS);
    let (mut device, mut twin) = (out.clone(), out);
    let (mut device_stats, mut twin_stats) = (stats, stats);
    cpu::linear_tile_q::run(
        &p,
        case.encoding,
        case.batch,
        &act,
        &weights,
        signed(&mut twin),
        &mut twin_stats,
    );
    gpu.kernel(
        "linear_tile_q",
        &[
            ("CODES", case.encoding.codes().into()),
            ("SLICES", case.slices.into()),
        ],
        bytemuck::bytes_of(&p),
        &mut [&mut act, &mut weights, &mut device, &mut device_stats],
        [grid::linear_tile_q(&p), case.batch, 1],
    );
    let what = format!(
        "{:?} {:?} {}x{} batch {} slices {} {:?}",
        case.encoding, case.group, case.rows, case.cols, case.batch, case.slices, case.fill
    );
    same(&what, &device, &twin);
    same(&format!("{what}: statistics"), &device_stats, &twin_stats);
}

#[test]
fn linear_tile_q() {
    on_each_driver("linear_tile_q", |gpu| {
        let mut random = Random(6);
        for encoding in Encoding::ALL {
            let shapes = [
                (1, 1),
                (31, 33),
                (32, 172),
                (33, 288),
                (70, 576),
                (96, 4864),
            ];
            for (n, (rows, cols)) in shapes.into_iter().enumerate() {
                for slices in [1, 8] {
                    let (batch, mode) = (1 + n as u32 % 3, (n as u32 + slices / 8) % 3);
                    let fill = Fill::Random;
                    for group in ScaleGroup::ALL {
                        let case = Case {
                            encoding,
                            group,
                            rows,
                            cols,
                            batch,
                            mode,
                            fill,
                            slices,
                        };
                        check(gpu, &mut random, &case);
                    }
                }
            }
            for slices in [2, 32] {
                let fill = Fill::Random;
                let case = Case {
                    encoding,
                    group: ScaleGroup::W64,
                    rows: 65,
                    cols: 200,
                    batch: 2,
                    mode: ACCUMULATE,
                    fill,
                    slices,
                };
                check(gpu, &mut random, &case);
            }
        }
    });
}

/// The proof's extreme: 1,024 groups of the largest magnitudes.
#[test]
fn linear_tile_q_largest_sums() {
    on_each_driver("linear_tile_q_largest_sums", |gpu| {
        let mut random = Random(8);
        for (encoding, group) in [
            (Encoding::Pow1, ScaleGroup::W128),
            (Encoding::Pow2, ScaleGroup::W32),
            (Encoding::Pow4, ScaleGroup::W64),
            (Encoding::Int8, ScaleGroup::W32),
        ] {
            for fill in [Fill::Largest, Fill::Alternating] {
                for slices in [1, 8] {
                    let case = Case {
                        encoding,
                        group,
                        rows: 33,
                        cols: 32_768,
                        batch: 1,
                        mode: STORE_RELATIVE,
                        fill,
                        slices,
                    };
                    check(gpu, &mut random, &case);
                }
            }
        }
    });
}
