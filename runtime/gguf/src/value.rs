//! Metadata values, borrowed from the bytes of the file.

use core::fmt;
use core::marker::PhantomData;

use crate::cursor::{Cursor, Stop};
use crate::error::{Error, clip};
use crate::limits::{MAX_ARRAY_DEPTH, MAX_STRING};
use crate::types::ValueType;

/// A metadata value. Equality is that of the representation: a NaN equals the same NaN, and −0
/// differs from 0.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // The names say it.
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl<'a> Value<'a> {
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

    /// The integer, of whatever integer type.
    pub fn as_int(&self) -> Option<i128> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::I8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U64(v) => Some(v.into()),
            Self::I64(v) => Some(v.into()),
            _ => None,
        }
    }

    /// The float, of 32 bits or 64.
    pub fn as_float(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v.into()),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The number as an integer: of whatever integer type, or a float that is a whole number below 2^63.
    pub fn to_int(&self) -> Option<i128> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        let whole = |x: f64| {
            let n = x as i128;
            (-LIMIT < x && x < LIMIT && n as f64 == x).then_some(n)
        };
        self.as_int().or_else(|| self.as_float().and_then(whole))
    }

    /// The number as a float: of 32 bits or 64, or an integer that one of 64 bits holds exactly.
    pub fn to_float(&self) -> Option<f64> {
        let exact = |n: i128| {
            let x = n as f64;
            (x as i128 == n).then_some(x)
        };
        self.as_float().or_else(|| self.as_int().and_then(exact))
    }

    /// The boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(v) = *self {
            Some(v)
        } else {
            None
        }
    }

    /// The string.
    pub fn as_str(&self) -> Option<&'a str> {
        if let Self::Str(v) = *self {
            Some(v)
        } else {
            None
        }
    }

    /// The array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        if let Self::Array(v) = *self {
            Some(v)
        } else {
            None
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.to_bits() == b.to_bits(),
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => a == b,
            _ => {
                self.value_type() == other.value_type()
                    && self.as_int().is_some()
                    && self.as_int() == other.as_int()
            }
        }
    }
}

impl Eq for Value<'_> {}

/// Reads the value of `key`, of type `ty`, and checks all of it. `depth` is the number of arrays
/// around it.
pub(crate) fn read<'a>(
    c: &mut Cursor<'a>,
    ty: ValueType,
    depth: u32,
    key: &str,
) -> Result<Value<'a>, Stop> {
    let position = c.position();
    let Some(width) = ty.width() else {
        return if ty == ValueType::Str {
            Ok(Value::Str(read_str(c, key)?))
        } else {
            Ok(Value::Array(read_array(c, depth + 1, key)?))
        };
    };
    let bytes = c.take(width as u64, "a metadata value")?;
    scalar(ty, bytes).ok_or_else(|| {
        let found = bytes.first().copied().unwrap_or_default();
        Error::BadBool {
            key: clip(key),
            position,
            found,
        }
        .into()
    })
}

/// The scalar of a fixed-width type in the bytes; `None` for a bool that is neither 0 nor 1.
fn scalar(ty: ValueType, bytes: &[u8]) -> Option<Value<'static>> {
    Some(match ty {
        ValueType::U8 => Value::U8(Scalar::decode(bytes)?),
        ValueType::I8 => Value::I8(Scalar::decode(bytes)?),
        ValueType::U16 => Value::U16(Scalar::decode(bytes)?),
        ValueType::I16 => Value::I16(Scalar::decode(bytes)?),
        ValueType::U32 => Value::U32(Scalar::decode(bytes)?),
        ValueType::I32 => Value::I32(Scalar::decode(bytes)?),
        ValueType::F32 => Value::F32(Scalar::decode(bytes)?),
        ValueType::Bool => Value::Bool(Scalar::decode(bytes)?),
        ValueType::U64 => Value::U64(Scalar::decode(bytes)?),
        ValueType::I64 => Value::I64(Scalar::decode(bytes)?),
        ValueType::F64 => Value::F64(Scalar::decode(bytes)?),
        ValueType::Str | ValueType::Array => return None,
    })
}

