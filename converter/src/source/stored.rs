//! Where a tensor lies in a checkpoint and how its rows are read.

use super::SourceError;
use super::decode::ElementType;
use super::io::SourceFile;
use super::normal::Form;
use super::packed::Matrix;
use carat_format::{Encoding, PartLayout, TILE_ROWS, Table, TensorLayout, decode_row_f32};
use std::ops::Range;

/// Bytes read at a time, unless a row is longer.
const CHUNK: u64 = 1 << 20;

/// A tensor of a checkpoint.
#[derive(Debug)]
pub(super) struct Stored {
    /// Index into the checkpoint's files.
    pub file: usize,
    /// First byte in that file.
    pub offset: u64,
    /// Name in that file.
    pub name: String,
    pub rows: u64,
    pub cols: u64,
    pub data: Data,
}

/// How the weights are stored.
#[derive(Debug)]
pub(super) enum Data {
    /// Rows of blocks of a plain element type.
    Elements {
        ty: &'static ElementType,
        form: Form,
    },
    /// Codes and scales of a quantized matrix in tensors of their own; the place is that of the codes.
    Packed(Box<Matrix>),
    /// BitNet's packed weights: byte row `r` has rows `r`, `r + quarter`, … from the low two bits up, each
    /// weight its two bits less one, times the form's factor.
    Ternary { quarter: u64, form: Form },
    /// A quantized matrix of a Carat file.
    Matrix { layout: TensorLayout, table: Table },
    /// Gains of a Carat file: i32 mantissas; the unit takes out √D, which the file folds in.
    Gains { unit: f64 },
}

