//! Ternary codes in and out of a tile's group: 32 rows of 32 codes of 0, 1 and 2 in 208 bytes.
//!
//! A byte holds five codes as the digits of a fraction in base 3, the first digit highest: three times the byte has the
//! digit above its low eight bits and the rest of the fraction in them (as in ggml's `TQ1_0`). Any byte has digits, so
//! no payload is invalid. Four bytes of a word give four codes at a time. The sections of the group, for the 32 rows each:
//!
//! * 4 bytes a row: digit `d` of byte `j` is code `4d + j` (codes 0 to 19).
//! * 2 bytes a row: digits 0 to 3 of byte `j` are codes `20 + 2d + j`, digit 4 is code `28 + j`.
//! * half a byte a row, row `r` in the bits from `4·(r mod 2)` of byte `r / 2`: codes 30 and 31, the digits of a
//!   fraction in sixteenths.

use crate::{GROUP, TILE_ROWS};

/// Where the sections of two bytes and of half a byte a row start.
const PAIRS: usize = TILE_ROWS * 4;
const HALVES: usize = PAIRS + TILE_ROWS * 2;

/// The byte of five digits, the first highest: the least whose fraction is not below theirs.
fn byte_of(digits: [u8; 5]) -> u8 {
    let value = digits.iter().fold(0u32, |v, d| 3 * v + u32::from(*d));
    // At most ceil(256 · 242 / 243) = 255.
    (value * 256).div_ceil(243) as u8
}

pub(crate) fn pack_ternary(codes: &[u8; GROUP], tile: &mut [u8], r: usize) {
    for j in 0..4 {
        tile[r * 4 + j] = byte_of(core::array::from_fn(|d| codes[4 * d + j]));
    }
    for j in 0..2 {
        tile[PAIRS + r * 2 + j] = byte_of(core::array::from_fn(|d| codes[20 + 2 * d + j]));
    }
    // Nine values in sixteenths: at most ceil(16 · 8 / 9) = 15.
    let half = ((3 * codes[30] + codes[31]) * 16).div_ceil(9);
    let (byte, shift) = (HALVES + r / 2, 4 * (r % 2));
    tile[byte] = tile[byte] & !(15 << shift) | half << shift;
}

/// The digit and the rest of a fraction of 256.
#[inline(always)]
fn digit(fraction: u8) -> (u8, u8) {
    let v = 3 * u16::from(fraction);
    ((v >> 8) as u8, v as u8)
}

#[inline(always)]
pub(crate) fn unpack_ternary(tile: &[u8], r: usize) -> [u8; GROUP] {
    let mut codes = [0; GROUP];
    for j in 0..4 {
        let mut rest = tile[r * 4 + j];
        for d in 0..5 {
            (codes[4 * d + j], rest) = digit(rest);
        }
    }
    for j in 0..2 {
        let mut rest = tile[PAIRS + r * 2 + j];
        for d in 0..5 {
            (codes[20 + 2 * d + j], rest) = digit(rest);
        }
    }
    // Sixteenths are so many times sixteen 256ths.
    let half = tile[HALVES + r / 2] >> (4 * (r % 2)) & 15;
    let rest;
    (codes[30], rest) = digit(half << 4);
    codes[31] = digit(rest).0;
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_five_codes_come_back_from_a_byte() {
        for value in 0..243u32 {
            let digits: [u8; 5] =
                core::array::from_fn(|d| (value / 3u32.pow(4 - d as u32) % 3) as u8);
            let mut rest = byte_of(digits);
            for expected in digits {
                let found;
                (found, rest) = digit(rest);
                assert_eq!(found, expected, "{digits:?}");
            }
        }
    }

    #[test]
    fn every_two_codes_come_back_from_half_a_byte_beside_any_other() {
        for value in 0..9u8 {
            for (r, other) in [(4, 5), (5, 4)] {
                let mut codes = [2; GROUP];
                let mut tile = [0; 208];
                pack_ternary(&codes, &mut tile, other);
                (codes[30], codes[31]) = (value / 3, value % 3);
                pack_ternary(&codes, &mut tile, r);
                assert_eq!(unpack_ternary(&tile, r), codes);
                assert_eq!(unpack_ternary(&tile, other), [2; GROUP]);
            }
        }
    }

    #[test]
    fn any_bytes_have_codes() {
        for byte in 0..=255 {
            let tile = [byte; 208];
            for r in 0..TILE_ROWS {
                assert!(unpack_ternary(&tile, r).iter().all(|c| *c < 3));
            }
        }
    }
}
