//! Codes in and out of a payload.
//!
//! Order of the 32 codes of a group, chosen so that four codes at a time come out of a 32-bit word by
//! one shift and one mask:
//!
//! * 8 bits: byte `j` is level `j`.
//! * 4 bits: byte `j` (of 16) is code `j | code j+16 << 4`.
//! * 2 bits: byte `j` (of 8) is codes `j, j+8, j+16, j+24` from the low bits up.
//! * 1 bit: byte `j` (of 4), bit `i`, is the bit of code `4i + j`.
//! * 3 bits: the 2-bit plane of the codes' low two bits (8 bytes a row, all rows of the tile), then
//!   the 1-bit plane of their high bit (4 bytes a row).
//! * 5 bits: the 4-bit plane of the codes' high four bits (16 bytes a row, all rows of the tile), then the 1-bit
//!   plane of their low bit (4 bytes a row).
//! * 6 bits: the same, then the 2-bit plane of their low two bits (8 bytes a row).
//! * ternary: see `ternary.rs`.

use crate::ternary::{pack_ternary, unpack_ternary};
use crate::{Encoding, FormatError, GROUP, RowScale, TILE_ROWS, Table, TensorLayout};

/// One quantized row as the converter hands it over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PackedRow {
    /// One code a column (`cols` of them); for [`Encoding::Int8`] the level's two's complement byte.
    pub codes: Vec<u8>,
    /// One scale for each [`crate::ScaleGroup`], 1..=255.
    pub scales: Vec<u8>,
    /// The row's scale.
    pub scale: RowScale,
}

/// Packs all rows of a matrix into a payload of `layout.payload_bytes()` bytes.
///
/// Errors: a row whose number of codes or scales is not the layout's, a code outside the encoding.
pub fn pack_rows(layout: &TensorLayout, rows: &[PackedRow]) -> Result<Vec<u8>, FormatError> {
    if rows.len() as u64 != layout.rows {
        return Err(FormatError::RowCount {
            expected: layout.rows,
            found: rows.len() as u64,
        });
    }
    let mut out = vec![0u8; layout.payload_bytes() as usize];
    for (index, row) in rows.iter().enumerate() {
        let limit = layout.encoding.codes();
        let bad_code = row.codes.iter().any(|c| u32::from(*c) >= limit);
        if row.codes.len() as u64 != layout.cols
            || row.scales.len() as u64 != layout.scale_groups
            || bad_code
        {
            return Err(FormatError::Row { row: index as u64 });
        }
        let Some(part) = layout.part_of(index as u64) else {
            return Err(FormatError::Row { row: index as u64 });
        };
        for (g, codes) in row.codes.chunks(GROUP).enumerate() {
            let mut group = [0u8; GROUP];
            group[..codes.len()].copy_from_slice(codes);
            let (tile, r) = tile_group(layout, part.codes, index as u64 - part.row_start, g as u64);
            let len = layout.encoding.cell_bytes();
            pack_group(layout.encoding, &group, &mut out[tile..tile + len], r);
        }
        for (g, scale) in row.scales.iter().enumerate() {
            out[layout.scale_offset(part, index as u64, g as u64) as usize] = *scale;
        }
        let at = layout.row_scale_offset(part, index as u64) as usize;
        out[at..at + 4].copy_from_slice(bytemuck::bytes_of(&row.scale));
    }
    Ok(out)
}

/// (offset of the codes of a tile's group, row within the tile).
fn tile_group(layout: &TensorLayout, codes: u64, row: u64, group: u64) -> (usize, usize) {
    let t = TILE_ROWS as u64;
    let cell = row / t * layout.groups + group;
    (
        (codes + cell * layout.encoding.cell_bytes() as u64) as usize,
        (row % t) as usize,
    )
}

