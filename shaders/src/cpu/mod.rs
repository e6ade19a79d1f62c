//! The CPU twins: one module a kernel, same names, same integers.
//!
//! A twin computes a whole dispatch. `rows` is the number of batch rows (the grid's second dimension);
//! buffers have the shapes that the WGSL file states beside each binding.

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
mod norm;
mod quantize;
pub mod quantize_row_q8;
#[cfg(test)]
mod random;
pub mod read_words_u32;
mod residual;
pub mod rmsnorm_add_row_i32;
pub mod rmsnorm_head_i32;
pub mod rmsnorm_row_q8;
pub mod rope_angles_q30;
pub mod rope_store_q8;
mod scratch;
mod simd;
pub mod softcap;
pub mod softcap_row_i32;

pub use quantize::quantize_row;
pub use scratch::Scratch;

/// Calls `f(index, chunk)` for each chunk of `len` items, on the current thread pool where there is one.
pub(crate) fn for_chunks<T: Send>(
    data: &mut [T],
    len: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    if len == 0 {
        return;
    }
    #[cfg(feature = "threads")]
    {
        use rayon::prelude::*;
        if data.len() > len {
            data.par_chunks_mut(len)
                .enumerate()
                .for_each(|(i, c)| f(i, c));
            return;
        }
    }
    data.chunks_mut(len).enumerate().for_each(|(i, c)| f(i, c));
}

/// Byte `i` of a buffer of words.
#[inline(always)]
pub(crate) fn byte(words: &[u32], i: usize) -> u8 {
    (words[i / 4] >> (8 * (i % 4))) as u8
}
