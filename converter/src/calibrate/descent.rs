//! Coordinate descent on the loss: codes, group scales and the row's scale in turn.
//!
//! Source: the data-driven form of Yvinec et al., "NUPES: Non-Uniform Post-Training Quantization via Power
//! Exponent Search" (2023), which learns codes over the whole quantized space and scales with them. Here
//! each coordinate goes to its own minimum, so that no gradient step has to be chosen.

use super::hessian::Block;
use super::lanes::add;
use super::rows::Row;
use crate::quantize::Quantizer;

/// Most sweeps over the columns; later ones change few codes.
const SWEEPS: usize = 6;

/// Lowers the loss of one row; `solver` blocks cover its columns.
pub(super) fn row(quantizer: &Quantizer, blocks: &[Block], row: &mut Row<'_>) {
    let group = quantizer.coding().group.weights();
    let mut residuals: Vec<Vec<f32>> = blocks.iter().map(|b| residual(quantizer, b, row)).collect();
    for _ in 0..SWEEPS {
        let mut changed = 0;
        for (block, r) in blocks.iter().zip(&mut residuals) {
            let n = block.range.len();
            for j in 0..n {
                let (column, h) = (block.range.start + j, &block.h[j * n..][..n]);
                let before = row.value(quantizer, column);
                row.set(quantizer, column, before - r[j] / h[j]);
                let step = row.value(quantizer, column) - before;
                if step != 0.0 {
                    changed += 1;
                    add(r, h, step);
                }
            }
            for start in (0..n).step_by(group) {
                changed += scale(quantizer, block, row, r, start..n.min(start + group));
            }
        }
        if changed == 0 {
            break;
        }
    }
    // The row's scale, of all columns together: ŵ·(1 + a) has the least loss at a = −⟨R, ŵ⟩ / ŵHŵᵀ.
    let (mut inner, mut norm) = (0.0, 0.0);
    for (block, r) in blocks.iter().zip(&residuals) {
        let values: Vec<f32> = block
            .range
            .clone()
            .map(|column| row.value(quantizer, column))
            .collect();
        let mut outputs = vec![0f32; values.len()];
        for (v, h) in values.iter().zip(block.h.chunks_exact(values.len())) {
            add(&mut outputs, h, *v);
        }
        for ((v, r), o) in values.iter().zip(r).zip(&outputs) {
            inner += f64::from(*v) * f64::from(*r);
            norm += f64::from(*v) * f64::from(*o);
        }
    }
    if norm > 0.0 {
        row.rescale(1.0 - inner / norm);
    }
}

/// `(ŵ − w)·H`.
pub(super) fn residual(quantizer: &Quantizer, block: &Block, row: &Row<'_>) -> Vec<f32> {
    let n = block.range.len();
    let mut out = vec![0f32; n];
    for (column, h) in block.range.clone().zip(block.h.chunks_exact(n)) {
        let error = row.value(quantizer, column) - row.target[column];
        if error != 0.0 {
            add(&mut out, h, error);
        }
    }
    out
}

/// Moves a group's scale to the integer of least loss; how many moved.
fn scale(
    quantizer: &Quantizer,
    block: &Block,
    row: &mut Row<'_>,
    r: &mut [f32],
    columns: std::ops::Range<usize>,
) -> usize {
    let n = block.range.len();
    let start = block.range.start;
    let values: Vec<f32> = columns
        .clone()
        .map(|j| row.value(quantizer, start + j))
        .collect();
    let inner: f32 = r[columns.clone()]
        .iter()
        .zip(&values)
        .map(|(r, v)| r * v)
        .sum();
    let norm: f32 = columns
        .clone()
        .zip(&values)
        .map(|(j, v)| {
            let h = &block.h[j * n..][columns.clone()];
            v * h.iter().zip(&values).map(|(h, v)| h * v).sum::<f32>()
        })
        .sum();
    let Some(factor) = row.step_scale(quantizer, start + columns.start, -inner / norm) else {
        return 0;
    };
    for (j, v) in columns.zip(&values) {
        add(r, &block.h[j * n..][..n], v * factor);
    }
    1
}
