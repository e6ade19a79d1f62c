//! The methods applied to rows, and the exponent chosen by what they reach.

use super::descent::{self, SWEEPS};
use super::lanes::LANES;
use super::{Methods, Solver, drift, gptq};
use crate::quantize::{self, Objective, QuantizedRow, Quantizer};
use carat_format::{Coding, PackedRow};
use rayon::prelude::*;

/// Rows that are quantized together.
const TILE: usize = LANES;
/// Most rows of the sample by whose loss an exponent is chosen.
const SAMPLE_ROWS: usize = 64;
/// How far from the exponent of least weighted error others are tried.
const STEP: f64 = 0.1;

/// What is done to the rows of a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Codes and levels.
    pub quantizer: &'a Quantizer,
    /// H of the matrix's inputs.
    pub solver: &'a Solver,
    /// What is done.
    pub methods: Methods,
    /// Where the search of scales starts, see [`Objective`].
    pub objective: Objective<'a>,
}

impl Task<'_> {
    /// Quantizes rows of `cols` finite weights each, the matrix's from `first` on, or some of its rows. The
    /// weighted error of each is the loss `(ŵ − t) H (ŵ − t)ᵀ`, with t the row's target (`drift`).
    pub fn rows(&self, weights: &[f32], cols: usize, first: Option<usize>) -> Vec<QuantizedRow> {
        let mut out = Vec::new();
        for (tile, weights) in weights.chunks(TILE * cols).enumerate() {
            let first = first.map(|f| f + tile * TILE);
            let targets = match self.methods.drift {
                true => drift::targets(self.solver, weights, cols, first),
                false => None,
            };
            let mut rows: Vec<Row<'_>> = targets
                .as_deref()
                .unwrap_or(weights)
                .chunks(cols)
                .map(|w| Row::new(w, self.quantizer.row(w, &self.objective).packed))
                .collect();
            if self.methods.gptq {
                for block in &self.solver.blocks {
                    gptq::tile(self.quantizer, block, &mut rows);
                }
            }
            let sweeps = if self.methods.descent { SWEEPS } else { 0 };
            let losses = descent::tile(self.quantizer, &self.solver.blocks, &mut rows, sweeps);
            let finished = rows.into_iter().zip(weights.chunks(cols)).zip(losses);
            out.extend(finished.map(|((row, w), loss)| self.finish(row, w, loss)));
        }
        out
    }

    fn finish(&self, row: Row<'_>, weights: &[f32], loss: f64) -> QuantizedRow {
        let (mut error, mut energy) = (0.0, 0.0);
        for (column, w) in weights.iter().enumerate() {
            let difference = f64::from(row.value(self.quantizer, column)) - f64::from(*w);
            error += difference * difference;
            energy += f64::from(*w) * f64::from(*w);
        }
        QuantizedRow {
            packed: row.packed,
            error,
            weighted_error: loss,
            energy,
        }
    }
}

/// The exponent whose table gives a sample of rows the least loss, of the one of least weighted error and its
/// neighbours.
pub fn choose_power(
    coding: Coding,
    sample: &[f32],
    cols: usize,
    solver: &Solver,
    methods: Methods,
    objective: &Objective<'_>,
) -> f64 {
    let start = quantize::choose_power(coding, sample, cols, objective);
    let rows = sample.len() / cols.max(1);
    if !methods.exponent || !coding.encoding.has_power() || rows == 0 {
        return start;
    }
    let wanted = rows.min(SAMPLE_ROWS);
    let chosen: Vec<&[f32]> = (0..wanted)
        .map(|i| &sample[(2 * i + 1) * rows / (2 * wanted) * cols..][..cols])
        .collect();
    let loss = |power: f64| -> f64 {
        let quantizer = Quantizer::new(coding, power);
        let task = Task {
            quantizer: &quantizer,
            solver,
            methods,
            objective: *objective,
        };
        let losses: Vec<f64> = chosen
            .par_chunks(TILE / 4)
            .map(|rows| {
                let rows = task.rows(&rows.concat(), cols, None);
                rows.iter().map(|r| r.weighted_error).sum::<f64>()
            })
            .collect();
        losses.iter().sum()
    };
    let (mut best, mut least) = (start, loss(start));
    for direction in [-STEP, STEP] {
        let mut power = start + direction;
        while (1.0 - STEP / 2.0..2.0 + STEP / 2.0).contains(&power) {
            let found = loss(power);
            if found >= least {
                break;
            }
            (best, least) = (power, found);
            power += direction;
        }
        if best != start {
            break;
        }
    }
    best
}

/// A row at work.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    /// What the weights shall be.
    pub target: &'a [f32],
    pub packed: PackedRow,
    /// The row's scale.
    unit: f64,
}

impl<'a> Row<'a> {
    fn new(target: &'a [f32], packed: PackedRow) -> Self {
        Self {
            target,
            unit: quantize::value(packed.scale),
            packed,
        }
    }

    /// One level in the units of the weights.
    fn level_unit(&self, quantizer: &Quantizer, column: usize) -> f32 {
        let scale = self.packed.scales[column / quantizer.coding().group.weights()];
        (f64::from(scale) * self.unit) as f32
    }

    /// ŵ.
    pub fn value(&self, quantizer: &Quantizer, column: usize) -> f32 {
        let level = quantizer.level(self.packed.codes[column]);
        f32::from(level) * self.level_unit(quantizer, column)
    }

    /// Takes the code nearest to `weight`.
    pub fn set(&mut self, quantizer: &Quantizer, column: usize, weight: f32) {
        let unit = self.level_unit(quantizer, column);
        // A row of zeros has no unit; its codes make no difference.
        if unit > 0.0 && weight.is_finite() {
            self.packed.codes[column] = quantizer.nearest(weight / unit);
        }
    }

    /// Multiplies the scale of `column` by about `1 + step`; by how much more than 1, where that changes it.
    pub fn step_scale(&mut self, quantizer: &Quantizer, column: usize, step: f32) -> Option<f32> {
        let scale = &mut self.packed.scales[column / quantizer.coding().group.weights()];
        let before = f32::from(*scale);
        let wanted = libm::roundf(before * (1.0 + step)).clamp(1.0, 255.0);
        if !step.is_finite() || wanted == before {
            return None;
        }
        *scale = wanted as u8;
        Some(wanted / before - 1.0)
    }
}
