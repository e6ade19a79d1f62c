//! Numbers of 8 bits: the OCP 8-bit Floating Point and Microscaling Formats, both 1.0.

use half::f16;

/// E4M3: no infinities, NaN where all bits but the sign are set.
pub(in crate::source) fn e4m3(byte: u8) -> f32 {
    let magnitude = match (byte >> 3 & 15, byte & 7) {
        (15, 7) => f32::NAN,
        (0, mantissa) => f32::from(mantissa) / 512.0,
        (e, mantissa) => f32::from_bits((u32::from(e) + 120) << 23 | u32::from(mantissa) << 20),
    };
    if byte >> 7 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// E5M2: the high byte of an f16.
pub(in crate::source) fn e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

/// E8M0: a power of two from 2^-127 on; 255 is NaN.
fn e8m0(byte: u8) -> f32 {
    match byte {
        0 => f32::from_bits(0x0040_0000),
        255 => f32::NAN,
        e => f32::from_bits(u32::from(e) << 23),
    }
}

/// F8_E4M3.
pub(super) fn decode_e4m3(src: &[u8], dst: &mut [f32]) {
    each(src, dst, e4m3);
}

/// F8_E8M0.
pub(super) fn decode_e8m0(src: &[u8], dst: &mut [f32]) {
    each(src, dst, e8m0);
}

#[inline(always)]
fn each(src: &[u8], dst: &mut [f32], value: impl Fn(u8) -> f32) {
    for (d, s) in dst.iter_mut().zip(src) {
        *d = value(*s);
    }
}
