//! Bounds on what a file may claim. They lie far above real models; the reader refuses what
//! exceeds them, and the writer refuses to produce it.

/// Longest key, in bytes (GGUF specification).
pub const MAX_KEY: u64 = 65_535;
/// Longest tensor name, in bytes. The specification says 64; files that exceed it exist.
pub const MAX_TENSOR_NAME: u64 = 1024;
/// Longest string value, in bytes.
pub const MAX_STRING: u64 = 1 << 26;
/// Most metadata entries.
pub const MAX_METADATA: u64 = 1 << 16;
/// Most tensors.
pub const MAX_TENSORS: u64 = 1 << 20;
/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
pub const MAX_DIMS: usize = 4;
/// Most levels of arrays: an array of scalars has one, an array of arrays of scalars two.
pub const MAX_ARRAY_DEPTH: u32 = 4;
/// Smallest alignment, in bytes (GGUF specification: a multiple of 8).
pub const MIN_ALIGNMENT: u64 = 8;
/// Largest alignment, in bytes.
pub const MAX_ALIGNMENT: u64 = 1 << 20;
/// Shortest prefix that [`parse`](crate::parse) asks for, in bytes, where the file has as many.
pub const MIN_PREFIX: u64 = 4096;
