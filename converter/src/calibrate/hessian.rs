//! `H = XᵀX/T`, gathered chunk by chunk, and its factors.

use crate::reference::gram;
use rayon::prelude::*;
use std::ops::Range;

/// Most columns whose inputs are correlated with each other; of wider matrices H is block-diagonal.
const BLOCK: usize = 8192;
/// Rows of a block of the factorization.
const STEP: usize = 64;
/// Times that the damping is raised tenfold where a factor does not exist.
const TRIES: usize = 8;

/// The sum of `xᵀx` over the inputs of a product so far.
#[derive(Clone, Debug)]
pub struct Hessian {
    cols: usize,
    rows: usize,
    blocks: Vec<(Range<usize>, Vec<f64>)>,
}

impl Hessian {
    /// Of inputs of `cols` elements: `8·cols²` bytes.
    pub fn new(cols: usize) -> Self {
        let blocks = (0..cols).step_by(BLOCK).map(|start| {
            let range = start..cols.min(start + BLOCK);
            let n = range.len();
            (range, vec![0.0; n * n])
        });
        Self {
            cols,
            rows: 0,
            blocks: blocks.collect(),
        }
    }

    /// Adds inputs `[rows, cols]`.
    pub fn add(&mut self, x: &[f32]) {
        for (range, sum) in &mut self.blocks {
            gram(x, self.cols, range.clone(), sum);
        }
        self.rows += x.len() / self.cols.max(1);
    }

    /// The mean, with `damping` times the mean of its diagonal added to the diagonal, factored for
    /// [`super::gptq`] if `factor`. `None` if an input was not finite.
    ///
    /// Memory: `16·n²` bytes while it works on a block of n columns and `8·n²` a block after.
    pub fn solve(self, damping: f64, factor: bool) -> Option<Solver> {
        let scale = 1.0 / self.rows.max(1) as f64;
        let blocks = self
            .blocks
            .into_iter()
            .map(|(range, sum)| Block::new(range, sum, scale, damping, factor))
            .collect::<Option<_>>()?;
        Some(Solver { blocks })
    }
}

/// What the methods need of H.
#[derive(Clone, Debug)]
pub struct Solver {
    pub(super) blocks: Vec<Block>,
}

/// H of a range of columns, n of them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub range: Range<usize>,
    /// `[n, n]`, symmetric.
    pub h: Vec<f32>,
    /// The columns, the largest of the diagonal first.
    pub order: Vec<u32>,
    /// Row k: by how much of the error at the k-th of `order` each one before it is followed by; see
    /// [`super::gptq`]. Empty where it was not asked for.
    pub feedback: Vec<f32>,
}

impl Solver {
    /// The diagonal of H.
    pub fn diagonal(&self) -> Vec<f32> {
        let diagonal = |b: &Block| {
            let n = b.range.len();
            (0..n).map(|i| b.h[i * n + i]).collect::<Vec<f32>>()
        };
        self.blocks.iter().flat_map(diagonal).collect()
    }
}

impl Block {
    fn new(
        range: Range<usize>,
        mut h: Vec<f64>,
        scale: f64,
        damping: f64,
        factor: bool,
    ) -> Option<Self> {
        let n = range.len();
        let trace: f64 = (0..n).map(|i| h[i * n + i]).sum::<f64>() * scale;
        if !trace.is_finite() {
            return None;
        }
        // Inputs of zeros alone: every weight does as well, and the nearest is as good as any.
        let mean = if trace > 0.0 { trace / n as f64 } else { 1.0 };
        for i in 0..n {
            for j in 0..=i {
                let value = h[i * n + j] * scale;
                h[i * n + j] = value;
                h[j * n + i] = value;
            }
            h[i * n + i] += damping * mean;
        }
        if !h.iter().all(|v| v.is_finite()) {
            return None;
        }
        let single: Vec<f32> = h.par_iter().map(|v| *v as f32).collect();
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| {
            let at = |i: u32| h[i as usize * n + i as usize];
            at(*b).total_cmp(&at(*a)).then(a.cmp(b))
        });
        drop(h);
        let mut block = Self {
            range,
            h: single,
            order,
            feedback: Vec::new(),
        };
        if factor {
            block.factor(mean)?;
        }
        Some(block)
    }

    /// `P H Pᵀ = (I + U) D (I + U)ᵀ` with U strictly upper triangular: the Cholesky factor of the columns in
    /// reversed order, its columns divided by their diagonal. Row k of `feedback` is column k of U.
    fn factor(&mut self, mean: f64) -> Option<()> {
        let n = self.range.len();
        let mut extra = 0.0;
        for _ in 0..TRIES {
            let reversed = |i: usize| self.order[n - 1 - i] as usize;
            let mut l = vec![0f64; n * n];
            l.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
                let from = &self.h[reversed(i) * n..][..n];
                for (j, v) in row[..=i].iter_mut().enumerate() {
                    *v = f64::from(from[reversed(j)]);
                }
                row[i] += extra;
            });
            if cholesky(&mut l, n) {
                self.feedback = vec![0.0; n * n];
                let out = self.feedback.par_chunks_mut(n).enumerate();
                out.for_each(|(k, row)| {
                    let column = n - 1 - k;
                    let diagonal = l[column * n + column];
                    for (j, v) in row[..k].iter_mut().enumerate() {
                        *v = (l[(n - 1 - j) * n + column] / diagonal) as f32;
                    }
                });
                return Some(());
            }
            extra = if extra == 0.0 {
                0.01 * mean
            } else {
                extra * 10.0
            };
        }
        None
    }
}

