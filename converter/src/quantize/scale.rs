//! The scale of `N` weights: a search over start values, then least squares.

use super::grid::{self, Grid};

/// Importance below this part of the group's largest is raised to it, so that no column goes wild.
const LEAST_IMPORTANCE: f32 = 1e-3;
/// Most rounds of least squares after the search; it has nearly always converged after three.
const ROUNDS: usize = 6;
/// Scales tried on either side of the nearest.
const NEIGHBOURS: i32 = 2;

/// The weights of a scale ready for the search: magnitudes in units of a power of two that takes the largest to
/// [0.5, 1), padded with columns of no importance.
pub(super) struct Group<const N: usize> {
    /// Magnitudes.
    pub a: [f32; N],
    /// Importance, the largest being 1.
    pub o: [f32; N],
    /// Importance times magnitude.
    pub oa: [f32; N],
    /// Columns that exist.
    pub len: usize,
    /// The importance's factor.
    importance: f64,
    /// The magnitudes' power of two.
    exponent: i32,
    /// Σ o·a².
    energy: f32,
}

/// A group at its final scale; sums in the units of the weights.
pub(super) struct Fit {
    /// 1..=255.
    pub scale: u8,
    /// One level in units of the group's magnitudes.
    pub level_unit: f32,
    /// Σ (ŵ − w)².
    pub error: f64,
    /// Σ importance · (ŵ − w)².
    pub weighted_error: f64,
    /// Σ w².
    pub energy: f64,
    /// Σ w·ŵ.
    pub inner: f64,
    /// Σ ŵ².
    pub norm: f64,
}

impl<const N: usize> Group<N> {
    /// At most `N` weights; the unit is at least `2^deepest`.
    pub(super) fn new(w: &[f32], importance: Option<&[f32]>, deepest: i32) -> Self {
        let largest = w.iter().fold(0f32, |m, w| m.max(w.abs()));
        let exponent = if largest > 0.0 {
            libm::frexp(f64::from(largest)).1.max(deepest)
        } else {
            deepest
        };
        // In f64: the factor of a denormal weight has no f32.
        let factor = libm::ldexp(1.0, -exponent);
        let mut group = Self {
            a: [0.0; N],
            o: [0.0; N],
            oa: [0.0; N],
            len: w.len().min(N),
            importance: 1.0,
            exponent,
            energy: 0.0,
        };
        for (a, w) in group.a.iter_mut().zip(w) {
            *a = (f64::from(w.abs()) * factor) as f32;
        }
        let top = importance.map_or(0.0, |o| o.iter().fold(0f32, |m, o| m.max(*o)));
        match importance {
            Some(o) if top > 0.0 => {
                group.importance = f64::from(top);
                for (to, o) in group.o.iter_mut().zip(o) {
                    *to = (o / top).max(LEAST_IMPORTANCE);
                }
            }
            _ => group.o[..group.len].fill(1.0),
        }
        let mut energy = [0f32; 8];
        for i in 0..N {
            group.oa[i] = group.o[i] * group.a[i];
            energy[i % 8] += group.oa[i] * group.a[i];
        }
        group.energy = grid::sum(energy);
        group
    }

    /// A sum of squares of magnitudes in the units of the weights.
    fn squared(&self, sum: f64) -> f64 {
        libm::ldexp(sum, 2 * self.exponent)
    }
}

/// The scale of least error, 0 for a group of zeros: the best of every `each`-th start value, then least squares
/// and nearest levels in turn for as long as that helps.
///
/// With the codes fixed the best scale is `x = Σoam / Σom²`, and the error `Σoa² − (Σoam)²/Σom²`.
pub(super) fn search<G: Grid, const N: usize>(grid: &G, group: &Group<N>, each: usize) -> f64 {
    let top = group.a.iter().fold(0f32, |m, a| m.max(*a));
    if top <= 0.0 || group.energy <= 0.0 {
        return 0.0;
    }
    let (least, greatest, count) = G::MULTIPLIERS;
    let step = (greatest - least) / (count - 1) as f32;
    let levels = f32::from(carat_format::MAX_LEVEL) / top;
    let (mut best, mut scale) = (0f32, top / 127.0);
    for k in (each / 2..count).step_by(each) {
        let start = grid::correlate(grid, group, levels / (least + step * k as f32));
        let (inner, norm) = grid::correlate(grid, group, start.1 / start.0);
        let gain = inner * inner / norm;
        if gain > best {
            (best, scale) = (gain, inner / norm);
        }
    }
    for _ in 0..ROUNDS {
        let (inner, norm) = grid::correlate(grid, group, 1.0 / scale);
        let gain = inner * inner / norm;
        if gain <= best {
            break;
        }
        (best, scale) = (gain, inner / norm);
    }
    libm::ldexp(f64::from(scale), group.exponent)
}

/// The best integer scale near `scale / unit`, levels assigned at the scale as it is stored.
pub(super) fn round<G: Grid, const N: usize>(
    grid: &G,
    group: &Group<N>,
    scale: f64,
    unit: f64,
) -> Fit {
    // The row's unit in units of the group's magnitudes; a row of zeros has none, and any will do.
    let relative = if unit > 0.0 {
        libm::ldexp(unit, -group.exponent)
    } else {
        1.0
    };
    let nearest = if unit > 0.0 {
        libm::round(scale / unit) as i32
    } else {
        1
    };
    let (mut best, mut at) = (f64::INFINITY, 1);
    for q in (nearest - NEIGHBOURS).max(1)..=(nearest + NEIGHBOURS).clamp(1, 255) {
        let s = relative * f64::from(q);
        let (inner, norm) = grid::correlate(grid, group, 1.0 / s as f32);
        let error = s * (s * f64::from(norm) - 2.0 * f64::from(inner));
        if error < best {
            (best, at) = (error, q);
        }
    }
    let level_unit = (relative * f64::from(at)) as f32;
    let (inner, norm, error) = grid::plain(grid, group, level_unit);
    let s = f64::from(level_unit);
    let energy: f64 = group.a.iter().map(|a| f64::from(*a) * f64::from(*a)).sum();
    let written = if unit > 0.0 { 1.0 } else { 0.0 };
    Fit {
        scale: at as u8,
        level_unit,
        error: group.squared(f64::from(error)) * written,
        weighted_error: group.squared(f64::from(group.energy) + best).max(0.0)
            * group.importance
            * written,
        energy: group.squared(energy),
        inner: group.squared(f64::from(inner) * s) * written,
        norm: group.squared(f64::from(norm) * s * s) * written,
    }
}
