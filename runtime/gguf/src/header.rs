//! What [`parse`](crate::parse) returns: everything before the tensor data.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use crate::error::{KeyError, ShapeError, clip};
use crate::limits::MAX_DIMS;
use crate::types::{TensorType, ValueType};
use crate::value::{Array, Scalar, Scalars, Strings, Value};

/// Dimensions of a tensor, one to four, none of them zero, in ggml's order: `dims[0]` counts the
/// elements that lie side by side (the columns of a matrix), the reverse of NumPy's order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims {
    dims: [u64; MAX_DIMS],
    len: u8,
}

impl Dims {
    /// Checks the dimensions of a tensor of type `ty`; returns them, the number of elements, and
    /// the number of bytes (`None` for an unknown type).
    pub(crate) fn check(
        dims: &[u64],
        ty: TensorType,
    ) -> Result<(Self, u64, Option<u64>), ShapeError> {
        if dims.len() > MAX_DIMS {
            return Err(ShapeError::TooManyDims {
                found: dims.len() as u64,
            });
        }
        let Some(&row) = dims.first() else {
            return Err(ShapeError::NoDims);
        };
        if let Some(axis) = dims.iter().position(|d| *d == 0) {
            return Err(ShapeError::ZeroDim { axis });
        }
        let mut own = Self {
            dims: [1; MAX_DIMS],
            len: dims.len() as u8,
        };
        own.dims[..dims.len()].copy_from_slice(dims);
        let elements = dims
            .iter()
            .try_fold(1u64, |n, d| n.checked_mul(*d))
            .filter(|n| i64::try_from(*n).is_ok())
            .ok_or(ShapeError::ElementsOverflow { dims: own.dims })?;
        let bytes = match (ty.block_size(), ty.type_size()) {
            (Some(block), Some(_)) if row % block != 0 => {
                return Err(ShapeError::PartialBlock {
                    found: row,
                    ty,
                    block,
                });
            }
            (Some(block), Some(size)) => Some(
                (elements / block)
                    .checked_mul(size)
                    .ok_or(ShapeError::BytesOverflow { elements, ty })?,
            ),
            _ => None,
        };
        Ok((own, elements, bytes))
    }
}

impl Deref for Dims {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.dims[..usize::from(self.len)]
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Where a tensor lies in the file and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Name.
    pub name: &'a str,
    /// Dimensions in ggml's order: `dims[0]` is contiguous.
    pub dims: Dims,
    /// Type of the elements.
    pub ty: TensorType,
    /// First byte of the data, from the start of the file; a multiple of the alignment past
    /// [`Header::data_start`].
    pub offset: u64,
    /// Bytes of the data, all of them inside the file; `None` for an unknown type.
    pub size: Option<u64>,
    pub(crate) elements: u64,
}

impl TensorInfo<'_> {
    /// Number of elements: the product of the dimensions, at most 2^63 − 1.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// Bytes of the data in the file; `None` for an unknown type.
    pub fn range(&self) -> Option<core::ops::Range<u64>> {
        // The sum was checked against the file's length.
        Some(self.offset..self.offset.checked_add(self.size?)?)
    }
}

/// Everything before the tensor data, borrowed from a prefix of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Header<'a> {
    pub(crate) version: u32,
    pub(crate) alignment: u64,
    pub(crate) data_start: u64,
    pub(crate) metadata: Vec<(&'a str, Value<'a>)>,
    /// Indices into `metadata`, by key.
    pub(crate) by_key: Vec<u32>,
    pub(crate) tensors: Vec<TensorInfo<'a>>,
    /// Indices into `tensors`, by name.
    pub(crate) by_name: Vec<u32>,
}

impl<'a> Header<'a> {
    /// Version of the format: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of the tensor data, in bytes: a power of two.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Where the tensor data starts, in bytes from the start of the file. In a file without
    /// tensors this may lie past the end, by less than the alignment.
    pub fn data_start(&self) -> u64 {
        self.data_start
    }

    /// Keys and values in the order of the file. Keys are unique.
    pub fn metadata(&self) -> &[(&'a str, Value<'a>)] {
        &self.metadata
    }

    /// Tensors in the order of the file. Names are unique; data of different tensors does not
    /// overlap (that of an unknown type is taken to have at least one byte).
    pub fn tensors(&self) -> &[TensorInfo<'a>] {
        &self.tensors
    }

