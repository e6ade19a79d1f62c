//! A matrix part times activations; twin of `wgsl/linear_tile_q.wgsl`.
//!
//! A row's sum over all its groups is exact before anything is rounded, so no order of summation, tile
//! or thread shows in the result.

use super::scratch::{Scratch, grow};
use super::simd::{self, Batch, Isa, Tile, wide};
use crate::params::{ACCUMULATE, LinearTile, STORE_RELATIVE};
use crate::reference::fixed::{bit_len64, sat32};
use crate::reference::linear_tile_q::rounded;
use crate::reference::matrix::{row_scale, table_bytes};
use crate::reference::residual::add_residual;
use crate::scales_of;
use carat_format::{Encoding, TILE_ROWS};
use std::cell::RefCell;
use std::ops::Range;
use std::slice::ChunksMut;
use std::sync::atomic::{AtomicU32, Ordering};

thread_local! {
    /// Memory kept from call to call.
    static PANELS: RefCell<simd::Panels> = RefCell::default();
    /// Results of a band, which are written a row at a time.
    static BAND_VALUES: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// Columns of the result of a task that has many rows: four tiles.
pub(super) const BAND: usize = 4 * TILE_ROWS;

/// What is kept for `rows` rows.
pub fn scratch(p: &LinearTile, rows: u32) -> Scratch {
    let (rows, bands) = (
        u64::from(rows),
        (p.part_rows as usize).div_ceil(BAND) as u64,
    );
    let of_row = size_of::<ChunksMut<'_, i32>>() as u64 + bands * size_of::<&[i32]>() as u64;
    Scratch {
        band: (4 * BAND) as u64 * rows,
        shared: rows * of_row,
        ..simd::scratch(p.groups as usize, rows)
    }
}

/// As [`crate::reference::linear_tile_q::run`].
pub fn run(
    p: &LinearTile,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    weights: &[u32],
    out: &mut [i32],
    stats: &mut [u32],
) {
    let isa = Isa::get();
    with_batch(isa, p, encoding, rows as usize, act, |batch| {
        of_batch(isa, p, encoding, batch, weights, out, stats);
    });
}

/// As [`run`] with the rows of a batch.
pub(super) fn of_batch(
    isa: Isa,
    p: &LinearTile,
    encoding: Encoding,
    batch: &Batch<'_>,
    weights: &[u32],
    out: &mut [i32],
    stats: &mut [u32],
) {
    let (rows, part_rows) = (batch.rows(), p.part_rows as usize);
    let (start, stride) = (p.row_start as usize, p.out_stride as usize);
    let product = Product::new(isa, p, encoding, batch, weights);
    // Tasks count for themselves and add up here: neither a sum nor a maximum has an order.
    let (saturated, largest) = (AtomicU32::new(0), AtomicU32::new(0));
    let store = |out: &mut [i32], values: &[i32], own: &mut [u32; 2]| {
        if p.mode != ACCUMULATE {
            out.copy_from_slice(&values[..out.len()]);
            return;
        }
        for (o, v) in out.iter_mut().zip(values) {
            add_residual(o, *v, own);
        }
    };
    let count = |own: [u32; 2]| {
        saturated.fetch_add(own[0], Ordering::Relaxed);
        largest.fetch_max(own[1], Ordering::Relaxed);
    };
    if rows == 1 {
        let out = &mut out[start..start + part_rows];
        super::for_chunks(out, TILE_ROWS, |t, out| {
            let mut own = [0; 2];
            store(out, &product.tile_of_one(t), &mut own);
            count(own);
        });
    } else if rows > 1 {
        let end = out.len().min(rows * stride);
        for_bands(
            &mut out[..end],
            stride,
            start..start + part_rows,
            |i, band| {
                let mut values = BAND_VALUES.take();
                product.band(i, &mut values);
                let mut own = [0; 2];
                for (r, values) in values.chunks_exact(BAND).take(rows).enumerate() {
                    if let Some(next) = band.get(r + AHEAD) {
                        simd::fetch_to_write(next);
                    }
                    store(band[r], values, &mut own);
                }
                count(own);
                BAND_VALUES.set(values);
            },
        );
    }
    if p.mode == ACCUMULATE {
        stats[0] = stats[0].wrapping_add(saturated.into_inner());
        stats[1] = stats[1].max(largest.into_inner());
    }
}

/// Calls `f` with the rows of activations as [`Product`] reads them.
pub(super) fn with_batch(
    isa: Isa,
    p: &LinearTile,
    encoding: Encoding,
    rows: usize,
    act: &[u32],
    f: impl FnOnce(&Batch<'_>),
) {
    let mut panels = PANELS.take();
    let (stride, groups) = (p.act_stride as usize, p.groups as usize);
    f(&Batch::new(
        isa,
        encoding,
        act,
        stride,
        groups,
        rows,
        &mut panels,
    ));
    PANELS.set(panels);
}

/// Rows of results whose lines are asked for before they are written: rows lie far apart.
pub(super) const AHEAD: usize = 3;

/// Calls `f(band, its columns of every row)` for the bands of `columns` in rows of `stride`, on the current thread pool
/// where there is one.
pub(super) fn for_bands(
    out: &mut [i32],
    stride: usize,
    columns: Range<usize>,
    f: impl Fn(usize, &mut [&mut [i32]]) + Sync + Send,
) {
    let bands = columns.len().div_ceil(BAND);
    let mut rows = Vec::new();
    rows.reserve_exact(out.len().div_ceil(stride.max(1)));
    for row in out.chunks_mut(stride.max(1)) {
        rows.push(row[columns.clone()].chunks_mut(BAND));
    }
    let mut parts = Vec::new();
    parts.reserve_exact(bands * rows.len());
    for _ in 0..bands {
        parts.extend(rows.iter_mut().filter_map(Iterator::next));
    }
    super::for_chunks(&mut parts, rows.len(), f);
}

/// A part of a matrix and the rows that it multiplies.
pub(super) struct Product<'a> {
    isa: Isa,
    p: &'a LinearTile,
    encoding: Encoding,
    batch: &'a Batch<'a>,
    weights: &'a [u32],
    table: [u8; 16],
    /// Bytes of the codes and of the scales of a tile.
    sizes: [usize; 2],
}

impl<'a> Product<'a> {
    pub fn new(
        isa: Isa,
        p: &'a LinearTile,
        encoding: Encoding,
        batch: &'a Batch<'a>,
        weights: &'a [u32],
    ) -> Self {
        let scales = scales_of(p.groups, p.scale_shift) as usize * TILE_ROWS;
        Self {
            isa,
            p,
            encoding,
            batch,
            weights,
            table: table_bytes(&p.table),
            sizes: [encoding.cell_bytes() * p.groups as usize, scales],
        }
    }

    /// Rounded results of tile `t` with the only row.
    pub fn tile_of_one(&self, t: usize) -> [i32; TILE_ROWS] {
        let mut values = [0; TILE_ROWS];
        self.tile(t, |_, sums| self.finish(t, 0, sums, &mut values));
        values
    }

    /// The exact sums of tile `t` with each row.
    fn tile(&self, t: usize, emit: impl FnMut(usize, &[i64; TILE_ROWS])) {
        let bytes: &[u8] = bytemuck::cast_slice(self.weights);
        let [cells, scales] = self.sizes;
        let tile = Tile {
            encoding: self.encoding,
            table: &self.table,
            cells: &bytes[t * cells..(t + 1) * cells],
            scales: &bytes[self.p.scales as usize * 4 + t * scales..][..scales],
            groups: self.p.groups as usize,
            scale_shift: self.p.scale_shift,
        };
        simd::tile_sums(self.isa, &tile, self.batch, emit);
    }

    /// The first values of `out` from the sums of tile `t` with row `r`, as many as the tile has rows of the matrix.
    fn finish(&self, t: usize, r: usize, sums: &[i64; TILE_ROWS], out: &mut [i32]) {
        let p = self.p;
        let real = TILE_ROWS.min(p.part_rows as usize - t * TILE_ROWS);
        let real = real.min(out.len());
        let scales = &self.weights[p.row_scales as usize + t * TILE_ROWS..][..real];
        let (mantissa, exponent) = self.batch.unit(r);
        let unit = if p.mode == STORE_RELATIVE {
            0
        } else {
            exponent
        };
        let shift = p.exponent.wrapping_sub(unit);
        wide::epilogue(&sums[..real], scales, mantissa, shift, &mut out[..real]);
    }

    /// Rounded results of band `i`, [`BAND`] values a row.
    pub fn band(&self, i: usize, values: &mut Vec<i32>) {
        grow(values, self.batch.rows() * BAND, 0);
        let tiles = (self.p.part_rows as usize).div_ceil(TILE_ROWS);
        let first = i * BAND / TILE_ROWS;
        for t in first..tiles.min(first + BAND / TILE_ROWS) {
            self.tile(t, |r, sums| {
                let at = r * BAND + (t - first) * TILE_ROWS;
                self.finish(t, r, sums, &mut values[at..at + TILE_ROWS]);
            });
        }
    }
}

/// The epilogue of rows: [`rounded`] of each sum. Where all shifts are in 0..=62 its steps are written without a branch.
#[inline(always)]
pub(super) fn epilogue(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) {
    // Both mantissas are 16 bits.
    let unit = |scale: u32| {
        let (own, exponent) = row_scale(scale);
        (own * mantissa, shift.wrapping_sub(exponent))
    };
    let drop = |sum: i64| bit_len64(sum.unsigned_abs()).saturating_sub(30);
    let mut plain = true;
    for (sum, scale) in sums.iter().zip(scales) {
        let s = unit(*scale).1.wrapping_sub(drop(*sum) as i32);
        plain &= (0..=62).contains(&s);
    }
    let rows = sums.iter().zip(scales).zip(out);
    if !plain {
        for ((sum, scale), out) in rows {
            *out = rounded(*sum, *scale, mantissa, shift);
        }
        return;
    }
    // Half of 2^s, none for s = 0.
    let round = |a: i64, s: u32| (a + ((1i64 << s) >> 1)) >> s;
    for ((sum, scale), out) in rows {
        let ((m, s), drop) = (unit(*scale), drop(*sum));
        let n = round(*sum, drop);
        let s = s.wrapping_sub(drop as i32) as u32 & 63;
        *out = sat32(round(n * i64::from(m), s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act_stride;
    use crate::cpu::random::Random;
    use crate::cpu::simd::tests::with_each;
    use crate::params::STORE;
    use crate::reference;
    use carat_format::{Coding, ScaleGroup, TensorLayout};
    use proptest::prelude::*;
    use proptest::sample::select;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]
        #[test]
        fn products_are_the_defined_ones(
            encoding in select(Encoding::ALL.to_vec()),
            group in select(ScaleGroup::ALL.to_vec()),
            rows in select(vec![1u64, 31, 32, 33, 70, 129]),
            cols in select(vec![1u64, 33, 96, 129]),
            batch in select(vec![1u32, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 19]),
            mode in select(vec![STORE, ACCUMULATE, STORE_RELATIVE]),
            // Near the sums' own sizes, and the ends of what a file may say.
            (low, high) in select(vec![(-20, 0), (-64, 33)]),
            seed in any::<u64>(),
        ) {
            let mut random = Random(seed);
            let layout = TensorLayout::new(Coding { encoding, group }, rows, cols).unwrap();
            let part = &layout.parts[0];
            let groups = layout.groups as u32;
            let weights = random.part(part, low..high);
            let stride = act_stride(groups);
            let act = random.activations(batch, groups, stride, 0..8);
            let p = LinearTile {
                table: random.array(),
                row_start: 3,
                part_rows: rows as u32,
                groups,
                scales: (part.scales / 4) as u32,
                row_scales: (part.row_scales / 4) as u32,
                act_stride: stride,
                out_stride: rows as u32 + 5,
                exponent: random.range(0, 11),
                mode,
                scale_shift: group.shift(),
                ..Default::default()
            };
            let before: Vec<i32> = (0..batch * p.out_stride).map(|_| random.next() as i32 >> 1).collect();
            let (mut expected, mut counted) = (before.clone(), [u32::MAX, 5]);
            reference::linear_tile_q::run(&p, encoding, batch, &act, &weights, &mut expected, &mut counted);
            with_each(|isa| {
                let (mut out, mut stats) = (before.clone(), [u32::MAX, 5]);
                run(&p, encoding, batch, &act, &weights, &mut out, &mut stats);
                assert_eq!(out, expected, "{isa:?}");
                assert_eq!(stats, counted, "{isa:?}");
            });
        }
    }

    proptest! {
        #[test]
        fn the_epilogue_is_the_defined_one(
            sums in prop::collection::vec((-(1i64 << 45)..1 << 45, 0u32..46), 32),
            scales in prop::collection::vec((any::<u16>(), -20i32..20), 32),
            mantissa: u16, shift in -40i32..80,
        ) {
            let sums: Vec<i64> = sums.into_iter().map(|(s, by)| s >> by).collect();
            let scales: Vec<u32> = scales.into_iter().map(|(m, e)| u32::from(m) | (e << 16) as u32).collect();
            let mantissa = u32::from(mantissa);
            let defined = sums.iter().zip(&scales).map(|(sum, scale)| rounded(*sum, *scale, mantissa, shift));
            let expected: Vec<i32> = defined.collect();
            with_each(|isa| {
                for n in [1, 7, 32] {
                    let mut out = vec![0; n];
                    wide::epilogue(&sums[..n], &scales[..n], mantissa, shift, &mut out);
                    assert_eq!(out, expected[..n], "{isa:?}");
                }
            });
        }
    }
}
