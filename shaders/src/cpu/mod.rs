//! The CPU twins: one module a kernel, same names, same integers as [`crate::reference`], by threads, in tiles and wide
//! vectors. Where nothing of that pays, the twin is the definition itself.
//!
//! A twin computes a whole dispatch. `rows` is the number of batch rows (the grid's second dimension);
//! buffers have the shapes that the WGSL file states beside each binding.

pub mod attn_block_q8;
pub mod attn_merge_i32;
pub mod attn_merge_row_q8;
pub mod gated_unit_row_i32;
mod groups;
pub mod linear_gated_tile_q;
pub mod linear_qkv_tile_q;
pub mod linear_tile_q;
pub mod logits_stats_i32;
pub mod quantize_row_q8;
#[cfg(test)]
#[path = "../../tests/common/random.rs"]
mod random;
pub mod rmsnorm_head_i32;
pub mod rmsnorm_row_q8;
pub mod rope_store_q8;
mod scratch;
mod simd;
pub mod softcap_row_i32;
#[cfg(test)]
mod tests;

pub use crate::reference::{
    bias_row_i32, embed_row_q, fixed, lora_row_q8, read_words_u32, rmsnorm_add_row_i32,
    rope_angles_q30, softcap,
};
pub use scratch::Scratch;
pub use simd::wide::quantize_row;

/// Threads of the current pool.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "threads"))]
    1
}

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
