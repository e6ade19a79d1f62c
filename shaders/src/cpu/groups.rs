//! Groups of 32 dimensions of a page's keys or values, of 8 bits or 4.

use crate::reference::narrow::level;
use std::ops::Range;

/// 32 elements of a key or value.
pub(in crate::cpu) type Codes = [i8; 32];

/// The levels of 4 bits by their code.
pub(in crate::cpu) const LEVELS: [i8; 16] = {
    let (mut levels, mut code) = ([0; 16], 0);
    while code < 16 {
        levels[code] = level(code as u32) as i8;
        code += 1;
    }
    levels
};

/// The levels of a group of codes of 4 bits.
#[inline(always)]
fn widen(bytes: &[u8; 16], out: &mut Codes) {
    let (lows, highs) = out.split_at_mut(16);
    for ((byte, low), high) in bytes.iter().zip(lows).zip(highs) {
        (*low, *high) = (
            LEVELS[usize::from(byte & 15)],
            LEVELS[usize::from(byte >> 4)],
        );
    }
}

/// One group of the visible positions' keys or values.
pub(in crate::cpu) struct Rows<'a> {
    /// From the first visible position on, `[position][dimension]`.
    pub bytes: &'a [i8],
    /// Dimensions.
    pub stride: usize,
    /// The group's dimensions: 32, fewer in the last group of some.
    pub dims: Range<usize>,
    /// Positions.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub len: usize,
}

/// The same of codes of 4 bits.
pub(in crate::cpu) struct Packed<'a> {
    /// From the first visible position on, `[position][group]`.
    pub bytes: &'a [[u8; 16]],
    pub groups: usize,
    pub group: usize,
    /// Positions.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub len: usize,
}

impl Packed<'_> {
    /// Of position `i`.
    #[inline(always)]
    pub fn get(&self, i: usize) -> &[u8; 16] {
        &self.bytes[i * self.groups + self.group]
    }
}

/// One group of keys or values of either kind.
pub(in crate::cpu) enum Part<'a> {
    Eight(Rows<'a>),
    Four(Packed<'a>),
}

impl Part<'_> {
    /// The levels of position `i`; `filled` is room for them.
    #[inline(always)]
    pub fn get<'b>(&'b self, i: usize, filled: &'b mut Codes) -> &'b Codes {
        match self {
            Part::Eight(rows) => rows.get(i, filled),
            Part::Four(packed) => {
                widen(packed.get(i), filled);
                filled
            }
        }
    }
}

impl Rows<'_> {
    /// Of position `i`; `filled` is room for a group of fewer than 32, whose rest is zeros.
    #[inline(always)]
    pub fn get<'b>(&'b self, i: usize, filled: &'b mut Codes) -> &'b Codes {
        let bytes = &self.bytes[i * self.stride..][self.dims.clone()];
        match bytes.try_into() {
            Ok(whole) => whole,
            Err(_) => {
                filled[..bytes.len()].copy_from_slice(bytes);
                filled
            }
        }
    }
}
