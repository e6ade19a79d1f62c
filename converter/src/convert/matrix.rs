//! One matrix: the exponent of its table from a sample, then 32 rows at a time.

use super::role::{Product, role};
use super::vector::fixed_gains;
use super::{ConvertError, Job};
use crate::calibrate::{self, Methods, Solver, Task};
use crate::quantize::{Objective, QuantizedRow, Quantizer, choose_power, sample_rows};
use carat_format::{
    PackedRow, PartLayout, TILE_ROWS, TensorEntry, TensorLayout, bounds, decode_row_f32, pack_rows,
};
use rayon::prelude::*;

/// Room above the largest product of unrounded activations. Rounding half up to a level at most doubles
/// an element (from half a level to one), whatever its group; the integer norm's own rounding adds at most
/// 1.2 %: `‖n‖ ≤ 1.012`.
const ROUNDING_ROOM: f64 = 2.05;
/// Largest activation in units of its row's exponent: code, scale and mantissa of 16 bits.
const LARGEST_ACTIVATION: f64 = 127.0 * 255.0 * 65_535.0;
/// Least exponent of a product; a larger unit than needed is safe.
const LEAST_EXPONENT: i32 = *bounds::PRODUCT_EXPONENTS.start();

/// What a calibrated conversion adds to a matrix.
#[derive(Clone, Copy)]
pub(super) struct Calibrated<'a> {
    /// H of the matrix's inputs; without it the matrix is quantized free of data.
    pub solver: Option<&'a Solver>,
    pub methods: Methods,
}

/// How the rows of a matrix are quantized.
struct Work<'a> {
    quantizer: &'a Quantizer,
    objective: Objective<'a>,
    calibrated: Option<Calibrated<'a>>,
    /// What the activations are at most, column by column.
    gains: Option<Vec<f64>>,
}

/// What 32 rows add to a matrix's figures.
#[derive(Clone, Default)]
struct Tile {
    /// The weights as they are decoded, where the conversion is calibrated.
    decoded: Vec<f32>,
    error: f64,
    energy: f64,
    /// What the fit has minimised.
    loss: f64,
    /// Largest `‖ŵ ⊙ γ√D‖` of a row.
    bound: f64,
}

