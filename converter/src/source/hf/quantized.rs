//! Finds the codes, scales and zero points of quantized matrices, and checks their types and shapes.

use super::{Entries, Entry, Placing};
use crate::source::SourceError;
use crate::source::architecture::Place;
use crate::source::decode::{self, ElementType};
use crate::source::names;
use crate::source::normal::Form;
use crate::source::packed::{Array, Codes, Holder, Layout, Matrix, Scheme, Value, beside};
use crate::source::stored::{Data, Stored};
use safetensors::Dtype;

/// Bytes of an element.
fn width(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

/// Whether a tensor of this type can hold the scheme's codes.
fn holds(holder: Holder, dtype: Dtype) -> bool {
    match holder {
        Holder::Fp8 => matches!(dtype, Dtype::F8_E4M3 | Dtype::F8_E5M2),
        Holder::I8 => dtype == Dtype::I8,
        Holder::U8 => dtype == Dtype::U8,
        Holder::I32 => dtype == Dtype::I32,
    }
}

fn holder_names(holder: Holder) -> &'static str {
    match holder {
        Holder::Fp8 => "F8_E4M3, F8_E5M2",
        Holder::I8 => "I8",
        Holder::U8 => "U8",
        Holder::I32 => "I32",
    }
}

/// The type that a tensor of scales is decoded by, and the names of those that the scheme has.
fn scales_type(scheme: &Scheme, dtype: Dtype) -> Result<&'static ElementType, &'static str> {
    let nvfp4 = scheme.divisor.is_some();
    match dtype {
        Dtype::U8 | Dtype::F8_E8M0 if scheme.exponents => Ok(&decode::F8_E8M0),
        _ if scheme.exponents => Err("U8, F8_E8M0"),
        Dtype::F8_E4M3 if nvfp4 => Ok(&decode::F8_E4M3),
        _ if nvfp4 => Err("F8_E4M3"),
        Dtype::F8_E8M0 => Ok(&decode::F8_E8M0),
        _ => super::element(dtype).ok_or("F32, F16, BF16, F8_E8M0"),
    }
}

/// Shapes of `[rows, cols]`, of which a dimension of 1 may be left out.
fn shapes(rows: u64, cols: u64) -> Vec<Vec<u64>> {
    let mut shapes = vec![vec![rows, cols]];
    if cols == 1 {
        shapes.push(vec![rows]);
    } else if rows == 1 {
        shapes.push(vec![cols]);
    }
    if (rows, cols) == (1, 1) {
        shapes.push(Vec::new());
    }
    shapes
}

/// What is being looked for: a quantized matrix.
struct Sought<'f> {
    found: &'f Entries,
    layout: Layout,
    /// Its name without `.weight`.
    stem: String,
    /// Rows in the file, columns.
    rows: u64,
    cols: u64,
    /// Names of the tensors that it takes.
    used: Vec<String>,
}

impl<'f> Sought<'f> {
    /// The tensor whose name is the stem and `end`.
    fn entry(&mut self, end: &str) -> Option<(String, &'f Entry)> {
        let (name, entry) = self
            .found
            .get_key_value(&format!("{}{end}", self.stem))
            .map(|(n, e)| (n.clone(), e))?;
        self.used.push(name.clone());
        Some((name, entry))
    }
}

