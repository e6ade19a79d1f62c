//! Writes everything before the tensor data of a version 3 file, and says where that data goes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::{WriteError, clip};
use crate::header::Dims;
use crate::limits::{
    MAX_ARRAY_DEPTH, MAX_KEY, MAX_METADATA, MAX_STRING, MAX_TENSOR_NAME, MAX_TENSORS,
};
use crate::parse::valid_alignment;
use crate::types::{TensorType, ValueType};
use crate::value::{Array, Value};
use crate::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};

/// A metadata value to write.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub enum OwnedValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(String),
    Array(OwnedArray),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A metadata array to write.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The names say it.
pub enum OwnedArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Str(Vec<String>),
    Array(Vec<OwnedArray>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

macro_rules! conversions {
    ($($variant:ident: $ty:ty;)*) => {
        $(
            impl From<$ty> for OwnedValue {
                fn from(v: $ty) -> Self {
                    Self::$variant(v)
                }
            }

            impl From<Vec<$ty>> for OwnedValue {
                fn from(v: Vec<$ty>) -> Self {
                    Self::Array(OwnedArray::$variant(v))
                }
            }

            impl From<&[$ty]> for OwnedValue {
                fn from(v: &[$ty]) -> Self {
                    Self::Array(OwnedArray::$variant(v.into()))
                }
            }
        )*

        impl From<&Value<'_>> for OwnedValue {
            fn from(v: &Value<'_>) -> Self {
                match *v {
                    $(Value::$variant(v) => Self::$variant(v.into()),)*
                    Value::Array(v) => Self::Array((&v).into()),
                }
            }
        }
    };
}

conversions! {
    U8: u8; I8: i8; U16: u16; I16: i16; U32: u32; I32: i32; F32: f32; Bool: bool; Str: String;
    U64: u64; I64: i64; F64: f64;
}

impl From<&str> for OwnedValue {
    fn from(v: &str) -> Self {
        Self::Str(v.into())
    }
}

impl From<&[&str]> for OwnedValue {
    fn from(v: &[&str]) -> Self {
        Self::Array(OwnedArray::Str(
            v.iter().map(|s| String::from(*s)).collect(),
        ))
    }
}

impl From<Vec<&str>> for OwnedValue {
    fn from(v: Vec<&str>) -> Self {
        v.as_slice().into()
    }
}

impl From<&String> for OwnedValue {
    fn from(v: &String) -> Self {
        v.as_str().into()
    }
}

impl From<OwnedArray> for OwnedValue {
    fn from(v: OwnedArray) -> Self {
        Self::Array(v)
    }
}

impl From<&Array<'_>> for OwnedArray {
    fn from(a: &Array<'_>) -> Self {
        macro_rules! collect {
            ($($variant:ident),*) => {
                match a.element_type() {
                    $(ValueType::$variant => Self::$variant(a.iter_of().into_iter().flatten().collect()),)*
                    ValueType::Str => {
                        Self::Str(a.iter_str().into_iter().flatten().map(String::from).collect())
                    }
                    ValueType::Array => {
                        Self::Array(a.iter().filter_map(|v| v.as_array()).map(|a| (&a).into()).collect())
                    }
                }
            };
        }
        collect!(U8, I8, U16, I16, U32, I32, F32, Bool, U64, I64, F64)
    }
}

impl OwnedValue {
    /// Type of the value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }
}

impl OwnedArray {
    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::Str(_) => ValueType::Str,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }
}

/// Describes a file: alignment, metadata in order, tensors in order. [`finish`](Self::finish) lays
/// it out.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    alignment: Option<u64>,
    metadata: Vec<(String, OwnedValue)>,
    keys: BTreeSet<String>,
    tensors: Vec<Tensor>,
    names: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    dims: Dims,
    ty: TensorType,
    size: u64,
}

/// Where everything of a file lies. The caller writes `header` at byte 0, the data of tensor `i`
/// at `tensor_offsets[i]`, and zeros elsewhere up to `file_len`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Everything before the tensor data, padded to `data_start`.
    pub header: Vec<u8>,
    /// Where the tensor data starts, in bytes from the start of the file.
    pub data_start: u64,
    /// Where each tensor starts, in bytes from the start of the file, in the order of the calls.
    pub tensor_offsets: Vec<u64>,
    /// Length of the file, in bytes: a multiple of the alignment.
    pub file_len: u64,
    payloads: BTreeMap<String, Range<u64>>,
}

