//! The kernels of products against their twins.
#![allow(clippy::unwrap_used)]

mod common;

use carat_format::{Coding, Encoding, ScaleGroup, TensorLayout};
use carat_shaders::params::{
    ACCUMULATE, GELU_TANH, LinearGated, LinearQkv, LinearTile, RELU_SQUARED, SILU, STATS_WORDS,
    STORE, STORE_RELATIVE,
};
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

#[derive(Clone, Copy)]
struct Case {
    encoding: Encoding,
    group: ScaleGroup,
    rows: u64,
    cols: u64,
    batch: u32,
    mode: u32,
    fill: Fill,
    slices: u32,
    tiles: u32,
    /// Rows of the batch in a workgroup.
    many: u32,
    /// Entries of its tables of pairs of codes, for one matrix; 1 for none.
    pairs: u32,
    /// What is added to levels.
    bias: u32,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} {}x{} batch {} slices {} tiles {} rows {} pairs {} bias {} {:?}",
            self.encoding,
            self.group,
            self.rows,
            self.cols,
            self.batch,
            self.slices,
            self.tiles,
            self.many,
            self.pairs,
            self.bias,
            self.fill
        )
    }
}

impl Case {
    fn layout(&self) -> TensorLayout {
        let coding = Coding {
            encoding: self.encoding,
            group: self.group,
        };
        TensorLayout::new(coding, self.rows, self.cols).unwrap()
    }

