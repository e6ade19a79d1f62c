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
    if batch.rows == 1 {
        return dotprod::run(tile, batch, lines, emit);
    }
    let needed = tile.groups * TILE_ROWS * 32 / size_of::<Line>();
    grow(lines, needed, Line([0; 64]));
    let levels: &mut [u8] = bytemuck::cast_slice_mut(lines);
    let levels = &mut levels[..tile.groups * TILE_ROWS * 32];
    by_codes!(tile.encoding, fill(tile, levels));
    let mut first = 0;
    while first < batch.rows {
        let count = block_rows(super::BLOCK, batch.rows - first);
        let mut sums = [[0i64; TILE_ROWS]; super::BLOCK];
        for part in 0..TILE_ROWS / LANES {
            let levels = &levels[part * tile.groups * LEVELS..][..tile.groups * LEVELS];
            match count {
                super::BLOCK => pass::<PAIRS>(tile, batch, first, count, part, levels, &mut sums),
                _ => pass::<1>(tile, batch, first, count, part, levels, &mut sums),
            }
        }
        for (b, sums) in sums.iter().enumerate().take(count) {
            emit(first + b, sums);
        }
        first += count;
    }
}

/// `[part][group][8 columns][rows 0 and 1, rows 2 and 3]` of the tile.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn fill<const CODES: usize>(tile: &Tile<'_>, levels: &mut [u8]) {
    let (table, len) = (table(tile), tile.encoding.cell_bytes());
    for (i, out) in levels.chunks_exact_mut(LEVELS).enumerate() {
        let (part, g) = (i / tile.groups, i % tile.groups);
        let l = decode::<CODES>(&tile.cells[g * len..(g + 1) * len], part, table);
        for (l, out) in l.chunks_exact(2).zip(out.chunks_exact_mut(32)) {
            let (a, b) = (vreinterpretq_u32_u8(l[0]), vreinterpretq_u32_u8(l[1]));
            store(out, vreinterpretq_u8_u32(vzip1q_u32(a, b)));
            store(&mut out[16..], vreinterpretq_u8_u32(vzip2q_u32(a, b)));
        }
    }
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
    levels: &[u8],
    sums: &mut [[i64; TILE_ROWS]],
) {
    const HALVES: usize = 2;
    let panel = &batch.panels[first * tile.groups * CELL..][..tile.groups * count * CELL];
    let mut lo = [[zero(); HALVES]; P];
    let mut hi = [[zero(); HALVES]; P];
    let groups = levels
        .chunks_exact(LEVELS)
        .zip(panel.chunks_exact(count * CELL));
    for (g, (levels, cells)) in groups.enumerate() {
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
                    d[h] = smmla(d[h], load(levels, i * 32 + h * 16), codes);
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
