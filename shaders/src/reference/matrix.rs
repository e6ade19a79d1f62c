//! Parts of matrices as the file holds them: tiles of 32 rows (`SPEC.md` of carat-format).

use crate::scales_of;
use carat_format::{Encoding, TILE_ROWS, unpack_group};

/// A part of a matrix: the weight of row `n` in column `k` is `level(n, k) · scale(n, k/32) · row_scale(n)`.
pub(crate) struct Matrix<'a> {
    /// How the codes are stored.
    pub encoding: Encoding,
    /// Levels of the codes.
    pub table: [u8; 16],
    /// Groups of a row.
    pub groups: usize,
    /// The scale of group `g` is scale `g >> scale_shift` of its row.
    pub scale_shift: u32,
    /// `[tile][group]` of [`Encoding::cell_bytes`].
    pub cells: &'a [u8],
    /// `[tile][scale][32 rows]`.
    pub scales: &'a [u8],
    /// `mantissa | exponent << 16` a row.
    pub row_scales: &'a [u32],
}

impl<'a> Matrix<'a> {
    /// In `words`, which start with the codes; `offsets` are the words where its scales and its row scales start.
    pub fn new(
        encoding: Encoding,
        table: &[u32; 4],
        groups: u32,
        scale_shift: u32,
        [scales, row_scales]: [u32; 2],
        words: &'a [u32],
    ) -> Self {
        Self {
            encoding,
            table: table_bytes(table),
            groups: groups as usize,
            scale_shift,
            cells: bytemuck::cast_slice(words),
            scales: bytemuck::cast_slice(&words[scales as usize..]),
            row_scales: &words[row_scales as usize..],
        }
    }

    /// The 32 levels of group `g` of row `n`.
    pub fn levels(&self, n: usize, g: usize) -> [i8; 32] {
        let cell = n / TILE_ROWS * self.groups + g;
        levels(self.encoding, &self.table, self.cells, cell, n % TILE_ROWS)
    }

    /// The scale of group `g` of row `n`.
    pub fn scale(&self, n: usize, g: usize) -> u8 {
        let scales = scales_of(self.groups as u32, self.scale_shift) as usize;
        let at = n / TILE_ROWS * scales + (g >> self.scale_shift);
        self.scales[at * TILE_ROWS + n % TILE_ROWS]
    }

    /// Mantissa of 16 bits and exponent of row `n`'s scale.
    pub fn row_scale(&self, n: usize) -> (u32, i32) {
        row_scale(self.row_scales[n])
    }
}

/// The 32 levels of a cell (tile · groups + group) for one row of the tile; `bytes` starts with the codes.
#[inline(always)]
pub(crate) fn levels(
    encoding: Encoding,
    table: &[u8; 16],
    bytes: &[u8],
    cell: usize,
    row: usize,
) -> [i8; 32] {
    let len = encoding.cell_bytes();
    let codes = unpack_group(encoding, &bytes[cell * len..(cell + 1) * len], row);
    codes.map(|c| encoding.level(table, c))
}

/// Mantissa and exponent of a row's scale, as the file has them in a word.
#[inline(always)]
pub(crate) fn row_scale(word: u32) -> (u32, i32) {
    (word & 0xffff, word as i32 >> 16)
}

/// A uniform's table by bytes.
#[inline(always)]
pub(crate) fn table_bytes(table: &[u32; 4]) -> [u8; 16] {
    bytemuck::cast(table.map(u32::to_le))
}
