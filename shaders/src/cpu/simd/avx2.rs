//! 256-bit vectors: eight rows, look-ups by `vpshufb`; the dot by `vpdpbusd` or by multiply-adds of pairs.

use super::kernel::{fetch, few, join, lowest, spread, tile_kernel};
use super::{Batch, CELL, Line, Tile, block_rows};
use carat_format::TILE_ROWS;
use std::arch::x86_64::*;

type V = __m256i;
const LANES: usize = 8;
/// Rows of activations at once.
pub const BLOCK: usize = 4;

/// Vectors of weight rows at once with so many rows of activations.
const fn parts(rows: usize) -> usize {
    if rows == 1 { 2 } else { 1 }
}

#[inline(always)]
fn zero() -> V {
    // SAFETY: all bits zero is a value of a vector of integers.
    unsafe { core::mem::zeroed() }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8], at: usize) -> V {
    let bytes = &bytes[at..at + 32];
    // SAFETY: `bytes` is 32 readable bytes; the load is unaligned.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8], v: V) {
    let bytes = &mut bytes[..32];
    // SAFETY: `bytes` is 32 writable bytes; the store is unaligned.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), v) };
}

/// The row of each lane, as [`transpose`] and the choice of words in [`levels`] leave them.
const fn order(codes: usize) -> [u8; LANES] {
    match codes {
        4 | 8 => [0, 1, 4, 5, 2, 3, 6, 7],
        16 | 32 | 64 => [0, 2, 4, 6, 1, 3, 5, 7],
        _ => [0, 1, 2, 3, 4, 5, 6, 7],
    }
}

/// Calls a function for a number of codes of the same [`order`].
macro_rules! by_order {
    ($encoding:expr, $f:ident $arguments:tt) => {
        match $encoding {
            carat_format::Encoding::Pow2 | carat_format::Encoding::Pow3 => $f::<4> $arguments,
            carat_format::Encoding::Pow4
            | carat_format::Encoding::Int5
            | carat_format::Encoding::Int6 => $f::<16> $arguments,
            carat_format::Encoding::Pow1
            | carat_format::Encoding::Ternary
            | carat_format::Encoding::Int8 => $f::<2> $arguments,
        }
    };
}

#[inline]
#[target_feature(enable = "avx2")]
fn scales(bytes: &[u8], part: usize, order: &[u8; LANES]) -> V {
    let bytes = &bytes[part * LANES..(part + 1) * LANES];
    // SAFETY: both are 8 readable bytes; the loads are unaligned.
    let (b, order) = unsafe {
        (
            _mm_loadl_epi64(bytes.as_ptr().cast()),
            _mm_loadl_epi64(order.as_ptr().cast()),
        )
    };
    _mm256_cvtepu8_epi32(_mm_shuffle_epi8(b, order))
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(v: i32) -> V {
    _mm256_set1_epi32(v)
}

#[inline]
#[target_feature(enable = "avx2")]
fn mul(a: V, b: V) -> V {
    _mm256_mullo_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn high(t: V) -> V {
    _mm256_srai_epi32::<14>(t)
}

/// Within each 128 bits: word `e` of the four vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(z: [V; 4]) -> [V; 4] {
    let (a, b) = (
        _mm256_unpacklo_epi32(z[0], z[1]),
        _mm256_unpackhi_epi32(z[0], z[1]),
    );
    let (c, d) = (
        _mm256_unpacklo_epi32(z[2], z[3]),
        _mm256_unpackhi_epi32(z[2], z[3]),
    );
    [
        _mm256_unpacklo_epi64(a, c),
        _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d),
        _mm256_unpackhi_epi64(b, d),
    ]
}

/// The low bits of codes 4q..4q + 4 of eight rows of 5 bits (32 codes) or 6, bit 3 downward, other bits of the bytes as they
/// are.
#[inline]
#[target_feature(enable = "avx2")]
fn low_plane<const CODES: usize>(cell: &[u8], part: usize) -> [V; 8] {
    let up = |v: V, n: i32| _mm256_sll_epi16(v, _mm_cvtsi32_si128(n));
    let down = |v: V, n: i32| _mm256_srl_epi16(v, _mm_cvtsi32_si128(n));
    if CODES == 32 {
        let lanes = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
        let w = _mm256_permutevar8x32_epi32(load(cell, 512 + part * 32), lanes);
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
    // Rows 0, 2, 1, 3 and 4, 6, 5, 7.
    let at = 512 + part * 64;
    let (a, b) = (
        _mm256_castsi256_ps(_mm256_permute4x64_epi64::<0xd8>(load(cell, at))),
        _mm256_castsi256_ps(_mm256_permute4x64_epi64::<0xd8>(load(cell, at + 32))),
    );
    let even = _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(a, b));
    let odd = _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(a, b));
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

