//! A matrix part times activations; twin of `wgsl/linear_tile_q.wgsl`.
//!
//! A row's sum over all its groups is exact before anything is rounded, so no order of summation, tile
//! or thread shows in the result.

use super::fixed::scale64;
use super::residual::add_residual;
use super::simd;
use crate::params::{ACCUMULATE, LinearTile, STORE_RELATIVE};
use carat_format::{Encoding, TILE_ROWS};

/// Weight rows that one task decodes.
const ROWS_PER_TASK: usize = TILE_ROWS;

/// `out[r][row_start + n] (+)= Σ_k w[n][k] · x[r][k]` in the unit `2^exponent`, saturated.
///
/// With [`ACCUMULATE`] the product is added with saturation, `stats[0]` counts saturated elements and
/// `stats[1]` keeps the largest magnitude. With [`STORE_RELATIVE`] the unit is `2^exponent` times that of
/// the row of activations: `|w·x| ≤ ‖w‖·√K·127·255·65535` in it, whatever the activations.
///
/// Groups are of 32 columns, as the activations' scales are; a weight's scale that serves two or four of them
/// multiplies each one's sum by itself.
///
/// Bounds: |d| ≤ 32·128·127 < 2^19 a group, `|d·ws| < 2^27`, times `as` < 2^35, over 1,024 groups < 2^45.
pub fn run(
    p: &LinearTile,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    weights: &[u32],
    out: &mut [i32],
    stats: &mut [u32],
) {
    let (rows, part_rows) = (rows as usize, p.part_rows as usize);
    let tasks = part_rows.div_ceil(ROWS_PER_TASK);
    // One block of results a task, `[weight row][batch row]`, scattered afterwards.
    let mut results = vec![0i32; part_rows * rows];
    let acts: Vec<simd::Activations<'_>> = (0..rows)
        .map(|r| {
            simd::Activations::new(
                &act[r * p.act_stride as usize..(r + 1) * p.act_stride as usize],
                p.groups as usize,
            )
        })
        .collect();
    super::for_chunks(&mut results, ROWS_PER_TASK * rows, |task, block| {
        debug_assert!(task < tasks);
        let mut row = simd::WeightRow::with_groups(p.groups as usize);
        for (i, block) in block.chunks_mut(rows).enumerate() {
            let n = task * ROWS_PER_TASK + i;
            simd::decode_row(
                encoding,
                &p.table,
                weights,
                p.scales as usize,
                p.groups as usize,
                p.scale_shift,
                n,
                &mut row,
            );
            let scale = weights[p.row_scales as usize + n];
            let (mantissa, exponent) = (scale & 0xffff, scale as i32 >> 16);
            for (v, x) in block.iter_mut().zip(&acts) {
                let sum = simd::dot(&row, x);
                let unit = if p.mode == STORE_RELATIVE {
                    0
                } else {
                    x.exponent
                };
                let shift = p.exponent.wrapping_sub(exponent).wrapping_sub(unit);
                // Both mantissas are 16 bits.
                *v = scale64(sum, mantissa * x.mantissa, shift);
            }
        }
    });
    let (start, stride) = (p.row_start as usize, p.out_stride as usize);
    for n in 0..part_rows {
        for r in 0..rows {
            let v = results[n * rows + r];
            let o = &mut out[r * stride + start + n];
            if p.mode == ACCUMULATE {
                add_residual(o, v, stats);
            } else {
                *o = v;
            }
        }
    }
}
