//! Nearest levels without branches, so that the loops over the `N` weights of a scale become SIMD code.

use super::scale::Group;
use carat_format::{MAX_LEVEL, Table};

/// Partial sums that are kept apart, and added pairwise at the end: a fixed order that SIMD can follow.
const LANES: usize = 8;

/// The magnitudes of a symmetric set of levels.
pub(super) trait Grid: Sync {
    /// Start values of the search, relative to the scale that takes the largest weight to the top level:
    /// least, greatest, how many.
    const MULTIPLIERS: (f32, f32, usize);

    /// Magnitude of the level nearest to `x ≥ 0`, in units of a level.
    fn magnitude(&self, x: f32) -> f32;

    /// Code of the level nearest to ±`x`.
    fn code(&self, x: f32, negative: bool) -> u8;
}

/// The `2·M` levels of a power function; with `M` = 1 every weight has the one magnitude.
#[derive(Clone, Debug)]
pub(super) struct Power<const M: usize> {
    least: f32,
    /// Where the next larger magnitude becomes the nearest, and by how much it is larger; the last
    /// entry's threshold is infinite.
    thresholds: [f32; M],
    steps: [f32; M],
}

impl<const M: usize> Power<M> {
    pub(super) fn new(table: &Table) -> Self {
        let magnitude = |i: usize| f32::from(table.0[M + i]);
        let mut grid = Self {
            least: magnitude(0),
            thresholds: [f32::INFINITY; M],
            steps: [0.0; M],
        };
        for i in 0..M - 1 {
            grid.thresholds[i] = (magnitude(i) + magnitude(i + 1)) / 2.0;
            grid.steps[i] = magnitude(i + 1) - magnitude(i);
        }
        grid
    }
}

impl<const M: usize> Grid for Power<M> {
    /// One magnitude is the nearest wherever the search starts.
    const MULTIPLIERS: (f32, f32, usize) = if M == 1 {
        (1.0, 1.0, 2)
    } else {
        (0.30, 1.14, 29)
    };

    #[inline(always)]
    fn magnitude(&self, x: f32) -> f32 {
        // Small integers: exact.
        let mut m = self.least;
        for i in 0..M - 1 {
            m += if x >= self.thresholds[i] {
                self.steps[i]
            } else {
                0.0
            };
        }
        m
    }

    #[inline(always)]
    fn code(&self, x: f32, negative: bool) -> u8 {
        let mut index = 0u8;
        for i in 0..M - 1 {
            index += u8::from(x >= self.thresholds[i]);
        }
        let middle = M as u8;
        if negative {
            middle - 1 - index
        } else {
            middle + index
        }
    }
}

/// The levels −127, 0 and 127.
#[derive(Clone, Debug)]
pub(super) struct Ternary;

impl Ternary {
    const TOP: f32 = MAX_LEVEL as f32;
}

impl Grid for Ternary {
    /// Scales of Gaussian weights lie at half the largest of 32; those of exact ternary weights are the largest.
    const MULTIPLIERS: (f32, f32, usize) = (0.20, 1.10, 31);

    #[inline(always)]
    fn magnitude(&self, x: f32) -> f32 {
        if x >= Self::TOP / 2.0 { Self::TOP } else { 0.0 }
    }

    #[inline(always)]
    fn code(&self, x: f32, negative: bool) -> u8 {
        match (x >= Self::TOP / 2.0, negative) {
            (false, _) => 1,
            (true, true) => 0,
            (true, false) => 2,
        }
    }
}

/// Magnitudes half of `STEP` and on, `STEP` apart, below 128: those of 5 bits (8) and 6 bits (4).
#[derive(Clone, Debug)]
pub(super) struct Stepped<const STEP: usize>;

impl<const STEP: usize> Stepped<STEP> {
    const WIDTH: f32 = STEP as f32;
    /// Magnitudes, and the code of the least positive level.
    const HALF: u8 = (128 / STEP) as u8;
}

impl<const STEP: usize> Grid for Stepped<STEP> {
    /// Of many weights the largest is clipped a little; few may lie nearer to the levels of a wider step, and leave the
    /// top ones unused.
    const MULTIPLIERS: (f32, f32, usize) = if STEP > 4 {
        (0.66, 1.26, 31)
    } else {
        (0.80, 1.20, 21)
    };

