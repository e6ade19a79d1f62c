//! The attention's inner loops by instruction set; every version gives the integers of
//! [`Block::attend`] with plain Rust.

use super::Isa;
use crate::cpu::attn_block_q8::{Block, add, dot};

/// One block of one head by the instructions of `isa`, which the processor has.
pub fn attend(isa: Isa, block: &Block<'_>, out: &mut [u32]) {
    match isa {
        Isa::Portable => block.attend(dot, add, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vl | Isa::Avx512 => {
            assert!(is_x86_feature_detected!("avx2"));
            // SAFETY: the processor has AVX2, as was asked just above.
            unsafe { avx2::attend(block, out) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use crate::cpu::attn_block_q8::{Block, Codes, Pair};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub fn attend(block: &Block<'_>, out: &mut [u32]) {
        block.attend(|q, k| dot(q, k), |sums, pair| add(sums, pair), out);
    }

    /// The 32 codes as 16 bits, in order.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn widen(codes: &Codes) -> [__m256i; 2] {
        // SAFETY: `codes` is 32 readable bytes; the loads are unaligned.
        let (a, b) = unsafe {
            (
                _mm_loadu_si128(codes.as_ptr().cast()),
                _mm_loadu_si128(codes.as_ptr().add(16).cast()),
            )
        };
        [_mm256_cvtepi8_epi16(a), _mm256_cvtepi8_epi16(b)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn dot(q: &[i16; 32], k: &Codes) -> i32 {
        // SAFETY: `q` is 64 readable bytes; the loads are unaligned.
        let (a, b) = unsafe {
            (
                _mm256_loadu_si256(q.as_ptr().cast()),
                _mm256_loadu_si256(q.as_ptr().add(16).cast()),
            )
        };
        let [x, y] = widen(k);
        let sum = _mm256_add_epi32(_mm256_madd_epi16(a, x), _mm256_madd_epi16(b, y));
        let sum = _mm_add_epi32(
            _mm256_castsi256_si128(sum),
            _mm256_extracti128_si256::<1>(sum),
        );
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum));
        _mm_cvtsi128_si32(sum)
    }

    /// Weights have 16 bits without a sign, the multiplier's 16 have one: `w = 256·(w >> 8) + (w & 255)`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(sums: &mut [i32; 32], pair: &Pair<'_>) {
        let both = |f: &dyn Fn(u16) -> u16| {
            let [a, b] = pair.weights.map(|w| i32::from(f(w)));
            _mm256_set1_epi32(a | b << 16)
        };
        let (high, low) = (both(&|w| w >> 8), both(&|w| w & 255));
        let [a, b] = pair.values.map(|v| widen(v));
        for half in 0..2 {
            // Elements 0..4 and 8..12 of the sixteen, then 4..8 and 12..16, those of both positions side by side.
            let first = _mm256_unpacklo_epi16(a[half], b[half]);
            let second = _mm256_unpackhi_epi16(a[half], b[half]);
            let weighted = |v: __m256i| {
                _mm256_add_epi32(
                    _mm256_slli_epi32::<8>(_mm256_madd_epi16(v, high)),
                    _mm256_madd_epi16(v, low),
                )
            };
            let (first, second) = (weighted(first), weighted(second));
            let ordered = [
                _mm256_permute2x128_si256::<0x20>(first, second),
                _mm256_permute2x128_si256::<0x31>(first, second),
            ];
            for (i, v) in ordered.into_iter().enumerate() {
                let part = &mut sums[half * 16 + i * 8..][..8];
                // SAFETY: `part` is 32 bytes that may be read and written; both are unaligned.
                unsafe {
                    let sum = _mm256_loadu_si256(part.as_ptr().cast());
                    let sum = _mm256_add_epi32(sum, v);
                    _mm256_storeu_si256(part.as_mut_ptr().cast(), sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::attn_block_q8::{Codes, Pair};

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn extremes_are_exact() {
        // What the tests of the kernel reach only by chance.
        let all = |v: i8| -> Codes { [v; 32] };
        for (q, k) in [(2047, 127), (-2047, 127), (2047, -127), (-2047, -127)] {
            assert_eq!(dot(&[q; 32], &all(k)), 32 * i32::from(q) * i32::from(k));
        }
        for w in [[u16::MAX, u16::MAX], [0, u16::MAX], [255, 256], [65_280, 0]] {
            for (a, b) in [(127, 127), (-127, 127), (-127, -127)] {
                let mut sums = [0; 32];
                let (a, b) = (all(a), all(b));
                let pair = Pair {
                    weights: w,
                    values: [&a, &b],
                };
                add(&mut sums, &pair);
                let expected =
                    i32::from(w[0]) * i32::from(a[0]) + i32::from(w[1]) * i32::from(b[0]);
                assert_eq!(sums, [expected; 32]);
            }
        }
    }
}