/// Levels 4q..4q + 4 of eight rows, through a table that holds them raised by `raise`.
#[inline]
#[target_feature(enable = "avx2")]
fn levels<const CODES: usize>(cell: &[u8], part: usize, table: V, raise: i8) -> [V; 8] {
    let mask = _mm256_set1_epi8((CODES - 1).min(15) as i8);
    let look = |i: V| _mm256_shuffle_epi8(table, _mm256_and_si256(i, mask));
    let shift = |v: V, n: u32| _mm256_srl_epi16(v, _mm_cvtsi32_si128(n as i32));
    match CODES {
        2 => {
            let w = load(cell, part * 32);
            let mut l = [w; 8];
            for (q, l) in l.iter_mut().enumerate() {
                *l = look(shift(w, q as u32));
            }
            l
        }
        3 => {
            // Of each byte the digit, its level and the rest: digits go up by one where three times the byte
            // passes 256 and 512.
            // Comparisons have signs, so bytes are lowered by 128, which three times a byte keeps modulo 256.
            let lower = |v: V| _mm256_xor_si256(v, _mm256_set1_epi8(-128));
            // Minus the digit: 0, 3 and 2 in two bits.
            let by_digit = _mm256_shuffle_epi8(table, splat(i32::from_le_bytes([0, 0, 2, 1])));
            let level = |v: V| {
                let from_one = _mm256_cmpgt_epi8(v, _mm256_set1_epi8((85i32 - 128) as i8));
                let from_two = _mm256_cmpgt_epi8(v, _mm256_set1_epi8((170i32 - 128) as i8));
                let digit = _mm256_add_epi8(from_one, from_two);
                let digit = _mm256_and_si256(digit, _mm256_set1_epi8(3));
                _mm256_shuffle_epi8(by_digit, digit)
            };
            let rest = |v: V| _mm256_add_epi8(v, _mm256_add_epi8(v, v));
            let mut w = lower(load(cell, part * 32));
            let mut l = words_of(w);
            for l in &mut l[..5] {
                *l = level(w);
                w = rest(w);
            }
            let pairs = &cell[128 + part * 16..][..16];
            let halves = &cell[192 + part * 4..][..4];
            // SAFETY: they are 16 and 4 readable bytes; the loads are unaligned.
            let (pairs, halves) = unsafe {
                (
                    _mm_loadu_si128(pairs.as_ptr().cast()),
                    _mm_loadu_si32(halves.as_ptr()),
                )
            };
            let pairs = _mm256_cvtepu16_epi32(pairs);
            let first = _mm256_or_si256(pairs, _mm256_slli_epi32::<16>(rest(pairs)));
            let second = rest(rest(first));
            let low = _mm256_and_si256(rest(rest(second)), splat(0xffff));
            let by_row = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
            let half = _mm256_srlv_epi32(_mm256_broadcastd_epi32(halves), by_row);
            let half = _mm256_slli_epi32::<20>(_mm256_and_si256(half, splat(15)));
            let high = _mm256_or_si256(half, _mm256_slli_epi32::<8>(rest(half)));
            l[5] = level(lower(first));
            l[6] = level(lower(second));
            l[7] = level(lower(_mm256_or_si256(low, high)));
            l
        }
        4 | 8 => {
            let at = part * 64;
            let (a, b) = (
                _mm256_castsi256_ps(load(cell, at)),
                _mm256_castsi256_ps(load(cell, at + 32)),
            );
            let words = [
                _mm256_castps_si256(_mm256_shuffle_ps::<0x88>(a, b)),
                _mm256_castps_si256(_mm256_shuffle_ps::<0xdd>(a, b)),
            ];
            let mut l = words_of(words[0]);
            if CODES == 4 {
                for (e, w) in words.into_iter().enumerate() {
                    for s in 0..4 {
                        l[2 * s + e] = look(shift(w, 2 * s as u32));
                    }
                }
                return l;
            }
            // Bit q of a row's byte j in the second plane is the high bit of level 4q + j.
            let lanes = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
            let top = _mm256_permutevar8x32_epi32(load(cell, 256 + part * 32), lanes);
            let m = splat(0x3333_3333);
            let select =
                |a: V, b: V| _mm256_or_si256(_mm256_and_si256(m, a), _mm256_andnot_si256(m, b));
            for (e, w) in words.into_iter().enumerate() {
                let top = shift(top, e as u32);
                let first = select(w, _mm256_slli_epi16::<2>(top));
                let second = select(shift(w, 2), top);
                l[e] = look(first);
                l[4 + e] = look(shift(first, 4));
                l[2 + e] = look(second);
                l[6 + e] = look(shift(second, 4));
            }
            l
        }
        16 => {
            let at = part * 128;
            let w = transpose([
                load(cell, at),
                load(cell, at + 32),
                load(cell, at + 64),
                load(cell, at + 96),
            ]);
            let mut l = words_of(w[0]);
            for (q, w) in w.into_iter().enumerate() {
                l[q] = look(w);
                l[q + 4] = look(shift(w, 4));
            }
            l
        }
        32 | 64 => {
            let at = part * 128;
            let w = transpose([
                load(cell, at),
                load(cell, at + 32),
                load(cell, at + 64),
                load(cell, at + 96),
            ]);
            let low = low_plane::<CODES>(cell, part);
            let mask = _mm256_set1_epi8(if CODES == 32 { 8 } else { 12 });
            let lowest = _mm256_set1_epi8(lowest(CODES, raise as u8) as i8);
            let join = |high: V, low: V| {
                let high = _mm256_and_si256(high, _mm256_set1_epi8(-16));
                _mm256_add_epi8(_mm256_or_si256(high, _mm256_and_si256(low, mask)), lowest)
            };
            let mut l = words_of(w[0]);
            for (q, w) in w.into_iter().enumerate() {
                l[q] = join(_mm256_slli_epi16::<4>(w), low[q]);
                l[q + 4] = join(w, low[q + 4]);
            }
            l
        }
        _ => {
            // A vector is one row; halves of rows j and j + 4 are brought together first.
            let mut halves = [[zero(); 4]; 2];
            for j in 0..4 {
                let at = part * 256 + j * 32;
                let (a, b) = (load(cell, at), load(cell, at + 128));
                halves[0][j] = _mm256_permute2x128_si256::<0x20>(a, b);
                halves[1][j] = _mm256_permute2x128_si256::<0x31>(a, b);
            }
            let [a, b] = halves.map(|h| transpose(h));
            let raise = _mm256_set1_epi8(raise);
            let mut l = words_of(raise);
            for q in 0..4 {
                l[q] = _mm256_xor_si256(a[q], raise);
                l[q + 4] = _mm256_xor_si256(b[q], raise);
            }
            l
        }
    }
}

