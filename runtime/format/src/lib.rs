//! Weight encodings and model description of a Carat file.
//!
//! A Carat file is a GGUF v3 container; this crate declares, once, everything that the container
//! leaves open: the weight encodings and their byte layout ([`Encoding`], [`TensorLayout`]), the
//! directory of tensors ([`Directory`]) and the model as data ([`model`]): widths and a list of blocks, in integers.
//! `SPEC.md` beside this crate states the same byte by byte.
#![forbid(unsafe_code)]

mod card;
mod directory;
mod encoding;
mod error;
pub mod keys;
mod layout;
pub mod model;
mod pack;
mod pooling;
mod ternary;

pub use card::{Card, Figures};
pub use directory::{Directory, TensorEntry, Vector};
pub use encoding::{Coding, Encoding, GROUP, MAX_LEVEL, ScaleGroup, TILE_ROWS, Table};
pub use error::FormatError;
pub use layout::{MAX_PART_BYTES, PART_ALIGN, PART_ROW_STEP, PartLayout, RowScale, TensorLayout};
pub use model::{Activation, Fixed, Hyper, ModelSpec, Part, Shape, Tensor, bounds};
pub use pack::{PackedRow, decode_row_f32, decode_row_levels, pack_rows, unpack_group};
pub use pooling::Pooling;
