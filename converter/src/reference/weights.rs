//! A checkpoint's matrices, in memory where they fit, else read again for each product.

use super::gemm::{self, Arithmetic, Matrix};
use super::math;
use crate::source::{Checkpoint, SourceError};
use carat_format::Tensor;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most elements of a task's part of a product, and of the weights that it reads.
const TASK: usize = 1 << 20;
/// Most rows of weights of a task that has all rows of activations.
const W_ROWS: usize = 512;
/// Fewest rows of activations of a task that has all rows of weights: it packs those again.
const X_ROWS: usize = 256;
/// Fewer rows than this are multiplied without packing.
const FEW: usize = 4;

pub(super) struct Weights<'c> {
    checkpoint: &'c Checkpoint,
    pub arithmetic: Arithmetic,
    /// Vectors, and the matrices that fit in the budget.
    held: BTreeMap<Tensor, Vec<f32>>,
}

impl<'c> Weights<'c> {
    /// Reads the vectors, and matrices in file order while their f32 fit in `budget` bytes.
    pub fn open(checkpoint: &'c Checkpoint, budget: u64) -> Result<Self, SourceError> {
        let hyper = checkpoint.hyper();
        let mut left = budget;
        let wanted: Vec<Tensor> = hyper
            .tensors()
            .into_iter()
            .filter(|t| {
                let (rows, cols) = hyper.shape(*t);
                let rest = left.checked_sub(rows * cols * 4);
                left = rest.unwrap_or(left);
                t.is_vector() || rest.is_some()
            })
            .collect();
        let held = wanted
            .into_par_iter()
            .map(|t| {
                let mut out = Vec::new();
                checkpoint.read_rows(t, 0..hyper.shape(t).0, &mut out)?;
                Ok((t, out))
            })
            .collect::<Result<_, SourceError>>()?;
        Ok(Self {
            checkpoint,
            arithmetic: Arithmetic::default(),
            held,
        })
    }

    /// Uses these weights for a matrix instead of the checkpoint's.
    pub fn hold(&mut self, tensor: Tensor, weights: Vec<f32>) {
        self.held.insert(tensor, weights);
    }

    /// Forgets weights that [`hold`](Self::hold) gave.
    pub fn release(&mut self, tensor: Tensor) {
        self.held.remove(&tensor);
    }

    pub fn checkpoint(&self) -> &'c Checkpoint {
        self.checkpoint
    }

    /// The gains of a norm, or a bias.
    pub fn gains(&self, tensor: Tensor) -> Result<&[f32], SourceError> {
        let missing = || SourceError::NoTensor {
            tensor: tensor.name(),
        };
        Ok(self.held.get(&tensor).ok_or_else(missing)?)
    }

    /// Rows of a matrix.
    pub fn rows(
        &self,
        tensor: Tensor,
        start: usize,
        end: usize,
    ) -> Result<Cow<'_, [f32]>, SourceError> {
        if let Some(all) = self.held.get(&tensor) {
            let cols = self.checkpoint.hyper().shape(tensor).1 as usize;
            return Ok(Cow::Borrowed(&all[start * cols..end * cols]));
        }
        let mut out = Vec::new();
        self.checkpoint
            .read_rows(tensor, start as u64..end as u64, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// The rows of the embedding of these tokens, which must be below the vocabulary's size.
    pub fn embed(
        &self,
        tokens: impl Iterator<Item = u32>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        for t in tokens {
            out.extend_from_slice(&self.rows(
                Tensor::TokenEmbedding,
                t as usize,
                t as usize + 1,
            )?);
        }
        Ok(())
    }

    /// `y[m, rows] = x[m, cols] · W[rows, cols]ᵀ`, plus the matrix's bias where there is one, replacing `y`.
    pub fn multiply(&self, tensor: Tensor, x: &[f32], y: &mut Vec<f32>) -> Result<(), SourceError> {
        self.product(tensor, x, y)?;
        let bias = self.checkpoint.hyper().bias(tensor);
        if let Some(bias) = bias.and_then(|b| self.held.get(&b)) {
            for row in y.chunks_exact_mut(bias.len()) {
                math::add(row, bias);
            }
        }
        Ok(())
    }

    fn product(&self, tensor: Tensor, x: &[f32], y: &mut Vec<f32>) -> Result<(), SourceError> {
        let (n, k) = self.checkpoint.hyper().shape(tensor);
        let (n, k) = (n as usize, k as usize);
        let m = x.len() / k;
        y.clear();
        y.resize(m * n, 0.0);
        // One part a thread, for as few packings of the weights as keep all busy.
        let rows = m.div_ceil(rayon::current_num_threads()).max(X_ROWS);
        match self.held.get(&tensor) {
            Some(w) if m > rows => {
                let parts = y.par_chunks_mut(rows * n).zip(x.par_chunks(rows * k));
                parts.for_each(|(y, x)| self.part(m, x, w, k, y));
                Ok(())
            }
            _ => self.multiply_by_rows(tensor, (m, n, k), x, y),
        }
    }

    /// The part of a product of `m` rows that these rows of `x` and of weights give. The number of rows
    /// of the whole decides how, so that the bits do not depend on its division.
    fn part(&self, m: usize, x: &[f32], w: &[f32], k: usize, y: &mut [f32]) {
        let size = (x.len() / k, w.len() / k, k);
        let (x, w) = (Matrix::rows(x, k), Matrix::rows(w, k));
        if m < FEW {
            gemm::multiply_few(size, x, w, y);
        } else {
            gemm::multiply(self.arithmetic, size, x, w, y);
        }
    }

    /// A product divided along the rows of the weights, each of which is read once.
    fn multiply_by_rows(
        &self,
        tensor: Tensor,
        (m, n, k): (usize, usize, usize),
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), SourceError> {
        if m == 0 {
            return Ok(());
        }
        let most = W_ROWS.min(TASK / m.max(k)).max(16);
        // As many parts of one size as keep all threads busy to the end.
        let threads = rayon::current_num_threads();
        let parts = n.div_ceil(most).next_multiple_of(threads);
        let step = n.div_ceil(parts).next_multiple_of(16);
        let starts: Vec<usize> = (0..n).step_by(step).collect();
        // The parts of a wave are copied together, so that no two threads write one row of `y`.
        for wave in starts.chunks(2 * threads) {
            let parts: Vec<Vec<f32>> = wave
                .par_iter()
                .map(|start| {
                    let end = n.min(start + step);
                    let mut part = vec![0.0; m * (end - start)];
                    self.part(m, x, &self.rows(tensor, *start, end)?, k, &mut part);
                    Ok(part)
                })
                .collect::<Result<_, SourceError>>()?;
            for (start, part) in wave.iter().zip(&parts) {
                let width = part.len() / m;
                for (y, p) in y.chunks_exact_mut(n).zip(part.chunks_exact(width)) {
                    y[*start..start + width].copy_from_slice(p);
                }
            }
        }
        Ok(())
    }
}
