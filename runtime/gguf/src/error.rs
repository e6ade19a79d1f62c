//! One variant for each way in which a file, a question about it, or a request to write can be wrong.

use alloc::string::String;

use crate::limits::{
    MAX_ALIGNMENT, MAX_ARRAY_DEPTH, MAX_DIMS, MAX_KEY, MAX_METADATA, MAX_STRING, MAX_TENSOR_NAME,
    MAX_TENSORS, MIN_ALIGNMENT,
};
use crate::types::{TensorType, ValueType};

/// A name in an error: long ones are cut, so that an error stays readable.
pub(crate) fn clip(name: &str) -> String {
    const MAX: usize = 120;
    if name.len() <= MAX {
        return name.into();
    }
    let mut end = MAX;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mut s = String::from(&name[..end]);
    s.push('…');
    s
}

/// Why a file is not one that this crate reads. Positions are bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum Error {
    #[error(
        "a prefix of {prefix} bytes was given for a file of {file_len} bytes; give the length of the whole file"
    )]
    PrefixLongerThanFile { prefix: u64, file_len: u64 },
    #[error("not a GGUF file: expected the bytes \"GGUF\" at 0, found {found:02x?}")]
    BadMagic { found: [u8; 4] },
    #[error(
        "a file of ggml's older format {format:?}, from before GGUF; convert the model again with a current converter"
    )]
    LegacyGgml { format: &'static str },
    #[error(
        "a big-endian GGUF file (version {version}); only little-endian files are read; gguf_convert_endian of the Python package gguf converts it"
    )]
    BigEndian { version: u32 },
    #[error("GGUF version {found} at byte 4; versions 1, 2 and 3 are read")]
    UnsupportedVersion { found: u32 },
    #[error(
        "the file ends at byte {file_len}, inside {what} at byte {position}, which needs {needed} bytes; the file was cut, fetch it again"
    )]
    Truncated {
        what: &'static str,
        position: u64,
        needed: u64,
        file_len: u64,
    },

    #[error("{found} metadata entries at byte {position}; at most {MAX_METADATA} are read")]
    TooManyMetadata { position: u64, found: u64 },
    #[error(
        "{found} metadata entries at byte {position} do not fit in the {remaining} bytes that follow; the file was cut or is damaged, fetch it again"
    )]
    MetadataPastEnd {
        position: u64,
        found: u64,
        remaining: u64,
    },
    #[error("{found} tensors at byte {position}; at most {MAX_TENSORS} are read")]
    TooManyTensors { position: u64, found: u64 },
    #[error(
        "{found} tensors at byte {position} do not fit in the {remaining} bytes that follow; the file was cut or is damaged, fetch it again"
    )]
    TensorsPastEnd {
        position: u64,
        found: u64,
        remaining: u64,
    },

    #[error("key {index} at byte {position} has {found} bytes; at most {MAX_KEY} are allowed")]
    KeyTooLong {
        index: u64,
        position: u64,
        found: u64,
    },
    #[error(
        "key {index} at byte {position} has {found} bytes, but {remaining} are left in the file; the file was cut or is damaged, fetch it again"
    )]
    KeyPastEnd {
        index: u64,
        position: u64,
        found: u64,
        remaining: u64,
    },
    #[error("key {index} at byte {position} is not UTF-8")]
    KeyNotUtf8 { index: u64, position: u64 },
    #[error("key {key:?} occurs twice (entries {first} and {second})")]
    DuplicateKey {
        key: String,
        first: u64,
        second: u64,
    },

    #[error("key {key:?}: unknown value type {found} at byte {position}; types 0 to 12 are known")]
    UnknownValueType {
        key: String,
        position: u64,
        found: u32,
    },
    #[error(
        "key {key:?}: a string at byte {position} has {found} bytes; at most {MAX_STRING} are read"
    )]
    StringTooLong {
        key: String,
        position: u64,
        found: u64,
    },
    #[error(
        "key {key:?}: a string at byte {position} has {found} bytes, but {remaining} are left in the file; the file was cut or is damaged, fetch it again"
    )]
    StringPastEnd {
        key: String,
        position: u64,
        found: u64,
        remaining: u64,
    },
    #[error("key {key:?}: the string at byte {position} is not UTF-8")]
    StringNotUtf8 { key: String, position: u64 },
    #[error("key {key:?}: a bool at byte {position} is {found}; expected 0 or 1")]
    BadBool {
        key: String,
        position: u64,
        found: u8,
    },
    #[error(
        "key {key:?}: an array at byte {position} has {found} elements of type {element}, which do not fit in the {remaining} bytes left in the file; the file was cut or is damaged, fetch it again"
    )]
    ArrayPastEnd {
        key: String,
        position: u64,
        element: ValueType,
        found: u64,
        remaining: u64,
    },
    #[error("key {key:?}: arrays nest deeper than {MAX_ARRAY_DEPTH} levels at byte {position}")]
    ArrayTooDeep { key: String, position: u64 },

    #[error("key \"general.alignment\": expected an integer, found {found}")]
    AlignmentType { found: ValueType },
    #[error(
        "key \"general.alignment\": {found} is not a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}"
    )]
    AlignmentValue { found: i128 },

    #[error(
        "the name of tensor {index} at byte {position} has {found} bytes; at most {MAX_TENSOR_NAME} are read"
    )]
    TensorNameTooLong {
        index: u64,
        position: u64,
        found: u64,
    },
    #[error(
        "the name of tensor {index} at byte {position} has {found} bytes, but {remaining} are left in the file; the file was cut or is damaged, fetch it again"
    )]
    TensorNamePastEnd {
        index: u64,
        position: u64,
        found: u64,
        remaining: u64,
    },
    #[error("the name of tensor {index} at byte {position} is not UTF-8")]
    TensorNameNotUtf8 { index: u64, position: u64 },
    #[error("tensor {tensor:?} occurs twice (entries {first} and {second})")]
    DuplicateTensor {
        tensor: String,
        first: u64,
        second: u64,
    },
    #[error("tensor {tensor:?}: {fault}")]
    Shape { tensor: String, fault: ShapeError },
    #[error(
        "tensor {tensor:?}: offset {offset} in the data is not a multiple of the alignment {alignment}"
    )]
    UnalignedTensor {
        tensor: String,
        offset: u64,
        alignment: u64,
    },
    #[error(
        "tensor {tensor:?}: offset {offset} in the data, which starts at byte {data_start}, exceeds 64 bits"
    )]
    OffsetOverflow {
        tensor: String,
        offset: u64,
        data_start: u64,
    },
    #[error(
        "tensor {tensor:?} takes at least {size} bytes from byte {start}, but the file ends at byte {file_len}; the file was cut, fetch it again"
    )]
    TensorPastEnd {
        tensor: String,
        start: u64,
        size: u64,
        file_len: u64,
    },
    #[error(
        "tensors overlap: {first:?} ends at byte {first_end}, {second:?} starts at byte {second_start}"
    )]
    TensorsOverlap {
        first: String,
        first_end: u64,
        second: String,
        second_start: u64,
    },
}