impl Stored {
    /// Name of the element type or encoding.
    pub fn type_name(&self) -> &'static str {
        match &self.data {
            Data::Elements { ty, .. } => ty.name,
            Data::Packed(matrix) => matrix.layout.scheme.name,
            Data::Ternary { .. } => "U8",
            Data::Matrix { layout, .. } => layout.encoding.name(),
            Data::Gains { .. } => carat_format::keys::VECTOR,
        }
    }

    /// Replaces `out` by the weights of `rows`, row after row; `files` are the checkpoint's.
    pub fn read_rows(
        &self,
        files: &[SourceFile],
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let (start, end) = (rows.start, rows.end);
        if start > end || end > self.rows {
            return Err(SourceError::Rows {
                tensor: self.name.clone(),
                start,
                end,
                rows: self.rows,
            });
        }
        let file = &files[self.file];
        // Rows and columns are bounded by the checks of the hyper-parameters.
        out.clear();
        out.reserve(((end - start) * self.cols) as usize);
        match &self.data {
            Data::Elements { ty, form } => self.read_elements(file, ty, form, rows, out)?,
            Data::Packed(matrix) => matrix.read(files, rows, out)?,
            Data::Ternary { quarter, form } => {
                self.read_ternary(file, *quarter, form, rows, out)?;
            }
            Data::Matrix { layout, table } => self.read_matrix(file, layout, table, rows, out)?,
            Data::Gains { unit } if start < end => self.read_gains(file, *unit, out)?,
            Data::Gains { .. } => {}
        }
        match out.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(i) => Err(SourceError::NotFinite {
                path: file.path.clone(),
                tensor: self.name.clone(),
                index: start * self.cols + i as u64,
                found: out[i],
            }),
        }
    }

    /// Whether two matrices of plain elements have the same weights, as they are stored.
    pub fn equals(&self, other: &Self, files: &[SourceFile]) -> Result<bool, SourceError> {
        let (Data::Elements { ty: a, .. }, Data::Elements { ty: b, .. }) =
            (&self.data, &other.data)
        else {
            return Ok(false);
        };
        if (self.rows, self.cols) != (other.rows, other.cols) {
            return Ok(false);
        }
        let row_bytes = |ty: &ElementType| self.cols / ty.elements as u64 * ty.bytes as u64;
        let at_once = (CHUNK / row_bytes(a).max(row_bytes(b)).max(1)).max(1);
        let mut bytes = [Vec::new(), Vec::new()];
        let mut weights = [Vec::new(), Vec::new()];
        for row in (0..self.rows).step_by(at_once as usize) {
            let n = at_once.min(self.rows - row);
            for ((stored, ty), bytes) in [(self, a), (other, b)].into_iter().zip(&mut bytes) {
                bytes.resize((n * row_bytes(ty)) as usize, 0);
                files[stored.file].read_exact_at(bytes, stored.offset + row * row_bytes(ty))?;
            }
            if a.name == b.name {
                if bytes[0] != bytes[1] {
                    return Ok(false);
                }
                continue;
            }
            for ((ty, bytes), weights) in [a, b].into_iter().zip(&bytes).zip(&mut weights) {
                weights.resize((n * self.cols) as usize, 0.0);
                (ty.decode)(bytes, weights);
            }
            if weights[0] != weights[1] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_elements(
        &self,
        file: &SourceFile,
        ty: &ElementType,
        form: &Form,
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let row_bytes = self.cols / ty.elements as u64 * ty.bytes as u64;
        let heads = form.heads.as_deref();
        // Heads of a matrix are of rows, those of a vector of elements.
        let of_rows = heads.filter(|_| self.rows > 1);
        let at_once = match of_rows {
            None => (CHUNK / row_bytes).max(1),
            Some(_) => 1,
        };
        let mut buffer = Vec::new();
        let mut row = rows.start;
        while row < rows.end {
            let n = at_once.min(rows.end - row);
            buffer.resize((n * row_bytes) as usize, 0);
            let (stored, factor) = of_rows.map_or((row, 1.0), |h| h.stored(row));
            file.read_exact_at(&mut buffer, self.offset + stored * row_bytes)?;
            let done = out.len();
            out.resize(done + (n * self.cols) as usize, 0.0);
            (ty.decode)(&buffer, &mut out[done..]);
            if (form.add, form.times, factor) != (0.0, 1.0, 1.0) {
                for x in &mut out[done..] {
                    *x = (*x + form.add) * form.times * factor;
                }
            }
            row += n;
        }
        if let (Some(heads), 1) = (heads, self.rows) {
            let stored = out.clone();
            for (i, x) in out.iter_mut().enumerate() {
                let (from, factor) = heads.stored(i as u64);
                *x = stored[from as usize] * factor;
            }
        }
        Ok(())
    }

    fn read_ternary(
        &self,
        file: &SourceFile,
        quarter: u64,
        form: &Form,
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let mut bytes = vec![0; self.cols as usize];
        for row in rows {
            let (row, factor) = match form.heads.as_deref() {
                Some(heads) => heads.stored(row),
                None => (row, 1.0),
            };
            file.read_exact_at(&mut bytes, self.offset + row % quarter * self.cols)?;
            let (shift, factor) = (2 * (row / quarter), form.times * factor);
            out.extend(bytes.iter().map(|b| {
                let code = b >> shift & 3;
                (f32::from(code) - 1.0) * factor
            }));
        }
        Ok(())
    }

    /// Reads tile by tile: 32 rows, the same three sections as a payload of 32 rows has.
    fn read_matrix(
        &self,
        file: &SourceFile,
        layout: &TensorLayout,
        table: &Table,
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let tile_rows = TILE_ROWS as u64;
        let mut row = rows.start;
        while row < rows.end {
            let lost = || SourceError::Rows {
                tensor: self.name.clone(),
                start: rows.start,
                end: rows.end,
                rows: self.rows,
            };
            let part = layout.part_of(row).ok_or_else(lost)?;
            let first = row - (row - part.row_start) % tile_rows;
            let n = tile_rows.min(part.row_start + part.rows - first);
            let (tile, payload) = self.read_tile(file, layout, part, first, n)?;
            let end = rows.end.min(first + n);
            for r in row..end {
                decode_row_f32(&tile, table, &payload, r - first, out).ok_or_else(lost)?;
            }
            row = end;
        }
        Ok(())
    }

    /// The layout and payload of a matrix of the `n` rows from `first`, which begins a tile of `part`.
    fn read_tile(
        &self,
        file: &SourceFile,
        layout: &TensorLayout,
        part: &PartLayout,
        first: u64,
        n: u64,
    ) -> Result<(TensorLayout, Vec<u8>), SourceError> {
        let carat = |error| SourceError::Carat {
            path: file.path.clone(),
            error,
        };
        let tile = TensorLayout::new(layout.coding(), n, layout.cols).map_err(carat)?;
        let mut payload = vec![0; tile.payload_bytes() as usize];
        let tiles = n.div_ceil(TILE_ROWS as u64);
        let scales = tile.scale_groups * TILE_ROWS as u64;
        let to = tile.parts[0];
        for (from, to, len) in [
            (
                layout.tile_offset(part, first),
                to.codes,
                tiles * layout.tile_code_bytes(),
            ),
            (layout.scale_offset(part, first, 0), to.scales, scales),
            (layout.row_scale_offset(part, first), to.row_scales, n * 4),
        ] {
            let to = to as usize;
            file.read_exact_at(&mut payload[to..to + len as usize], self.offset + from)?;
        }
        Ok((tile, payload))
    }

    fn read_gains(
        &self,
        file: &SourceFile,
        unit: f64,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let mut bytes = vec![0; self.cols as usize * 4];
        file.read_exact_at(&mut bytes, self.offset)?;
        out.extend(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| (f64::from(i32::from_le_bytes(*b)) * unit) as f32),
        );
        Ok(())
    }

    /// Bits of a weight in the source where it is quantized, for reports.
    pub fn encoding(&self) -> Option<Encoding> {
        match &self.data {
            Data::Matrix { layout, .. } => Some(layout.encoding),
            _ => None,
        }
    }
}
