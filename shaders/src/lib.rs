//! Integer kernels: WGSL and their CPU twins.
//!
//! Each kernel is one file `wgsl/op_shape_dtype.wgsl`, one definition `src/reference/op_shape_dtype.rs` in plain
//! loops, and one twin `src/cpu/op_shape_dtype.rs` that is fast. On every device a kernel gives the same integers as its
//! definition, for any input, and so does the twin. [`params`] declares each kernel's uniform once; the build composes
//! the WGSL from it, validates it and reflects its bindings into [`KERNELS`].
#![deny(unsafe_code)]

pub mod cpu;
pub mod grid;
pub mod kv;
pub mod params;
pub mod reference;

use carat_format::GROUP;
use kv::KvLayout;

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The uniform with the kernel's parameters.
    Uniform,
    /// Storage, read.
    Read,
    /// Storage, read and written.
    ReadWrite,
}

/// One binding of a kernel, in group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name of the WGSL variable.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
}

/// A kernel: its composed WGSL and what was reflected from it.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// File name without its ending; also the twin's module.
    pub name: &'static str,
    /// Complete WGSL, entry point `main`.
    pub wgsl: &'static str,
    /// Bindings by index.
    pub bindings: &'static [Binding],
    /// True where the pipeline constant `CODES` selects the encoding.
    pub has_codes: bool,
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The kernel of that name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|k| k.name == name)
}

/// The kernel that only reads: no plan has it, others are measured beside it.
pub const READ: &str = "read_words_u32";

/// Words of one row of activations with `groups` groups:
/// `codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent | zeros up to a multiple of 4 words`.
///
/// Element `i` is `code(i) · scale(i/32) · mantissa · 2^exponent`; codes are i8, scales u8.
pub const fn act_stride(groups: u32) -> u32 {
    (groups * 8 + groups.div_ceil(4) + 2).next_multiple_of(4)
}

/// Groups of a row of `cols` columns.
pub const fn groups_of(cols: u32) -> u32 {
    cols.div_ceil(GROUP as u32)
}

/// Scales of a row of `groups` groups, one for each `2^shift` of them; the last may cover fewer.
pub const fn scales_of(groups: u32, shift: u32) -> u32 {
    groups.div_ceil(1 << shift)
}

/// Words of one page of a layer's KV cache for all heads: see [`KvLayout`].
pub const fn kv_page_words(heads: u32, head_words: u32, groups: u32, narrow: u32) -> u32 {
    KvLayout::new(head_words, groups, narrow).page(heads)
}

/// Words of one partial result of attention:
/// `sums [4·head_words] | Σp | maximum | value exponent [groups]`.
pub const fn partial_stride(head_words: u32, groups: u32) -> u32 {
    4 * head_words + 2 + groups
}

/// Words of one head's quantized query: `high plane [head_words] | low plane [head_words] | exponent`.
pub const fn query_stride(head_words: u32) -> u32 {
    2 * head_words + 1
}
