//! The directory: what each tensor of the container is.

use crate::model::bounds;
use crate::{
    Coding, Encoding, FormatError, MAX_LEVEL, ModelSpec, ScaleGroup, Table, Tensor, TensorLayout,
    keys,
};
use carat_gguf::{Header, OwnedValue, Scalar, TensorType};
use std::collections::{HashMap, HashSet};

/// A quantized matrix of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorEntry {
    /// Which tensor of the model.
    pub tensor: Tensor,
    /// Layout of the payload.
    pub layout: TensorLayout,
    /// Levels of the codes.
    pub table: Table,
    /// The exponent p of the table's power function; informational.
    pub power: f32,
    /// Exponent of the i32 that a product with this matrix gives.
    pub exponent: i32,
    /// Root of the weights' relative squared error against the source; informational.
    pub error: f32,
    /// blake3 of the payload.
    pub hash: [u8; 32],
    /// Absolute byte offset of the payload in the file.
    pub offset: u64,
}

/// A vector of gains or biases: i32 mantissas of one exponent.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// Which tensor of the model.
    pub tensor: Tensor,
    /// Number of mantissas.
    pub len: u64,
    /// Values are `mantissa · 2^exponent`; of gains the square root of their number is folded in.
    pub exponent: i32,
    /// blake3 of the payload.
    pub hash: [u8; 32],
    /// Absolute byte offset of the payload in the file.
    pub offset: u64,
}

/// Every tensor of a Carat file, in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    /// Matrices.
    pub matrices: Vec<TensorEntry>,
    /// Vectors.
    pub vectors: Vec<Vector>,
}

