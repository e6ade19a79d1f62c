//! Column by column, the error of what is done made up for by what follows.
//!
//! Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers" (2023), in the equivalent form of Chee et al., "QuIP: 2-Bit Quantization of Large Language
//! Models With Guarantees" (2023): with `H = (I + U) D (I + U)ᵀ`, column k is rounded from
//! `w_k + Σ_{j<k} (w_j − ŵ_j)·U_jk`. Columns of the largest diagonal come first (GPTQ's "act-order");
//! scales are fixed before, so that the order needs no place in the file.

use super::hessian::Block;
use super::lanes::{LANES, PANEL, accumulate, weighted_sum};
use super::rows::Row;
use crate::quantize::Quantizer;

/// Chooses the codes of `rows` in the columns of `block`, at most 32 rows, with the scales that they have.
pub(super) fn tile(quantizer: &Quantizer, block: &Block, rows: &mut [Row<'_>]) {
    let n = block.range.len();
    if block.feedback.is_empty() {
        return;
    }
    // w − ŵ of the columns done, in their order, and what the panels before a column add to it.
    let mut errors = vec![[0f32; LANES]; n];
    let mut before = vec![[0f32; LANES]; n];
    for start in (0..n).step_by(PANEL) {
        let end = n.min(start + PANEL);
        for k in start..end {
            let column = block.range.start + block.order[k] as usize;
            let (done, this) = errors[start..].split_at_mut(k - start);
            let sums = weighted_sum(done, &block.feedback[k * n + start..]);
            let sums = sums.iter().zip(&before[k]);
            for ((row, (sum, before)), error) in rows.iter_mut().zip(sums).zip(&mut this[0]) {
                row.set(quantizer, column, row.target[column] + (before + sum));
                *error = row.target[column] - row.value(quantizer, column);
            }
        }
        if end < n {
            let feedback = &block.feedback[end * n + start..];
            accumulate(&mut before[end..], &errors[start..end], feedback, n);
        }
    }
}