impl Job<'_> {
    /// Quantizes the matrix, writes its payload at `e.offset` and enters table, exponents and error. Returns the
    /// decoded weights where the conversion is calibrated, and the relative error of its outputs.
    pub(super) fn matrix(
        &self,
        e: &mut TensorEntry,
        calibrated: Option<Calibrated<'_>>,
    ) -> Result<(Vec<f32>, Option<f32>), ConvertError> {
        let hyper = self.source.hyper();
        // Nothing is fitted to a text where nothing is lost.
        let calibrated = calibrated.map(|c| Calibrated {
            solver: c.solver.filter(|_| !self.keeps(e)),
            ..c
        });
        let role = role(hyper, e.tensor);
        let gains = match role.product {
            Product::Residual => None,
            Product::Normed(norm) => Some(folded(&self.source.read_vector(norm)?)),
            Product::Relative => Some(vec![LARGEST_ACTIVATION; e.layout.cols as usize]),
        };
        let diagonal = calibrated
            .filter(|c| c.methods.scales)
            .and_then(|c| Some(c.solver?.diagonal()));
        let objective = Objective {
            importance: diagonal.as_deref(),
            keep_norm: role.keep_norm,
            coarse: calibrated.is_some_and(|c| c.methods.descent && c.solver.is_some()),
        };
        let (quantizer, sample) = self.quantizer(e, &objective, calibrated)?;
        let work = Work {
            quantizer: &quantizer,
            objective,
            calibrated,
            gains,
        };
        let mut tiles = Vec::new();
        for part in &e.layout.parts {
            let end = part.row_start + part.rows;
            tiles.extend(
                (part.row_start..end)
                    .step_by(TILE_ROWS)
                    .map(|first| (*part, first)),
            );
        }
        let entry = &*e;
        let results: Vec<Tile> = tiles
            .par_iter()
            .map(|(part, first)| self.tile(entry, &work, part, *first))
            .collect::<Result<_, _>>()?;

        // In the order of the rows, whatever thread was first.
        let (mut error, mut energy, mut bound, mut loss) = (0.0, 0.0, 0f64, 0.0);
        let mut decoded = Vec::new();
        for t in &results {
            decoded.extend_from_slice(&t.decoded);
            error += t.error;
            energy += t.energy;
            loss += t.loss;
            bound = bound.max(t.bound);
        }
        e.table = quantizer.table();
        e.power = quantizer.power() as f32;
        e.error = if energy > 0.0 {
            libm::sqrt(error / energy) as f32
        } else {
            0.0
        };
        e.exponent = match role.product {
            Product::Residual => 0,
            Product::Normed(_) => product_exponent(bound * ROUNDING_ROOM + self.largest_bias(e)?),
            // By Cauchy–Schwarz, with √K for the norm of K activations of at most 1.
            Product::Relative => product_exponent(bound * libm::sqrt(e.layout.cols as f64)),
        };
        if e.exponent > *bounds::PRODUCT_EXPONENTS.end() {
            return Err(ConvertError::TooLarge {
                tensor: e.tensor.name(),
                found: bound,
            });
        }
        let solver = calibrated.and_then(|c| c.solver);
        let output_error = solver.and_then(|solver| {
            let cols = e.layout.cols as usize;
            let part = (sample.len() / cols.max(1)) as f64 / e.layout.rows as f64;
            let outputs = solver.energies(&sample, cols).iter().sum::<f64>() / part;
            (outputs > 0.0).then(|| libm::sqrt(loss.max(0.0) / outputs) as f32)
        });
        Ok((decoded, output_error))
    }

    /// Largest magnitude of the bias that is added to the products, 0 without one.
    fn largest_bias(&self, e: &TensorEntry) -> Result<f64, ConvertError> {
        let Some(bias) = self.source.hyper().bias(e.tensor) else {
            return Ok(0.0);
        };
        let bias = self.source.read_vector(bias)?;
        Ok(bias.iter().fold(0f64, |m, b| m.max(f64::from(b.abs()))))
    }

    /// The quantizer, and the rows by which its exponent was chosen.
    fn quantizer(
        &self,
        e: &TensorEntry,
        objective: &Objective<'_>,
        calibrated: Option<Calibrated<'_>>,
    ) -> Result<(Quantizer, Vec<f32>), ConvertError> {
        let (mut sample, mut row) = (Vec::new(), Vec::new());
        for r in sample_rows(e.layout.rows, e.layout.cols) {
            self.source.read_rows(e.tensor, r..r + 1, &mut row)?;
            sample.extend_from_slice(&row);
        }
        self.check_cancelled()?;
        let (coding, cols) = (e.layout.coding(), e.layout.cols as usize);
        let solver = calibrated.and_then(|c| Some((c.solver?, c.methods)));
        let power = match solver {
            None => choose_power(coding, &sample, cols, objective),
            Some((solver, methods)) => {
                calibrate::choose_power(coding, &sample, cols, solver, methods, objective)
            }
        };
        Ok((Quantizer::new(coding, power), sample))
    }

    /// The rows from `first` on, to the end of their tile.
    fn tile(
        &self,
        e: &TensorEntry,
        work: &Work<'_>,
        part: &PartLayout,
        first: u64,
    ) -> Result<Tile, ConvertError> {
        self.check_cancelled()?;
        let n = (TILE_ROWS as u64).min(part.row_start + part.rows - first);
        let mut weights = Vec::new();
        self.source
            .read_rows(e.tensor, first..first + n, &mut weights)?;
        let mut result = Tile::default();
        let group = e.layout.group.weights();
        let mut rows = Vec::with_capacity(n as usize);
        for row in work.rows(&weights, e.layout.cols as usize, first as usize) {
            result.error += row.error;
            result.energy += row.energy;
            result.loss += row.weighted_error;
            if let Some(gains) = &work.gains {
                result.bound =
                    result
                        .bound
                        .max(weighted_norm(work.quantizer, group, &row.packed, gains));
            }
            rows.push(row.packed);
        }
        // A matrix of these rows alone has the same three sections, each contiguous in the whole one.
        let tile = TensorLayout::new(e.layout.coding(), n, e.layout.cols)?;
        let payload = pack_rows(&tile, &rows)?;
        let tiles = n.div_ceil(TILE_ROWS as u64);
        let scales = (tile.scale_groups * TILE_ROWS as u64) as usize;
        for (from, to, len) in [
            (
                tile.parts[0].codes,
                e.layout.tile_offset(part, first),
                (tiles * tile.tile_code_bytes()) as usize,
            ),
            (
                tile.parts[0].scales,
                e.layout.scale_offset(part, first, 0),
                scales,
            ),
            (
                tile.parts[0].row_scales,
                e.layout.row_scale_offset(part, first),
                n as usize * 4,
            ),
        ] {
            let from = from as usize;
            self.output
                .write_at(&payload[from..from + len], e.offset + to)?;
        }
        if work.calibrated.is_some() {
            result.decoded.reserve(weights.len());
            let table = work.quantizer.table();
            for r in 0..n {
                // Every row was packed above.
                decode_row_f32(&tile, &table, &payload, r, &mut result.decoded);
            }
        }
        self.advance(n * e.layout.cols);
        Ok(result)
    }
}