    /// The value of a key, by binary search.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let entry = |i: &u32| &self.metadata[*i as usize];
        let at = self.by_key.binary_search_by(|i| entry(i).0.cmp(key)).ok()?;
        Some(&entry(&self.by_key[at]).1)
    }

    /// The tensor of a name, by binary search.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo<'a>> {
        let tensor = |i: &u32| &self.tensors[*i as usize];
        let at = self
            .by_name
            .binary_search_by(|i| tensor(i).name.cmp(name))
            .ok()?;
        Some(tensor(&self.by_name[at]))
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        pick: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, KeyError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let found = value.value_type();
        pick(value).map(Some).ok_or_else(|| KeyError::WrongType {
            key: clip(key),
            expected,
            found,
        })
    }

    fn int<T: TryFrom<i128>>(
        &self,
        key: &str,
        expected: &'static str,
    ) -> Result<Option<T>, KeyError> {
        let Some(found) = self.typed(key, expected, Value::to_int)? else {
            return Ok(None);
        };
        T::try_from(found)
            .map(Some)
            .map_err(|_| KeyError::OutOfRange {
                key: clip(key),
                expected,
                found,
            })
    }
}

fn present<T>(value: Option<T>, key: &str, expected: &'static str) -> Result<T, KeyError> {
    value.ok_or_else(|| KeyError::Missing {
        key: clip(key),
        expected,
    })
}

macro_rules! getters {
    ($($name:ident, $opt:ident: $ty:ty = $expected:literal, $doc:literal, |$h:ident, $k:ident| $get:expr;)*) => {
        /// Typed questions. `x` fails where the key is missing; `x_opt` returns `None` there. Both
        /// fail, naming key, expected and found, where the value is of another type or range.
        impl<'a> Header<'a> {
            $(
                #[doc = $doc]
                pub fn $name(&self, key: &str) -> Result<$ty, KeyError> {
                    present(self.$opt(key)?, key, $expected)
                }

                #[doc = concat!($doc, " `None` where the key is missing.")]
                pub fn $opt(&self, key: &str) -> Result<Option<$ty>, KeyError> {
                    let ($h, $k) = (self, key);
                    $get
                }
            )*
        }
    };
}

getters! {
    u32, u32_opt: u32 = "an integer of type uint32",
        "A whole number of whatever type that a `u32` holds.",
        |h, k| h.int(k, "an integer of type uint32");
    u64, u64_opt: u64 = "an integer of type uint64",
        "A whole number of whatever type that a `u64` holds.",
        |h, k| h.int(k, "an integer of type uint64");
    i32, i32_opt: i32 = "an integer of type int32",
        "A whole number of whatever type that an `i32` holds.",
        |h, k| h.int(k, "an integer of type int32");
    i64, i64_opt: i64 = "an integer of type int64",
        "A whole number of whatever type that an `i64` holds.",
        |h, k| h.int(k, "an integer of type int64");
    f32, f32_opt: f32 = "float32",
        "A float of 32 bits, exactly.",
        |h, k| h.typed(k, "float32", |v| if let Value::F32(x) = *v { Some(x) } else { None });
    f64, f64_opt: f64 = "a number",
        "A number of whatever type that an `f64` holds exactly.",
        |h, k| h.typed(k, "a number", Value::to_float);
    bool, bool_opt: bool = "bool",
        "A boolean.",
        |h, k| h.typed(k, "bool", Value::as_bool);
    str, str_opt: &'a str = "string",
        "A string.",
        |h, k| h.typed(k, "string", Value::as_str);
    array, array_opt: Array<'a> = "array",
        "An array of whatever elements.",
        |h, k| h.typed(k, "array", Value::as_array);
}

impl<'a> Header<'a> {
    fn elements<T>(
        &self,
        key: &str,
        expected: ValueType,
        pick: impl FnOnce(&Array<'a>) -> Option<T>,
    ) -> Result<Option<T>, KeyError> {
        let Some(array) = self.array_opt(key)? else {
            return Ok(None);
        };
        pick(&array)
            .map(Some)
            .ok_or_else(|| KeyError::WrongElement {
                key: clip(key),
                expected: expected.name(),
                found: array.element_type(),
            })
    }

    /// An array of strings.
    pub fn str_array(&self, key: &str) -> Result<Strings<'a>, KeyError> {
        present(self.str_array_opt(key)?, key, "array of string")
    }

    /// An array of strings; `None` where the key is missing.
    pub fn str_array_opt(&self, key: &str) -> Result<Option<Strings<'a>>, KeyError> {
        self.elements(key, ValueType::Str, Array::iter_str)
    }

    /// An array whose elements are exactly of type `T`.
    pub fn array_of<T: Scalar>(&self, key: &str) -> Result<Scalars<'a, T>, KeyError> {
        present(self.array_of_opt(key)?, key, "array")
    }

    /// An array whose elements are exactly of type `T`; `None` where the key is missing.
    pub fn array_of_opt<T: Scalar>(&self, key: &str) -> Result<Option<Scalars<'a, T>>, KeyError> {
        self.elements(key, T::TYPE, Array::iter_of)
    }
}
