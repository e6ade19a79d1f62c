//! 512-bit vectors: sixteen rows, `vpdpbusd`, look-ups by `vpermb`.

pub mod batch;
pub mod epilogue;
pub mod queries;

use super::kernel::{by_codes, fetch, join, lowest, row_kernel, spread};
use super::{Batch, CELL, Line, Tile, block_rows};
use carat_format::TILE_ROWS;
use std::arch::x86_64::*;

type V = __m512i;
const LANES: usize = 16;

#[inline(always)]
fn zero() -> V {
    // SAFETY: all bits zero is a value of a vector of integers.
    unsafe { core::mem::zeroed() }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8], at: usize) -> V {
    let bytes = &bytes[at..at + 64];
    // SAFETY: `bytes` is 64 readable bytes; the load is unaligned.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8], v: V) {
    let bytes = &mut bytes[..64];
    // SAFETY: `bytes` is 64 writable bytes; the store is unaligned.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), v) };
}

#[inline]
#[target_feature(enable = "avx512f")]
fn table(tile: &Tile<'_>) -> V {
    load(&spread(tile.encoding, tile.table, 128), 0)
}

/// The row of each lane: [`transpose`] leaves row `4·j + k` in lane `4·k + j`.
const fn order(codes: usize) -> [u8; LANES] {
    match codes {
        16 | 32 | 64 | 256 => [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
        _ => [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn scales(bytes: &[u8], part: usize, order: &[u8; LANES]) -> V {
    let bytes = &bytes[part * LANES..(part + 1) * LANES];
    // SAFETY: both are 16 readable bytes; the loads are unaligned.
    let (b, order) = unsafe {
        (
            _mm_loadu_si128(bytes.as_ptr().cast()),
            _mm_loadu_si128(order.as_ptr().cast()),
        )
    };
    _mm512_cvtepu8_epi32(_mm_shuffle_epi8(b, order))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(v: i32) -> V {
    _mm512_set1_epi32(v)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn mul(a: V, b: V) -> V {
    _mm512_mullo_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn high(t: V) -> V {
    _mm512_srai_epi32::<14>(t)
}

/// Levels are raised by 128, so `bias` is −128·Σ codes of each group.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot(l: &[V; 8], x: &[u32], bias: i32) -> V {
    let mut even = splat(bias);
    let mut odd = zero();
    for q in 0..4 {
        even = _mm512_dpbusd_epi32(even, l[2 * q], splat(x[2 * q] as i32));
        odd = _mm512_dpbusd_epi32(odd, l[2 * q + 1], splat(x[2 * q + 1] as i32));
    }
    add(even, odd)
}

/// Within each 128 bits: word `e` of the four vectors.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(z: [V; 4]) -> [V; 4] {
    let (a, b) = (
        _mm512_unpacklo_epi32(z[0], z[1]),
        _mm512_unpackhi_epi32(z[0], z[1]),
    );
    let (c, d) = (
        _mm512_unpacklo_epi32(z[2], z[3]),
        _mm512_unpackhi_epi32(z[2], z[3]),
    );
    [
        _mm512_unpacklo_epi64(a, c),
        _mm512_unpackhi_epi64(a, c),
        _mm512_unpacklo_epi64(b, d),
        _mm512_unpackhi_epi64(b, d),
    ]
}

/// The low bits of codes 4q..4q + 4 of sixteen rows of 5 bits (32 codes) or 6, bit 3 downward, other bits of the bytes as
/// they are; rows in the order of [`transpose`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn low_plane<const CODES: usize>(cell: &[u8], part: usize) -> [V; 8] {
    let up = |v: V, n: i32| _mm512_sll_epi16(v, _mm_cvtsi32_si128(n));
    let down = |v: V, n: i32| _mm512_srl_epi16(v, _mm_cvtsi32_si128(n));
    let rows = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    if CODES == 32 {
        let w = _mm512_permutexvar_epi32(rows, load(cell, 512 + part * 64));
        return [
            up(w, 3),
            up(w, 2),
            up(w, 1),
            w,
            down(w, 1),
            down(w, 2),
            down(w, 3),
            down(w, 4),
        ];
    }
    let at = 512 + part * 128;
    let (a, b) = (load(cell, at), load(cell, at + 64));
    let first = _mm512_add_epi32(rows, rows);
    let even = _mm512_permutex2var_epi32(a, first, b);
    let odd = _mm512_permutex2var_epi32(a, _mm512_add_epi32(first, splat(1)), b);
    [
        up(even, 2),
        up(odd, 2),
        even,
        odd,
        down(even, 2),
        down(odd, 2),
        down(even, 4),
        down(odd, 4),
    ]
}

/// Levels 4q..4q + 4 of sixteen rows, raised by 128. Only the low bits of an index count ([`spread`]).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn decode<const CODES: usize>(cell: &[u8], part: usize, table: V) -> [V; 8] {
    let look = |i: V| _mm512_permutexvar_epi8(i, table);
    let shift = |v: V, n: u32| _mm512_srl_epi16(v, _mm_cvtsi32_si128(n as i32));
    match CODES {
        2 => {
            let w = load(cell, part * 64);
            let mut l = [w; 8];
            for (q, l) in l.iter_mut().enumerate() {
                *l = look(shift(w, q as u32));
            }
            l
        }
        3 => {
            // Of each byte the digit, its level and the rest: digits go up by one where three times the byte
            // passes 256 and 512.
            let [zero, one, two] = [0, 1, 2].map(|digit| look(splat(digit * 0x0101_0101)));
            let level = |v: V| {
                let from_one = _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(86));
                let from_two = _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(171_u8 as i8));
                let low = _mm512_mask_blend_epi8(from_one, zero, one);
                _mm512_mask_blend_epi8(from_two, low, two)
            };
            let rest = |v: V| _mm512_add_epi8(v, _mm512_add_epi8(v, v));
            let mut w = load(cell, part * 64);
            let mut l = [w; 8];
            for l in &mut l[..5] {
                *l = level(w);
                w = rest(w);
            }
            let pairs = &cell[128 + part * 32..][..32];
            let halves = &cell[192 + part * 8..][..8];
            // SAFETY: they are 32 and 8 readable bytes; the loads are unaligned.
            let (pairs, halves) = unsafe {
                (
                    _mm256_loadu_si256(pairs.as_ptr().cast()),
                    _mm_loadu_si64(halves.as_ptr()),
                )
            };
            let pairs = _mm512_cvtepu16_epi32(pairs);
            let first = _mm512_or_si512(pairs, _mm512_slli_epi32::<16>(rest(pairs)));
            let second = rest(rest(first));
            let low = _mm512_and_si512(rest(rest(second)), splat(0xffff));
            // Four bits a row: eight rows of each word.
            let by_word = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
            let by_row =
                _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
            let words = _mm512_permutexvar_epi32(by_word, _mm512_castsi128_si512(halves));
            let half = _mm512_and_si512(_mm512_srlv_epi32(words, by_row), splat(15));
            let half = _mm512_slli_epi32::<20>(half);
            let high = _mm512_or_si512(half, _mm512_slli_epi32::<8>(rest(half)));
            l[5] = level(first);
            l[6] = level(second);
            l[7] = level(_mm512_or_si512(low, high));
            l
        }
        4 | 8 => {
            let (a, b) = (load(cell, part * 128), load(cell, part * 128 + 64));
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, splat(1));
            let words = [
                _mm512_permutex2var_epi32(a, even, b),
                _mm512_permutex2var_epi32(a, odd, b),
            ];
            let mut l = [a; 8];
            if CODES == 4 {
                for (e, w) in words.into_iter().enumerate() {
                    for s in 0..4 {
                        l[2 * s + e] = look(shift(w, 2 * s as u32));
                    }
                }
                return l;
            }
            // Bit q of a row's byte j in the second plane is the high bit of level 4q + j.
            let top = load(cell, 256 + part * 64);
            // `(a & m) | (b & !m)`.
            let m = splat(0x3333_3333);
            let select = |a: V, b: V| _mm512_ternarylogic_epi32::<0xca>(m, a, b);
            for (e, w) in words.into_iter().enumerate() {
                let top = shift(top, e as u32);
                let first = select(w, _mm512_slli_epi16::<2>(top));
                let second = select(shift(w, 2), top);
                l[e] = look(first);
                l[4 + e] = look(shift(first, 4));
                l[2 + e] = look(second);
                l[6 + e] = look(shift(second, 4));
            }
            l
        }
        16 => {
            let at = part * 256;
            let w = transpose([
                load(cell, at),
                load(cell, at + 64),
                load(cell, at + 128),
                load(cell, at + 192),
            ]);
            let mut l = [w[0]; 8];
            for (q, w) in w.into_iter().enumerate() {
                l[q] = look(w);
                l[q + 4] = look(shift(w, 4));
            }
            l
        }
        32 | 64 => {
            let at = part * 256;
            let w = transpose([
                load(cell, at),
                load(cell, at + 64),
                load(cell, at + 128),
                load(cell, at + 192),
            ]);
            let low = low_plane::<CODES>(cell, part);
            let both = splat(if CODES == 32 {
                0xf8f8_f8f8
            } else {
                0xfcfc_fcfc_u32
            } as i32);
            let nibbles = splat(0xf0f0_f0f0_u32 as i32);
            let lowest = _mm512_set1_epi8(lowest(CODES, 128) as i8);
            let join = |high: V, low: V| {
                // `(high & nibbles) | (low & !nibbles)`.
                let byte = _mm512_ternarylogic_epi32::<0xca>(nibbles, high, low);
                _mm512_add_epi8(_mm512_and_si512(byte, both), lowest)
            };
            let mut l = [w[0]; 8];
            for (q, w) in w.into_iter().enumerate() {
                l[q] = join(_mm512_slli_epi16::<4>(w), low[q]);
                l[q + 4] = join(w, low[q + 4]);
            }
            l
        }
        _ => {
            // A vector is two rows; halves of four rows are brought together first.
            let mut halves = [[zero(); 4]; 2];
            for j in 0..4 {
                let at = part * 512 + j * 128;
                let (a, b) = (load(cell, at), load(cell, at + 64));
                halves[0][j] = _mm512_shuffle_i64x2::<0x88>(a, b);
                halves[1][j] = _mm512_shuffle_i64x2::<0xdd>(a, b);
            }
            let [a, b] = halves.map(|h| transpose(h));
            let raise = |v: V| _mm512_xor_si512(v, _mm512_set1_epi8(-128));
            let mut l = [a[0]; 8];
            for q in 0..4 {
                l[q] = raise(a[q]);
                l[q + 4] = raise(b[q]);
            }
            l
        }
    }
}

/// Rows of activations at once.
pub const BLOCK: usize = 8;

/// Vectors of weight rows at once with so many rows of activations: levels and two sums each are in registers.
const fn parts(rows: usize) -> usize {
    if rows <= 4 { 2 } else { 1 }
}

row_kernel!("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni", 1 2 3 4 5 6 7 8);

/// See [`crate::cpu::simd::tile_sums`]; the batch has few rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub fn run(tile: &Tile<'_>, batch: &Batch<'_>, emit: &mut dyn FnMut(usize, &[i64; TILE_ROWS])) {
    by_codes!(tile.encoding, few_blocks(tile, batch, emit))
}
