//! Scaling of channels: columns that meet large inputs are made larger, and their inputs as much smaller, where that
//! lessens the error of the outputs. The factors fold into the norm or the projection that gives the inputs.
//!
//! Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration" (2023). Its
//! clipping is what the search of group scales by the weighted error does.

use super::Solver;
use crate::quantize::{Objective, Quantizer, choose_power};
use carat_format::Coding;
use rayon::prelude::*;

/// Powers of the inputs' magnitudes that are tried beside 0.
const TRIED: u32 = 10;
/// Rows of each matrix that are quantized for a try.
pub const ROWS: u64 = 16;

/// Rows of a matrix that reads the inputs, and its coding.
pub struct Reader {
    /// A sample of rows, `[n, cols]`.
    pub rows: Vec<f32>,
    /// What it is quantized to.
    pub coding: Coding,
    /// Rows of the whole matrix a row of the sample.
    pub weight: f64,
}

/// The factors of the columns with the least error of the outputs, `magnitudes^α` for some α, their largest and
/// least with product 1; `None` where no factor is best.
pub fn factors(readers: &[Reader], solver: &Solver, magnitudes: &[f32]) -> Option<Vec<f32>> {
    let tries: Vec<Vec<f32>> = (1..=TRIED)
        .map(|i| scaled(magnitudes, f64::from(i) / f64::from(TRIED)))
        .collect();
    let plain = vec![1.0; magnitudes.len()];
    let least = error(readers, solver, &plain);
    let errors: Vec<f64> = tries.iter().map(|f| error(readers, solver, f)).collect();
    let best = (0..tries.len()).min_by(|a, b| errors[*a].total_cmp(&errors[*b]))?;
    (errors[best] < least).then(|| tries[best].clone())
}

fn scaled(magnitudes: &[f32], alpha: f64) -> Vec<f32> {
    // Channels without inputs are as the smallest that count.
    let powers: Vec<f64> = magnitudes
        .iter()
        .map(|m| libm::pow(f64::from(*m).max(1e-4), alpha))
        .collect();
    let most = powers.iter().fold(f64::MIN_POSITIVE, |m, p| m.max(*p));
    let least = powers.iter().fold(f64::MAX, |m, p| m.min(*p));
    let middle = libm::sqrt(most * least);
    powers.iter().map(|p| (p / middle) as f32).collect()
}

/// Error of the outputs with the columns times `factors`, quantized, and divided again.
fn error(readers: &[Reader], solver: &Solver, factors: &[f32]) -> f64 {
    let cols = factors.len();
    // The scaled inputs' mean squares.
    let diagonal = solver.diagonal();
    let importance: Vec<f32> = diagonal
        .iter()
        .zip(factors)
        .map(|(d, f)| d / (f * f))
        .collect();
    let objective = Objective {
        importance: Some(&importance),
        keep_norm: false,
        coarse: false,
    };
    let each = readers.iter().map(|reader| {
        let mut rows = reader.rows.clone();
        for row in rows.chunks_exact_mut(cols) {
            row.iter_mut().zip(factors).for_each(|(w, f)| *w *= f);
        }
        let power = choose_power(reader.coding, &rows, cols, &objective);
        let quantizer = Quantizer::new(reader.coding, power);
        let wrong: Vec<f32> = rows
            .par_chunks(cols)
            .zip(reader.rows.par_chunks(cols))
            .flat_map_iter(|(scaled, original)| {
                let row = quantizer.row(scaled, &objective);
                let mut wrong = quantizer.decode(&row.packed);
                for ((w, f), o) in wrong.iter_mut().zip(factors).zip(original) {
                    *w = *w / f - o;
                }
                wrong
            })
            .collect();
        let errors = solver.energies(&wrong, cols);
        errors.iter().sum::<f64>() * reader.weight
    });
    each.sum()
}
