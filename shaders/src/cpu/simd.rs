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
}

fn isa() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        // std caches the detection.
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
        Isa::Avx2 => unsafe { decode_avx2(encoding, &table, cells, row, &mut out.levels) },
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
        // SAFETY: `isa` returned this version, so the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { dot_avx2(w, x) },
        Isa::Baseline => dot_baseline(w, x),
    }
}

fn dot_baseline(w: &WeightRow, x: &Activations<'_>) -> i64 {
    let mut sum = 0i64;
    for g in 0..w.scales.len() {
        let (l, q) = (
            &w.levels[g * 32..g * 32 + 32],
            &x.codes[g * 32..g * 32 + 32],
        );
        let mut d = 0i32;
        for i in 0..32 {
            d += i32::from(l[i]) * i32::from(q[i]);
        }
        sum += i64::from(d * i32::from(w.scales[g])) * i64::from(x.scales[g]);
    }
    sum
}

/// Codes of activations lie in ±127, so their sign can be turned; levels may be −128.
/// |level|·(±code) in pairs of 16 bits (at most 2·128·127 < 2^15), pairs times the weights' scale in 32
/// bits (< 2^25), times the activations' scale in 64 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(w: &WeightRow, x: &Activations<'_>) -> i64 {
    use std::arch::x86_64::*;
    let mut sum = _mm256_setzero_si256();
    let groups = w.levels.chunks_exact(32).zip(x.codes.chunks_exact(32));
    for ((l, q), (ws, a)) in groups.zip(w.scales.iter().zip(x.scales)) {
        // SAFETY: both chunks are exactly 32 readable bytes; the loads are unaligned.
        let (l, q) = unsafe {
            (
                _mm256_loadu_si256(l.as_ptr().cast()),
                _mm256_loadu_si256(q.as_ptr().cast()),
            )
        };
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(l), _mm256_sign_epi8(q, l));
        let t = _mm256_madd_epi16(pairs, _mm256_set1_epi16(i16::from(*ws)));
        let a = _mm256_set1_epi32(i32::from(*a));
        sum = _mm256_add_epi64(sum, _mm256_mul_epi32(t, a));
        sum = _mm256_add_epi64(sum, _mm256_mul_epi32(_mm256_srli_epi64(t, 32), a));
    }
    let mut lanes = [0i64; 4];
    // SAFETY: `lanes` is 32 writable bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_version_gives_the_same_sum(
            levels in prop::collection::vec(prop_oneof![any::<i8>(), Just(i8::MIN), Just(127)], 32 * 9),
            codes in prop::collection::vec(prop_oneof![-127i8..=127, Just(-127), Just(127)], 32 * 9),
            ws in prop::collection::vec(prop_oneof![any::<u8>(), Just(255)], 9),
            scales in prop::collection::vec(prop_oneof![any::<u8>(), Just(255)], 9),
        ) {
            let w = WeightRow { levels, scales: ws };
            let x = Activations { codes: &codes, scales: &scales, mantissa: 1, exponent: 0 };
            prop_assert_eq!(dot(&w, &x), dot_baseline(&w, &x));
        }
    }
}