/// The lower Cholesky factor in place, block column by block column; whether it exists.
fn cholesky(l: &mut [f64], n: usize) -> bool {
    for start in (0..n).step_by(STEP) {
        let end = n.min(start + STEP);
        let (above, below) = l.split_at_mut(end * n);
        for i in start..end {
            let (before, row) = above.split_at_mut(i * n);
            let row = &mut row[..n];
            for j in start..i {
                let other = &before[j * n..][..n];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
            // Columns before `start` are done: the loop below has filled them in.
            let pivot = row[i] - dot(&row[..i], &row[..i]);
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
            }
            row[i] = libm::sqrt(pivot);
        }
        let above = &*above;
        below.par_chunks_mut(n).for_each(|row| {
            for j in start..end {
                let other = &above[j * n..][..n];
                row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
            }
        });
    }
    true
}

/// Eight interleaved sums, added in order.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((s, x), y) in sums.iter_mut().zip(a).zip(b) {
            *s += x * y;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_give_the_matrix_back() {
        let (n, rows) = (70, 300);
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let x: Vec<f32> = (0..n * rows).map(|i| next() * (1 + i % 3) as f32).collect();
        let mut hessian = Hessian::new(n);
        hessian.add(&x[..n * 100]);
        hessian.add(&x[n * 100..]);
        let solver = hessian.solve(0.0, true).unwrap();
        let b = &solver.blocks[0];
        for i in 0..n {
            for j in 0..n {
                let exact: f64 = x.chunks(n).map(|r| f64::from(r[i]) * f64::from(r[j])).sum();
                let found = f64::from(b.h[i * n + j]) * rows as f64;
                assert!((found - exact).abs() < 1e-2, "{i} {j}: {found}, {exact}");
            }
        }
        // D from the last column up: H = (I + U) D (I + U)ᵀ in the order of the columns.
        let h = |i: usize, j: usize| f64::from(b.h[b.order[i] as usize * n + b.order[j] as usize]);
        let u = |i: usize, j: usize| match i.cmp(&j) {
            std::cmp::Ordering::Less => f64::from(b.feedback[j * n + i]),
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => 0.0,
        };
        let mut d = vec![0f64; n];
        for k in (0..n).rev() {
            d[k] = h(k, k) - (k + 1..n).map(|c| u(k, c) * u(k, c) * d[c]).sum::<f64>();
        }
        for i in 0..n {
            for j in 0..n {
                let found: f64 = (0..n).map(|c| u(i, c) * d[c] * u(j, c)).sum();
                assert!((found - h(i, j)).abs() < 1e-4, "{i} {j}");
            }
        }
    }

    #[test]
    fn inputs_of_zeros_and_of_few_rows_have_a_factor() {
        let mut hessian = Hessian::new(40);
        hessian.add(&[0.0; 80]);
        assert!(hessian.solve(0.01, true).is_some());
        let mut hessian = Hessian::new(40);
        hessian.add(&[1.0; 80]);
        assert!(hessian.solve(0.0, true).is_some());
        let mut hessian = Hessian::new(2);
        hessian.add(&[1.0, f32::NAN]);
        assert!(hessian.solve(0.01, true).is_none());
    }
}
