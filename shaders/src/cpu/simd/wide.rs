//! Elementwise parts of twins, compiled for wider vectors.

#[cfg(target_arch = "x86_64")]
use super::Isa;
use crate::cpu::{gated_unit_row_i32, linear_tile_q};

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
    fn epilogue(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) =
        linear_tile_q::epilogue
}
