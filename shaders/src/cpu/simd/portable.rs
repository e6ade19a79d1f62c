//! Plain Rust: a row of weights is decoded once for several rows of activations.

use super::{Activations, Batch, Tile};
use crate::reference::matrix::levels;
use carat_format::TILE_ROWS;

/// Rows of activations that share a decoded row of weights.
const BLOCK: usize = 8;

/// See [`super::tile_sums`].
pub fn run(tile: &Tile<'_>, batch: &Batch<'_>, emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS])) {
    for first in (0..batch.rows).step_by(BLOCK) {
        let count = BLOCK.min(batch.rows - first);
        let rows: [Activations<'_>; BLOCK] =
            std::array::from_fn(|b| batch.row(first + b.min(count - 1)));
        let mut sums = [[0i64; TILE_ROWS]; BLOCK];
        for row in 0..TILE_ROWS {
            for g in 0..tile.groups {
                let l = levels(tile.encoding, tile.table, tile.cells, g, row);
                let ws = i32::from(tile.scales[(g >> tile.scale_shift) * TILE_ROWS + row]);
                for (x, sum) in rows.iter().zip(&mut sums).take(count) {
                    let mut d = 0i32;
                    for (l, q) in l.iter().zip(x.codes(g)) {
                        d += i32::from(*l) * i32::from(*q);
                    }
                    sum[row] += i64::from(d * ws) * i64::from(x.scales[g]);
                }
            }
        }
        for (b, sum) in sums.iter().enumerate().take(count) {
            emit(first + b, sum);
        }
    }
}
