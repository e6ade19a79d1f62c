//! The exponent of a tensor's table, from a fixed sample of its rows.

use super::{Objective, Quantizer};
use carat_format::Coding;
use rayon::prelude::*;

/// The exponents tried.
pub const POWERS: [f64; 11] = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0];
/// Weights of the sample: enough to rank exponents whose errors differ by some 1 %.
const SAMPLE: u64 = 1 << 15;
/// Fewest rows of the sample.
const SAMPLE_ROWS: u64 = 16;

/// The rows of the sample of a matrix `[rows, cols]`: evenly spread, in order.
pub fn sample_rows(rows: u64, cols: u64) -> Vec<u64> {
    spread((SAMPLE / cols.max(1)).max(SAMPLE_ROWS), rows).collect()
}

/// `n` of so many rows, or all: the middles of equal parts. Both are at most 2^32.
pub fn spread(n: u64, rows: u64) -> impl Iterator<Item = u64> {
    let n = n.min(rows);
    (0..n).map(move |i| (2 * i + 1) * rows / (2 * n))
}

/// Where the descent starts: the best exponent of Gaussian weights.
const START: usize = 3;

/// The exponent of [`POWERS`] whose table gives `sample` (rows of `cols` weights) the least weighted
/// error. Always 1 where the levels do not depend on it
/// ([`carat_format::Encoding::has_power`]).
///
/// The error falls towards the best exponent and rises behind it, so a descent from the middle finds it.
pub fn choose_power(
    coding: impl Into<Coding>,
    sample: &[f32],
    cols: usize,
    objective: &Objective<'_>,
) -> f64 {
    let coding = coding.into();
    if !coding.encoding.has_power() || cols == 0 {
        return POWERS[0];
    }
    let error = |p: f64| -> f64 {
        let quantizer = Quantizer::new(coding, p);
        let errors: Vec<f64> = sample
            .par_chunks(cols)
            .map(|row| quantizer.row(row, objective).weighted_error)
            .collect();
        errors.iter().sum()
    };
    let (mut best, mut least) = (START, error(POWERS[START]));
    for direction in [-1, 1] {
        let mut next = START;
        while let Some((i, p)) = next
            .checked_add_signed(direction)
            .and_then(|i| Some((i, *POWERS.get(i)?)))
        {
            let found = error(p);
            if found >= least {
                break;
            }
            (best, least, next) = (i, found, i);
        }
        if best != START {
            break;
        }
    }
    POWERS[best]
}