fn pack_group(encoding: Encoding, codes: &[u8; GROUP], tile: &mut [u8], r: usize) {
    match encoding {
        Encoding::Int8 => tile[r * 32..r * 32 + 32].copy_from_slice(codes),
        Encoding::Pow4 => pack_plane4(codes, &mut tile[r * 16..r * 16 + 16]),
        Encoding::Int5 => {
            pack_plane4(&codes.map(|c| c >> 1), &mut tile[r * 16..r * 16 + 16]);
            let low = TILE_ROWS * 16 + r * 4;
            pack_plane1(&codes.map(|c| c & 1), &mut tile[low..low + 4]);
        }
        Encoding::Int6 => {
            pack_plane4(&codes.map(|c| c >> 2), &mut tile[r * 16..r * 16 + 16]);
            let low = TILE_ROWS * 16 + r * 8;
            pack_plane2(&codes.map(|c| c & 3), &mut tile[low..low + 8]);
        }
        Encoding::Pow1 => pack_plane1(codes, &mut tile[r * 4..r * 4 + 4]),
        Encoding::Ternary => pack_ternary(codes, tile, r),
        Encoding::Pow2 => pack_plane2(codes, &mut tile[r * 8..r * 8 + 8]),
        Encoding::Pow3 => {
            pack_plane2(&codes.map(|c| c & 3), &mut tile[r * 8..r * 8 + 8]);
            let high = TILE_ROWS * 8 + r * 4;
            pack_plane1(&codes.map(|c| c >> 2), &mut tile[high..high + 4]);
        }
    }
}

fn pack_plane1(codes: &[u8; GROUP], out: &mut [u8]) {
    for j in 0..4 {
        out[j] = (0..8).fold(0, |b, i| b | codes[4 * i + j] << i);
    }
}

fn pack_plane2(codes: &[u8; GROUP], out: &mut [u8]) {
    for j in 0..8 {
        out[j] = codes[j] | codes[j + 8] << 2 | codes[j + 16] << 4 | codes[j + 24] << 6;
    }
}

fn pack_plane4(codes: &[u8; GROUP], out: &mut [u8]) {
    for j in 0..16 {
        out[j] = codes[j] | codes[j + 16] << 4;
    }
}

/// The 32 codes of row `r` of a tile's group; `tile` is that group's [`Encoding::cell_bytes`] bytes.
#[inline(always)]
pub fn unpack_group(encoding: Encoding, tile: &[u8], r: usize) -> [u8; GROUP] {
    let mut codes = [0u8; GROUP];
    match encoding {
        Encoding::Int8 => codes.copy_from_slice(&tile[r * 32..r * 32 + 32]),
        Encoding::Pow4 => unpack_plane4(&tile[r * 16..r * 16 + 16], &mut codes),
        Encoding::Int5 => {
            unpack_plane4(&tile[r * 16..r * 16 + 16], &mut codes);
            codes = codes.map(|c| c << 1);
            let low = &tile[TILE_ROWS * 16 + r * 4..TILE_ROWS * 16 + r * 4 + 4];
            add_plane1(low, 0, &mut codes);
        }
        Encoding::Int6 => {
            let (mut high, at) = ([0u8; GROUP], TILE_ROWS * 16 + r * 8);
            unpack_plane4(&tile[r * 16..r * 16 + 16], &mut high);
            unpack_plane2(&tile[at..at + 8], &mut codes);
            for (c, high) in codes.iter_mut().zip(high) {
                *c |= high << 2;
            }
        }
        Encoding::Pow1 => add_plane1(&tile[r * 4..r * 4 + 4], 0, &mut codes),
        Encoding::Ternary => codes = unpack_ternary(tile, r),
        Encoding::Pow2 => unpack_plane2(&tile[r * 8..r * 8 + 8], &mut codes),
        Encoding::Pow3 => {
            unpack_plane2(&tile[r * 8..r * 8 + 8], &mut codes);
            let high = &tile[TILE_ROWS * 8 + r * 4..TILE_ROWS * 8 + r * 4 + 4];
            add_plane1(high, 2, &mut codes);
        }
    }
    codes
}

/// Sets bit `bit` of every code from a plane.
#[inline(always)]
fn add_plane1(b: &[u8], bit: u32, codes: &mut [u8; GROUP]) {
    for i in 0..8 {
        for j in 0..4 {
            codes[4 * i + j] |= (b[j] >> i & 1) << bit;
        }
    }
}

#[inline(always)]
fn unpack_plane4(b: &[u8], codes: &mut [u8; GROUP]) {
    for j in 0..16 {
        codes[j] = b[j] & 15;
        codes[j + 16] = b[j] >> 4;
    }
}

#[inline(always)]
fn unpack_plane2(b: &[u8], codes: &mut [u8; GROUP]) {
    for j in 0..8 {
        codes[j] = b[j] & 3;
        codes[j + 8] = b[j] >> 2 & 3;
        codes[j + 16] = b[j] >> 4 & 3;
        codes[j + 24] = b[j] >> 6;
    }
}

