//! The products' inner loops: one tile of 32 weight rows times rows of activations, compiled for several
//! instruction sets and chosen at run time. Every version gives the integers of the definition
//! (`reference/linear_tile_q.rs`): sums of integers have no order.
//!
//! The wide versions share one plan ([`kernel`]). A vector holds one 32-bit lane for each weight row: four
//! consecutive levels of it. A group is eight such vectors, looked up by byte shuffles in registers, so that
//! eight int8 dot instructions against broadcast activations leave `d`, the group's sum of every row, without
//! any sum across lanes.
#![allow(unsafe_code)]

pub mod attention;
#[cfg(wide_isa)]
mod kernel;
#[cfg(all(wide_isa, not(target_arch = "x86_64")))]
mod lanes4;
mod panels;
#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128"),
    allow(dead_code)
)]
mod portable;
pub mod wide;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(test)]
pub mod tests;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;

use crate::reference::activations::Activations;
use carat_format::{Encoding, TILE_ROWS};
pub use panels::{Batch, Panels, scratch};
#[cfg(wide_isa)]
use panels::{CELL, block_rows};
use std::sync::OnceLock;

/// 32 rows of a matrix as the file holds them.
#[derive(Clone, Copy)]
pub struct Tile<'a> {
    /// How the codes are stored.
    pub encoding: Encoding,
    /// Levels of the codes.
    pub table: &'a [u8; 16],
    /// `[group]` of [`Encoding::cell_bytes`].
    pub cells: &'a [u8],
    /// `[scale][32 rows]`.
    pub scales: &'a [u8],
    /// Groups of a row.
    pub groups: usize,
    /// The scale of group `g` is scale `g >> scale_shift`.
    pub scale_shift: u32,
}

/// Version of the inner loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust.
    Portable,
    /// 256-bit multiply-add of pairs of bytes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 256-bit `vpdpbusd`.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// 256-bit `vpdpbusd` of AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vl,
    /// 512-bit `vpdpbusd` and byte permutations (VNNI and VBMI).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 128-bit widening products of ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// 128-bit `sdot` of ARM.
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    /// 128-bit `smmla` of ARM for many rows, `sdot` for one.
    #[cfg(target_arch = "aarch64")]
    I8mm,
    /// WebAssembly's 128-bit vectors.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

/// The version that there is no choice beside: a browser without its vectors refuses the module, so that nothing there needs a
/// plain one.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(test)))]
const ONLY: Option<Isa> = Some(Isa::Simd128);
#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
const ONLY: Option<Isa> = None;

impl Isa {
    /// Every version compiled here, by rising speed.
    pub const ALL: &[Isa] = &[
        Isa::Portable,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2,
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vl,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon,
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod,
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm,
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Simd128,
    ];

    /// Whether this processor has its instructions.
    pub fn supported(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vl => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512cd")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Isa::Dotprod => {
                std::arch::is_aarch64_feature_detected!("neon")
                    && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::I8mm => {
                Isa::Dotprod.supported() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => true,
        }
    }

    /// The value of `CARAT_CPU` that names it.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vl => "avx512vl",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Isa::Dotprod => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Isa::I8mm => "i8mm",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => "simd128",
        }
    }

    /// The panels that the version reads `rows` rows of activations from, for weights of an encoding.
    const fn panels(self, rows: usize, encoding: Encoding) -> panels::Shape {
        use panels::Shape;
        let _ = (rows, encoding);
        match self {
            Isa::Portable => Shape::None,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vl => Shape::Cells(avx2::BLOCK),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if rows > kernel::few(avx512::BLOCK, encoding) => {
                Shape::Pairs(avx512::batch::BLOCK)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Shape::Cells(avx512::BLOCK),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon | Isa::Dotprod | Isa::I8mm => Shape::Cells(neon::BLOCK),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => Shape::Cells(wasm::BLOCK),
        }
    }

    /// The fastest that this processor has, or the one that the environment's `CARAT_CPU` names if it has
    /// that; looked up once.
    pub fn get() -> Isa {
        #[cfg(test)]
        if let Some(isa) = tests::named() {
            return isa;
        }
        if let Some(isa) = ONLY {
            return isa;
        }
        static CHOICE: OnceLock<Isa> = OnceLock::new();
        *CHOICE.get_or_init(|| {
            let named = std::env::var("CARAT_CPU").ok();
            let mut have = Isa::ALL.iter().copied().filter(|i| i.supported());
            let wanted = have.clone().find(|i| named.as_deref() == Some(i.name()));
            wanted.or_else(|| have.next_back()).unwrap_or(Isa::Portable)
        })
    }
}

/// A cache line of decoded levels.
#[cfg(wide_isa)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

#[cfg(wide_isa)]
thread_local! {
    /// Decoded levels of a tile, kept from call to call.
    static LINES: std::cell::RefCell<Vec<Line>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Calls `emit(row, sums)` for each row of the batch with `Σ_g as_g · ws_g · Σ_i level_i · code_i` of the
/// tile's 32 rows, exact.
///
/// Panics unless `isa` is [`Isa::supported`]; codes of activations lie in ±127.
pub fn tile_sums(
    isa: Isa,
    tile: &Tile<'_>,
    batch: &Batch<'_>,
    mut emit: impl FnMut(usize, &[i64; TILE_ROWS]),
) {
    assert_eq!(tile.groups, batch.groups);
    assert!(isa.supported());
    let emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS]) = &mut emit;
    #[cfg(wide_isa)]
    if isa != Isa::Portable {
        let mut lines = LINES.take();
        match isa {
            Isa::Portable => {}
            // SAFETY: `supported` found the version's instructions, just above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::plain::run(tile, batch, &mut lines, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => unsafe { avx2::vnni::run(tile, batch, &mut lines, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vl => unsafe { avx2::vnni_vl::run(tile, batch, &mut lines, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if matches!(batch.shape, panels::Shape::Pairs(_)) => unsafe {
                avx512::batch::run(tile, batch, &mut lines, emit)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512::run(tile, batch, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon::plain::run(tile, batch, &mut lines, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Dotprod => unsafe { neon::dotprod::run(tile, batch, &mut lines, emit) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::I8mm => unsafe { neon::i8mm::run(tile, batch, &mut lines, emit) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::Simd128 => wasm::run(tile, batch, &mut lines, emit),
        }
        LINES.set(lines);
        return;
    }
    if ONLY.is_none() {
        portable::run(tile, batch, emit);
    }
}

/// Asks for lines that will be written.
#[inline(always)]
pub fn fetch_to_write(values: &[i32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that a program sees and faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.as_ptr().cast()) };
    }
    let _ = values;
}