impl Work<'_> {
    fn rows(&self, weights: &[f32], cols: usize, first: usize) -> Vec<QuantizedRow> {
        match self.calibrated.and_then(|c| Some((c.solver?, c.methods))) {
            None => weights
                .chunks(cols)
                .map(|w| self.quantizer.row(w, &self.objective))
                .collect(),
            Some((solver, methods)) => {
                let task = Task {
                    quantizer: self.quantizer,
                    solver,
                    methods,
                    objective: self.objective,
                };
                task.rows(weights, cols, Some(first))
            }
        }
    }
}

/// The gains as the file stores them.
fn folded(gains: &[f32]) -> Vec<f64> {
    let (mantissas, exponent) = fixed_gains(gains);
    mantissas
        .iter()
        .map(|m| libm::ldexp(f64::from(*m), exponent))
        .collect()
}

/// `‖ŵ ⊙ gains‖`. The normalised activations have a norm of at most 1 (√D is in the gains), so by
/// Cauchy–Schwarz no product with the row is larger.
fn weighted_norm(quantizer: &Quantizer, group: usize, row: &PackedRow, gains: &[f64]) -> f64 {
    let mut sum = 0.0;
    for ((codes, gains), scale) in row
        .codes
        .chunks(group)
        .zip(gains.chunks(group))
        .zip(&row.scales)
    {
        let mut squares = [0f64; 4];
        for (i, (c, g)) in codes.iter().zip(gains).enumerate() {
            let x = f64::from(quantizer.level(*c)) * g;
            squares[i % 4] += x * x;
        }
        let scale = f64::from(*scale);
        sum += ((squares[0] + squares[1]) + (squares[2] + squares[3])) * (scale * scale);
    }
    libm::ldexp(
        f64::from(row.scale.mantissa) * libm::sqrt(sum),
        i32::from(row.scale.exponent),
    )
}

/// The exponent E for which a product of at most `bound` is at most `2^30 · 2^E`.
fn product_exponent(bound: f64) -> i32 {
    if bound <= 0.0 {
        return LEAST_EXPONENT;
    }
    let (fraction, e) = libm::frexp(bound); // [0.5, 1)
    let log2 = if fraction == 0.5 { e - 1 } else { e };
    (log2 - 30).max(LEAST_EXPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_stay_within_thirty_bits() {
        for (bound, exponent) in [
            (1.0, -30),
            (2.05, -28),
            (1.5, -29),
            (8.0, -27),
            (0.0, -64),
            (1e-40, -64),
        ] {
            assert_eq!(product_exponent(bound), exponent, "{bound}");
            assert!(bound <= libm::ldexp(1.0, exponent + 30));
        }
    }
}