impl Layout {
    /// The bytes of the file, and of `header`, that hold the payload of a value: the scalar, the
    /// bytes of the string, the elements of the array. A caller may overwrite scalars there with
    /// others of the same type after the file is written.
    pub fn value_offset(&self, key: &str) -> Option<Range<u64>> {
        self.payloads.get(key).cloned()
    }
}

impl Writer {
    /// No metadata, no tensors, an alignment of [`DEFAULT_ALIGNMENT`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the alignment of each tensor's data, in bytes: a power of two from 8 to 2^20, else
    /// [`finish`](Self::finish) fails. One other than 32 is written, first, as
    /// `general.alignment` (uint32).
    #[must_use]
    pub fn alignment(mut self, alignment: u64) -> Self {
        self.alignment = Some(alignment);
        self
    }

    /// Adds a metadata entry.
    ///
    /// # Errors
    /// The key occurs already, is `general.alignment`, or is too long; or a limit of
    /// [`limits`](crate::limits) is exceeded.
    pub fn kv(
        &mut self,
        key: impl Into<String>,
        value: impl Into<OwnedValue>,
    ) -> Result<&mut Self, WriteError> {
        let (key, value) = (key.into(), value.into());
        if key == ALIGNMENT_KEY {
            return Err(WriteError::AlignmentKey);
        }
        if key.len() as u64 > MAX_KEY {
            return Err(WriteError::KeyTooLong {
                found: key.len() as u64,
                key: clip(&key),
            });
        }
        if self.keys.contains(&key) {
            return Err(WriteError::DuplicateKey { key });
        }
        // One is kept for the alignment.
        if self.metadata.len() as u64 >= MAX_METADATA - 1 {
            return Err(WriteError::TooManyMetadata);
        }
        match &value {
            OwnedValue::Str(s) => check_str(&key, s)?,
            OwnedValue::Array(a) => check_array(&key, a, 1)?,
            _ => {}
        }
        self.keys.insert(key.clone());
        self.metadata.push((key, value));
        Ok(self)
    }

    /// Adds a tensor and returns its index in [`Layout::tensor_offsets`]. `dims` are in ggml's
    /// order, `dims[0]` contiguous; `size` is the number of bytes of the data.
    ///
    /// # Errors
    /// The name occurs already or is too long, the dimensions are not those of a tensor of the
    /// type, or `size` is not theirs (any but zero is taken for an unknown type).
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        dims: &[u64],
        ty: TensorType,
        size: u64,
    ) -> Result<usize, WriteError> {
        let name = name.into();
        if name.len() as u64 > MAX_TENSOR_NAME {
            let found = name.len() as u64;
            return Err(WriteError::TensorNameTooLong {
                tensor: clip(&name),
                found,
            });
        }
        if self.names.contains(&name) {
            return Err(WriteError::DuplicateTensor { tensor: name });
        }
        if self.tensors.len() as u64 >= MAX_TENSORS {
            return Err(WriteError::TooManyTensors);
        }
        let (dims, _, expected) = match Dims::check(dims, ty) {
            Ok(checked) => checked,
            Err(fault) => {
                return Err(WriteError::Shape {
                    tensor: name,
                    fault,
                });
            }
        };
        match expected {
            Some(expected) if expected != size => {
                return Err(WriteError::Size {
                    tensor: name,
                    expected,
                    found: size,
                });
            }
            None if size == 0 => return Err(WriteError::EmptyTensor { tensor: name }),
            _ => {}
        }
        self.names.insert(name.clone());
        self.tensors.push(Tensor {
            name,
            dims,
            ty,
            size,
        });
        Ok(self.tensors.len() - 1)
    }

    /// Lays the file out.
    ///
    /// # Errors
    /// The alignment is not valid, or the file would have 2^64 bytes or more.
    pub fn finish(self) -> Result<Layout, WriteError> {
        let alignment = self.alignment.unwrap_or(DEFAULT_ALIGNMENT);
        if !valid_alignment(alignment) {
            return Err(WriteError::Alignment { found: alignment });
        }
        // At most MAX_ALIGNMENT.
        let own = (alignment != DEFAULT_ALIGNMENT).then(|| {
            (
                String::from(ALIGNMENT_KEY),
                OwnedValue::U32(alignment as u32),
            )
        });

        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        put_u32(&mut out, 3);
        put_u64(&mut out, self.tensors.len() as u64);
        put_u64(
            &mut out,
            self.metadata.len() as u64 + u64::from(own.is_some()),
        );
        let mut payloads = BTreeMap::new();
        for (key, value) in own.into_iter().chain(self.metadata) {
            put_str(&mut out, &key);
            put_u32(&mut out, value.value_type().raw());
            let start = put_value(&mut out, &value);
            payloads.insert(key, start as u64..out.len() as u64);
        }

        // Offsets count from the start of the data; the end is padded as well, as ggml does.
        let mut tensor_offsets = Vec::with_capacity(self.tensors.len());
        let mut end = 0u64;
        for t in self.tensors {
            put_str(&mut out, &t.name);
            put_u32(&mut out, t.dims.len() as u32);
            for d in t.dims.iter() {
                put_u64(&mut out, *d);
            }
            put_u32(&mut out, t.ty.0);
            put_u64(&mut out, end);
            tensor_offsets.push(end);
            end = end
                .checked_add(t.size)
                .and_then(|n| n.checked_next_multiple_of(alignment))
                // Leaves room for a header of any length that memory holds.
                .filter(|n| *n <= u64::MAX / 2)
                .ok_or_else(|| WriteError::FileTooLong {
                    tensor: clip(&t.name),
                })?;
        }
        out.resize(out.len().next_multiple_of(alignment as usize), 0);
        let data_start = out.len() as u64;
        for offset in &mut tensor_offsets {
            *offset += data_start;
        }
        Ok(Layout {
            header: out,
            data_start,
            tensor_offsets,
            file_len: data_start + end,
            payloads,
        })
    }
}

