//! Where the bytes of a matrix lie in its payload.
//!
//! A payload is one or more *parts*, each the rows of one binding:
//! `codes | scales | rows`, every section at a multiple of 256 bytes.
//!
//! * codes: `[tile][group]` of [`Encoding::cell_bytes`] for the rows of the tile
//! * scales: `[tile][scale][row in tile]` u8, a scale for one, two or four groups
//! * rows: `[tile][row in tile]` of [`RowScale`]

use crate::{Coding, Encoding, FormatError, GROUP, ScaleGroup, TILE_ROWS};
use bytemuck::{Pod, Zeroable};

/// Alignment of every section of a part, in bytes: WebGPU's storage-buffer offset alignment.
pub const PART_ALIGN: u64 = 256;
/// Largest part, in bytes: WebGPU's default `maxStorageBufferBindingSize`.
pub const MAX_PART_BYTES: u64 = 128 << 20;
/// A matrix larger than a part is split at multiples of this many rows.
pub const PART_ROW_STEP: u64 = 128;

/// The scale of a row: `mantissa · 2^exponent`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RowScale {
    /// 0 only for padding rows, else normalised to 32768..=65535.
    pub mantissa: u16,
    /// Power of two.
    pub exponent: i16,
}
const _: () = assert!(size_of::<RowScale>() == 4);

/// One part of a payload: a range of rows and the byte offsets of its sections within the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLayout {
    /// First row.
    pub row_start: u64,
    /// Rows, without padding.
    pub rows: u64,
    /// Offset of the codes from the start of the payload (and of the part).
    pub codes: u64,
    /// Offset of the scales from the start of the payload.
    pub scales: u64,
    /// Offset of the row scales from the start of the payload.
    pub row_scales: u64,
    /// End of the part from the start of the payload.
    pub end: u64,
}

/// The layout of a whole matrix `[rows, cols]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorLayout {
    /// How the codes are stored.
    pub encoding: Encoding,
    /// Weights of a scale.
    pub group: ScaleGroup,
    /// Output rows.
    pub rows: u64,
    /// Input columns.
    pub cols: u64,
    /// Groups of a row: `ceil(cols / 32)`.
    pub groups: u64,
    /// Scales of a row: `ceil(cols / group)`.
    pub scale_groups: u64,
    /// The parts in row order; at least one.
    pub parts: Vec<PartLayout>,
}

fn align(n: u64) -> Option<u64> {
    n.checked_next_multiple_of(PART_ALIGN)
}

impl TensorLayout {
    /// Lays out a matrix; an [`Encoding`] alone has a scale for each 32 weights. Errors: a zero or overflowing
    /// dimension, or rows too long for a part.
    pub fn new(coding: impl Into<Coding>, rows: u64, cols: u64) -> Result<Self, FormatError> {
        let Coding { encoding, group } = coding.into();
        let bad = || FormatError::Shape { rows, cols };
        if rows == 0 || cols == 0 || rows > u32::MAX.into() || cols > u32::MAX.into() {
            return Err(bad());
        }
        let groups = cols.div_ceil(GROUP as u64);
        let scale_groups = cols.div_ceil(group.weights() as u64);
        let section = |r: u64| -> Option<[u64; 3]> {
            let tiles = r.div_ceil(TILE_ROWS as u64);
            let cells = |n: u64| tiles.checked_mul(n)?.checked_mul(TILE_ROWS as u64);
            let codes = tiles
                .checked_mul(groups)?
                .checked_mul(encoding.cell_bytes() as u64);
            let codes = align(codes?)?;
            let scales = align(cells(scale_groups)?)?;
            Some([codes, scales, align(tiles * TILE_ROWS as u64 * 4)?])
        };
        let size = |r: u64| section(r).and_then(|s| s[0].checked_add(s[1])?.checked_add(s[2]));
        let per_part = if size(rows).ok_or_else(bad)? <= MAX_PART_BYTES {
            rows
        } else {
            // The largest multiple of 128 rows that fits; a part grows with its rows.
            let fits =
                |steps: u64| size(steps * PART_ROW_STEP).is_some_and(|b| b <= MAX_PART_BYTES);
            let (mut least, mut over) = (0, rows / PART_ROW_STEP + 1);
            while over - least > 1 {
                let middle = least.midpoint(over);
                if fits(middle) {
                    least = middle;
                } else {
                    over = middle;
                }
            }
            if least == 0 {
                return Err(bad());
            }
            least * PART_ROW_STEP
        };
        let mut parts = Vec::new();
        let (mut row, mut at) = (0u64, 0u64);
        while row < rows {
            let n = per_part.min(rows - row);
            let [codes, scales, row_scales] = section(n).ok_or_else(bad)?;
            parts.push(PartLayout {
                row_start: row,
                rows: n,
                codes: at,
                scales: at + codes,
                row_scales: at + codes + scales,
                end: at + codes + scales + row_scales,
            });
            at = at
                .checked_add(codes + scales + row_scales)
                .ok_or_else(bad)?;
            row += n;
        }
        Ok(Self {
            encoding,
            group,
            rows,
            cols,
            groups,
            scale_groups,
            parts,
        })
    }

