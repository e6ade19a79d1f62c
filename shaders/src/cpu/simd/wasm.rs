//! WebAssembly's 128-bit vectors: four rows, look-ups by `i8x16.swizzle`, the dot by widening products. Compiled in
//! where the module is built for them: a module is refused as a whole by what does not know its instructions.

use super::kernel::{by_one_order as by_order, fetch, few, join, lowest, spread, tile_kernel};
use super::lanes4::decode_lanes4;
use super::{Batch, CELL, Line, Tile, block_rows};
use carat_format::TILE_ROWS;
use std::arch::wasm32::*;

type V = v128;
const LANES: usize = 4;
/// Rows of activations at once.
pub const BLOCK: usize = 4;

/// Vectors of weight rows at once with so many rows of activations.
const fn parts(rows: usize) -> usize {
    if rows == 1 { 2 } else { 1 }
}

fn zero() -> V {
    i32x4_splat(0)
}

fn load(bytes: &[u8], at: usize) -> V {
    let bytes = &bytes[at..at + 16];
    // SAFETY: `bytes` is 16 readable bytes; the load is unaligned.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

fn store(bytes: &mut [u8], v: V) {
    let bytes = &mut bytes[..16];
    // SAFETY: `bytes` is 16 writable bytes; the store is unaligned.
    unsafe { v128_store(bytes.as_mut_ptr().cast(), v) };
}

/// Lanes are rows.
const fn order(_codes: usize) -> [u8; LANES] {
    [0, 1, 2, 3]
}

fn scales(bytes: &[u8], part: usize, _order: &[u8; LANES]) -> V {
    let at = part * LANES;
    words(std::array::from_fn(|i| u32::from(bytes[at + i])))
}

fn words([a, b, c, d]: [u32; LANES]) -> V {
    u32x4(a, b, c, d)
}

fn splat(v: i32) -> V {
    i32x4_splat(v)
}

fn mul(a: V, b: V) -> V {
    i32x4_mul(a, b)
}

fn add(a: V, b: V) -> V {
    i32x4_add(a, b)
}

fn high(t: V) -> V {
    i32x4_shr(t, 14)
}

fn bytes(v: u8) -> V {
    u8x16_splat(v)
}

fn look(table: V, index: V) -> V {
    i8x16_swizzle(table, index)
}

fn and(a: V, b: V) -> V {
    v128_and(a, b)
}

fn or(a: V, b: V) -> V {
    v128_or(a, b)
}

fn plus(a: V, b: V) -> V {
    i8x16_add(a, b)
}

fn shl(v: V, n: u32) -> V {
    i8x16_shl(v, n)
}

fn shr(v: V, n: u32) -> V {
    u8x16_shr(v, n)
}

fn shl_words(v: V, n: u32) -> V {
    i32x4_shl(v, n)
}

fn at_least(v: V, limit: u8) -> V {
    u8x16_ge(v, u8x16_splat(limit))
}

fn even(a: V, b: V) -> V {
    i32x4_shuffle::<0, 2, 4, 6>(a, b)
}

fn odd(a: V, b: V) -> V {
    i32x4_shuffle::<1, 3, 5, 7>(a, b)
}

fn transpose(z: [V; 4]) -> [V; 4] {
    let low = |a, b| i32x4_shuffle::<0, 4, 1, 5>(a, b);
    let high = |a, b| i32x4_shuffle::<2, 6, 3, 7>(a, b);
    let (a, b) = (low(z[0], z[1]), high(z[0], z[1]));
    let (c, d) = (low(z[2], z[3]), high(z[2], z[3]));
    [
        i64x2_shuffle::<0, 2>(a, c),
        i64x2_shuffle::<1, 3>(a, c),
        i64x2_shuffle::<0, 2>(b, d),
        i64x2_shuffle::<1, 3>(b, d),
    ]
}

fn table(tile: &Tile<'_>) -> V {
    load(&spread(tile.encoding, tile.table, 0), 0)
}

decode_lanes4!("simd128");

/// |level·code| ≤ 128·127 < 2^15.
fn dot(l: &[V; 8], x: &[u32], _bias: i32) -> V {
    // Of rows 0 and 1, then 2 and 3: two sums each.
    let (mut first, mut second) = (zero(), zero());
    for (l, x) in l.iter().zip(x) {
        let x = splat(*x as i32);
        let low = i16x8_extmul_low_i8x16(*l, x);
        let high = i16x8_extmul_high_i8x16(*l, x);
        first = add(first, i32x4_extadd_pairwise_i16x8(low));
        second = add(second, i32x4_extadd_pairwise_i16x8(high));
    }
    add(even(first, second), odd(first, second))
}

// A page has one text, and each number of rows would add code to what it fetches.
tile_kernel!("simd128", 1);
