//! Kernels of optional tensors against their twins: biases, norms of heads and of branches, soft-caps.
#![allow(clippy::unwrap_used)]

mod common;

use carat_shaders::cpu::softcap::Cap;
use carat_shaders::params::{Bias, RmsnormAdd, RmsnormHead, Softcap};
use carat_shaders::{act_stride, cpu, grid, groups_of};
use common::{EPSILONS, FLAVOURS, LANES, Random, lanes, on_each_driver, same, signed};

const COLS: [u32; 6] = [1, 33, 172, 576, 2100, 4864];

#[test]
fn bias_row_i32() {
    on_each_driver("bias_row_i32", |gpu| {
        let mut random = Random(21);
        for cols in COLS {
            for (residual, shift) in [(0, 0), (1, 3), (0, 31), (1, -20), (0, -1), (1, 70)] {
                let p = Bias {
                    cols,
                    shift,
                    residual,
                    ..Default::default()
                };
                let flavour = random.below(FLAVOURS);
                let mut bias = random.values(cols as usize, flavour);
                let mut device = random.rows(cols);
                let mut twin = device.clone();
                let (mut device_stats, mut twin_stats) = ([0xffff_fffe, 17], [0xffff_fffe, 17]);
                cpu::bias_row_i32::run(&p, signed(&mut bias), signed(&mut twin), &mut twin_stats);
                gpu.kernel(
                    "bias_row_i32",
                    &[],
                    bytemuck::bytes_of(&p),
                    &mut [&mut bias, &mut device, &mut device_stats],
                    [grid::bias_row_i32(&p), FLAVOURS, 1],
                );
                let what = format!("{cols} columns, shift {shift}");
                same(&what, &device, &twin);
                same(&format!("{what}: statistics"), &device_stats, &twin_stats);
            }
        }
    });
}

#[test]
fn rmsnorm_head_i32() {
    on_each_driver("rmsnorm_head_i32", |gpu| {
        let mut random = Random(22);
        for (n, head_dim) in [2, 10, 32, 64, 80, 128, 256].into_iter().enumerate() {
            for heads in [1, 5] {
                let (eps_mantissa, eps_exponent) = EPSILONS[(n + heads as usize) % EPSILONS.len()];
                let p = RmsnormHead {
                    heads,
                    head_dim,
                    eps_mantissa,
                    eps_exponent,
                };
                let mut gains = random.values(head_dim as usize, n as u32 % FLAVOURS);
                let width = heads * head_dim;
                let x = random.rows(width);
                let mut twin = x.clone();
                cpu::rmsnorm_head_i32::run(&p, FLAVOURS, signed(&mut gains), signed(&mut twin));
                for n in LANES {
                    let mut device = x.clone();
                    gpu.kernel(
                        "rmsnorm_head_i32",
                        &lanes(n),
                        bytemuck::bytes_of(&p),
                        &mut [&mut gains, &mut device],
                        [grid::rmsnorm_head_i32(&p), FLAVOURS, 1],
                    );
                    same(
                        &format!("{heads} heads of {head_dim}, {n} lanes"),
                        &device,
                        &twin,
                    );
                }
            }
        }
    });
}

#[test]
fn rmsnorm_add_row_i32() {
    on_each_driver("rmsnorm_add_row_i32", |gpu| {
        let mut random = Random(23);
        for cols in COLS.into_iter().chain([32_768]) {
            for shift in [30, 47, 12, -3, 90] {
                let groups = groups_of(96);
                let (eps_mantissa, eps_exponent) = random.epsilon();
                let p = RmsnormAdd {
                    cols,
                    act_stride: act_stride(groups),
                    act_exponent: groups * 8 + groups.div_ceil(4) + 1,
                    eps_mantissa,
                    eps_exponent,
                    shift,
                    ..Default::default()
                };
                let mut act = random.words((FLAVOURS * p.act_stride) as usize);
                for row in act.chunks_mut(p.act_stride as usize) {
                    row[p.act_exponent as usize] = random.range(-40, 20) as u32;
                }
                let values = |random: &mut Random, turn: u32| -> Vec<u32> {
                    (0..FLAVOURS)
                        .flat_map(|f| random.values(cols as usize, (f + turn) % FLAVOURS))
                        .collect()
                };
                let (mut x, mut device) = (values(&mut random, 0), values(&mut random, 3));
                let flavour = random.below(FLAVOURS);
                let mut gains = random.values(cols as usize, flavour);
                let mut twin = device.clone();
                let (mut device_stats, mut twin_stats) = ([0xffff_fffe, 17], [0xffff_fffe, 17]);
                cpu::rmsnorm_add_row_i32::run(
                    &p,
                    &act,
                    signed(&mut x),
                    signed(&mut gains),
                    signed(&mut twin),
                    &mut twin_stats,
                );
                gpu.kernel(
                    "rmsnorm_add_row_i32",
                    &[],
                    bytemuck::bytes_of(&p),
                    &mut [&mut act, &mut x, &mut gains, &mut device, &mut device_stats],
                    [grid::rmsnorm_add_row_i32(&p), FLAVOURS, 1],
                );
                let what = format!("{cols} columns, shift {shift}");
                same(&what, &device, &twin);
                same(&format!("{what}: statistics"), &device_stats, &twin_stats);
            }
        }
    });
}

#[test]
fn softcap_row_i32() {
    on_each_driver("softcap_row_i32", |gpu| {
        let mut random = Random(24);
        for (cols, mantissa, exponent) in [
            (1, 1 << 30, 0),
            (300, 0x5555_5555, -10),
            (4864, 1 << 31, 5),
            (70_000, 0x7fff_ffff, -28),
        ] {
            let cap = Cap::new(mantissa, exponent);
            let p = Softcap {
                cols,
                cap_mantissa: cap.mantissa,
                cap_shift: cap.shift,
                rate_mantissa: cap.rate_mantissa,
                rate_shift: cap.rate_shift,
                ..Default::default()
            };
            let mut device = random.rows(cols);
            let mut twin = device.clone();
            cpu::softcap_row_i32::run(&p, signed(&mut twin));
            gpu.kernel(
                "softcap_row_i32",
                &[],
                bytemuck::bytes_of(&p),
                &mut [&mut device],
                [grid::softcap_row_i32(&p), FLAVOURS, 1],
            );
            same(&format!("{cols} columns"), &device, &twin);
        }
    });
}
