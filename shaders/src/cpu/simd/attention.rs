//! The attention's inner loops by instruction set; every version gives the integers of the definition
//! (`reference/attn_block_q8.rs`).

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::avx512::queries;
use crate::cpu::attn_block_q8::{Block, Pass, dots, weigh};

/// One block of one head by the instructions of `isa`, which the processor has.
pub fn attend(isa: Isa, block: &Block<'_>, out: &mut [u32]) {
    match isa {
        Isa::Portable => block.attend(dots, weigh, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vl => {
            assert!(is_x86_feature_detected!("avx2"));
            // SAFETY: the processor has AVX2, as was asked just above.
            unsafe { avx2::attend(block, out) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            assert!(isa.supported());
            // SAFETY: the processor has the version's instructions, as was asked just above.
            unsafe { avx512::attend(block, out) }
        }
        // As the compiler makes vectors of it.
        #[cfg(all(wide_isa, not(target_arch = "x86_64")))]
        _ => block.attend(dots, weigh, out),
    }
}

/// Whether [`band`] has a version for `isa`.
pub fn has_bands(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa == Isa::Avx512;
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        false
    }
}

/// The rows from `first` on, as many as `out` has partial results for, by the version of `isa` that takes many queries at once.
///
/// Panics where there is none: see [`has_bands`].
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
pub fn band(isa: Isa, pass: &Pass<'_>, first: usize, out: &mut [u32]) {
    assert!(has_bands(isa) && isa.supported());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the version's instructions, as was asked just above.
    unsafe {
        queries::band(pass, first, out)
    };
}

/// Bytes that [`band`] keeps in a thread for pages of so many groups, of which parts may have 4 bits.
pub fn page_bytes(groups: usize, narrow: u32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if Isa::get() == Isa::Avx512 {
        return queries::page_bytes(groups, narrow);
    }
    let _ = (groups, narrow);
    0
}

#[cfg(target_arch = "x86_64")]
pub use avx2::widen as widen_group;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use crate::cpu::attn_block_q8::Block;
    use crate::cpu::groups::{Codes, LEVELS, Part};
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn load(codes: &Codes) -> __m256i {
        // SAFETY: `codes` is 32 readable bytes; the load is unaligned.
        unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
    }

    /// Levels of codes of 4 bits, by a table that is a vector.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn levels(bytes: &[u8; 16]) -> __m256i {
        // SAFETY: both are 16 readable bytes; the loads are unaligned.
        let (table, codes) = unsafe {
            (
                _mm_loadu_si128(LEVELS.as_ptr().cast()),
                _mm_loadu_si128(bytes.as_ptr().cast()),
            )
        };
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(codes), codes);
        let both = _mm256_and_si256(both, _mm256_set1_epi8(15));
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), both)
    }

    /// The same, stored.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn widen(bytes: &[u8; 16], out: &mut Codes) {
        // SAFETY: `out` is 32 writable bytes; the store is unaligned.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), levels(bytes)) };
    }

    #[target_feature(enable = "avx2")]
    pub fn attend(block: &Block<'_>, out: &mut [u32]) {
        block.attend(
            |q, keys, out| dots(q, keys, out),
            |weights, values, sums| weigh(weights, values, sums),
            out,
        );
    }

    /// The 32 codes as 16 bits, in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(codes: __m256i) -> [__m256i; 2] {
        [
            _mm256_cvtepi8_epi16(_mm256_castsi256_si128(codes)),
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(codes)),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn dots(q: &[i16; 32], keys: &Part<'_>, out: &mut [i32]) {
        match keys {
            Part::Eight(rows) => dots_of(q, |i| load(rows.get(i, &mut [0; 32])), out),
            Part::Four(packed) => dots_of(q, |i| levels(packed.get(i)), out),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn dots_of(q: &[i16; 32], key: impl Fn(usize) -> __m256i, out: &mut [i32]) {
        // SAFETY: `q` is 64 readable bytes; the loads are unaligned.
        let (a, b) = unsafe {
            (
                _mm256_loadu_si256(q.as_ptr().cast()),
                _mm256_loadu_si256(q.as_ptr().add(16).cast()),
            )
        };
        for (i, out) in out.iter_mut().enumerate() {
            let [x, y] = halves(key(i));
            let sum = _mm256_add_epi32(_mm256_madd_epi16(a, x), _mm256_madd_epi16(b, y));
            let sum = _mm_add_epi32(
                _mm256_castsi256_si128(sum),
                _mm256_extracti128_si256::<1>(sum),
            );
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
            *out = _mm_cvtsi128_si32(sum);
        }
    }

    /// Weights have 16 bits without a sign, the multiplier's 16 have one: `w = 256·(w >> 8) + (w & 255)`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn weigh(weights: &[u16], values: &Part<'_>, sums: &mut [i32; 32]) {
        match values {
            Part::Eight(rows) => weigh_of(weights, |i| load(rows.get(i, &mut [0; 32])), sums),
            Part::Four(packed) => weigh_of(weights, |i| levels(packed.get(i)), sums),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn weigh_of(weights: &[u16], value: impl Fn(usize) -> __m256i, sums: &mut [i32; 32]) {
        // Of both halves of a weight: elements 0..4 and 8..12 of the first sixteen, then 4..8 and 12..16, and so of the
        // second, those of two positions side by side.
        let (mut high, mut low) = ([_mm256_setzero_si256(); 4], [_mm256_setzero_si256(); 4]);
        for (i, pair) in weights.chunks(2).enumerate() {
            let last = pair.len() - 1;
            let w = [pair[0], if last > 0 { pair[1] } else { 0 }].map(i32::from);
            let both = |f: &dyn Fn(i32) -> i32| _mm256_set1_epi32(f(w[0]) | f(w[1]) << 16);
            let weight = [both(&|w| w >> 8), both(&|w| w & 255)];
            let a = halves(value(2 * i));
            let b = halves(value(2 * i + last));
            for half in 0..2 {
                let parts = [
                    _mm256_unpacklo_epi16(a[half], b[half]),
                    _mm256_unpackhi_epi16(a[half], b[half]),
                ];
                for (j, v) in parts.into_iter().enumerate() {
                    let at = 2 * half + j;
                    high[at] = _mm256_add_epi32(high[at], _mm256_madd_epi16(v, weight[0]));
                    low[at] = _mm256_add_epi32(low[at], _mm256_madd_epi16(v, weight[1]));
                }
            }
        }
        for half in 0..2 {
            let whole = |at: usize| _mm256_add_epi32(_mm256_slli_epi32::<8>(high[at]), low[at]);
            let (first, second) = (whole(2 * half), whole(2 * half + 1));
            let ordered = [
                _mm256_permute2x128_si256::<0x20>(first, second),
                _mm256_permute2x128_si256::<0x31>(first, second),
            ];
            for (i, v) in ordered.into_iter().enumerate() {
                let part = &mut sums[half * 16 + i * 8..][..8];
                // SAFETY: `part` is 32 writable bytes; the store is unaligned.
                unsafe { _mm256_storeu_si256(part.as_mut_ptr().cast(), v) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::avx2::{levels, load};
    use crate::cpu::attn_block_q8::Block;
    use crate::cpu::groups::{LEVELS, Part};
    use crate::params::PAGE;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    pub fn attend(block: &Block<'_>, out: &mut [u32]) {
        block.attend(
            |q, keys, out| dots(q, keys, out),
            |weights, values, sums| weigh(weights, values, sums),
            out,
        );
    }

    /// Sixteen keys at a time: sixteen vectors of partial sums become one of sums.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn dots(q: &[i16; 32], keys: &Part<'_>, out: &mut [i32]) {
        match keys {
            Part::Eight(rows) => {
                dots_of(q, rows.len, |i| load(rows.get(i, &mut [0; 32])), out);
            }
            Part::Four(packed) => dots_of(q, packed.len, |i| levels(packed.get(i)), out),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn dots_of(q: &[i16; 32], len: usize, key: impl Fn(usize) -> __m256i, out: &mut [i32]) {
        // SAFETY: `q` is 64 readable bytes; the load is unaligned.
        let q = unsafe { _mm512_loadu_si512(q.as_ptr().cast()) };
        for (i, out) in out.chunks_mut(16).enumerate() {
            let product = |j: usize| {
                // Past the end: the last one's again, whose sum is not kept.
                let codes = _mm512_cvtepi8_epi16(key((i * 16 + j).min(len - 1)));
                _mm512_dpwssd_epi32(_mm512_setzero_si512(), q, codes)
            };
            // Lane 4·n + k of `quad(j)` is a part of the sum of key j + k, for each n.
            let quad = |j: usize| {
                let pair = |a: __m512i, b: __m512i| {
                    _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b))
                };
                let a = pair(product(j), product(j + 1));
                let b = pair(product(j + 2), product(j + 3));
                _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b))
            };
            // The 128-bit parts of four quads, added: first those of two halves, then of two quarters.
            let halves = |a: __m512i, b: __m512i| {
                _mm512_add_epi32(
                    _mm512_shuffle_i64x2::<0x88>(a, b),
                    _mm512_shuffle_i64x2::<0xdd>(a, b),
                )
            };
            let (a, b) = (halves(quad(0), quad(4)), halves(quad(8), quad(12)));
            let sums = halves(a, b);
            let mut all = [0i32; 16];
            // SAFETY: `all` is 64 writable bytes; the store is unaligned.
            unsafe { _mm512_storeu_si512(all.as_mut_ptr().cast(), sums) };
            out.copy_from_slice(&all[..out.len()]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    fn weigh(weights: &[u16], values: &Part<'_>, sums: &mut [i32; 32]) {
        // Byte 4·d + t of the result is byte d of position t, of `stride` bytes each.
        let index = |stride: usize, first: usize| {
            let mut index = [0u8; 64];
            for (i, index) in index.iter_mut().enumerate() {
                *index = (i % 4 * stride + first + i / 4) as u8;
            }
            // SAFETY: `index` is 64 readable bytes; the load is unaligned.
            unsafe { _mm512_loadu_si512(index.as_ptr().cast()) }
        };
        match values {
            Part::Eight(rows) => {
                // Positions 0 and 1, then 2 and 3.
                let index = [index(32, 0), index(32, 16)];
                let four = |first: usize| {
                    // Past the end: the last one's again, by a weight of 0.
                    let at = |t: usize| load(rows.get((first + t).min(rows.len - 1), &mut [0; 32]));
                    let two = |t: usize| {
                        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(at(t)), at(t + 1))
                    };
                    let (a, b) = (two(0), two(2));
                    index.map(|index| _mm512_permutex2var_epi8(a, index, b))
                };
                weigh_of(weights, four, sums);
            }
            Part::Four(packed) => {
                let index = index(16, 0);
                // SAFETY: the table is 16 readable bytes; the load is unaligned.
                let table = unsafe { _mm_loadu_si128(LEVELS.as_ptr().cast()) };
                let table = _mm512_broadcast_i32x4(table);
                let low = _mm512_set1_epi8(15);
                let four = |first: usize| {
                    let at = |t: usize| {
                        let bytes = packed.get((first + t).min(packed.len - 1));
                        // SAFETY: a group is 16 readable bytes; the load is unaligned.
                        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
                    };
                    let codes = _mm512_castsi128_si512(at(0));
                    let codes = _mm512_inserti32x4::<1>(codes, at(1));
                    let codes = _mm512_inserti32x4::<2>(codes, at(2));
                    let codes = _mm512_inserti32x4::<3>(codes, at(3));
                    [codes, _mm512_srli_epi16::<4>(codes)].map(|half| {
                        let levels = _mm512_shuffle_epi8(table, _mm512_and_si512(half, low));
                        _mm512_permutexvar_epi8(index, levels)
                    })
                };
                weigh_of(weights, four, sums);
            }
        }
    }

    /// Four positions at a time, which `four` gives from the first on, with the four bytes of a dimension beside each other:
    /// of dimensions 0 to 15, then of 16 to 31. Weights are two bytes, of which `vpdpbusd` takes four.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    fn weigh_of(weights: &[u16], four: impl Fn(usize) -> [__m512i; 2], sums: &mut [i32; 32]) {
        // Both bytes of the weights apart; those past the end are 0.
        let mut bytes = [[0u8; PAGE as usize + 4]; 2];
        let [lows, highs] = &mut bytes;
        for ((low, high), w) in lows.iter_mut().zip(highs).zip(weights) {
            (*low, *high) = (*w as u8, (*w >> 8) as u8);
        }
        let mut low = [_mm512_setzero_si512(); 2];
        let mut high = low;
        for first in (0..weights.len()).step_by(4) {
            let of = |b: &[u8]| {
                let four = [b[first], b[first + 1], b[first + 2], b[first + 3]];
                _mm512_set1_epi32(i32::from_le_bytes(four))
            };
            let (w_low, w_high) = (of(&bytes[0]), of(&bytes[1]));
            let v = four(first);
            for half in 0..2 {
                low[half] = _mm512_dpbusd_epi32(low[half], w_low, v[half]);
                high[half] = _mm512_dpbusd_epi32(high[half], w_high, v[half]);
            }
        }
        for half in 0..2 {
            let sum = _mm512_add_epi32(low[half], _mm512_slli_epi32::<8>(high[half]));
            let out = &mut sums[half * 16..][..16];
            // SAFETY: `out` is 64 writable bytes; the store is unaligned.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}
