//! Synthetic adapters: random pairs for every matrix of a model's blocks.

use super::Rng;
use carat_adapter::{Adapter, Applied, Strength, Term};
use carat_format::ModelSpec;
use std::sync::Arc;

/// Random pairs of a rank: what they add is about `size` times as large as the model's own products.
pub fn terms(spec: &ModelSpec, rank: usize, size: f64, seed: u64) -> Vec<Term> {
    let mut rng = Rng(seed);
    // Within ±1, in steps that a float of 32 bits holds.
    let mut even = |most: f64| {
        let within = rng.below(1 << 21) as f64 / f64::from(1 << 20) - 1.0;
        f64::from((within * most) as f32)
    };
    let tensors = (0..spec.block_count()).flat_map(|b| spec.matrices(b));
    tensors
        .map(|tensor| {
            let (rows, cols) = spec.shape(tensor);
            let of = |n: u64| 1.0 / libm::sqrt(n as f64);
            let (of_a, of_b) = (of(cols), size * of(rank as u64));
            let (rows, cols) = (rows as usize, cols as usize);
            Term {
                tensor,
                rank,
                cols,
                a: (0..rank * cols).map(|_| even(of_a)).collect(),
                b: (0..rows * rank).map(|_| even(of_b)).collect(),
            }
        })
        .collect()
}

/// An adapter of [`terms`].
pub fn adapter(spec: &ModelSpec, rank: usize, size: f64, seed: u64) -> Adapter {
    let terms = terms(spec, rank, size, seed);
    match Adapter::new(format!("synthetic-{seed}"), terms) {
        Ok(adapter) => adapter,
        Err(tensor) => unreachable!("{}: small elements", tensor.name()),
    }
}

/// Several adapters, of ranks that fill neither groups nor tiles.
pub(super) fn several(spec: &ModelSpec, seed: u64) -> Vec<Applied> {
    let of = |(i, rank): (usize, usize)| Applied {
        adapter: Arc::new(adapter(spec, rank, 1.0, seed + i as u64)),
        strength: Strength::ONE,
    };
    [1, 16, 33].into_iter().enumerate().map(of).collect()
}
