//! Rows of the embedding, decoded into the residual stream; twin of `wgsl/embed_row_q.wgsl`.

use super::fixed::requant64;
use super::{byte, simd};
use crate::params::{EmbedRow, ROW_WORDS};
use crate::scales_of;
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
    for r in 0..rows as usize {
        let token = row_table[r * ROW_WORDS as usize];
        let row = token.wrapping_sub(p.row_start);
        if row >= p.part_rows {
            continue;
        }
        let out = &mut h[r * cols..(r + 1) * cols];
        let (tile, in_tile) = ((row / 32) as usize, (row % 32) as usize);
        let scale = weights[p.row_scales as usize + row as usize];
        let (mantissa, exponent) = ((scale & 0xffff) as i64, scale as i32 >> 16);
        let bytes: &[u8] = bytemuck::cast_slice(weights);
        let table = simd::table_bytes(&p.table);
        let scales = scales_of(p.groups, p.scale_shift) as usize;
        for (g, chunk) in out.chunks_mut(32).enumerate() {
            let cell = tile * p.groups as usize + g;
            let levels = simd::levels(encoding, &table, bytes, cell, in_tile);
            let at = (tile * scales + (g >> p.scale_shift)) * 32 + in_tile;
            let ws = i64::from(byte(&weights[p.scales as usize..], at));
            for (v, level) in chunk.iter_mut().zip(levels) {
                // 128 · 255 · 65535 < 2^31.
                *v = requant64(
                    i64::from(level) * ws * mantissa,
                    p.exponent.wrapping_sub(exponent),
                );
            }
        }
    }
}