/// The levels of a row (`groups · 32` of them, the tail beyond `cols` as stored), its `scale_groups` scales
/// and its row scale. `payload` is the tensor's; `None` beyond the last row or a short payload.
pub fn decode_row_levels(
    layout: &TensorLayout,
    table: &Table,
    payload: &[u8],
    row: u64,
    levels: &mut Vec<i8>,
    scales: &mut Vec<u8>,
) -> Option<RowScale> {
    let part = layout.part_of(row)?;
    levels.clear();
    scales.clear();
    let table = table.bytes();
    for g in 0..layout.groups {
        let (tile, r) = tile_group(layout, part.codes, row - part.row_start, g);
        let bytes = payload.get(tile..tile + layout.encoding.cell_bytes())?;
        let codes = unpack_group(layout.encoding, bytes, r);
        levels.extend(codes.map(|c| layout.encoding.level(&table, c)));
    }
    for g in 0..layout.scale_groups {
        scales.push(*payload.get(layout.scale_offset(part, row, g) as usize)?);
    }
    let at = layout.row_scale_offset(part, row) as usize;
    let bytes = payload.get(at..at + 4)?;
    Some(bytemuck::pod_read_unaligned(bytes))
}

/// The row's weights in f32, `cols` of them, appended to `out`: for reports and the reference pass.
pub fn decode_row_f32(
    layout: &TensorLayout,
    table: &Table,
    payload: &[u8],
    row: u64,
    out: &mut Vec<f32>,
) -> Option<()> {
    let (mut levels, mut scales) = (Vec::new(), Vec::new());
    let scale = decode_row_levels(layout, table, payload, row, &mut levels, &mut scales)?;
    // level · scale · mantissa < 2^31 is exact in f64; one rounding to f32.
    let unit = f64::from(scale.mantissa) * libm::exp2(f64::from(scale.exponent));
    let group = layout.group.weights();
    out.extend(
        levels
            .iter()
            .take(layout.cols as usize)
            .enumerate()
            .map(|(i, l)| (f64::from(i32::from(*l) * i32::from(scales[i / group])) * unit) as f32),
    );
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Coding, ScaleGroup};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            group in prop::sample::select(ScaleGroup::ALL.to_vec()),
            rows in 1u64..70, cols in 1u64..300, seed in any::<u64>(),
        ) {
            let layout = TensorLayout::new(Coding { encoding, group }, rows, cols).unwrap();
            let mut state = seed | 1;
            let mut next = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 56) as u8 };
            let data: Vec<PackedRow> = (0..rows).map(|_| PackedRow {
                codes: (0..cols).map(|_| (u32::from(next()) % encoding.codes()) as u8).collect(),
                scales: (0..layout.scale_groups).map(|_| next().max(1)).collect(),
                scale: RowScale { mantissa: 0x8000 | u16::from(next()), exponent: i16::from(next() as i8) },
            }).collect();
            let payload = pack_rows(&layout, &data).unwrap();
            let table = Table(core::array::from_fn(|i| i as i8));
            let (mut levels, mut scales) = (Vec::new(), Vec::new());
            for (i, row) in data.iter().enumerate() {
                let s = decode_row_levels(&layout, &table, &payload, i as u64, &mut levels, &mut scales).unwrap();
                prop_assert_eq!(s, row.scale);
                prop_assert_eq!(&scales, &row.scales);
                // The table's level of a code is the code itself.
                let expected: Vec<i8> = row.codes.iter().map(|c| encoding.level(&table.bytes(), *c)).collect();
                prop_assert_eq!(&levels[..cols as usize], &expected);
                let mut weights = Vec::new();
                decode_row_f32(&layout, &table, &payload, i as u64, &mut weights).unwrap();
                for (k, w) in weights.iter().enumerate() {
                    let exact = f64::from(levels[k]) * f64::from(row.scales[k / group.weights()]);
                    let unit = f64::from(s.mantissa) * f64::from(s.exponent).exp2();
                    prop_assert_eq!(*w, (exact * unit) as f32);
                }
            }
            prop_assert!(decode_row_levels(&layout, &table, &payload, rows, &mut levels, &mut scales).is_none());
        }
    }
}