    /// How the weights are coded.
    pub fn coding(&self) -> Coding {
        Coding {
            encoding: self.encoding,
            group: self.group,
        }
    }

    /// Bytes of the payload, padding included.
    pub fn payload_bytes(&self) -> u64 {
        self.parts.last().map_or(0, |p| p.end)
    }

    /// The part that holds `row`, or `None` beyond the last row.
    pub fn part_of(&self, row: u64) -> Option<&PartLayout> {
        self.parts
            .iter()
            .find(|p| row >= p.row_start && row - p.row_start < p.rows)
    }

    /// Offset in the payload of the codes of the tile that holds `row`; the row must lie in `part`.
    pub fn tile_offset(&self, part: &PartLayout, row: u64) -> u64 {
        let tile = (row - part.row_start) / TILE_ROWS as u64;
        part.codes + tile * self.tile_code_bytes()
    }

    /// Bytes of the codes of a tile.
    pub fn tile_code_bytes(&self) -> u64 {
        self.groups * self.encoding.cell_bytes() as u64
    }

    /// Offset in the payload of scale `scale` of `row`; the row must lie in `part`.
    pub fn scale_offset(&self, part: &PartLayout, row: u64, scale: u64) -> u64 {
        part.scales + cell(part, self.scale_groups, row, scale)
    }

    /// Offset in the payload of the row scale of `row`; the row must lie in `part`.
    pub fn row_scale_offset(&self, part: &PartLayout, row: u64) -> u64 {
        part.row_scales + (row - part.row_start) * 4
    }
}

/// Index of entry `index` of `row` in a section of `width` entries a row.
fn cell(part: &PartLayout, width: u64, row: u64, index: u64) -> u64 {
    let (r, t) = (row - part.row_start, TILE_ROWS as u64);
    (r / t * width + index) * t + r % t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_stays_under_the_promised_bits_a_weight() {
        for (encoding, limit) in [
            (Encoding::Int6, 6.30),
            (Encoding::Int5, 5.30),
            (Encoding::Pow4, 4.30),
            (Encoding::Pow3, 3.30),
            (Encoding::Pow2, 2.30),
        ] {
            for (rows, cols) in [
                (1024, 1024),
                (2048, 2048),
                (8192, 2048),
                (128_256, 2048),
                (576, 1536),
            ] {
                let l = TensorLayout::new(encoding, rows, cols).unwrap();
                let bpw = l.payload_bytes() as f64 * 8.0 / (rows * cols) as f64;
                assert!(bpw <= limit, "{encoding:?} {rows}x{cols}: {bpw}");
            }
        }
    }

    #[test]
    fn wider_scales_take_their_share_of_the_bits() {
        for (encoding, bits) in [(Encoding::Pow1, 1.0), (Encoding::Pow4, 4.0)] {
            for group in ScaleGroup::ALL {
                let coding = Coding { encoding, group };
                let l = TensorLayout::new(coding, 4096, 4096).unwrap();
                let bpw = l.payload_bytes() as f64 * 8.0 / (4096.0 * 4096.0);
                let expected = bits + 8.0 / group.weights() as f64 + 32.0 / 4096.0;
                assert!((bpw - expected).abs() < 1e-9, "{coding:?}: {bpw}");
            }
        }
    }

    #[test]
    fn the_last_scale_of_a_row_may_cover_fewer_weights() {
        for (group, cols, scales) in [
            (ScaleGroup::W32, 129, 5),
            (ScaleGroup::W64, 129, 3),
            (ScaleGroup::W128, 129, 2),
            (ScaleGroup::W128, 128, 1),
            (ScaleGroup::W128, 1, 1),
        ] {
            let encoding = Encoding::Pow2;
            let l = TensorLayout::new(Coding { encoding, group }, 33, cols).unwrap();
            assert_eq!(l.scale_groups, scales);
            // The scale of the last group is the last scale.
            assert_eq!((l.groups - 1) >> group.shift(), scales - 1);
            let part = &l.parts[0];
            assert!(l.scale_offset(part, 32, scales - 1) < part.row_scales);
        }
    }

    #[test]
    fn a_head_larger_than_a_binding_is_split_at_128_rows() {
        let l = TensorLayout::new(Encoding::Pow4, 128_256, 2048).unwrap();
        assert_eq!(l.parts.len(), 2);
        assert_eq!(l.parts[0].rows % PART_ROW_STEP, 0);
        for p in &l.parts {
            assert!(p.end - p.codes <= MAX_PART_BYTES);
            assert!(
                [p.codes, p.scales, p.row_scales, p.end]
                    .iter()
                    .all(|o| o % PART_ALIGN == 0)
            );
        }
        assert_eq!(l.parts.iter().map(|p| p.rows).sum::<u64>(), 128_256);
        assert_eq!(l.part_of(128_255).unwrap().row_start, l.parts[1].row_start);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (r, c) in [
            (0, 1),
            (1, 0),
            (u64::MAX, 2),
            (1 << 33, 1),
            (128, u32::MAX as u64),
        ] {
            assert!(TensorLayout::new(Encoding::Int8, r, c).is_err(), "{r}x{c}");
        }
    }
}
