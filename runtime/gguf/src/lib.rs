#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cursor;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod header;
pub mod limits;
mod parse;
mod types;
mod value;
mod writer;

pub use error::{Error, KeyError, ShapeError, WriteError};
pub use header::{Dims, Header, TensorInfo};
pub use parse::{Parse, parse};
pub use types::{TensorType, ValueType};
pub use value::{Array, Scalar, Scalars, Strings, Value, Values};
pub use writer::{Layout, OwnedArray, OwnedValue, Writer};

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Alignment of the tensor data, in bytes, of a file without the key `general.alignment`.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// The key that holds the alignment of the tensor data.
pub const ALIGNMENT_KEY: &str = "general.alignment";
