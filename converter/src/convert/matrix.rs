//! One matrix: the exponent of its table from a sample, then 32 rows at a time.

use super::role::{Product, role};
use super::vector::fixed_gains;
use super::{ConvertError, Job};
use crate::quantize::{Objective, Quantizer, choose_power, sample_rows};
use carat_format::{
    PackedRow, PartLayout, TILE_ROWS, Tensor, TensorEntry, TensorLayout, bounds, pack_rows,
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

/// What 32 rows add to a matrix's figures.
#[derive(Clone, Copy, Default)]
struct Tile {
    error: f64,
    energy: f64,
    /// Largest `‖ŵ ⊙ γ√D‖` of a row.
    bound: f64,
}

impl Job<'_> {
    /// Quantizes the matrix, writes its payload at `e.offset` and enters table, exponents and error.
    pub(super) fn matrix(&self, e: &mut TensorEntry) -> Result<(), ConvertError> {
        let hyper = self.source.hyper();
        let role = role(e.tensor, hyper.tied, hyper.extras);
        // What the activations are at most, column by column.
        let gains = match role.product {
            Product::Residual => None,
            Product::Normed(norm) => Some(folded(&self.source.read_vector(norm)?)),
            Product::Relative => Some(vec![LARGEST_ACTIVATION; e.layout.cols as usize]),
        };
        let objective = Objective {
            importance: None,
            keep_norm: role.keep_norm,
        };
        let quantizer = self.quantizer(e, &objective)?;
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
            .map(|(part, first)| {
                self.tile(
                    entry,
                    &quantizer,
                    &objective,
                    gains.as_deref(),
                    part,
                    *first,
                )
            })
            .collect::<Result<_, _>>()?;

        // In the order of the rows, whatever thread was first.
        let (mut error, mut energy, mut bound) = (0.0, 0.0, 0f64);
        for t in &results {
            error += t.error;
            energy += t.energy;
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
        Ok(())
    }

    /// Largest magnitude of the bias that is added to the products, 0 without one.
    fn largest_bias(&self, e: &TensorEntry) -> Result<f64, ConvertError> {
        let has = |t: &Tensor| self.source.hyper().tensors().contains(t);
        let Some(bias) = e.tensor.bias().filter(has) else {
            return Ok(0.0);
        };
        let bias = self.source.read_vector(bias)?;
        Ok(bias.iter().fold(0f64, |m, b| m.max(f64::from(b.abs()))))
    }

    fn quantizer(
        &self,
        e: &TensorEntry,
        objective: &Objective<'_>,
    ) -> Result<Quantizer, ConvertError> {
        let (mut sample, mut row) = (Vec::new(), Vec::new());
        for r in sample_rows(e.layout.rows, e.layout.cols) {
            self.source.read_rows(e.tensor, r..r + 1, &mut row)?;
            sample.extend_from_slice(&row);
        }
        self.check_cancelled()?;
        let power = choose_power(
            e.layout.coding(),
            &sample,
            e.layout.cols as usize,
            objective,
        );
        Ok(Quantizer::new(e.layout.coding(), power))
    }

    /// The rows from `first` on, to the end of their tile.
    fn tile(
        &self,
        e: &TensorEntry,
        quantizer: &Quantizer,
        objective: &Objective<'_>,
        gains: Option<&[f64]>,
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
        for w in weights.chunks(e.layout.cols as usize) {
            let row = quantizer.row(w, objective);
            result.error += row.error;
            result.energy += row.energy;
            if let Some(gains) = gains {
                result.bound =
                    result
                        .bound
                        .max(weighted_norm(quantizer, group, &row.packed, gains));
            }
            rows.push(row.packed);
        }
        // A matrix of these rows alone has the same three sections, each contiguous in the whole one.
        let tile = TensorLayout::new(e.layout.coding(), n, e.layout.cols)?;
        let payload = pack_rows(&tile, &rows)?;
        let cells = (tile.groups * TILE_ROWS as u64) as usize;
        let scales = (tile.scale_groups * TILE_ROWS as u64) as usize;
        for (from, to, len) in [
            (
                tile.parts[0].codes,
                e.layout.code_offset(part, first, 0),
                cells * tile.encoding.group_bytes(),
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
        self.advance(n * e.layout.cols);
        Ok(result)
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
