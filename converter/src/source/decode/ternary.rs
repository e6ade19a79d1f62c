//! Blocks of codes of −1, 0 and 1 times an f16.

use super::{blocks, half_at};

/// `block_tq1_0`: five codes to a byte as digits of a fraction in base 3, first digit highest. 32 bytes
/// hold 5 planes of 32 elements, 16 bytes 5 planes of 16, 4 bytes 4 planes of 4; then the f16.
pub(super) fn tq1_0(src: &[u8], dst: &mut [f32]) {
    planes::<54, 256>(src, dst);
}

/// `block_ptq1_0`: as `block_tq1_0` with 128 codes: 16 bytes of 5 planes, 8 of 5, 2 of 4; then the f16.
pub(super) fn ptq1_0(src: &[u8], dst: &mut [f32]) {
    planes::<28, 128>(src, dst);
}

/// Blocks of `BYTES` bytes and `CODES` codes: an eighth as many bytes of five planes, half of that, then a quarter of that of four.
fn planes<const BYTES: usize, const CODES: usize>(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; BYTES], d: &mut [f32; CODES]| {
        let (scale, wide) = (half_at(s, BYTES - 2), CODES / 8);
        let (first, rest) = d.split_at_mut(5 * wide);
        let (second, third) = rest.split_at_mut(5 * wide / 2);
        digits(&s[..wide], scale, first);
        digits(&s[wide..wide + wide / 2], scale, second);
        digits(&s[wide + wide / 2..BYTES - 2], scale, third);
    });
}

/// One plane of `bytes.len()` elements for each digit that `dst` has room for.
#[inline(always)]
fn digits(bytes: &[u8], scale: f32, dst: &mut [f32]) {
    let mut power = 1u8;
    for plane in dst.chunks_exact_mut(bytes.len()) {
        for (d, byte) in plane.iter_mut().zip(bytes) {
            // What is left of the fraction, times 3: its whole part is the digit.
            let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
            *d = scale * f32::from(digit as i8 - 1);
        }
        power = power.wrapping_mul(3);
    }
}

/// `block_tq2_0`: 2 bits an element in planes of 32, the f16.
pub(super) fn tq2_0(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 66], d: &mut [f32; 256]| {
        let scale = half_at(s, 64);
        for (g, d) in d.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (d, q) in d.iter_mut().zip(&s[32 * (g / 4)..]) {
                *d = scale * f32::from((q >> (2 * (g % 4)) & 3) as i8 - 1);
            }
        }
    });
}
