//! The K types: blocks of 256 in 8 or 16 groups, each with an integer scale, and in some an integer
//! minimum, times an f16 of the block.
//!
//! Codes lie in planes: a run of 32 bytes holds, in its lowest bits, 32 consecutive elements, in the
//! bits above the next 32, and so on.

use super::{blocks, half_at, word_at};

/// `block_q2_K`: 16 bytes of a scale (low half) and a minimum (high half) for 16 elements each, codes
/// of 2 bits, f16 of the scales, f16 of the minima; `scale·code − minimum`.
pub(super) fn q2(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 84], d: &mut [f32; 256]| {
        let (scale, min) = (half_at(s, 80), half_at(s, 82));
        for (g, d) in d.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let of = s[g];
            let (scale, min) = (scale * f32::from(of & 15), min * f32::from(of >> 4));
            for (d, q) in d.iter_mut().zip(&s[16 + run(g)..]) {
                *d = scale * f32::from(q >> shift(g) & 3) - min;
            }
        }
    });
}

/// `block_q3_K`: third bits, where 0 means −4; codes of 2 bits; 12 bytes of 16 scales of 6 bits with
/// the offset 32; f16.
pub(super) fn q3(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 110], d: &mut [f32; 256]| {
        let scale = half_at(s, 108);
        let packed = &s[96..108];
        for (g, d) in d.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let low = packed[g % 8] >> (4 * (g / 8)) & 15;
            let high = packed[8 + g % 4] >> (2 * (g / 4)) & 3;
            let scale = scale * f32::from((low | high << 4) as i8 - 32);
            let codes = s[32 + run(g)..].iter().zip(&s[16 * (g % 2)..]);
            for (d, (q, h)) in d.iter_mut().zip(codes) {
                let third = (h >> (g / 2) & 1) as i8;
                *d = scale * f32::from((q >> shift(g) & 3) as i8 - 4 + 4 * third);
            }
        }
    });
}

/// First byte of group `g` of 16 codes of 2 bits.
#[inline(always)]
fn run(g: usize) -> usize {
    32 * (g / 8) + 16 * (g % 2)
}

/// Lowest bit of group `g` of 16 codes of 2 bits.
#[inline(always)]
fn shift(g: usize) -> usize {
    2 * (g / 2 % 4)
}

/// Scale and minimum of the group `g` of 32, 6 bits each, out of 12 bytes.
#[inline(always)]
fn scale_and_min(packed: &[u8], g: usize) -> (f32, f32) {
    let (scale, min) = if g < 4 {
        (packed[g] & 63, packed[4 + g] & 63)
    } else {
        let (scale, min, low) = (packed[g - 4], packed[g], packed[4 + g]);
        (low & 15 | scale >> 6 << 4, low >> 4 | min >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// `block_q4_K`: f16 of the scales, f16 of the minima, 12 bytes of both, codes of 4 bits;
/// `scale·code − minimum`.
pub(super) fn q4(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 144], d: &mut [f32; 256]| {
        let (of_scales, of_mins) = (half_at(s, 0), half_at(s, 2));
        for (g, d) in d.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&s[4..16], g);
            let (scale, min) = (of_scales * scale, of_mins * min);
            for (d, q) in d.iter_mut().zip(&s[16 + 32 * (g / 2)..]) {
                *d = scale * f32::from(q >> (4 * (g % 2)) & 15) - min;
            }
        }
    });
}

/// `block_q5_K`: as `block_q4_K` with 32 bytes of fifth bits, a bit a group, before the codes.
pub(super) fn q5(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 176], d: &mut [f32; 256]| {
        let (of_scales, of_mins) = (half_at(s, 0), half_at(s, 2));
        for (g, d) in d.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_and_min(&s[4..16], g);
            let (scale, min) = (of_scales * scale, of_mins * min);
            let codes = s[48 + 32 * (g / 2)..].iter().zip(&s[16..48]);
            for (d, (q, h)) in d.iter_mut().zip(codes) {
                let code = q >> (4 * (g % 2)) & 15 | (h >> g & 1) << 4;
                *d = scale * f32::from(code) - min;
            }
        }
    });
}

/// `block_q6_K`: low 4 bits in planes of 64 elements, high 2 bits in planes of 32, 16 int8 scales, f16;
/// `scale·(code − 32)`.
pub(super) fn q6(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 210], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 208);
        for (g, d) in d.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = of_scales * f32::from(s[192 + g] as i8);
            let low = &s[64 * (g / 8) + 16 * (g % 4)..];
            for (d, (l, h)) in d.iter_mut().zip(low.iter().zip(&s[128 + run(g)..])) {
                let code = l >> (4 * (g / 4 % 2)) & 15 | (h >> shift(g) & 3) << 4;
                *d = scale * f32::from(code as i8 - 32);
            }
        }
    });
}

/// `block_q8_K`: f32, 256 int8, sums of 16 codes each that are not read; `scale·code`.
pub(super) fn q8(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 292], d: &mut [f32; 256]| {
        let scale = f32::from_bits(word_at(s, 0));
        for (d, q) in d.iter_mut().zip(&s[4..260]) {
            *d = scale * f32::from(*q as i8);
        }
    });
}
