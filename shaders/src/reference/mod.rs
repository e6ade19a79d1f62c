//! What every kernel computes: one module a kernel, in loops that one can read.
//!
//! A definition names no tile, lane or thread, and nothing in it is there for speed; that a file has its rows in tiles is
//! in `matrix` alone. The twins in [`crate::cpu`] and the WGSL give the same words for the same arguments. `rows` is the
//! number of batch rows; buffers have the shapes that the WGSL file states beside each binding. Parts that several kernels
//! share have modules of their own, which the twins use too.

pub(crate) mod activations;
pub mod attn_block_q8;
pub mod attn_merge_i32;
pub mod attn_merge_row_q8;
pub mod bias_row_i32;
pub mod embed_row_q;
pub mod fixed;
pub mod gated_unit_row_i32;
pub mod linear_gated_tile_q;
pub mod linear_qkv_tile_q;
pub mod linear_tile_q;
pub mod logits_stats_i32;
pub mod lora_row_q8;
pub(crate) mod matrix;
pub(crate) mod narrow;
pub(crate) mod norm;
pub(crate) mod quantize;
pub mod quantize_row_q8;
pub mod read_words_u32;
pub(crate) mod residual;
pub mod rmsnorm_add_row_i32;
pub mod rmsnorm_head_i32;
pub mod rmsnorm_row_q8;
pub mod rope_angles_q30;
pub mod rope_store_q8;
pub mod softcap;
pub mod softcap_row_i32;

pub use quantize::quantize_row;

/// Byte `i` of a buffer of words.
#[inline(always)]
pub(crate) fn byte(words: &[u32], i: usize) -> u8 {
    (words[i / 4] >> (8 * (i % 4))) as u8
}

/// Sets byte `i` of a buffer of words, which is 0 before.
pub(crate) fn set_byte(words: &mut [u32], i: usize, value: i32) {
    words[i / 4] |= u32::from(value as u8) << (8 * (i % 4));
}