    /// A matrix and its table.
    fn weights(&self, random: &mut Random) -> (Vec<u32>, [u32; 4]) {
        let layout = self.layout();
        let part = &layout.parts[0];
        let mut weights = random.words((part.end / 4) as usize);
        let mut table: [u32; 4] = std::array::from_fn(|_| random.next() as u32);
        if !matches!(self.fill, Fill::Random) {
            table = [0x7f7f_7f7f; 4];
            // Where a table gives the levels any code will do.
            weights.fill(match self.encoding {
                Encoding::Int8 => 0x7f7f_7f7f,
                _ => u32::MAX,
            });
            weights[(part.scales / 4) as usize..].fill(u32::MAX);
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
        (weights, table)
    }

    fn activations(&self, random: &mut Random) -> Vec<u32> {
        let groups = self.layout().groups as u32;
        let stride = act_stride(groups);
        let mut act = random.words((self.batch * stride) as usize);
        if !matches!(self.fill, Fill::Random) {
            act.fill(u32::MAX);
        }
        for row in act.chunks_mut(stride as usize) {
            if !matches!(self.fill, Fill::Random) {
                for (g, codes) in row[..groups as usize * 8].chunks_mut(8).enumerate() {
                    let negative = matches!(self.fill, Fill::Alternating) && g % 3 == 1;
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
        act
    }
}

fn check(gpu: &mut Gpu, random: &mut Random, case: &Case) {
    let layout = case.layout();
    let part = &layout.parts[0];
    let groups = layout.groups as u32;
    let (mut weights, table) = case.weights(random);
    let mut act = case.activations(random);
    let stride = act_stride(groups);
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
    let (y, z) = grid::product_rows(case.batch, case.many);
    gpu.kernel(
        "linear_tile_q",
        &[
            ("CODES", case.encoding.codes().into()),
            ("SLICES", case.slices.into()),
            ("TILES", case.tiles.into()),
            ("ROWS", case.many.into()),
            ("PAIRS", case.pairs.into()),
            ("BIAS", case.bias.into()),
        ],
        bytemuck::bytes_of(&p),
        &mut [&mut act, &mut weights, &mut device, &mut device_stats],
        [grid::linear_tile_q(&p, case.tiles), y, z],
    );
    let what = case.to_string();
    same(&what, &device, &twin);
    same(&format!("{what}: statistics"), &device_stats, &twin_stats);
}

fn check_gated(gpu: &mut Gpu, random: &mut Random, case: &Case, activation: u32) {
    let layout = case.layout();
    let part = &layout.parts[0];
    let groups = layout.groups as u32;
    let (mut gate, gate_table) = case.weights(random);
    let (mut up, up_table) = case.weights(random);
    let mut act = case.activations(random);
    let p = LinearGated {
        gate_table,
        up_table,
        part_rows: case.rows as u32,
        groups,
        scales: (part.scales / 4) as u32,
        row_scales: (part.row_scales / 4) as u32,
        act_stride: act_stride(groups),
        gate_exponent: random.range(-30, -10),
        up_exponent: random.range(-30, -10),
        activation,
        scale_shift: case.group.shift(),
        ..Default::default()
    };
    let mut device = random.words(case.batch as usize * case.rows as usize);
    let mut twin = device.clone();
    let out = signed(&mut twin);
    cpu::linear_gated_tile_q::run(&p, case.encoding, case.batch, &act, &gate, &up, out);
    let (y, z) = grid::product_rows(case.batch, case.many);
    gpu.kernel(
        "linear_gated_tile_q",
        &[
            ("CODES", case.encoding.codes().into()),
            ("SLICES", case.slices.into()),
            ("ROWS", case.many.into()),
            ("PAIRS", if case.pairs > 1 { 512.0 } else { 1.0 }),
            ("BIAS", case.bias.into()),
            ("ACTIVATION", activation.into()),
        ],
        bytemuck::bytes_of(&p),
        &mut [&mut act, &mut gate, &mut up, &mut device],
        [grid::linear_gated_tile_q(&p), y, z],
    );
    same(
        &format!("gated {case} activation {activation}"),
        &device,
        &twin,
    );
}

/// Queries, keys and values of different numbers of rows.
fn check_qkv(gpu: &mut Gpu, random: &mut Random, case: &Case) {
    let cases = [case.rows, 1 + case.rows / 3, 33].map(|rows| Case { rows, ..*case });
    let groups = case.layout().groups as u32;
    let mut act = case.activations(random);
    let mut p = LinearQkv {
        groups,
        act_stride: act_stride(groups),
        scale_shift: case.group.shift(),
        ..Default::default()
    };
    let (mut words, mut device, mut twin) = (Vec::new(), Vec::new(), Vec::new());
    let mut tables = Vec::new();
    for (m, case) in cases.iter().enumerate() {
        let layout = case.layout();
        let part = &layout.parts[0];
        let (weights, table) = case.weights(random);
        p.rows[m] = case.rows as u32;
        p.scales[m] = (part.scales / 4) as u32;
        p.row_scales[m] = (part.row_scales / 4) as u32;
        p.exponents[m] = random.range(-24, 0);
        let out = random.words((case.batch * p.rows[m]) as usize);
        words.push(weights);
        tables.push(table);
        device.push(out.clone());
        twin.push(out);
    }
    (p.q_table, p.k_table, p.v_table) = (tables[0], tables[1], tables[2]);
    let [q, k, v] = &mut twin[..] else {
        panic!("three products");
    };
    let matrices = [&words[0][..], &words[1], &words[2]];
    let out = [signed(q), signed(k), signed(v)];
    cpu::linear_qkv_tile_q::run(&p, case.encoding, case.batch, &act, matrices, out);
    let (y, z) = grid::product_rows(case.batch, case.many);
    let mut buffers = vec![&mut act[..]];
    buffers.extend(words.iter_mut().map(|w| &mut w[..]));
    buffers.extend(device.iter_mut().map(|d| &mut d[..]));
    gpu.kernel(
        "linear_qkv_tile_q",
        &[
            ("CODES", case.encoding.codes().into()),
            ("SLICES", case.slices.into()),
            ("ROWS", case.many.into()),
            ("PAIRS", case.pairs.into()),
            ("BIAS", case.bias.into()),
        ],
        bytemuck::bytes_of(&p),
        &mut buffers,
        [grid::linear_qkv_tile_q(&p), y, z],
    );
    for (m, name) in ["queries", "keys", "values"].into_iter().enumerate() {
        same(&format!("{name} {case}"), &device[m], &twin[m]);
    }
}

/// (slices, tiles, rows of the batch, pairs, bias) of workgroups: all kinds for one encoding, the largest and those
/// of rasterisers for the others. Each is a pipeline, which drivers compile slowly.
fn workgroups(encoding: Encoding) -> &'static [(u32, u32, u32, u32, u32)] {
    const ALL: [(u32, u32, u32, u32, u32); 9] = [
        (8, 2, 4, 1, 0),
        (1, 2, 1, 1, 128),
        (1, 2, 1, 1, 0),
        (1, 1, 2, 1, 0),
        (2, 1, 4, 1, 0),
        (1, 2, 4, 1, 128),
        (32, 2, 2, 1, 0),
        (8, 1, 4, 256, 0),
        (1, 2, 1, 256, 128),
    ];
    match encoding {
        Encoding::Pow4 => &ALL,
        _ => &ALL[..3],
    }
}

/// Tiles and rows of a workgroup, over batches that fill no last one.
#[test]
fn linear_tile_q_workgroups() {
    on_each_driver("linear_tile_q_workgroups", |gpu| {
        let mut random = Random(16);
        for encoding in Encoding::ALL {
            for (n, (slices, tiles, many, pairs, bias)) in
                workgroups(encoding).iter().copied().enumerate()
            {
                for batch in [1, 4, 7] {
                    let n = n + batch as usize;
                    let case = Case {
                        encoding,
                        group: ScaleGroup::ALL[n % 3],
                        rows: [33, 96, 130][n % 3],
                        cols: [200, 33, 288][n / 2 % 3],
                        batch,
                        mode: n as u32 % 3,
                        fill: [Fill::Random, Fill::Largest][n % 2],
                        slices,
                        tiles,
                        many,
                        pairs,
                        bias,
                    };
                    check(gpu, &mut random, &case);
                }
            }
        }
    });
}

#[test]
fn linear_gated_tile_q() {
    on_each_driver("linear_gated_tile_q", |gpu| {
        let mut random = Random(17);
        for encoding in Encoding::ALL {
            for (n, (slices, _, many, pairs, bias)) in
                workgroups(encoding).iter().copied().enumerate()
            {
                for (m, batch) in [1, 4, 7].into_iter().enumerate() {
                    let case = Case {
                        encoding,
                        group: ScaleGroup::ALL[(n + m) % 3],
                        rows: [1, 33, 70, 96][(n + m) % 4],
                        cols: [33, 576, 172][m],
                        batch,
                        mode: STORE,
                        fill: [Fill::Random, Fill::Largest, Fill::Alternating][(n / 2 + m) % 3],
                        slices,
                        tiles: 1,
                        many,
                        pairs,
                        bias,
                    };
                    let activation = [SILU, GELU_TANH, RELU_SQUARED][(n + m) % 3];
                    check_gated(gpu, &mut random, &case, activation);
                }
            }
        }
    });
}

#[test]
fn linear_qkv_tile_q() {
    on_each_driver("linear_qkv_tile_q", |gpu| {
        let mut random = Random(18);
        for encoding in Encoding::ALL {
            for (n, (slices, _, many, pairs, bias)) in
                workgroups(encoding).iter().copied().enumerate()
            {
                for (m, batch) in [1, 4, 7].into_iter().enumerate() {
                    let case = Case {
                        encoding,
                        group: ScaleGroup::ALL[(n + m) % 3],
                        rows: [1, 33, 70, 96][(n + m) % 4],
                        cols: [172, 33, 576][m],
                        batch,
                        mode: STORE,
                        fill: [Fill::Random, Fill::Largest, Fill::Alternating][(n / 2 + m) % 3],
                        slices,
                        tiles: 1,
                        many,
                        pairs,
                        bias,
                    };
                    check_qkv(gpu, &mut random, &case);
                }
            }
        }
    });
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
                for (slices, bias) in [(1, 0), (1, 128), (8, 0)] {
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
                            tiles: 1,
                            many: 1,
                            pairs: 1,
                            bias,
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
                    tiles: 1,
                    many: 1,
                    pairs: 1,
                    bias: 0,
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
            (Encoding::Int5, ScaleGroup::W128),
            (Encoding::Int6, ScaleGroup::W64),
            (Encoding::Int8, ScaleGroup::W32),
        ] {
            for fill in [Fill::Largest, Fill::Alternating] {
                for (slices, bias) in [(1, 0), (1, 128), (8, 0)] {
                    let case = Case {
                        encoding,
                        group,
                        rows: 33,
                        cols: 32_768,
                        batch: 1,
                        mode: STORE_RELATIVE,
                        fill,
                        slices,
                        tiles: 1,
                        many: 1,
                        pairs: 1,
                        bias,
                    };
                    check(gpu, &mut random, &case);
                }
            }
        }
    });
}
