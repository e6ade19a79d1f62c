//! The inner loops of the twins, compiled once for the baseline and once for wider x86 vectors, chosen
//! at run time. Every version gives the same integers: sums of integers have no order.
#![allow(unsafe_code)]

use super::byte;
use carat_format::{Encoding, TILE_ROWS, unpack_group};

/// One row of activations taken apart.
pub struct Activations<'a> {
    codes: &'a [i8],
    scales: &'a [u8],
    /// 16-bit mantissa of the row's scale.
    pub mantissa: u32,
    /// Exponent of the row's scale.
    pub exponent: i32,
}

impl<'a> Activations<'a> {
    /// `row` is laid out as [`crate::act_stride`] says.
    pub fn new(row: &'a [u32], groups: usize) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(row);
        let tail = groups * 8 + groups.div_ceil(4);
        Self {
            codes: bytemuck::cast_slice(&bytes[..groups * 32]),
            scales: &bytes[groups * 32..groups * 33],
            mantissa: row[tail],
            exponent: row[tail + 1] as i32,
        }
    }
}

/// One decoded row of a matrix.
pub struct WeightRow {
    levels: Vec<i8>,
    scales: Vec<u8>,
}

impl WeightRow {
    /// Room for a row of `groups` groups.
    pub fn with_groups(groups: usize) -> Self {
        Self {
            levels: vec![0; groups * 32],
            scales: vec![0; groups],
        }
    }
}

/// Version of the inner loops for this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isa {
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

fn isa() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        // std caches the detection.
        if is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Isa::Avx512;
        }
        if is_x86_feature_detected!("avx2") {
            return Isa::Avx2;
        }
    }
    Isa::Baseline
}

/// The 32 levels of a cell (tile · groups + group) for one row of the tile; `bytes` starts with the codes.
#[inline(always)]
pub fn levels(
    encoding: Encoding,
    table: &[u32; 4],
    bytes: &[u8],
    cell: usize,
    row: usize,
) -> [i8; 32] {
    let len = encoding.group_bytes() * TILE_ROWS;
    let codes = unpack_group(encoding, &bytes[cell * len..(cell + 1) * len], row);
    if encoding == Encoding::Int8 {
        return codes.map(|c| c as i8);
    }
    let table = table_bytes(table);
    codes.map(|c| table[usize::from(c & 15)] as i8)
}

#[inline(always)]
fn table_bytes(table: &[u32; 4]) -> [u8; 16] {
    bytemuck::cast(table.map(u32::to_le))
}

/// Decodes row `n` of a part whose codes start at word 0 and whose scales start at word `scales`.
pub fn decode_row(
    encoding: Encoding,
    table: &[u32; 4],
    weights: &[u32],
    scales: usize,
    groups: usize,
    n: usize,
    out: &mut WeightRow,
) {
    let (tile, row) = (n / TILE_ROWS, n % TILE_ROWS);
    for (g, scale) in out.scales.iter_mut().enumerate() {
        *scale = byte(&weights[scales..], (tile * groups + g) * TILE_ROWS + row);
    }
    let bytes: &[u8] = bytemuck::cast_slice(weights);
    let len = encoding.group_bytes() * TILE_ROWS;
    let cells = &bytes[tile * groups * len..(tile + 1) * groups * len];
    let table = table_bytes(table);
    match isa() {
        // SAFETY: `isa` returned this version, so the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx2 => unsafe {
            decode_avx2(encoding, &table, cells, row, &mut out.levels)
        },
        Isa::Baseline => decode_generic(encoding, &table, cells, row, &mut out.levels),
    }
}

#[inline(always)]
fn decode_generic(encoding: Encoding, table: &[u8; 16], cells: &[u8], row: usize, out: &mut [i8]) {
    let len = encoding.group_bytes() * TILE_ROWS;
    for (cell, out) in cells.chunks_exact(len).zip(out.chunks_exact_mut(32)) {
        let codes = unpack_group(encoding, cell, row);
        for (o, c) in out.iter_mut().zip(codes) {
            *o = if encoding == Encoding::Int8 {
                c as i8
            } else {
                table[usize::from(c & 15)] as i8
            };
        }
    }
}

/// The look-up is one byte shuffle of 32 codes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn decode_avx2(encoding: Encoding, table: &[u8; 16], cells: &[u8], row: usize, out: &mut [i8]) {
    use std::arch::x86_64::*;
    if encoding == Encoding::Int8 {
        return decode_generic(encoding, table, cells, row, out);
    }
    let len = encoding.group_bytes() * TILE_ROWS;
    // SAFETY: `table` is 16 readable bytes; the load is unaligned.
    let table = unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())) };
    for (cell, out) in cells.chunks_exact(len).zip(out.chunks_exact_mut(32)) {
        let codes = unpack_group(encoding, cell, row);
        // SAFETY: `codes` is 32 readable bytes and `out` a chunk of exactly 32 writable ones.
        unsafe {
            let c = _mm256_loadu_si256(codes.as_ptr().cast());
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_shuffle_epi8(table, c));
        }
    }
}

/// `Σ_g as_g · ws_g · Σ_i level_i · code_i`, exact.
pub fn dot(w: &WeightRow, x: &Activations<'_>) -> i64 {
    match isa() {
        // SAFETY: `isa` returned this version, so the processor has its features.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { dot_avx512(w, x) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { dot_avx2(w, x) },
        Isa::Baseline => dot_generic(w, x),
    }
}

#[inline(always)]
fn dot_generic(w: &WeightRow, x: &Activations<'_>) -> i64 {
    let groups = w.levels.chunks_exact(32).zip(x.codes.chunks_exact(32));
    let scales = w.scales.iter().zip(x.scales);
    groups.zip(scales).fold(0i64, |sum, ((l, q), (ws, a))| {
        let mut d = 0i32;
        for i in 0..32 {
            d += i32::from(l[i]) * i32::from(q[i]);
        }
        sum + i64::from(d * i32::from(*ws)) * i64::from(*a)
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(w: &WeightRow, x: &Activations<'_>) -> i64 {
    dot_generic(w, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni")]
fn dot_avx512(w: &WeightRow, x: &Activations<'_>) -> i64 {
    dot_generic(w, x)
}