#[inline(always)]
fn words_of(v: V) -> [V; 8] {
    [v; 8]
}

/// Processors with AVX2 alone.
pub mod plain {
    use super::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn table(tile: &Tile<'_>) -> V {
        load(&spread16(tile, 0), 0)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn decode<const CODES: usize>(cell: &[u8], part: usize, table: V) -> [V; 8] {
        levels::<CODES>(cell, part, table, 0)
    }

    /// |level|·(±code) in pairs of 16 bits: at most 2·128·127 < 2^15. A level may be −128, a code may not.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn dot(l: &[V; 8], x: &[u32], _bias: i32) -> V {
        let ones = _mm256_set1_epi16(1);
        let mut sum = zero();
        for (l, x) in l.iter().zip(x) {
            let x = _mm256_sign_epi8(splat(*x as i32), *l);
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(*l), x);
            sum = add(sum, _mm256_madd_epi16(pairs, ones));
        }
        sum
    }

    tile_kernel!("avx2", 1 2 3 4);
}

macro_rules! vnni_version {
    ($(#[$doc:meta])* $name:ident, $features:literal, $dot:ident) => {
        $(#[$doc])*
        pub mod $name {
            use super::*;

            #[inline]
            #[target_feature(enable = "avx2")]
            fn table(tile: &Tile<'_>) -> V {
                load(&spread16(tile, 128), 0)
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            fn decode<const CODES: usize>(cell: &[u8], part: usize, table: V) -> [V; 8] {
                levels::<CODES>(cell, part, table, -128)
            }

            /// Levels are raised by 128, so `bias` is −128·Σ codes of each group.
            #[inline]
            #[target_feature(enable = $features)]
            fn dot(l: &[V; 8], x: &[u32], bias: i32) -> V {
                let mut sum = splat(bias);
                for (l, x) in l.iter().zip(x) {
                    sum = $dot(sum, *l, splat(*x as i32));
                }
                sum
            }

            tile_kernel!($features, 1 2 3 4);
        }
    };
}

vnni_version!(
    /// Processors with AVX-VNNI: its `vpdpbusd` has the encoding of AVX2.
    vnni,
    "avx2,avxvnni",
    _mm256_dpbusd_avx_epi32
);
vnni_version!(
    /// Processors with AVX-512 VNNI but no byte permutations across a vector.
    vnni_vl,
    "avx2,avx512f,avx512vl,avx512vnni",
    _mm256_dpbusd_epi32
);

/// The table in both halves.
fn spread16(tile: &Tile<'_>, bias: u8) -> [u8; 32] {
    let table = spread(tile.encoding, tile.table, bias);
    core::array::from_fn(|i| table[i % 16])
}
