//! Rows of the embedding, decoded into the residual stream; the definition of `wgsl/embed_row_q.wgsl`.

use super::fixed::requant64;
use super::matrix::Matrix;
use crate::params::{EmbedRow, ROW_WORDS};
use carat_format::Encoding;

/// `h[row] = embedding[token]` for the tokens that lie in the bound part; other rows are left alone.
pub fn run(
    p: &EmbedRow,
    encoding: Encoding,
    rows: u32,
    row_table: &[u32],
    weights: &[u32],
    h: &mut [i32],
) {
    let cols = p.cols as usize;
    let offsets = [p.scales, p.row_scales];
    let matrix = Matrix::new(
        encoding,
        &p.table,
        p.groups,
        p.scale_shift,
        offsets,
        weights,
    );
    for r in 0..rows as usize {
        let token = row_table[r * ROW_WORDS as usize];
        let row = token.wrapping_sub(p.row_start);
        if row >= p.part_rows {
            continue;
        }
        let (mantissa, exponent) = matrix.row_scale(row as usize);
        let out = &mut h[r * cols..(r + 1) * cols];
        for (g, chunk) in out.chunks_mut(32).enumerate() {
            let ws = i64::from(matrix.scale(row as usize, g));
            let levels = matrix.levels(row as usize, g);
            for (v, level) in chunk.iter_mut().zip(levels) {
                // 128 · 255 · 65535 < 2^31.
                let weight = i64::from(level) * ws * i64::from(mantissa);
                *v = requant64(weight, p.exponent.wrapping_sub(exponent));
            }
        }
    }
}