impl Placing<'_> {
    /// A matrix that is quantized, with the names of the tensors that it takes; `None` where it is not.
    pub(super) fn quantized(
        &self,
        found: &Entries,
        layout: Layout,
        place: &Place,
        (rows, cols): (u64, u64),
        form: &Form,
    ) -> Result<Option<(Stored, Vec<String>)>, SourceError> {
        let scheme = layout.scheme;
        let stem = names::alternatives(&place.name).find_map(|name| {
            let stem = name.strip_suffix(".weight")?.to_string();
            let codes = found.get(&format!("{stem}{}", scheme.codes))?;
            // Under its own name, a matrix that is not quantized may lie too.
            let other = scheme.codes == ".weight" && super::element(codes.info.dtype).is_some();
            (!other).then_some(stem)
        });
        let Some(stem) = stem else {
            return Ok(None);
        };
        let mut sought = Sought {
            found,
            layout,
            stem,
            rows: place.rows,
            cols,
            used: Vec::new(),
        };
        let (codes_name, codes_entry) = self.needed(&mut sought, scheme.codes)?;
        let codes = self.codes(&sought, &codes_name, codes_entry)?;
        let (name, entry) = self.needed(&mut sought, scheme.scales)?;
        let scales_type = scales_type(scheme, entry.info.dtype)
            .map_err(|known| self.other_type(&name, entry, known))?;
        let (of_rows, groups) = layout.scales(place.rows, cols);
        let (r, c) = match scheme.transposed {
            true => (groups, of_rows),
            false => (of_rows, groups),
        };
        self.one_of(&name, entry, shapes(r, c))?;
        let scales = array(entry, c * width(entry.info.dtype));
        let divisor = match scheme.divisor {
            Some(end) => self.number(&mut sought, end)?,
            None => 1.0,
        };
        let zeros = match scheme.zeros {
            Some(end) if layout.zeros => Some(self.zeros(&mut sought, end, (r, c))?),
            _ => None,
        };
        let order = match scheme.order {
            Some(end) => self.order(&mut sought, end, groups)?,
            None => None,
        };
        if let Some(end) = scheme.shape {
            self.shape(&mut sought, end)?;
        }
        self.zero_bias(&mut sought)?;
        sought.used.extend(beside(&sought.stem));
        let value = match (codes_entry.info.dtype, layout.zeros) {
            (Dtype::F8_E5M2, _) => Value::E5m2,
            (_, true) => scheme.value.1,
            (_, false) => scheme.value.0,
        };
        let matrix = Matrix {
            layout,
            value,
            first: place.first,
            cols,
            codes,
            scales,
            scales_type,
            divisor,
            zeros,
            order,
            form: form.clone(),
        };
        let stored = Stored {
            file: codes_entry.file,
            offset: codes_entry.offset,
            name: codes_name,
            rows,
            cols,
            data: Data::Packed(Box::new(matrix)),
        };
        Ok(Some((stored, sought.used)))
    }

    fn needed<'f>(
        &self,
        sought: &mut Sought<'f>,
        end: &str,
    ) -> Result<(String, &'f Entry), SourceError> {
        sought.entry(end).ok_or_else(|| {
            let codes = format!("{}{}", sought.stem, sought.layout.scheme.codes);
            SourceError::MissingBeside {
                path: sought
                    .found
                    .get(&codes)
                    .map_or(self.directory.into(), |e| self.path(e)),
                tensor: format!("{}{end}", sought.stem),
                beside: codes,
                scheme: sought.layout.scheme.name,
            }
        })
    }

    fn other_type(&self, name: &str, entry: &Entry, known: &str) -> SourceError {
        SourceError::Type {
            path: self.path(entry),
            tensor: name.into(),
            found: entry.info.dtype.to_string(),
            known: known.into(),
        }
    }

    /// Checks that a tensor has one of the shapes; an error names the first.
    fn one_of(&self, name: &str, entry: &Entry, shapes: Vec<Vec<u64>>) -> Result<(), SourceError> {
        let found = || entry.info.shape.iter().map(|d| *d as u64);
        if shapes.iter().any(|s| found().eq(s.iter().copied())) {
            return Ok(());
        }
        let expected = shapes.into_iter().next().unwrap_or_default();
        self.check_shape(name, entry, expected)
    }

    fn codes(&self, sought: &Sought<'_>, name: &str, entry: &Entry) -> Result<Codes, SourceError> {
        let (scheme, layout) = (sought.layout.scheme, sought.layout);
        if !holds(scheme.holder, entry.info.dtype) {
            return Err(self.other_type(name, entry, holder_names(scheme.holder)));
        }
        let (r, c) = match scheme.transposed {
            true => (sought.cols, sought.rows),
            false => (sought.rows, sought.cols),
        };
        let [r, c] = layout.packed(scheme.packing, scheme.holder, r, c);
        let mut expected = vec![r, c];
        if scheme.in_blocks {
            // A scale's columns in bytes.
            let wide = layout.block.map_or(1, |b| b.1);
            let bytes = wide / layout.per(scheme.holder);
            expected = vec![r, sought.cols.div_ceil(wide), bytes];
        }
        let stride = expected[1..].iter().product::<u64>() * width(entry.info.dtype);
        self.check_shape(name, entry, expected)?;
        Ok(Codes {
            array: array(entry, stride),
            bits: layout.bits,
            packing: scheme.packing,
        })
    }

    /// The zero points of scales that are stored as `[rows, cols]`.
    fn zeros(
        &self,
        sought: &mut Sought<'_>,
        end: &str,
        (rows, cols): (u64, u64),
    ) -> Result<Codes, SourceError> {
        let (name, entry) = self.needed(sought, end)?;
        let (scheme, layout) = (sought.layout.scheme, sought.layout);
        if !holds(scheme.holder, entry.info.dtype) {
            return Err(self.other_type(&name, entry, holder_names(scheme.holder)));
        }
        let packing = scheme.zeros_packing;
        let [r, c] = layout.packed(packing, scheme.holder, rows, cols);
        // Only packed ones have all dimensions always.
        let allowed = match scheme.holder {
            Holder::I32 => vec![vec![r, c]],
            _ => shapes(r, c),
        };
        self.one_of(&name, entry, allowed)?;
        Ok(Codes {
            array: array(entry, c * width(entry.info.dtype)),
            bits: layout.bits,
            packing,
        })
    }

    /// A single f32.
    fn number(&self, sought: &mut Sought<'_>, end: &str) -> Result<f32, SourceError> {
        let (name, entry) = self.needed(sought, end)?;
        self.one_of(&name, entry, shapes(1, 1))?;
        let Some(ty) = super::element(entry.info.dtype) else {
            return Err(self.wrong_type(&name, entry));
        };
        let values = self.plain(&name, entry, ty, 1)?;
        Ok(values[0])
    }

    /// The `cols` elements of a vector.
    fn plain(
        &self,
        name: &str,
        entry: &Entry,
        ty: &'static ElementType,
        cols: u64,
    ) -> Result<Vec<f32>, SourceError> {
        let form = Form::default();
        let stored = Stored {
            file: entry.file,
            offset: entry.offset,
            name: name.into(),
            rows: 1,
            cols,
            data: Data::Elements { ty, form },
        };
        let mut values = Vec::new();
        stored.read_rows(self.files, 0..1, &mut values)?;
        Ok(values)
    }

    /// The integers of a vector.
    fn integers(&self, name: &str, entry: &Entry, len: u64) -> Result<Vec<i64>, SourceError> {
        self.check_shape(name, entry, vec![len])?;
        let width = match entry.info.dtype {
            Dtype::I32 => 4,
            Dtype::I64 => 8,
            _ => return Err(self.other_type(name, entry, "I32, I64")),
        };
        let mut bytes = vec![0; len as usize * width];
        self.files[entry.file].read_exact_at(&mut bytes, entry.offset)?;
        let number = |b: &[u8]| match *b {
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        };
        Ok(bytes.chunks_exact(width).map(number).collect())
    }

    /// The group of each column, where it is not that of its place.
    fn order(
        &self,
        sought: &mut Sought<'_>,
        end: &str,
        groups: u64,
    ) -> Result<Option<Vec<u32>>, SourceError> {
        let Some((name, entry)) = sought.entry(end) else {
            return Ok(None);
        };
        let list = self.integers(&name, entry, sought.cols)?;
        let wide = sought.layout.block.map_or(u64::MAX, |b| b.1);
        let in_place = |(col, g): (u64, &i64)| u64::try_from(*g) == Ok(col / wide);
        // compressed-tensors writes −1 where there is no order.
        if (0..).zip(&list).all(in_place) || list.iter().all(|g| *g == -1) {
            return Ok(None);
        }
        let group = |(index, found): (u64, &i64)| {
            let group = u32::try_from(*found).ok();
            group
                .filter(|g| u64::from(*g) < groups)
                .ok_or_else(|| SourceError::Element {
                    path: self.path(entry),
                    tensor: name.clone(),
                    index,
                    found: *found,
                    expected: format!("one of the {groups} groups, from 0 on"),
                })
        };
        (0..)
            .zip(&list)
            .map(group)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Compares the shape that is stored as a tensor.
    fn shape(&self, sought: &mut Sought<'_>, end: &str) -> Result<(), SourceError> {
        let (name, entry) = self.needed(sought, end)?;
        let expected = vec![sought.rows, sought.cols];
        let found = self.integers(&name, entry, 2)?;
        let found: Vec<u64> = found
            .iter()
            .map(|n| u64::try_from(*n).unwrap_or(0))
            .collect();
        if found == expected {
            return Ok(());
        }
        Err(SourceError::Shape {
            path: self.path(entry),
            tensor: name,
            expected,
            found,
        })
    }

    /// AutoGPTQ writes a bias beside every matrix, zeros where the model has none.
    fn zero_bias(&self, sought: &mut Sought<'_>) -> Result<(), SourceError> {
        let name = format!("{}.bias", sought.stem);
        let Some(entry) = sought.found.get(&name) else {
            return Ok(());
        };
        let (Some(ty), true) = (
            super::element(entry.info.dtype),
            entry.info.shape == [sought.rows as usize],
        ) else {
            return Ok(());
        };
        if self
            .plain(&name, entry, ty, sought.rows)?
            .iter()
            .all(|x| *x == 0.0)
        {
            sought.used.push(name);
        }
        Ok(())
    }
}

fn array(entry: &Entry, stride: u64) -> Array {
    Array {
        file: entry.file,
        offset: entry.offset,
        stride,
    }
}
