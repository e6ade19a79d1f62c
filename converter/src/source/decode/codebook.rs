//! Codes of 4 bits that look their levels up in a table. They lie two to a byte: of a group of 32 (in NVFP4 of 16)
//! element `i` in the low half of byte `i`, element `16 + i` (`8 + i`) in the high half.

use super::fp8::e4m3;
use super::{blocks, half_at};

/// Levels of the IQ4 types (`kvalues_iq4nl`).
static IQ4: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];
/// Twice the values of E2M1 (OCP Microscaling Formats 1.0).
pub(in crate::source) static E2M1: [i8; 16] =
    [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Two elements a byte: `scale·level`.
#[inline(always)]
fn look_up<const BYTES: usize>(
    codes: &[u8; BYTES],
    levels: &[i8; 16],
    scale: f32,
    dst: &mut [f32],
) {
    let values = levels.map(|level| scale * f32::from(level));
    let (low, high) = dst.split_at_mut(BYTES);
    for (byte, (low, high)) in codes.iter().zip(low.iter_mut().zip(high)) {
        *low = values[usize::from(byte & 15)];
        *high = values[usize::from(byte >> 4)];
    }
}

/// `block_iq4_nl`: f16, codes of 32.
pub(super) fn iq4_nl(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 18], d: &mut [f32; 32]| {
        let scale = half_at(s, 0);
        for codes in s[2..].as_chunks::<16>().0 {
            look_up(codes, &IQ4, scale, d);
        }
    });
}

/// `block_iq4_xs`: f16; for each of 8 groups of 32 a scale of 6 bits with the offset 32, high 2 bits in
/// a u16, low 4 bits two to a byte; codes group after group.
pub(super) fn iq4_xs(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 136], d: &mut [f32; 256]| {
        let of_scales = half_at(s, 0);
        let high = u16::from_le_bytes([s[2], s[3]]);
        let groups = s[8..]
            .as_chunks::<16>()
            .0
            .iter()
            .zip(d.as_chunks_mut::<32>().0);
        for (g, (codes, d)) in groups.enumerate() {
            let low = s[4 + g / 2] >> (4 * (g % 2)) & 15;
            let high = (high >> (2 * g) & 3) as u8;
            let scale = of_scales * f32::from((low | high << 4) as i8 - 32);
            look_up(codes, &IQ4, scale, d);
        }
    });
}

/// `block_mxfp4`: an exponent (E8M0), codes of 32. ggml takes the exponent 255, which the
/// specification keeps for NaN, as any other.
pub(super) fn mxfp4(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 17], d: &mut [f32; 32]| {
        // 2^(exponent − 128): the levels are doubled. The two least are subnormal.
        let bits = match s[0] {
            e @ 0..2 => 0x0020_0000 << e,
            e => u32::from(e - 1) << 23,
        };
        for codes in s[1..].as_chunks::<16>().0 {
            look_up(codes, &E2M1, f32::from_bits(bits), d);
        }
    });
}

/// `block_nvfp4`: for each 16 of 64 codes a scale of E4M3 whose sign is not read, then the codes. ggml takes the NaN
/// of a scale without sign for 0, and that of one with sign for 480.
pub(super) fn nvfp4(src: &[u8], dst: &mut [f32]) {
    blocks(src, dst, |s: &[u8; 36], d: &mut [f32; 64]| {
        let groups = s[4..].as_chunks::<8>().0.iter();
        let groups = groups.zip(d.as_chunks_mut::<16>().0);
        for (scale, (codes, d)) in s.iter().zip(groups) {
            // Half of it: the levels are doubled.
            let scale = match scale {
                0x7f => 0.0,
                0xff => 240.0,
                scale => 0.5 * e4m3(scale & 0x7f),
            };
            look_up(codes, &E2M1, scale, d);
        }
    });
}
