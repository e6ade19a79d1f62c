//! Weights for the inputs that are there: the matrices before have changed them.
//!
//! A matrix W that was to see x̂ sees x. Its outputs are kept best by `W + (W·(x̂ − x)ᵀx + rᵀx)·H⁻¹`, the
//! least squares solution with r what the outputs shall have besides (of a matrix that writes to the
//! residual stream: what the stream has lost so far). H's damping draws it to W.
//!
//! Source: Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration" (2025); the
//! residual stream's loss is taken into the same equation.

use super::Solver;
use super::hessian::Block;
use super::lanes::{LANES, Lane, PANEL, accumulate, product, spread, weighted_sum};

/// The targets of rows `weights [rows, cols]`, of which the matrix's row `first` is the first; `None` where
/// nothing has drifted. Without `first` the rows are some of the matrix's, and r does not count.
pub(super) fn targets(
    solver: &Solver,
    weights: &[f32],
    cols: usize,
    first: Option<usize>,
) -> Option<Vec<f32>> {
    let drifted = solver.blocks.iter().any(|b| !b.drift.is_empty());
    let factored = solver.blocks.iter().all(|b| !b.feedback.is_empty());
    if !factored || !(drifted || (first.is_some() && !solver.lack.is_empty())) {
        return None;
    }
    let mut out = weights.to_vec();
    for (tile, rows) in out.chunks_mut(LANES * cols).enumerate() {
        let first = first.map(|f| f + tile * LANES);
        for block in &solver.blocks {
            let mut moments = moments(solver, block, rows, cols, first);
            divide(block, &mut moments);
            for (k, column) in block.order.iter().enumerate() {
                let column = block.range.start + *column as usize;
                for (row, step) in rows.chunks_exact_mut(cols).zip(&moments[k]) {
                    row[column] += step * solver.taken;
                }
            }
        }
    }
    Some(out)
}

/// `W·(x̂ − x)ᵀx + rᵀx` for the block's columns in their order.
fn moments(
    solver: &Solver,
    block: &Block,
    rows: &[f32],
    cols: usize,
    first: Option<usize>,
) -> Vec<Lane> {
    let n = block.range.len();
    let mut sums = if block.drift.is_empty() {
        vec![[0f32; LANES]; n]
    } else {
        let mut weights = vec![[0f32; LANES]; n];
        for (lane, row) in rows.chunks_exact(cols).enumerate() {
            for (w, v) in weights.iter_mut().zip(&row[block.range.clone()]) {
                w[lane] = *v;
            }
        }
        product(&weights, &block.drift)
    };
    if let Some(first) = first {
        let lacks = solver.lack.chunks_exact(cols).skip(first);
        for (lane, lack) in lacks.take(rows.len() / cols).enumerate() {
            for (s, r) in sums.iter_mut().zip(&lack[block.range.clone()]) {
                s[lane] += r;
            }
        }
    }
    block.order.iter().map(|c| sums[*c as usize]).collect()
}

/// `x·H⁻¹` in place, columns in the block's order: `x (I + U) D (I + U)ᵀ` is solved from the right, a panel of
/// columns at a time.
fn divide(block: &Block, x: &mut [Lane]) {
    let (n, feedback) = (block.range.len(), &block.feedback);
    let panels = (0..n)
        .step_by(PANEL)
        .map(|start| start..n.min(start + PANEL));
    for panel in panels.clone().rev() {
        for k in panel.clone().rev() {
            let (before, this) = x[panel.start..].split_at_mut(k - panel.start);
            let this = this[0].map(|t| -t);
            spread(before, &feedback[k * n + panel.start..], &this);
        }
        let (before, these) = x.split_at_mut(panel.start);
        let these: Vec<Lane> = these[..panel.len()].iter().map(|x| x.map(|t| -t)).collect();
        // The panel's rows of feedback, transposed.
        let mut weights = vec![0f32; PANEL * panel.len()];
        for (at, before) in before.chunks_mut(PANEL).enumerate() {
            for (k, row) in panel
                .clone()
                .zip(feedback[panel.start * n..].chunks_exact(n))
            {
                let row = &row[at * PANEL..][..before.len()];
                for (i, w) in row.iter().enumerate() {
                    weights[i * panel.len() + k - panel.start] = *w;
                }
            }
            accumulate(before, &these, &weights, panel.len());
        }
    }
    for (x, d) in x.iter_mut().zip(&block.pivots) {
        for x in x {
            *x /= d;
        }
    }
    for panel in panels {
        for k in panel.clone() {
            let (before, this) = x[panel.start..].split_at_mut(k - panel.start);
            let sums = weighted_sum(before, &feedback[k * n + panel.start..]);
            for (t, s) in this[0].iter_mut().zip(&sums) {
                *t -= s;
            }
        }
        let (these, after) = x.split_at_mut(panel.end);
        if !after.is_empty() {
            let these: Vec<Lane> = these[panel.start..].iter().map(|x| x.map(|t| -t)).collect();
            accumulate(after, &these, &feedback[panel.end * n + panel.start..], n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hessian, Ridge};
    use super::*;

    /// Inputs that a known matrix M makes of the drifted ones are undone by it, and what is lacking is a
    /// product with the inputs that there are.
    #[test]
    fn a_linear_drift_is_undone() {
        let (n, positions, width) = (48, 400, 40);
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let x: Vec<f32> = (0..n * positions).map(|_| next()).collect();
        let weights: Vec<f32> = (0..n * width).map(|_| next()).collect();
        let more: Vec<f32> = (0..n * width).map(|_| next()).collect();
        // x̂_j = x_j + ½·x_{j+1}
        let exact: Vec<f32> = x
            .chunks(n)
            .flat_map(|x| (0..n).map(move |j| x[j] + 0.5 * x[(j + 1) % n]))
            .collect();
        let r: Vec<f32> = x
            .chunks(n)
            .flat_map(|x| {
                let rows = more.chunks(n);
                rows.map(move |m| x.iter().zip(m).map(|(x, m)| x * m).sum::<f32>())
            })
            .collect();
        let mut hessian = Hessian::new(n);
        hessian.add_drifted(&x, &exact);
        hessian.lack(&x, &r, width);
        let solver = hessian.solve(Ridge::NONE, true).unwrap();
        let all = targets(&solver, &weights, n, Some(0)).unwrap();
        for first in [None, Some(32)] {
            let rows = targets(&solver, &weights[32 * n..], n, first).unwrap();
            for (i, found) in rows.iter().enumerate() {
                let (row, j) = (32 + i / n, i % n);
                let w = |j: usize| weights[row * n + j];
                let plain = w(j) + 0.5 * w((j + n - 1) % n);
                let expected = plain + first.map_or(0.0, |_| more[row * n + j]);
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{row} {j}: {found}, {expected}"
                );
                if first.is_some() {
                    assert_eq!(*found, all[row * n + j]);
                }
            }
        }
        let mut plain = Hessian::new(n);
        plain.add(&x);
        assert!(
            targets(
                &plain.solve(Ridge::NONE, true).unwrap(),
                &weights,
                n,
                Some(0)
            )
            .is_none()
        );
    }
}
