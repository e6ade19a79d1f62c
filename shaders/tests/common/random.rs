//! Random inputs of kernels, for the tests of devices and for the twins' own.
#![allow(dead_code)]

use carat_format::PartLayout;
use std::ops::Range;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }

    pub fn range(&mut self, low: i32, high: i32) -> i32 {
        low.wrapping_add(self.below((high.wrapping_sub(low) as u32).wrapping_add(1)) as i32)
    }

    pub fn words(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.next() as u32).collect()
    }

    pub fn array<const N: usize>(&mut self) -> [u32; N] {
        std::array::from_fn(|_| self.next() as u32)
    }

    /// Codes, scales and row scales of a part, the row scales' exponents in `exponents`.
    pub fn part(&mut self, part: &PartLayout, exponents: Range<i32>) -> Vec<u32> {
        let mut words = self.words((part.end / 4) as usize);
        for w in &mut words[(part.row_scales / 4) as usize..] {
            *w = *w & 0xffff | (self.within(&exponents) as u32) << 16;
        }
        words
    }

    /// `rows` rows of activations, `stride` words each: codes of at least -127, scales, a mantissa of 16 bits and an
    /// exponent.
    pub fn activations(
        &mut self,
        rows: u32,
        groups: u32,
        stride: u32,
        exponents: Range<i32>,
    ) -> Vec<u32> {
        let mut act = self.words((rows * stride) as usize);
        for row in act.chunks_mut(stride as usize) {
            let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut row[..groups as usize * 8]);
            codes.iter_mut().for_each(|c| *c = (*c).max(-127));
            let tail = (groups * 8 + groups.div_ceil(4)) as usize;
            row[tail] &= 0xffff;
            row[tail + 1] = self.within(&exponents) as u32;
        }
        act
    }

    fn within(&mut self, range: &Range<i32>) -> i32 {
        self.range(range.start, range.end - 1)
    }

    /// One of [`EPSILONS`].
    pub fn epsilon(&mut self) -> (u32, i32) {
        EPSILONS[self.below(EPSILONS.len() as u32) as usize]
    }

    /// A row of each flavour.
    pub fn rows(&mut self, cols: u32) -> Vec<u32> {
        let flavours = 0..FLAVOURS;
        flavours
            .flat_map(|f| self.values(cols as usize, f))
            .collect()
    }

    /// Within ±(2^31 − 1); `flavour` 0: uniform, 1: small, 2: extremes and zeros, 3: one outlier, 4: zeros,
    /// 5: magnitudes of every size, 6: both extremes.
    pub fn values(&mut self, n: usize, flavour: u32) -> Vec<u32> {
        const MAX: i32 = 0x7fff_ffff;
        let outlier = self.below(n.max(1) as u32) as usize;
        (0..n)
            .map(|i| {
                let v = match flavour {
                    0 => (self.next() as i32).max(-MAX),
                    1 => self.range(-4000, 4000),
                    2 => {
                        [MAX, -MAX, 0, 1, -1, MAX - 1, 1 << 30, -(1 << 30)][self.below(8) as usize]
                    }
                    3 if i == outlier => -MAX,
                    3 => self.range(-300, 300),
                    4 => 0,
                    5 => (self.next() as i32).max(-MAX) >> self.below(32),
                    _ => [MAX, -MAX][self.below(2) as usize],
                };
                v as u32
            })
            .collect()
    }
}
pub const FLAVOURS: u32 = 7;

/// Mantissas and exponents of a norm's ε: none, ordinary, and the ends of what a file may say.
pub const EPSILONS: [(u32, i32); 8] = [
    (0, 0),
    (1 << 30, -20),
    (1 << 31, 64),
    (3 << 29, -96),
    (1 << 31, 15),
    (3 << 29, 16),
    (1 << 30, 17),
    (1 << 31, -33),
];
