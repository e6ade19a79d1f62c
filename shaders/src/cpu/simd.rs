//! The inner loops of the twins, compiled once for the baseline and once for wider x86 vectors, chosen
//! at run time. Every version gives the same integers: sums of integers have no order.
#![allow(unsafe_code)]

use super::byte;
use crate::scales_of;
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

/// Decodes row `n` of a part whose codes start at word 0 and whose scales, one for each `2^scale_shift` groups,
/// start at word `scales`; gives one scale a group.
pub fn decode_row(
    encoding: Encoding,
    table: &[u32; 4],
    weights: &[u32],
    scales: usize,
    groups: usize,
    scale_shift: u32,
    n: usize,
    out: &mut WeightRow,
) {
    let (tile, row) = (n / TILE_ROWS, n % TILE_ROWS);
    let first = tile * scales_of(groups as u32, scale_shift) as usize;
    for (g, scale) in out.scales.iter_mut().enumerate() {
        let at = (first + (g >> scale_shift)) * TILE_ROWS + row;
        *scale = byte(&weights[scales..], at);
    }
    let bytes: &[u8] = bytemuck::cast_slice(weights);
    let len = encoding.group_bytes() * TILE_ROWS;
    let cells = &bytes[tile * groups * len..(tile + 1) * groups * len];
    decode(encoding, &table_bytes(table), cells, row, &mut out.levels);
}

/// The levels of row `row` of a tile's groups.
fn decode(encoding: Encoding, table: &[u8; 16], cells: &[u8], row: usize, out: &mut [i8]) {
    match isa() {
        // SAFETY: `isa` returned this version, so the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { decode_avx2(encoding, table, cells, row, out) },
        Isa::Baseline => decode_generic(encoding, table, cells, row, out),
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
    if encoding == Encoding::Pow1 {
        // Byte 4i + j of a group is bit i of byte j of the row's four.
        let bit = _mm256_setr_epi32(
            0x0101_0101,
            0x0202_0202,
            0x0404_0404,
            0x0808_0808,
            0x1010_1010,
            0x2020_2020,
            0x4040_4040,
            0x8080_8080_u32 as i32,
        );
        let [zero, one] = [table[0], table[1]].map(|level| _mm256_set1_epi8(level as i8));
        for (cell, out) in cells.chunks_exact(len).zip(out.chunks_exact_mut(32)) {
            let b = &cell[row * 4..row * 4 + 4];
            let b = _mm256_set1_epi32(i32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(b, bit), bit);
            // SAFETY: `out` is a chunk of exactly 32 writable bytes.
            unsafe {
                let levels = _mm256_blendv_epi8(zero, one, set);
                _mm256_storeu_si256(out.as_mut_ptr().cast(), levels);
            }
        }
        return;
    }
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
        fn every_version_decodes_the_same_levels(
            encoding in prop::sample::select(Encoding::ALL.to_vec()),
            bytes in prop::collection::vec(any::<u8>(), 3 * 32 * TILE_ROWS),
            table in any::<[u8; 16]>(),
            row in 0..TILE_ROWS,
        ) {
            let cells = &bytes[..3 * encoding.group_bytes() * TILE_ROWS];
            let (mut plain, mut wide) = ([0i8; 96], [0i8; 96]);
            decode_generic(encoding, &table, cells, row, &mut plain);
            wide.fill(1);
            decode(encoding, &table, cells, row, &mut wide);
            prop_assert_eq!(plain, wide);
        }

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
