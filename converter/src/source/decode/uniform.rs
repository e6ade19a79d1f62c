//! Blocks, most of them of 32, with one f16 scale, and in the types `_1` an f16 minimum, over evenly spaced codes.
//! Codes of 4 bits lie two to a byte: element `i` in the low half of byte `i`, element `16 + i` in the
//! high half. Fifth bits lie in four bytes, element `i` in bit `i`.

use super::{blocks, half_at};

/// `block_q4_0`: scale, codes; `scale·(code − 8)`.
pub(super) fn q4_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 18], d: &mut [f32; 32]| {
        let scale = half_at(s, 0);
        for i in 0..16 {
            let byte = s[2 + i];
            d[i] = scale * f32::from((byte & 15) as i8 - 8);
            d[16 + i] = scale * f32::from((byte >> 4) as i8 - 8);
        }
    });
}

/// `block_q4_1`: scale, minimum, codes; `scale·code + minimum`.
pub(super) fn q4_1(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 20], d: &mut [f32; 32]| {
        let (scale, min) = (half_at(s, 0), half_at(s, 2));
        for i in 0..16 {
            let byte = s[4 + i];
            d[i] = scale * f32::from(byte & 15) + min;
            d[16 + i] = scale * f32::from(byte >> 4) + min;
        }
    });
}

/// `block_q5_0`: scale, fifth bits, codes; `scale·(code − 16)`.
pub(super) fn q5_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 22], d: &mut [f32; 32]| {
        let scale = half_at(s, 0);
        let high = u32::from_le_bytes([s[2], s[3], s[4], s[5]]);
        for i in 0..16 {
            let (low, up) = fives(s[6 + i], high, i);
            d[i] = scale * f32::from(low as i8 - 16);
            d[16 + i] = scale * f32::from(up as i8 - 16);
        }
    });
}

/// `block_q5_1`: scale, minimum, fifth bits, codes; `scale·code + minimum`.
pub(super) fn q5_1(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 24], d: &mut [f32; 32]| {
        let (scale, min) = (half_at(s, 0), half_at(s, 2));
        let high = u32::from_le_bytes([s[4], s[5], s[6], s[7]]);
        for i in 0..16 {
            let (low, up) = fives(s[8 + i], high, i);
            d[i] = scale * f32::from(low) + min;
            d[16 + i] = scale * f32::from(up) + min;
        }
    });
}

/// Codes `i` and `16 + i` of 5 bits.
#[inline(always)]
fn fives(byte: u8, high: u32, i: usize) -> (u8, u8) {
    let bit = |i: usize| ((high >> i & 1) << 4) as u8;
    (byte & 15 | bit(i), byte >> 4 | bit(16 + i))
}

/// `block_q8_0`: scale, 32 int8; `scale·code`.
pub(super) fn q8_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 34], d: &mut [f32; 32]| {
        let scale = half_at(s, 0);
        for (d, q) in d.iter_mut().zip(&s[2..]) {
            *d = f32::from(*q as i8) * scale;
        }
    });
}

/// `block_q1_0`: scale, 128 bits, the lowest of a byte first; −scale or scale.
pub(super) fn q1_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 18], d: &mut [f32; 128]| {
        let scale = half_at(s, 0);
        for (d, byte) in d.as_chunks_mut::<8>().0.iter_mut().zip(&s[2..]) {
            for (i, d) in d.iter_mut().enumerate() {
                *d = if byte >> i & 1 == 1 { scale } else { -scale };
            }
        }
    });
}

/// `block_q2_0`: scale, 64 codes of 2 bits, the lowest of a byte first; `scale·(code − 1)`.
pub(super) fn q2_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 18], d: &mut [f32; 64]| twos(s, d));
}

/// `block_pq2_0`: as `block_q2_0` with 128 codes.
pub(super) fn pq2_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 34], d: &mut [f32; 128]| twos(s, d));
}

/// A scale and codes of 2 bits.
#[inline(always)]
fn twos<const BYTES: usize>(s: &[u8; BYTES], dst: &mut [f32]) {
    let scale = half_at(s, 0);
    for (d, byte) in dst.as_chunks_mut::<4>().0.iter_mut().zip(&s[2..]) {
        for (i, d) in d.iter_mut().enumerate() {
            *d = scale * f32::from((byte >> (2 * i) & 3) as i8 - 1);
        }
    }
}