fn read_str<'a>(c: &mut Cursor<'a>, key: &str) -> Result<&'a str, Stop> {
    let position = c.position();
    let found = c.count("the length of a string")?;
    let remaining = c.remaining();
    if found > remaining {
        return Err(Error::StringPastEnd {
            key: clip(key),
            position,
            found,
            remaining,
        }
        .into());
    }
    if found > MAX_STRING {
        return Err(Error::StringTooLong {
            key: clip(key),
            position,
            found,
        }
        .into());
    }
    let bytes = c.take(found, "a string")?;
    core::str::from_utf8(bytes).map_err(|_| {
        Error::StringNotUtf8 {
            key: clip(key),
            position,
        }
        .into()
    })
}

fn read_array<'a>(c: &mut Cursor<'a>, depth: u32, key: &str) -> Result<Array<'a>, Stop> {
    let position = c.position();
    if depth > MAX_ARRAY_DEPTH {
        return Err(Error::ArrayTooDeep {
            key: clip(key),
            position,
        }
        .into());
    }
    let raw = c.u32("the element type of an array")?;
    let element = ValueType::from_raw(raw).ok_or_else(|| Error::UnknownValueType {
        key: clip(key),
        position,
        found: raw,
    })?;
    let count_at = c.position();
    let found = c.count("the length of an array")?;
    // The least that one element takes: a string its length, an array its type and length.
    let least = match element.width() {
        Some(width) => width as u64,
        None if element == ValueType::Str => c.count_width(),
        None => 4 + c.count_width(),
    };
    let remaining = c.remaining();
    let bytes = found
        .checked_mul(least)
        .filter(|n| *n <= remaining)
        .ok_or_else(|| Error::ArrayPastEnd {
            key: clip(key),
            position: count_at,
            element,
            found,
            remaining,
        })?;
    c.require(bytes)?;

    let mut from = c.clone();
    let start = c.position();
    match element.width() {
        Some(_) => {
            let bytes = c.take(bytes, "an array")?;
            if element == ValueType::Bool
                && let Some(at) = bytes.iter().position(|b| *b > 1)
            {
                let (position, found) = (start + at as u64, bytes[at]);
                return Err(Error::BadBool {
                    key: clip(key),
                    position,
                    found,
                }
                .into());
            }
        }
        None if element == ValueType::Str => {
            for _ in 0..found {
                read_str(c, key)?;
            }
        }
        None => {
            for _ in 0..found {
                read_array(c, depth + 1, key)?;
            }
        }
    }
    let bytes = from.take(c.position() - start, "an array")?;
    // Each element takes at least one byte of a slice, so the count is that of a slice.
    Ok(Array {
        element,
        len: found as usize,
        bytes,
        wide: c.wide,
    })
}

/// An array of metadata values: a view of the file's bytes, checked when the file was parsed.
/// Elements are decoded when asked for.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    element: ValueType,
    len: usize,
    bytes: &'a [u8],
    wide: bool,
}

