//! A matrix part times activations; the definition of `wgsl/linear_tile_q.wgsl`.

use super::activations::Activations;
use super::fixed::scale64;
use super::matrix::{Matrix, row_scale};
use super::residual::add_residual;
use crate::params::{ACCUMULATE, LinearTile, STORE_RELATIVE};
use carat_format::Encoding;

/// `out[r][row_start + n] (+)= Σ_k w[n][k] · x[r][k]` in the unit `2^exponent`, saturated.
///
/// With [`ACCUMULATE`] the product is added with saturation, `stats[0]` counts saturated elements and
/// `stats[1]` keeps the largest magnitude. With [`STORE_RELATIVE`] the unit is `2^exponent` times that of
/// the row of activations: `|w·x| ≤ ‖w‖·√K·127·255·65535` in it, whatever the activations.
pub fn run(
    p: &LinearTile,
    encoding: Encoding,
    rows: u32,
    act: &[u32],
    weights: &[u32],
    out: &mut [i32],
    stats: &mut [u32],
) {
    let offsets = [p.scales, p.row_scales];
    let matrix = Matrix::new(
        encoding,
        &p.table,
        p.groups,
        p.scale_shift,
        offsets,
        weights,
    );
    let act = act.chunks_exact(p.act_stride as usize);
    let out = out.chunks_mut(p.out_stride as usize);
    for (act, out) in act.zip(out).take(rows as usize) {
        let x = Activations::new(act, p.groups as usize);
        let unit = match p.mode {
            STORE_RELATIVE => 0,
            _ => x.exponent,
        };
        let shift = p.exponent.wrapping_sub(unit);
        for n in 0..p.part_rows as usize {
            let value = rounded(sum(&matrix, n, x), matrix.row_scales[n], x.mantissa, shift);
            let out = &mut out[p.row_start as usize + n];
            if p.mode == ACCUMULATE {
                add_residual(out, value, stats);
            } else {
                *out = value;
            }
        }
    }
}

/// Row `n` times `x`, exact, without the mantissas and exponents of both.
///
/// Groups are of 32 columns, as the activations' scales are; a weight's scale that serves two or four of them
/// multiplies each one's sum by itself.
///
/// Bounds: |d| ≤ 32·128·127 < 2^19 a group, `|d·ws| < 2^27`, times `as` < 2^35, over 1,024 groups < 2^45.
pub(crate) fn sum(matrix: &Matrix<'_>, n: usize, x: Activations<'_>) -> i64 {
    let group = |g: usize| {
        let levels = matrix.levels(n, g);
        let products = levels.iter().zip(x.codes(g));
        let d: i64 = products.map(|(l, c)| i64::from(*l) * i64::from(*c)).sum();
        d * i64::from(matrix.scale(n, g)) * i64::from(x.scales[g])
    };
    (0..matrix.groups).map(group).sum()
}

/// A row's sum times its own mantissa and that of the activations, both of 16 bits, shifted by `shift` less the row's
/// exponent; `scale` as the file has it.
#[inline(always)]
pub(crate) fn rounded(sum: i64, scale: u32, mantissa: u32, shift: i32) -> i32 {
    let (own, exponent) = row_scale(scale);
    scale64(sum, own * mantissa, shift.wrapping_sub(exponent))
}
