//! The end of rows, eight at a time; see [`crate::cpu::linear_tile_q`] for what is computed.

use crate::cpu::linear_tile_q;
use std::arch::x86_64::*;

/// [`linear_tile_q::epilogue`], the same integers.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
pub fn epilogue(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) {
    let rows = sums.chunks(8).zip(scales.chunks(8)).zip(out.chunks_mut(8));
    for ((sums, scales), out) in rows {
        if !eight(sums, scales, mantissa, shift, out) {
            linear_tile_q::epilogue(sums, scales, mantissa, shift, out);
        }
    }
}

/// At most eight rows. False, and nothing written, where a shift is not in 0..=62.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
fn eight(sums: &[i64], scales: &[u32], mantissa: u32, shift: i32, out: &mut [i32]) -> bool {
    let len = out.len().min(sums.len()).min(scales.len());
    let mask = (0xffu32 >> (8 - len.min(8))) as u8;
    // SAFETY: of both slices `len` elements are readable; the others of the mask are not read.
    let (sum, scale) = unsafe {
        (
            _mm512_maskz_loadu_epi64(mask, sums.as_ptr()),
            _mm256_maskz_loadu_epi32(mask, scales.as_ptr().cast()),
        )
    };
    // Both mantissas have 16 bits: the product is below 2^32, in 64-bit lanes.
    let mantissas = _mm512_cvtepu32_epi64(_mm256_and_si256(scale, _mm256_set1_epi32(0xffff)));
    let unit = _mm512_mul_epu32(mantissas, _mm512_set1_epi64(i64::from(mantissa)));
    let exponent = _mm512_cvtepi32_epi64(_mm256_srai_epi32::<16>(scale));
    // Bits above 30.
    let bits = _mm512_lzcnt_epi64(_mm512_abs_epi64(sum));
    let zero = _mm512_setzero_si512();
    let drop = _mm512_max_epi64(_mm512_sub_epi64(_mm512_set1_epi64(34), bits), zero);
    let shift = _mm512_sub_epi64(_mm512_set1_epi64(i64::from(shift)), exponent);
    let shift = _mm512_sub_epi64(shift, drop);
    if _mm512_mask_cmpgt_epu64_mask(mask, shift, _mm512_set1_epi64(62)) != 0 {
        return false;
    }
    let n = round(sum, drop);
    let result = round(_mm512_mullo_epi64(n, unit), shift);
    let most = _mm512_set1_epi64(0x7fff_ffff);
    let least = _mm512_set1_epi64(-0x7fff_ffff);
    let result = _mm512_max_epi64(_mm512_min_epi64(result, most), least);
    // SAFETY: `len` elements of `out` are writable; the others of the mask are not written.
    unsafe {
        _mm256_mask_storeu_epi32(out.as_mut_ptr(), mask, _mm512_cvtepi64_epi32(result));
    }
    true
}

/// `v · 2^-s`, rounded half up, s in 0..=62.
#[inline]
#[target_feature(enable = "avx512f")]
fn round(v: __m512i, s: __m512i) -> __m512i {
    let half = _mm512_srli_epi64::<1>(_mm512_sllv_epi64(_mm512_set1_epi64(1), s));
    _mm512_srav_epi64(_mm512_add_epi64(v, half), s)
}