/// Why dimensions are not those of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum ShapeError {
    #[error("no dimensions; a scalar has one dimension of 1")]
    NoDims,
    #[error("{found} dimensions; at most {MAX_DIMS} are allowed")]
    TooManyDims { found: u64 },
    #[error("dimension {axis} is zero")]
    ZeroDim { axis: usize },
    #[error("the product of the dimensions {dims:?} exceeds 63 bits")]
    ElementsOverflow { dims: [u64; MAX_DIMS] },
    #[error("{elements} elements of type {ty} exceed 2^64 bytes")]
    BytesOverflow { elements: u64, ty: TensorType },
    #[error("rows of {found} elements; type {ty} needs a multiple of {block}")]
    PartialBlock {
        found: u64,
        ty: TensorType,
        block: u64,
    },
}

/// Why a metadata value cannot be had as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum KeyError {
    #[error("key {key:?} is missing; expected {expected}")]
    Missing { key: String, expected: &'static str },
    #[error("key {key:?}: expected {expected}, found {found}")]
    WrongType {
        key: String,
        expected: &'static str,
        found: ValueType,
    },
    #[error("key {key:?}: expected array of {expected}, found array of {found}")]
    WrongElement {
        key: String,
        expected: &'static str,
        found: ValueType,
    },
    #[error("key {key:?}: {found} does not fit in {expected}")]
    OutOfRange {
        key: String,
        expected: &'static str,
        found: i128,
    },
}

/// Why a file cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum WriteError {
    #[error("alignment {found} is not a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}")]
    Alignment { found: u64 },
    #[error("the key \"general.alignment\" is set by Writer::alignment")]
    AlignmentKey,
    #[error("key {key:?} is given twice")]
    DuplicateKey { key: String },
    #[error("key {key:?} has {found} bytes; at most {MAX_KEY} are allowed")]
    KeyTooLong { key: String, found: u64 },
    #[error("key {key:?}: a string has {found} bytes; at most {MAX_STRING} are allowed")]
    StringTooLong { key: String, found: u64 },
    #[error("key {key:?}: arrays nest deeper than {MAX_ARRAY_DEPTH} levels")]
    ArrayTooDeep { key: String },
    #[error("more than {MAX_METADATA} metadata entries")]
    TooManyMetadata,
    #[error("tensor {tensor:?} is given twice")]
    DuplicateTensor { tensor: String },
    #[error(
        "the name of tensor {tensor:?} has {found} bytes; at most {MAX_TENSOR_NAME} are allowed"
    )]
    TensorNameTooLong { tensor: String, found: u64 },
    #[error("tensor {tensor:?}: {fault}")]
    Shape { tensor: String, fault: ShapeError },
    #[error("tensor {tensor:?}: its dimensions and type take {expected} bytes, not {found}")]
    Size {
        tensor: String,
        expected: u64,
        found: u64,
    },
    #[error("tensor {tensor:?}: zero bytes")]
    EmptyTensor { tensor: String },
    #[error("more than {MAX_TENSORS} tensors")]
    TooManyTensors,
    #[error("the file would exceed 2^64 bytes at tensor {tensor:?}")]
    FileTooLong { tensor: String },
}
