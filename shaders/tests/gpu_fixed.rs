//! Every function of `wgsl/shared/fixed.wgsl` against `reference::fixed`, elementwise.
#![allow(clippy::unwrap_used)]

mod common;

use carat_shaders::Access;
use carat_shaders::reference::fixed;
use common::{Random, on_each_driver, same};

const FIXED: &str = include_str!("../wgsl/shared/fixed.wgsl");
const INPUTS: usize = 1 << 17;

type Input = [u32; 4];
type Case = (&'static str, &'static str, fn(Input) -> u64);

fn long(i: Input) -> i64 {
    (u64::from(i[0]) | u64::from(i[1]) << 32) as i64
}
/// Within ±2^62.
fn wide(i: Input) -> i64 {
    long(i) >> 1
}

/// (function, WGSL of its result as vec2 from `i`, its twin).
const CASES: [Case; 24] = [
    ("mulhi", "vec2(mulhi(i.x, i.y), 0u)", |i| {
        fixed::mulhi(i[0], i[1]).into()
    }),
    ("mul_uu", "mul_uu(i.x, i.y)", |i| {
        u64::from(i[0]) * u64::from(i[1])
    }),
    ("mul_su", "mul_su(s.x, i.y)", |i| {
        (i64::from(i[0] as i32) * i64::from(i[1])) as u64
    }),
    ("mul_ss", "mul_ss(s.x, s.y)", |i| {
        (i64::from(i[0] as i32) * i64::from(i[1] as i32)) as u64
    }),
    ("add64", "add64(i.xy, i.zw)", |i| {
        long(i).wrapping_add(long([i[2], i[3], 0, 0])) as u64
    }),
    ("neg64", "neg64(i.xy)", |i| long(i).wrapping_neg() as u64),
    (
        "is_neg64",
        "vec2(select(0u, 1u, is_neg64(i.xy)), 0u)",
        |i| u64::from(long(i) < 0),
    ),
    ("extend64", "extend64(s.x)", |i| {
        i64::from(i[0] as i32) as u64
    }),
    ("bit_len64", "vec2(bit_len64(i.xy), 0u)", |i| {
        fixed::bit_len64(long(i) as u64).into()
    }),
    ("bit_len", "vec2(bit_len(i.x), 0u)", |i| {
        fixed::bit_len(i[0]).into()
    }),
    ("magnitude", "vec2(magnitude(s.x), 0u)", |i| {
        (i[0] as i32).unsigned_abs().into()
    }),
    ("shr64", "shr64(i.xy, i.w & 63u)", |i| {
        long(i) as u64 >> (i[3] & 63)
    }),
    ("sar64", "sar64(i.xy, i.w & 63u)", |i| {
        (long(i) >> (i[3] & 63)) as u64
    }),
    ("shl64", "shl64(i.xy, i.w & 63u)", |i| {
        (long(i) << (i[3] & 63)) as u64
    }),
    ("round_shr64", "round_shr64(wide, (i.w & 63u) % 63u)", |i| {
        fixed::round_shr64(wide(i), (i[3] & 63) % 63) as u64
    }),
    ("sat32", "vec2(bitcast<u32>(sat32(i.xy)), 0u)", |i| {
        (fixed::sat32(long(i)) as u32).into()
    }),
    (
        "sat32 near",
        "vec2(bitcast<u32>(sat32(sar64(i.xy, i.w & 63u))), 0u)",
        |i| (fixed::sat32(long(i) >> (i[3] & 63)) as u32).into(),
    ),
    (
        "requant64",
        "vec2(bitcast<u32>(requant64(wide, (s.w & 255) - 128)), 0u)",
        |i| (fixed::requant64(wide(i), (i[3] & 255) as i32 - 128) as u32).into(),
    ),
    (
        "requant64 small",
        "vec2(bitcast<u32>(requant64(extend64(s.x >> (i.z & 31u)), (s.w & 63) - 32)), 0u)",
        |i| {
            let a = i64::from(i[0] as i32 >> (i[2] & 31));
            (fixed::requant64(a, (i[3] & 63) as i32 - 32) as u32).into()
        },
    ),
    (
        "requant64 any shift",
        "vec2(bitcast<u32>(requant64(wide, s.w)), 0u)",
        |i| (fixed::requant64(wide(i), i[3] as i32) as u32).into(),
    ),
    (
        "scale64",
        "vec2(bitcast<u32>(scale64(sar64(wide, i.w & 63u), i.z, s.w >> 24u)), 0u)",
        |i| (fixed::scale64(wide(i) >> (i[3] & 63), i[2], i[3] as i32 >> 24) as u32).into(),
    ),
    ("rsqrt_q30", "vec2(rsqrt_q30(i.x), 0u)", |i| {
        fixed::rsqrt_q30(i[0]).into()
    }),
    ("recip_q62", "vec2(recip_q62(i.x), 0u)", |i| {
        fixed::recip_q62(i[0]).into()
    }),
    (
        "exp2_neg_q30",
        "vec2(exp2_neg_q30(i.x >> (i.w & 15u)), 0u)",
        |i| fixed::exp2_neg_q30(i[0] >> (i[3] & 15)).into(),
    ),
];

/// Random words, words of few bits, and all combinations of extremes.
fn inputs() -> Vec<Input> {
    const EDGES: [u32; 12] = [
        0,
        1,
        2,
        0x7fff,
        0xffff,
        0x1_0000,
        0x3fff_ffff,
        0x4000_0000,
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        u32::MAX,
    ];
    let mut random = Random(7);
    let mut inputs: Vec<Input> = Vec::with_capacity(INPUTS);
    for n in 0..12usize.pow(4) {
        inputs.push(std::array::from_fn(|k| {
            EDGES[n / 12usize.pow(k as u32) % 12]
        }));
    }
    while inputs.len() < INPUTS {
        let shift = if inputs.len().is_multiple_of(2) {
            [0; 4]
        } else {
            [(); 4].map(|()| random.below(32))
        };
        inputs.push(std::array::from_fn(|k| random.next() as u32 >> shift[k]));
    }
    inputs
}

#[test]
fn fixed_point_functions() {
    on_each_driver("fixed_point_functions", |gpu| {
        let inputs = inputs();
        let mut words: Vec<u32> = inputs.iter().flatten().copied().collect();
        for (name, expression, twin) in CASES {
            let wgsl = format!(
                "{FIXED}
@group(0) @binding(0) var<storage, read> inputs: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> results: array<vec2<u32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
    let i = inputs[id.x];
    let s = bitcast<vec4<i32>>(i);
    let wide = sar64(i.xy, 1u);
    results[id.x] = {expression};
}}"
            );
            let mut results = vec![0u32; 2 * INPUTS];
            let access = [Access::Read, Access::ReadWrite];
            let grid = [INPUTS as u32 / 64, 1, 1];
            gpu.run(
                name,
                &wgsl,
                &[],
                &access,
                &[],
                &mut [&mut words, &mut results],
                grid,
            );
            let expected: Vec<u32> = inputs
                .iter()
                .map(|i| twin(*i))
                .flat_map(|r| [r as u32, (r >> 32) as u32])
                .collect();
            same(name, &results, &expected);
        }
        // Every function of the file is in the list, so that none goes untested.
        for line in FIXED.lines().filter_map(|l| l.strip_prefix("fn ")) {
            let function = line.split('(').next().unwrap();
            assert!(
                CASES.iter().any(|c| c.0 == function),
                "{function} is not tested"
            );
        }
    });
}
