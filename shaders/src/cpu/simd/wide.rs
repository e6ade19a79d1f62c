//! Elementwise parts of twins, compiled for wider vectors.

#[cfg(target_arch = "x86_64")]
use super::Isa;
use super::{Activations, panels};
use crate::cpu::{
    attn_merge_i32, gated_unit_row_i32, linear_tile_q, logits_stats_i32, rmsnorm_row_q8,
    rope_store_q8,
};
use crate::params::{AttnMerge, RopeStore};
use crate::reference;
use crate::reference::norm::InverseNorm;

/// Defines a function that runs an `inline(always)` function of plain Rust, compiled for the widest vectors that this
/// processor has: the same integers.
macro_rules! wide {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:path) => {
        $(#[$doc])*
        pub fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
                fn wide512($($arg: $type),*) {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn wide256($($arg: $type),*) {
                    $body($($arg),*)
                }
                match width() {
                    // SAFETY: the processor has these instructions.
                    512 => return unsafe { wide512($($arg),*) },
                    // SAFETY: as above.
                    256 => return unsafe { wide256($($arg),*) },
                    _ => {}
                }
            }
            $body($($arg),*)
        }
    };
}
/// Bits of the vectors that [`wide`] may use.
#[cfg(target_arch = "x86_64")]
fn width() -> u32 {
    match Isa::get() {
        Isa::Avx512 => 512,
        Isa::Portable => 0,
        // Every other version is of a processor with AVX2.
        _ => 256,
    }
}

wide! {
    /// See [`gated_unit_row_i32::elements`].
    fn gated_unit(activation: u32, exponent: i32, gate: &[i32], up: &[i32], out: &mut [i32]) =
        gated_unit_row_i32::elements
}

wide! {
    /// See [`linear_tile_q::epilogue`].
    fn compiled_epilogue(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) =
        linear_tile_q::epilogue
}

/// See [`linear_tile_q::epilogue`].
pub fn epilogue(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    if width() == 512 {
        // SAFETY: the processor has these instructions.
        return unsafe { super::avx512::epilogue::epilogue(sums, scales, mantissa, shift, out) };
    }
    compiled_epilogue(sums, scales, mantissa, shift, out);
}

wide! {
    /// See [`panels::pairs`].
    fn pairs(x: Activations<'_>, first: usize, panel: &mut [u32], row: usize, rows: usize) =
        panels::pairs
}

wide! {
    /// See [`panels::cells`].
    fn cells(x: Activations<'_>, panel: &mut [u32], row: usize, rows: usize) = panels::cells
}

wide! {
    /// See [`reference::quantize_row`].
    fn quantize_row(x: &[i32], exponent: i32, act: &mut [u32]) = reference::quantize_row
}

wide! {
    /// See [`rmsnorm_row_q8::normalise`].
    fn normalise(inverse: InverseNorm, h: &[i32], gains: &[i32], out: &mut [i32]) =
        rmsnorm_row_q8::normalise
}

wide! {
    /// See [`attn_merge_i32::head`].
    fn merge_head(p: &AttnMerge, partials: &[u32], out: &mut [i32]) = attn_merge_i32::head
}

wide! {
    /// See [`logits_stats_i32::share`].
    fn logits_share(logits: &[i32], first: u32, out: &mut logits_stats_i32::Stats) =
        logits_stats_i32::share
}

wide! {
    /// See [`rope_store_q8::query`].
    fn query_head(p: &RopeStore, angles: &[i32], q: &[i32], words: usize, out: &mut [u32]) =
        rope_store_q8::query
}

wide! {
    /// See [`rope_store_q8::store`].
    fn store_head(x: &[i32], cell: rope_store_q8::Cell<'_>, exponent: i32, scales: &mut [u32]) =
        rope_store_q8::store
}