impl<'a> Array<'a> {
    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements' little-endian bytes; `None` unless they are of fixed width.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        self.element.width().map(|_| self.bytes)
    }

    /// Element `index`, in constant time; `None` past the end, and for strings and arrays, which
    /// only [`iter`](Self::iter) reaches.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        let width = self.element.width()?;
        let start = index.checked_mul(width)?;
        scalar(
            self.element,
            self.bytes.get(start..start.checked_add(width)?)?,
        )
    }

    /// All elements in order, of whatever type.
    pub fn iter(&self) -> Values<'a> {
        let cursor = Cursor::new(self.bytes, self.bytes.len() as u64, self.wide);
        Values {
            cursor,
            element: self.element,
            left: self.len,
        }
    }

    /// The strings; `None` unless the elements are strings.
    pub fn iter_str(&self) -> Option<Strings<'a>> {
        (self.element == ValueType::Str).then(|| Strings(self.iter()))
    }

    /// The scalars of type `T`; `None` unless that is exactly the type of the elements.
    pub fn iter_of<T: Scalar>(&self) -> Option<Scalars<'a, T>> {
        let width = T::TYPE.width()?;
        (self.element == T::TYPE).then(|| Scalars {
            chunks: self.bytes.chunks_exact(width),
            scalar: PhantomData,
        })
    }

    /// The integers, of whatever integer type; `None` unless the elements are integers.
    pub fn iter_int(&self) -> Option<impl Iterator<Item = i128> + use<'a>> {
        let values = self.element.is_integer().then(|| self.iter())?;
        Some(values.filter_map(|v| v.as_int()))
    }

    /// The floats, of 32 bits or 64; `None` unless the elements are floats.
    pub fn iter_float(&self) -> Option<impl Iterator<Item = f64> + use<'a>> {
        let float = matches!(self.element, ValueType::F32 | ValueType::F64);
        Some(float.then(|| self.iter())?.filter_map(|v| v.as_float()))
    }
}

macro_rules! typed_iterators {
    ($($name:ident: $ty:ty;)*) => {
        impl<'a> Array<'a> {
            $(
                #[doc = concat!("The elements; `None` unless their type is exactly `", stringify!($ty), "`.")]
                pub fn $name(&self) -> Option<Scalars<'a, $ty>> {
                    self.iter_of()
                }
            )*
        }
    };
}

typed_iterators! {
    iter_u8: u8; iter_i8: i8; iter_u16: u16; iter_i16: i16; iter_u32: u32; iter_i32: i32;
    iter_u64: u64; iter_i64: i64; iter_f32: f32; iter_f64: f64; iter_bool: bool;
}

impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.element == other.element
            && self.len == other.len
            && match self.element.width() {
                Some(_) => self.bytes == other.bytes,
                // The bytes of equal strings differ between versions.
                None => self.iter().eq(other.iter()),
            }
    }
}

impl Eq for Array<'_> {}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array of {} {}", self.len, self.element)
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

/// The elements of an array, of whatever type.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    cursor: Cursor<'a>,
    element: ValueType,
    left: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Parsing the file has read these bytes in the same way, so this does not fail. Depth
        // starts at one array; an array within has at least that many around it.
        read(&mut self.cursor, self.element, 1, "").ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// The strings of an array.
#[derive(Clone, Debug)]
pub struct Strings<'a>(Values<'a>);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.next()?.as_str()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Strings<'_> {}

mod sealed {
    pub trait Sealed {}
}

/// A fixed-width scalar of metadata: the integers of 8 to 64 bits, `f32`, `f64` and `bool`.
pub trait Scalar: Copy + sealed::Sealed {
    /// Its type in a file.
    const TYPE: ValueType;
    /// The scalar whose little-endian bytes these are; `None` where they are not those of one.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! scalars {
    ($($ty:ty: $variant:ident;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Scalar for $ty {
            const TYPE: ValueType = ValueType::$variant;
            fn decode(bytes: &[u8]) -> Option<Self> {
                Some(<$ty>::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

scalars! {
    u8: U8; i8: I8; u16: U16; i16: I16; u32: U32; i32: I32;
    u64: U64; i64: I64; f32: F32; f64: F64;
}

impl sealed::Sealed for bool {}
impl Scalar for bool {
    const TYPE: ValueType = ValueType::Bool;
    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

/// The scalars of an array.
#[derive(Clone, Debug)]
pub struct Scalars<'a, T> {
    chunks: core::slice::ChunksExact<'a, u8>,
    scalar: PhantomData<T>,
}

impl<T: Scalar> Iterator for Scalars<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        T::decode(self.chunks.next()?)
    }

    fn nth(&mut self, n: usize) -> Option<T> {
        T::decode(self.chunks.nth(n)?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.chunks.size_hint()
    }
}

impl<T: Scalar> ExactSizeIterator for Scalars<'_, T> {}
