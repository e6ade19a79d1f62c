//! Coordinate descent on the loss: codes and group scales in turn.
//!
//! Source: the data-driven form of Yvinec et al., "NUPES: Non-Uniform Post-Training Quantization via Power
//! Exponent Search" (2023), which learns codes over the whole quantized space and scales with them. Here
//! each coordinate goes to its own minimum, so that no gradient step has to be chosen.

use super::hessian::Block;
use super::lanes::{LANES, Lane, PANEL, accumulate, product, spread};
use super::rows::Row;
use crate::quantize::Quantizer;
use std::ops::Range;

/// Most sweeps over the columns; later ones change few codes.
pub(super) const SWEEPS: usize = 2;

/// Lowers the loss of each of at most 32 rows in so many sweeps, and gives it; `blocks` cover their columns.
///
/// A panel of columns at a time: within it the residual follows every step, elsewhere it follows the panel's whole
/// change, so that H is read once a sweep for all rows.
pub(super) fn tile(
    quantizer: &Quantizer,
    blocks: &[Block],
    rows: &mut [Row<'_>],
    sweeps: usize,
) -> [f64; LANES] {
    let mut losses = [0f64; LANES];
    for block in blocks {
        let mut r = residual(quantizer, block, rows);
        for _ in 0..sweeps {
            if !sweep(quantizer, block, rows, &mut r) {
                break;
            }
        }
        for (column, r) in block.range.clone().zip(&r) {
            for ((loss, row), r) in losses.iter_mut().zip(&*rows).zip(r) {
                let error = row.value(quantizer, column) - row.target[column];
                *loss += f64::from(error) * f64::from(*r);
            }
        }
    }
    losses
}

/// `(ŵ − w)·H` of each row.
fn residual(quantizer: &Quantizer, block: &Block, rows: &[Row<'_>]) -> Vec<Lane> {
    let mut errors = values(quantizer, rows, block.range.clone());
    for (lane, row) in rows.iter().enumerate() {
        for (e, target) in errors.iter_mut().zip(&row.target[block.range.clone()]) {
            e[lane] -= target;
        }
    }
    product(&errors, &block.h)
}

/// ŵ of each row.
fn values(quantizer: &Quantizer, rows: &[Row<'_>], columns: Range<usize>) -> Vec<Lane> {
    let mut out = vec![[0f32; LANES]; columns.len()];
    for (lane, row) in rows.iter().enumerate() {
        for (v, column) in out.iter_mut().zip(columns.clone()) {
            v[lane] = row.value(quantizer, column);
        }
    }
    out
}

/// One step of every code and group scale; whether any changed.
fn sweep(quantizer: &Quantizer, block: &Block, rows: &mut [Row<'_>], r: &mut [Lane]) -> bool {
    let (n, group) = (block.range.len(), quantizer.coding().group.weights());
    let mut changed = false;
    for start in (0..n).step_by(PANEL) {
        let panel = start..n.min(start + PANEL);
        let columns = block.range.start + panel.start..block.range.start + panel.end;
        let before = values(quantizer, rows, columns.clone());
        codes(quantizer, block, rows, r, panel.clone());
        for first in panel.clone().step_by(group) {
            scales(
                quantizer,
                block,
                rows,
                r,
                first..panel.end.min(first + group),
                panel.clone(),
            );
        }
        let mut steps = values(quantizer, rows, columns);
        for (step, before) in steps.iter_mut().zip(&before) {
            for (s, b) in step.iter_mut().zip(before) {
                *s -= b;
            }
        }
        if steps.iter().flatten().all(|s| *s == 0.0) {
            continue;
        }
        changed = true;
        let (left, right) = (0..panel.start, panel.end..n);
        for rest in [left, right].into_iter().filter(|rest| !rest.is_empty()) {
            let h = &block.h[rest.start * n + panel.start..];
            accumulate(&mut r[rest], &steps, h, n);
        }
    }
    changed
}

/// Moves the codes of a panel to the levels of least loss, and its residuals with them.
fn codes(
    quantizer: &Quantizer,
    block: &Block,
    rows: &mut [Row<'_>],
    r: &mut [Lane],
    panel: Range<usize>,
) {
    let n = block.range.len();
    for j in panel.clone() {
        let (column, h) = (block.range.start + j, &block.h[j * n..][..n]);
        let mut steps = [0f32; LANES];
        for ((row, step), r) in rows.iter_mut().zip(&mut steps).zip(&r[j]) {
            let before = row.value(quantizer, column);
            row.set(quantizer, column, before - r / h[j]);
            *step = row.value(quantizer, column) - before;
        }
        if steps.iter().any(|s| *s != 0.0) {
            spread(&mut r[panel.clone()], &h[panel.clone()], &steps);
        }
    }
}

/// Moves the scale of a group of each row to the integer of least loss, and the panel's residuals with it.
fn scales(
    quantizer: &Quantizer,
    block: &Block,
    rows: &mut [Row<'_>],
    r: &mut [Lane],
    group: Range<usize>,
    panel: Range<usize>,
) {
    let (n, start) = (block.range.len(), block.range.start);
    let values = values(quantizer, rows, start + group.start..start + group.end);
    // What the group gives each column of the panel.
    let mut outputs = vec![[0f32; LANES]; panel.len()];
    let h = &block.h[panel.start * n + group.start..];
    accumulate(&mut outputs, &values, h, n);
    let (mut inner, mut norm) = ([0f32; LANES], [0f32; LANES]);
    let own = &outputs[group.start - panel.start..];
    for ((v, o), r) in values.iter().zip(own).zip(&r[group.clone()]) {
        for l in 0..LANES {
            inner[l] += r[l] * v[l];
            norm[l] += v[l] * o[l];
        }
    }
    let mut factors = [0f32; LANES];
    for (l, row) in rows.iter_mut().enumerate() {
        let step = row.step_scale(quantizer, start + group.start, -inner[l] / norm[l]);
        factors[l] = step.unwrap_or(0.0);
    }
    if factors.iter().any(|f| *f != 0.0) {
        for (r, o) in r[panel].iter_mut().zip(&outputs) {
            for l in 0..LANES {
                r[l] += o[l] * factors[l];
            }
        }
    }
}