fn check_str(key: &str, s: &str) -> Result<(), WriteError> {
    if s.len() as u64 > MAX_STRING {
        return Err(WriteError::StringTooLong {
            key: clip(key),
            found: s.len() as u64,
        });
    }
    Ok(())
}

fn check_array(key: &str, array: &OwnedArray, depth: u32) -> Result<(), WriteError> {
    if depth > MAX_ARRAY_DEPTH {
        return Err(WriteError::ArrayTooDeep { key: clip(key) });
    }
    match array {
        OwnedArray::Str(strings) => strings.iter().try_for_each(|s| check_str(key, s)),
        OwnedArray::Array(arrays) => arrays
            .iter()
            .try_for_each(|a| check_array(key, a, depth + 1)),
        _ => Ok(()),
    }
}

fn put_u32(out: &mut Vec<u8>, v: u32) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, v: u64) {
    out.extend_from_slice(&v.to_le_bytes());
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    put_u64(out, s.len() as u64);
    out.extend_from_slice(s.as_bytes());
}

/// Writes the value and returns where its payload starts in `out`.
fn put_value(out: &mut Vec<u8>, value: &OwnedValue) -> usize {
    let start = out.len();
    match value {
        OwnedValue::U8(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::Bool(v) => out.push(u8::from(*v)),
        OwnedValue::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
        OwnedValue::Str(s) => {
            put_str(out, s);
            return start + 8;
        }
        OwnedValue::Array(a) => {
            put_array(out, a);
            return start + 12;
        }
    }
    start
}

/// Writes the type and number of the elements (12 bytes), then the elements.
fn put_array(out: &mut Vec<u8>, array: &OwnedArray) {
    put_u32(out, array.element_type().raw());
    macro_rules! put {
        ($($variant:ident),*; $($special:ident, $each:expr);*) => {
            match array {
                $(OwnedArray::$variant(values) => {
                    put_u64(out, values.len() as u64);
                    for v in values {
                        out.extend_from_slice(&v.to_le_bytes());
                    }
                })*
                $(OwnedArray::$special(values) => {
                    put_u64(out, values.len() as u64);
                    for v in values {
                        $each(out, v);
                    }
                })*
            }
        };
    }
    put!(
        U8, I8, U16, I16, U32, I32, F32, U64, I64, F64;
        Bool, |out: &mut Vec<u8>, v: &bool| out.push(u8::from(*v));
        Str, put_str;
        Array, put_array
    );
}
