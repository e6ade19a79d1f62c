//! The IQ types whose codes are points of a grid, 4 or 8 weights at a time: blocks of 256 in groups, each with a
//! scale of 3 or 4 bits, and an f16 of the block. Signs are bits of their own, but in IQ1, whose points have them.

use super::points::{IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
use super::{blocks, half_at, short_at, word_at};

/// Weights of a point of an IQ3 grid; a byte of signs serves two.
const HALF: usize = 4;
/// What is added to or taken from the points of IQ1 (`IQ1S_DELTA`).
const DELTA: f32 = 0.125;

/// Signs of eight weights by seven bits: the eighth makes the number of minus signs even.
#[inline(always)]
fn even_signs(index: u32) -> u8 {
    let low = (index & 127) as u8;
    low | ((low.count_ones() & 1) as u8) << 7
}

/// `scale·level`, less than zero where the sign's bit is set.
#[inline(always)]
fn put(scale: f32, point: &[i8], signs: u8, dst: &mut [f32]) {
    for (i, (d, level)) in dst.iter_mut().zip(point).enumerate() {
        let value = scale * f32::from(*level);
        *d = if signs >> i & 1 == 1 { -value } else { value };
    }
}

/// The four bits of group `g`, two groups to a byte from the low half on.
#[inline(always)]
fn nibble(bytes: &[u8], g: usize) -> u8 {
    bytes[g / 2] >> (4 * (g % 2)) & 15
}

/// `block_iq2_xxs`: f16; for each group of 32 weights four codes of 8 bits, then in a u32 four times 7 bits of signs
/// and above them the scale; `f16·(0.5 + scale)/4`.
pub(super) fn iq2_xxs(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 66], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (g, d) in d.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let codes = &s[2 + 8 * g..];
            let signs = word_at(s, 6 + 8 * g);
            let scale = of_scales * (0.5 + (signs >> 28) as f32) * 0.25;
            for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                let point = &IQ2_XXS[usize::from(codes[i])];
                put(scale, point, even_signs(signs >> (7 * i)), d);
            }
        }
    });
}

/// `block_iq2_xs`: f16; u16 of a code of 9 bits and 7 bits of signs for 8 weights each; for each 16 weights a scale of
/// 4 bits; `f16·(0.5 + scale)/4`.
pub(super) fn iq2_xs(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 74], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let code = short_at(s, 2 + 2 * i);
            let scale = of_scales * (0.5 + f32::from(nibble(&s[66..], i / 2))) * 0.25;
            let point = &IQ2_XS[usize::from(code & 511)];
            put(scale, point, even_signs(u32::from(code >> 9)), d);
        }
    });
}

/// `block_iq2_s`: f16; low 8 bits of 32 codes; a byte of signs for each; their high 2 bits, four to a byte; for each 16
/// weights a scale of 4 bits; `f16·(0.5 + scale)/4`.
pub(super) fn iq2_s(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 82], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let high = u16::from(s[66 + i / 4] >> (2 * (i % 4)) & 3);
            let scale = of_scales * (0.5 + f32::from(nibble(&s[74..], i / 2))) * 0.25;
            let point = &IQ2_S[usize::from(high << 8 | u16::from(s[2 + i]))];
            put(scale, point, s[34 + i], d);
        }
    });
}

/// `block_iq3_xxs`: f16; 64 codes of 8 bits, for 4 weights each; for each 32 weights a u32 of four times 7 bits of signs
/// and above them the scale; `f16·(0.5 + scale)/2`.
pub(super) fn iq3_xxs(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 98], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let signs = word_at(s, 66 + i / 4 * 4);
            let scale = of_scales * (0.5 + (signs >> 28) as f32) * 0.5;
            let signs = even_signs(signs >> (7 * (i % 4)));
            let (first, second) = d.split_at_mut(HALF);
            put(scale, &IQ3_XXS[usize::from(s[2 + 2 * i])], signs, first);
            let code = usize::from(s[3 + 2 * i]);
            put(scale, &IQ3_XXS[code], signs >> HALF, second);
        }
    });
}

/// `block_iq3_s`: f16; low 8 bits of 64 codes, for 4 weights each; their ninth bits; a byte of signs for each 8 weights; for
/// each 32 weights a scale of 4 bits; `f16·(1 + 2·scale)`.
pub(super) fn iq3_s(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 110], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (i, d) in d.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
            let ninth = u16::from(s[66 + i / 8] >> (i % 8) & 1);
            let scale = of_scales * f32::from(1 + 2 * nibble(&s[106..], i / 8));
            let point = &IQ3_S[usize::from(ninth << 8 | u16::from(s[2 + i]))];
            put(scale, point, s[74 + i / 2] >> (HALF * (i % 2)), d);
        }
    });
}

/// `scale·(level ± 1/8)`.
#[inline(always)]
fn put_shifted(scale: f32, code: u16, minus: bool, dst: &mut [f32; 8]) {
    let delta = if minus { -DELTA } else { DELTA };
    for (d, level) in dst.iter_mut().zip(&IQ1_S[usize::from(code & 2047)]) {
        *d = scale * (f32::from(*level) + delta);
    }
}

/// `block_iq1_s`: f16; low 8 bits of 32 codes, for 8 weights each; for each 32 weights a u16 of four times 3 high bits, 3
/// bits of scale and the sign of the shift; `f16·(1 + 2·scale)`.
pub(super) fn iq1_s(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 50], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let of_group = short_at(s, 34 + i / 4 * 2);
            let scale = of_scales * f32::from(1 + 2 * (of_group >> 12 & 7));
            let high = of_group >> (3 * (i % 4)) & 7;
            let code = high << 8 | u16::from(s[2 + i]);
            put_shifted(scale, code, of_group >> 15 == 1, d);
        }
    });
}

/// `block_iq1_m`: low 8 bits of 32 codes, for 8 weights each; for each a half byte of 3 high bits and the sign of the
/// shift; four u16 of four scales of 3 bits for 16 weights each, and in their highest four bits, from the first's low
/// ones on, the f16; `f16·(1 + 2·scale)`.
pub(super) fn iq1_m(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 56], d: &mut [f32; 256]| {
        let words = [48, 50, 52, 54].map(|at| short_at(s, at));
        let bits = words.iter().rev().fold(0, |b, w| b << 4 | w >> 12);
        let of_scales = half::f16::from_bits(bits).to_f32();
        for (i, d) in d.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let scale = words[i / 8] >> (3 * (i / 2 % 4)) & 7;
            let scale = of_scales * f32::from(1 + 2 * scale);
            let half = nibble(&s[32..], i);
            let code = u16::from(half & 7) << 8 | u16::from(s[i]);
            put_shifted(scale, code, half & 8 != 0, d);
        }
    });
}
