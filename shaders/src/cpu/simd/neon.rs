//! 128-bit vectors of ARM: four rows, look-ups by `tbl`; the dot by `smmla`, `sdot` or widening products.

pub mod i8mm;

use super::kernel::{by_one_order as by_order, fetch, few, join, lowest, spread, tile_kernel};
use super::lanes4::decode_lanes4;
use super::{Batch, CELL, Line, Tile, block_rows};
use carat_format::TILE_ROWS;
use std::arch::aarch64::*;

type V = uint8x16_t;
const LANES: usize = 4;
/// Rows of activations at once.
pub const BLOCK: usize = 4;

/// Vectors of weight rows at once with so many rows of activations.
const fn parts(rows: usize) -> usize {
    if rows == 1 { 2 } else { 1 }
}

#[inline(always)]
fn zero() -> V {
    // SAFETY: all bits zero is a value of a vector of integers.
    unsafe { core::mem::zeroed() }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8], at: usize) -> V {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 readable bytes; the load is unaligned.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(bytes: &mut [u8], v: V) {
    let bytes = &mut bytes[..16];
    // SAFETY: `bytes` is 16 writable bytes; the store is unaligned.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), v) };
}

/// Lanes are rows.
const fn order(_codes: usize) -> [u8; LANES] {
    [0, 1, 2, 3]
}

#[inline]
#[target_feature(enable = "neon")]
fn scales(bytes: &[u8], part: usize, _order: &[u8; LANES]) -> V {
    let at = part * LANES;
    let all: [u32; LANES] = core::array::from_fn(|i| u32::from(bytes[at + i]));
    words(all)
}

#[inline]
#[target_feature(enable = "neon")]
fn words(w: [u32; LANES]) -> V {
    // SAFETY: `w` is four readable words.
    vreinterpretq_u8_u32(unsafe { vld1q_u32(w.as_ptr()) })
}

#[inline]
#[target_feature(enable = "neon")]
fn splat(v: i32) -> V {
    vreinterpretq_u8_s32(vdupq_n_s32(v))
}

#[inline]
#[target_feature(enable = "neon")]
fn mul(a: V, b: V) -> V {
    let (a, b) = (vreinterpretq_s32_u8(a), vreinterpretq_s32_u8(b));
    vreinterpretq_u8_s32(vmulq_s32(a, b))
}

#[inline]
#[target_feature(enable = "neon")]
fn add(a: V, b: V) -> V {
    let (a, b) = (vreinterpretq_s32_u8(a), vreinterpretq_s32_u8(b));
    vreinterpretq_u8_s32(vaddq_s32(a, b))
}

#[inline]
#[target_feature(enable = "neon")]
fn high(t: V) -> V {
    vreinterpretq_u8_s32(vshrq_n_s32::<14>(vreinterpretq_s32_u8(t)))
}

#[inline]
#[target_feature(enable = "neon")]
fn bytes(v: u8) -> V {
    vdupq_n_u8(v)
}

#[inline]
#[target_feature(enable = "neon")]
fn look(table: V, index: V) -> V {
    vqtbl1q_u8(table, index)
}

#[inline]
#[target_feature(enable = "neon")]
fn and(a: V, b: V) -> V {
    vandq_u8(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn or(a: V, b: V) -> V {
    vorrq_u8(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn plus(a: V, b: V) -> V {
    vaddq_u8(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn shl(v: V, n: u32) -> V {
    vshlq_u8(v, vdupq_n_s8(n as i8))
}

#[inline]
#[target_feature(enable = "neon")]
fn shr(v: V, n: u32) -> V {
    vshlq_u8(v, vdupq_n_s8(-(n as i8)))
}

#[inline]
#[target_feature(enable = "neon")]
fn shl_words(v: V, n: u32) -> V {
    let shifted = vshlq_u32(vreinterpretq_u32_u8(v), vdupq_n_s32(n as i32));
    vreinterpretq_u8_u32(shifted)
}

#[inline]
#[target_feature(enable = "neon")]
fn at_least(v: V, limit: u8) -> V {
    vcgeq_u8(v, vdupq_n_u8(limit))
}

#[inline]
#[target_feature(enable = "neon")]
fn even(a: V, b: V) -> V {
    let (a, b) = (vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
    vreinterpretq_u8_u32(vuzp1q_u32(a, b))
}

#[inline]
#[target_feature(enable = "neon")]
fn odd(a: V, b: V) -> V {
    let (a, b) = (vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
    vreinterpretq_u8_u32(vuzp2q_u32(a, b))
}

#[inline]
#[target_feature(enable = "neon")]
fn transpose(z: [V; 4]) -> [V; 4] {
    let z = z.map(|z| vreinterpretq_u32_u8(z));
    let long = |v: uint32x4_t| vreinterpretq_u64_u32(v);
    let (a, b) = (long(vtrn1q_u32(z[0], z[1])), long(vtrn2q_u32(z[0], z[1])));
    let (c, d) = (long(vtrn1q_u32(z[2], z[3])), long(vtrn2q_u32(z[2], z[3])));
    [
        vtrn1q_u64(a, c),
        vtrn1q_u64(b, d),
        vtrn2q_u64(a, c),
        vtrn2q_u64(b, d),
    ]
    .map(|v| vreinterpretq_u8_u64(v))
}

#[inline]
#[target_feature(enable = "neon")]
fn table(tile: &Tile<'_>) -> V {
    load(&spread(tile.encoding, tile.table, 0), 0)
}

decode_lanes4!("neon");

/// Every 64-bit ARM.
pub mod plain {
    use super::*;

    /// |level·code| ≤ 128·127 < 2^15.
    #[inline]
    #[target_feature(enable = "neon")]
    fn dot(l: &[V; 8], x: &[u32], _bias: i32) -> V {
        // Of rows 0 and 1, then 2 and 3: two sums each.
        let (mut first, mut second) = (vdupq_n_s32(0), vdupq_n_s32(0));
        for (l, x) in l.iter().zip(x) {
            let l = vreinterpretq_s8_u8(*l);
            let x = vreinterpretq_s8_u8(splat(*x as i32));
            first = vpadalq_s16(first, vmull_s8(vget_low_s8(l), vget_low_s8(x)));
            second = vpadalq_s16(second, vmull_high_s8(l, x));
        }
        vreinterpretq_u8_s32(vpaddq_s32(first, second))
    }

    tile_kernel!("neon", 1 2 3 4);
}

/// Processors with `sdot`: ARMv8.4, and most of 8.2.
pub mod dotprod {
    use super::*;

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    fn dot(l: &[V; 8], x: &[u32], _bias: i32) -> V {
        let mut sum = vdupq_n_s32(0);
        for (l, x) in l.iter().zip(x) {
            let x = splat(*x as i32);
            // The intrinsic `vdotq_s32` is not stable in Rust 1.89.
            // SAFETY: the instruction reads and writes these registers alone; the function has its feature.
            unsafe {
                std::arch::asm!(
                    "sdot {sum:v}.4s, {l:v}.16b, {x:v}.16b",
                    sum = inout(vreg) sum,
                    l = in(vreg) *l,
                    x = in(vreg) x,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }
        vreinterpretq_u8_s32(sum)
    }

    tile_kernel!("neon,dotprod", 1 2 3 4);
}