    #[inline(always)]
    fn magnitude(&self, x: f32) -> f32 {
        // Adding and taking away 1.5·2^23 rounds to an integer, of either sign, ties to even.
        const ROUND: f32 = 12_582_912.0;
        let top = f32::from(Self::HALF) - 0.5;
        let steps = (x * (1.0 / Self::WIDTH)).min(top) - 0.5;
        ((steps + ROUND) - ROUND) * Self::WIDTH + Self::WIDTH / 2.0
    }

    #[inline(always)]
    fn code(&self, x: f32, negative: bool) -> u8 {
        // The half step is cut off.
        let index = (self.magnitude(x) * (1.0 / Self::WIDTH)) as u8;
        if negative {
            Self::HALF - 1 - index
        } else {
            Self::HALF + index
        }
    }
}

/// The levels −127..=127.
#[derive(Clone, Debug)]
pub(super) struct Int8;

impl Grid for Int8 {
    /// 255 levels leave nothing to gain from clipping.
    const MULTIPLIERS: (f32, f32, usize) = (0.94, 1.04, 11);

    #[inline(always)]
    fn magnitude(&self, x: f32) -> f32 {
        // Adding and taking away 2^23 rounds to an integer, ties to even.
        const ROUND: f32 = 8_388_608.0;
        (x.min(f32::from(MAX_LEVEL)) + ROUND) - ROUND
    }

    #[inline(always)]
    fn code(&self, x: f32, negative: bool) -> u8 {
        let level = self.magnitude(x) as i8;
        (if negative { -level } else { level }) as u8
    }
}

/// Adds the lanes in a fixed order.
#[inline(always)]
pub(super) fn sum(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `(Σ o·a·m, Σ o·m²)` over a group, m the magnitudes nearest to `a · inverse`.
#[inline(always)]
pub(super) fn correlate<G: Grid, const N: usize>(
    grid: &G,
    group: &Group<N>,
    inverse: f32,
) -> (f32, f32) {
    let (mut inner, mut norm) = ([0f32; LANES], [0f32; LANES]);
    for c in 0..N / LANES {
        for l in 0..LANES {
            let i = c * LANES + l;
            let m = grid.magnitude(group.a[i] * inverse);
            inner[l] += group.oa[i] * m;
            norm[l] += group.o[i] * m * m;
        }
    }
    (sum(inner), sum(norm))
}

/// `(Σ a·m, Σ m², Σ (a − m·unit)²)` without importance; columns beyond the row's end do not count.
pub(super) fn plain<G: Grid, const N: usize>(
    grid: &G,
    group: &Group<N>,
    unit: f32,
) -> (f32, f32, f32) {
    let inverse = 1.0 / unit;
    let (mut inner, mut norm, mut error) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    for c in 0..N / LANES {
        for l in 0..LANES {
            let i = c * LANES + l;
            let real = if i < group.len { 1.0 } else { 0.0 };
            let m = grid.magnitude(group.a[i] * inverse) * real;
            let d = group.a[i] - m * unit;
            inner[l] += group.a[i] * m;
            norm[l] += m * m;
            error[l] += d * d;
        }
    }
    (sum(inner), sum(norm), sum(error))
}

/// Appends the codes of the group's weights, `w[..group.len]`. Exact zeros take the two innermost levels
/// in turn where no level is zero, so that they do not add up to a bias.
pub(super) fn codes<G: Grid, const N: usize>(
    grid: &G,
    group: &Group<N>,
    w: &[f32],
    unit: f32,
    out: &mut Vec<u8>,
) {
    let inverse = 1.0 / unit;
    let mut negative = [false; N];
    for (i, (n, w)) in negative.iter_mut().zip(w).enumerate() {
        *n = (*w < 0.0) | ((*w == 0.0) & (i % 2 == 1));
    }
    let mut codes = [0u8; N];
    for i in 0..N {
        codes[i] = grid.code(group.a[i] * inverse, negative[i]);
    }
    out.extend_from_slice(&codes[..group.len]);
}
