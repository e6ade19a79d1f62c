//! Many rows of activations by `smmla`: two rows of eight levels times two rows of eight codes give four sums.
//!
//! A vector of four weight rows by four columns, as they are decoded, meets the next four columns: rows 0 and 1 with
//! eight levels each, rows 2 and 3 likewise. Sums stand as `[row of weights][row of activations]`.

use super::{V, add, decode, dotprod, high, load, mul, store, table, words, zero};
use crate::cpu::scratch::grow;
use crate::cpu::simd::kernel::{by_codes, join, unrolled};
use crate::cpu::simd::{Batch, CELL, Line, Tile, block_rows};
use carat_format::TILE_ROWS;
use std::arch::aarch64::*;

/// Rows of activations at once, as [`super::BLOCK`] lays them: two pairs.
const PAIRS: usize = super::BLOCK / 2;
/// Weight rows of a vector.
const LANES: usize = super::LANES;
/// Bytes of a group of [`LANES`] weight rows: a vector for each four columns.
const LEVELS: usize = 8 * 16;

/// See [`crate::cpu::simd::tile_sums`].
#[target_feature(enable = "neon,dotprod,i8mm")]
pub fn run(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    lines: &mut Vec<Line>,
    emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
) {
    by_codes!(tile.encoding, with_codes(tile, batch, lines, emit))
}

#[target_feature(enable = "neon,dotprod,i8mm")]
fn with_codes<const CODES: usize>(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    lines: &mut Vec<Line>,
    emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
) {
    if batch.rows == 1 {
        return dotprod::run(tile, batch, lines, emit);
    }
    let table = table(tile);
    let len = tile.encoding.cell_bytes();
    let decoded = |part: usize, g: usize| {
        let cell = &tile.cells[g * len..(g + 1) * len];
        side_by_side(decode::<CODES>(cell, part, table))
    };
    // One block reads each level once.
    if batch.rows <= super::BLOCK {
        return block(tile, batch, 0, decoded, emit);
    }
    grow(lines, tile.groups * TILE_ROWS * 32 / 64, Line([0; 64]));
    let levels: &mut [u8] = bytemuck::cast_slice_mut(lines);
    let levels = &mut levels[..tile.groups * TILE_ROWS * 32];
    for (i, out) in levels.chunks_exact_mut(LEVELS).enumerate() {
        let l = decoded(i / tile.groups, i % tile.groups);
        for (l, out) in l.into_iter().zip(out.chunks_exact_mut(16)) {
            store(out, l);
        }
    }
    let buffered = |part: usize, g: usize| {
        let levels = &levels[(part * tile.groups + g) * LEVELS..][..LEVELS];
        let mut l = [zero(); 8];
        for (i, l) in l.iter_mut().enumerate() {
            *l = load(levels, i * 16);
        }
        l
    };
    for first in (0..batch.rows).step_by(super::BLOCK) {
        block(tile, batch, first, buffered, emit);
    }
}

/// A block of rows of activations from `first` on.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn block(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    first: usize,
    source: impl Fn(usize, usize) -> [V; 8],
    emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]),
) {
    let count = block_rows(super::BLOCK, batch.rows - first);
    let mut sums = [[0i64; TILE_ROWS]; super::BLOCK];
    for part in 0..TILE_ROWS / LANES {
        match count {
            1 | 2 => pass::<1>(tile, batch, first, count, part, &source, &mut sums),
            _ => pass::<PAIRS>(tile, batch, first, count, part, &source, &mut sums),
        }
    }
    for (b, sums) in sums.iter().enumerate().take(count) {
        emit(first + b, sums);
    }
}

/// For each eight columns rows 0 and 1, then rows 2 and 3, of what [`decode`] gives.
#[inline]
#[target_feature(enable = "neon")]
fn side_by_side(mut l: [V; 8]) -> [V; 8] {
    for pair in l.chunks_exact_mut(2) {
        let (a, b) = (vreinterpretq_u32_u8(pair[0]), vreinterpretq_u32_u8(pair[1]));
        pair[0] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
        pair[1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
    }
    l
}

/// [`LANES`] weight rows times `count` rows of activations, `P` pairs: of an odd count the last stands for both.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
fn pass<const P: usize>(
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    first: usize,
    count: usize,
    part: usize,
    source: impl Fn(usize, usize) -> [V; 8],
    sums: &mut [[i64; TILE_ROWS]],
) {
    const HALVES: usize = 2;
    let panel = &batch.panels[first * tile.groups * CELL..][..tile.groups * count * CELL];
    let mut lo = [[zero(); HALVES]; P];
    let mut hi = [[zero(); HALVES]; P];
    for (g, cells) in panel.chunks_exact(count * CELL).enumerate() {
        let levels = source(part, g);
        let ws = &tile.scales[(g >> tile.scale_shift) * TILE_ROWS + part * LANES..][..LANES];
        let [a, b, c, d] = [ws[0], ws[1], ws[2], ws[3]].map(u32::from);
        let ws = [words([a, a, b, b]), words([c, c, d, d])];
        let row = |b: usize| &cells[b.min(count - 1) * CELL..][..CELL];
        unrolled!(p < P, {
            let (x, y) = (row(2 * p), row(2 * p + 1));
            let mut d = [zero(); HALVES];
            for i in 0..4 {
                let codes = words([x[2 * i], x[2 * i + 1], y[2 * i], y[2 * i + 1]]);
                unrolled!(h < HALVES, {
                    d[h] = smmla(d[h], levels[2 * i + h], codes);
                });
            }
            let scale = words([x[8], y[8], x[8], y[8]]);
            unrolled!(h < HALVES, {
                let t = mul(d[h], ws[h]);
                lo[p][h] = add(lo[p][h], mul(t, scale));
                hi[p][h] = add(hi[p][h], mul(high(t), scale));
            });
        });
    }
    for p in 0..P {
        for h in 0..HALVES {
            let (mut low, mut top) = ([0u8; 16], [0u8; 16]);
            store(&mut low, lo[p][h]);
            store(&mut top, hi[p][h]);
            let low: [i32; 4] = bytemuck::cast(low);
            let top: [i32; 4] = bytemuck::cast(top);
            for (i, (low, top)) in low.into_iter().zip(top).enumerate() {
                sums[2 * p + i % 2][part * LANES + 2 * h + i / 2] = join(low, top);
            }
        }
    }
}

/// `sums[2·i + j] += Σ levels[8·i + k]·codes[8·j + k]`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut sums: V, levels: V, codes: V) -> V {
    // The intrinsic `vmmlaq_s32` is not stable in Rust 1.89.
    // SAFETY: the instruction reads and writes these registers alone; the function has its feature.
    unsafe {
        std::arch::asm!(
            "smmla {sums:v}.4s, {levels:v}.16b, {codes:v}.16b",
            sums = inout(vreg) sums,
            levels = in(vreg) levels,
            codes = in(vreg) codes,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}
