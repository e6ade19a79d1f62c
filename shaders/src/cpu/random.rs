//! Random matrices and rows of activations, for the tests of products.

use carat_format::PartLayout;
use std::ops::Range;

/// Marsaglia's xorshift64 with shifts 13, 7 and 17.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    pub fn words<const N: usize>(&mut self) -> [u32; N] {
        std::array::from_fn(|_| self.word())
    }

    /// Codes, scales and row scales of a part, the row scales' exponents in `exponents`.
    pub fn part(&mut self, part: &PartLayout, exponents: Range<i32>) -> Vec<u32> {
        let mut words: Vec<u32> = (0..part.end / 4).map(|_| self.word()).collect();
        for w in &mut words[(part.row_scales / 4) as usize..] {
            let exponent = exponents.start + (self.word() % exponents.len() as u32) as i32;
            *w = *w & 0xffff | (exponent << 16) as u32;
        }
        words
    }

    /// `rows` rows of activations, `stride` words each: codes of at least -127, scales, a mantissa of 16 bits and an
    /// exponent.
    pub fn activations(&mut self, rows: u32, groups: u32, stride: u32) -> Vec<u32> {
        let mut act: Vec<u32> = (0..rows * stride).map(|_| self.word()).collect();
        for row in act.chunks_mut(stride as usize) {
            let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut row[..groups as usize * 8]);
            codes.iter_mut().for_each(|c| *c = (*c).max(-127));
            let tail = (groups * 8 + groups.div_ceil(4)) as usize;
            row[tail] &= 0xffff;
            row[tail + 1] = self.word() % 8;
        }
        act
    }
}
