//! Column by column, the error of what is done made up for by what follows.
//!
//! Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
//! Transformers" (2023), in the equivalent form of Chee et al., "QuIP: 2-Bit Quantization of Large Language
//! Models With Guarantees" (2023): with `H = (I + U) D (I + U)ᵀ`, column k is rounded from
//! `w_k + Σ_{j<k} (w_j − ŵ_j)·U_jk`. Columns of the largest diagonal come first (GPTQ's "act-order");
//! scales are fixed before, so that the order needs no place in the file.

use super::hessian::Block;
use super::lanes::{LANES, weighted_sum};
use super::rows::Row;
use crate::quantize::Quantizer;

/// Chooses the codes of `rows` in the columns of `block`, at most 32 rows, with the scales that they have.
pub(super) fn tile(quantizer: &Quantizer, block: &Block, rows: &mut [Row<'_>]) {
    let n = block.range.len();
    if block.feedback.is_empty() {
        return;
    }
    // w − ŵ of the columns done, in their order.
    let mut errors = vec![[0f32; LANES]; n];
    for (k, column) in block.order.iter().enumerate() {
        let column = block.range.start + *column as usize;
        let sums = weighted_sum(&errors[..k], &block.feedback[k * n..]);
        for ((row, sum), error) in rows.iter_mut().zip(&sums).zip(&mut errors[k]) {
            row.set(quantizer, column, row.target[column] + sum);
            *error = row.target[column] - row.value(quantizer, column);
        }
    }
}