/// One row of the directory as the writer takes it, in the container's tensor order.
enum Row<'a> {
    Matrix(&'a TensorEntry),
    Vector(&'a Vector),
}

impl Directory {
    /// The matrix of that tensor.
    pub fn matrix(&self, tensor: Tensor) -> Option<&TensorEntry> {
        self.matrices.iter().find(|e| e.tensor == tensor)
    }

    /// The vector of that tensor.
    pub fn vector(&self, tensor: Tensor) -> Option<&Vector> {
        self.vectors.iter().find(|e| e.tensor == tensor)
    }

    /// The directory's metadata for tensors in the order of [`ModelSpec::tensors`]. Every array has a fixed
    /// width for a given list of tensors, so hashes, errors and exponents can be patched in place.
    ///
    /// Errors: a tensor of the model that the directory lacks.
    pub fn to_metadata(
        &self,
        spec: &ModelSpec,
    ) -> Result<Vec<(&'static str, OwnedValue)>, FormatError> {
        let mut rows = Vec::new();
        for tensor in spec.tensors() {
            let missing = || FormatError::MissingTensor {
                name: tensor.name(),
            };
            rows.push(if tensor.is_vector() {
                Row::Vector(self.vector(tensor).ok_or_else(missing)?)
            } else {
                Row::Matrix(self.matrix(tensor).ok_or_else(missing)?)
            });
        }
        fn list<T>(
            rows: &[Row<'_>],
            m: impl Fn(&TensorEntry) -> T,
            v: impl Fn(&Vector) -> T,
        ) -> Vec<T> {
            rows.iter()
                .map(|r| match r {
                    Row::Matrix(e) => m(e),
                    Row::Vector(e) => v(e),
                })
                .collect()
        }
        let table = |t: &Table| t.0.map(|l| l as u8);
        Ok(vec![
            (
                keys::TENSOR_ENCODING,
                list(
                    &rows,
                    |e| e.layout.encoding.name().to_string(),
                    |_| keys::VECTOR.to_string(),
                )
                .into(),
            ),
            (
                keys::TENSOR_ROWS,
                list(&rows, |e| e.layout.rows, |_| 1).into(),
            ),
            (
                keys::TENSOR_COLS,
                list(&rows, |e| e.layout.cols, |e| e.len).into(),
            ),
            (
                keys::TENSOR_GROUP,
                list(&rows, |e| e.layout.group.weights() as u32, |_| 0).into(),
            ),
            (
                keys::TENSOR_EXPONENT,
                list(&rows, |e| e.exponent, |e| e.exponent).into(),
            ),
            (
                keys::TENSOR_TABLE,
                list(&rows, |e| table(&e.table), |_| [0; 16])
                    .concat()
                    .into(),
            ),
            (keys::TENSOR_POWER, list(&rows, |e| e.power, |_| 0.0).into()),
            (keys::TENSOR_ERROR, list(&rows, |e| e.error, |_| 0.0).into()),
            (
                keys::TENSOR_HASH,
                list(&rows, |e| e.hash, |e| e.hash).concat().into(),
            ),
        ])
    }

    /// Reads and checks the directory of a file whose model is `spec`.
    ///
    /// Errors: a missing or ill-sized array, an unknown encoding, a tensor missing, of another shape or
    /// size than the model's, a −128 in a table, an exponent outside the proved range.
    pub fn from_header(header: &Header<'_>, spec: &ModelSpec) -> Result<Self, FormatError> {
        let count = header.tensors().len();
        let encodings: Vec<&str> = header.str_array(keys::TENSOR_ENCODING)?.collect();
        sized(keys::TENSOR_ENCODING, encodings.len(), count)?;
        let columns = Columns {
            rows: column(header, keys::TENSOR_ROWS, count)?,
            cols: column(header, keys::TENSOR_COLS, count)?,
            group: column(header, keys::TENSOR_GROUP, count)?,
            exponent: column(header, keys::TENSOR_EXPONENT, count)?,
            table: column(header, keys::TENSOR_TABLE, count * 16)?,
            power: column(header, keys::TENSOR_POWER, count)?,
            error: column(header, keys::TENSOR_ERROR, count)?,
            hash: column(header, keys::TENSOR_HASH, count * 32)?,
        };
        let index: HashMap<&str, usize> = header
            .tensors()
            .iter()
            .enumerate()
            .map(|(i, t)| (t.name, i))
            .collect();
        let mut directory = Self::default();
        let all = spec.tensors();
        if header.tensors().len() > all.len() {
            let names: HashSet<String> = all.iter().map(|t| t.name()).collect();
            if let Some(extra) = header.tensors().iter().find(|t| !names.contains(t.name)) {
                return Err(FormatError::ExtraTensor {
                    name: extra.name.into(),
                });
            }
        }
        for tensor in all {
            let name = tensor.name();
            let Some(&i) = index.get(name.as_str()) else {
                return Err(FormatError::MissingTensor { name });
            };
            directory.read_row(header, spec, tensor, i, encodings[i], &columns)?;
        }
        Ok(directory)
    }

    fn read_row(
        &mut self,
        header: &Header<'_>,
        spec: &ModelSpec,
        tensor: Tensor,
        i: usize,
        encoding: &str,
        c: &Columns,
    ) -> Result<(), FormatError> {
        let name = tensor.name();
        let info = &header.tensors()[i];
        let (ty, expected) = if tensor.is_vector() {
            (TensorType::I32, "I32")
        } else {
            (TensorType::I8, "I8")
        };
        if info.ty != ty || info.dims.len() != 1 {
            let type_name = info.ty.name().unwrap_or("of an unknown type");
            return Err(FormatError::TensorType {
                name,
                found: format!("{type_name} of {} dimensions", info.dims.len()),
                expected,
            });
        }
        let (rows, cols) = spec.shape(tensor);
        if (c.rows[i], c.cols[i]) != (rows, cols) {
            return Err(FormatError::TensorShape {
                name,
                rows,
                cols,
                found_rows: c.rows[i],
                found_cols: c.cols[i],
            });
        }
        let exponent = c.exponent[i];
        let exponents = if tensor.is_vector() {
            bounds::EXPONENTS
        } else {
            bounds::PRODUCT_EXPONENTS
        };
        if !exponents.contains(&exponent) {
            return Err(FormatError::Range {
                field: format!("exponent of tensor '{name}'"),
                found: exponent.to_string(),
                expected: format!("{} to {}", exponents.start(), exponents.end()),
            });
        }
        let hash = core::array::from_fn(|k| c.hash[i * 32 + k]);
        let found = info.size.unwrap_or(0);
        let payload = |expected: u64| {
            if found == expected {
                Ok(())
            } else {
                Err(FormatError::TensorSize {
                    name: name.clone(),
                    expected,
                    found,
                })
            }
        };
        let unknown = |expected: String| FormatError::Encoding {
            name: name.clone(),
            found: encoding.into(),
            expected,
        };
        if tensor.is_vector() {
            if encoding != keys::VECTOR {
                return Err(unknown(keys::VECTOR.into()));
            }
            payload(cols * 4)?;
            self.vectors.push(Vector {
                tensor,
                len: cols,
                exponent,
                hash,
                offset: info.offset,
            });
            return Ok(());
        }
        let known = || Encoding::ALL.map(Encoding::name).join(", ");
        let kind = Encoding::from_name(encoding).ok_or_else(|| unknown(known()))?;
        let group = ScaleGroup::from_weights(c.group[i]).ok_or_else(|| FormatError::Range {
            field: format!("group of tensor '{name}'"),
            found: c.group[i].to_string(),
            expected: ScaleGroup::ALL.map(|g| g.weights().to_string()).join(", "),
        })?;
        let table = Table(core::array::from_fn(|k| c.table[i * 16 + k] as i8));
        if table.0.contains(&i8::MIN) {
            return Err(FormatError::Range {
                field: format!("table of tensor '{name}'"),
                found: i8::MIN.to_string(),
                expected: format!("levels of -{MAX_LEVEL} to {MAX_LEVEL}"),
            });
        }
        let coding = Coding {
            encoding: kind,
            group,
        };
        let layout = TensorLayout::new(coding, rows, cols)?;
        payload(layout.payload_bytes())?;
        self.matrices.push(TensorEntry {
            tensor,
            layout,
            table,
            power: c.power[i],
            exponent,
            error: c.error[i],
            hash,
            offset: info.offset,
        });
        Ok(())
    }
}

struct Columns {
    rows: Vec<u64>,
    cols: Vec<u64>,
    group: Vec<u32>,
    exponent: Vec<i32>,
    table: Vec<u8>,
    power: Vec<f32>,
    error: Vec<f32>,
    hash: Vec<u8>,
}

fn sized(key: &str, found: usize, expected: usize) -> Result<(), FormatError> {
    if found == expected {
        Ok(())
    } else {
        Err(FormatError::ArrayLength {
            key: key.into(),
            expected,
            found,
        })
    }
}

fn column<T: Scalar>(header: &Header<'_>, key: &str, len: usize) -> Result<Vec<T>, FormatError> {
    sized(key, header.array(key)?.len(), len)?;
    Ok(header.array_of::<T>(key)?.collect())
}
