//! `H = XᵀX/T`, gathered chunk by chunk, and its factors.

use super::lanes::{LANES, product};
use crate::reference::{Columns, cross, gram, products};
use rayon::prelude::*;
use std::ops::Range;

/// Most columns whose inputs are correlated with each other; of wider matrices H is block-diagonal.
const BLOCK: usize = 8192;
/// Rows of a block of the factorization.
const STEP: usize = 128;
/// Rows of a task of it.
const PART: usize = 256;
/// Part of H beside the diagonal that is taken away where there is an input for each column. Of facet-6m at 1.77 bits
/// with 64 inputs for each column a quarter less gives a mean KL of 0.496, nothing less 0.434; SmolLM2 with 11 to 28 bears
/// all from a tenth to a quarter alike.
const SPREAD: f64 = 2.5;
/// Times that the damping is raised tenfold where a factor does not exist.
const TRIES: usize = 8;

/// What is changed of an H that comes from few inputs, so that a fit to it serves other inputs as well.
///
/// With some thousands of inputs of a text, H's correlations are in part those of the text. Errors that are made up
/// for by them are errors elsewhere: of SmolLM2's down projections, fitted to 4,096 tokens, two thirds.
///
/// Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004), with
/// the diagonal as what is shrunk to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ridge {
    /// Of the mean of the diagonal, added to all of it.
    pub damping: f64,
    /// Most of what is beside the diagonal that is taken away: `SPREAD` times the columns for each input.
    pub shrink: f64,
    /// Inputs for each column at which half is taken of what makes up for drift and lack (`drift`). Of SmolLM2
    /// at 4 bits with 4,096 tokens all of it gives a mean KL of 0.095, none 0.091, a quarter to a half 0.078 to 0.080.
    pub noise: f64,
}

impl Ridge {
    /// Nothing is changed.
    pub const NONE: Self = Self {
        damping: 0.0,
        shrink: 0.0,
        noise: 0.0,
    };
    /// For a fit.
    pub const FIT: Self = Self {
        damping: 0.01,
        shrink: 0.25,
        noise: 6.0,
    };
    /// For a tied embedding: its rows are also the inputs of the first block, where all errors weigh alike.
    pub const TIED: Self = Self {
        damping: 0.1,
        ..Self::FIT
    };
}

/// The sums over the inputs of a product so far.
#[derive(Clone, Debug)]
pub struct Hessian {
    cols: usize,
    rows: usize,
    blocks: Vec<Sums>,
    /// Σ rᵀx, `[rows of the matrix, cols]`; see [`Self::lack`].
    lack: Vec<f32>,
}

/// Sums over a range of columns, n of them.
#[derive(Clone, Debug)]
struct Sums {
    range: Range<usize>,
    /// Σ xᵀx, `[n, n]`, below the diagonal.
    gram: Vec<f32>,
    /// Σ xᵀ(x̂ − x), `[n, n]`; empty where the two are the same.
    drift: Vec<f32>,
}

impl Hessian {
    /// Of inputs of `cols` elements: `4·cols²` bytes, twice that from the first
    /// [`add_drifted`](Self::add_drifted) on.
    pub fn new(cols: usize) -> Self {
        let blocks = (0..cols).step_by(BLOCK).map(|start| {
            let range = start..cols.min(start + BLOCK);
            let n = range.len();
            Sums {
                range,
                gram: vec![0.0; n * n],
                drift: Vec::new(),
            }
        });
        Self {
            cols,
            rows: 0,
            blocks: blocks.collect(),
            lack: Vec::new(),
        }
    }

    /// Elements of an input.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Adds inputs x `[rows, cols]`.
    pub fn add(&mut self, x: &[f32]) {
        for b in &mut self.blocks {
            gram(x, self.cols, b.range.clone(), &mut b.gram);
        }
        self.rows += x.len() / self.cols.max(1);
    }

    /// Adds inputs x `[rows, cols]`, each as often as its weight says. The mean stays one of the inputs, so that
    /// weights of the mean 1 keep its size.
    pub fn add_weighted(&mut self, x: &[f32], weights: &[f32]) {
        let rows = x.chunks_exact(self.cols.max(1)).zip(weights);
        let scaled: Vec<f32> = rows
            .flat_map(|(row, w)| row.iter().map(|x| x * libm::sqrtf(*w)))
            .collect();
        self.add(&scaled);
    }

    /// Adds inputs x `[rows, cols]` for which the matrix shall give what it gave for `exact`, x̂.
    pub fn add_drifted(&mut self, x: &[f32], exact: &[f32]) {
        let drift: Vec<f32> = exact.iter().zip(x).map(|(e, x)| e - x).collect();
        for b in &mut self.blocks {
            b.drift.resize(b.gram.len(), 0.0);
            let columns = |data| Columns {
                data,
                cols: self.cols,
                range: b.range.clone(),
            };
            cross(columns(x), columns(&drift), &mut b.drift);
        }
        self.add(x);
    }

    /// For inputs x that were added the matrix shall give r `[rows, width]` more.
    pub fn lack(&mut self, x: &[f32], r: &[f32], width: usize) {
        self.lack.resize(width * self.cols, 0.0);
        let r = Columns {
            data: r,
            cols: width,
            range: 0..width,
        };
        let x = Columns {
            data: x,
            cols: self.cols,
            range: 0..self.cols,
        };
        cross(r, x, &mut self.lack);
    }

    /// The means with `ridge`, factored for [`super::gptq`] and `Solver::targets` if `factor`. `None` if an input
    /// was not finite.
    ///
    /// Memory of a block of n columns: at most `12·n²` bytes.
    pub fn solve(self, ridge: Ridge, factor: bool) -> Option<Solver> {
        let (cols, rows) = (self.cols, self.rows);
        let inputs = rows.max(1) as f64;
        let scale = 1.0 / inputs;
        let blocks = self
            .blocks
            .into_iter()
            .map(|sums| {
                let spread = SPREAD * sums.range.len() as f64 / inputs;
                let shrink = ridge.shrink.min(spread);
                Block::new(sums, scale, Ridge { shrink, ..ridge }, factor)
            })
            .collect::<Option<_>>()?;
        let mut lack = self.lack;
        lack.par_iter_mut().for_each(|v| *v *= scale as f32);
        let finite = lack.iter().all(|v| v.is_finite());
        let taken = 1.0 / (1.0 + ridge.noise * cols as f64 / rows.max(1) as f64);
        finite.then_some(Solver {
            blocks,
            lack,
            taken: taken as f32,
        })
    }
}

/// What the methods need of H.
#[derive(Clone, Debug)]
pub struct Solver {
    pub(super) blocks: Vec<Block>,
    /// rᵀx, `[rows of the matrix, cols]`, or empty.
    pub(super) lack: Vec<f32>,
    /// Part of what makes up for drift and lack that is taken: it is a solution of least squares over few inputs.
    pub(super) taken: f32,
}

/// H of a range of columns, n of them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub range: Range<usize>,
    /// `[n, n]`, symmetric.
    pub h: Vec<f32>,
    /// xᵀ(x̂ − x), `[n, n]`, or empty.
    pub drift: Vec<f32>,
    /// The columns, the largest of the diagonal first.
    pub order: Vec<u32>,
    /// D of `P H Pᵀ = (I + U) D (I + U)ᵀ`, in that order.
    pub pivots: Vec<f32>,
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

    /// `w H wᵀ` of each row of `cols` elements.
    pub fn energies(&self, rows: &[f32], cols: usize) -> Vec<f64> {
        let tiles = rows.par_chunks(LANES * cols.max(1));
        tiles
            .flat_map_iter(|tile| self.tile_energies(tile, cols))
            .collect()
    }

    fn tile_energies(&self, rows: &[f32], cols: usize) -> Vec<f64> {
        let mut sums = vec![0f64; rows.len() / cols.max(1)];
        for block in &self.blocks {
            let mut columns = vec![[0f32; LANES]; block.range.len()];
            for (lane, row) in rows.chunks_exact(cols).enumerate() {
                for (column, w) in columns.iter_mut().zip(&row[block.range.clone()]) {
                    column[lane] = *w;
                }
            }
            for (column, given) in columns.iter().zip(product(&columns, &block.h)) {
                for ((sum, w), h) in sums.iter_mut().zip(column).zip(given) {
                    *sum += f64::from(*w) * f64::from(h);
                }
            }
        }
        sums
    }
}

impl Block {
    fn new(sums: Sums, scale: f64, ridge: Ridge, factor: bool) -> Option<Self> {
        let (n, mut h, mut drift) = (sums.range.len(), sums.gram, sums.drift);
        let trace: f64 = (0..n).map(|i| f64::from(h[i * n + i])).sum::<f64>() * scale;
        if !trace.is_finite() {
            return None;
        }
        // Inputs of zeros alone: every weight does as well, and the nearest is as good as any.
        let mean = if trace > 0.0 { trace / n as f64 } else { 1.0 };
        for i in 0..n {
            for j in 0..=i {
                let kept = if i == j { 1.0 } else { 1.0 - ridge.shrink };
                let value = (f64::from(h[i * n + j]) * scale * kept) as f32;
                h[i * n + j] = value;
                h[j * n + i] = value;
            }
            h[i * n + i] += (ridge.damping * mean) as f32;
        }
        drift.par_iter_mut().for_each(|v| *v *= scale as f32);
        if !h.iter().chain(&drift).all(|v| v.is_finite()) {
            return None;
        }
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by(|a, b| {
            let at = |i: u32| h[i as usize * n + i as usize];
            at(*b).total_cmp(&at(*a)).then(a.cmp(b))
        });
        let mut block = Self {
            range: sums.range,
            h,
            drift,
            order,
            pivots: Vec::new(),
            feedback: Vec::new(),
        };
        if factor {
            block.factor(mean)?;
        }
        Some(block)
    }

    /// `P H Pᵀ = (I + U) D (I + U)ᵀ` with U strictly upper triangular: the Cholesky factor L of the columns in
    /// reversed order, its columns divided by their diagonal. Row k of `feedback` is column k of U, which is
    /// L mirrored at the other diagonal.
    fn factor(&mut self, mean: f64) -> Option<()> {
        let n = self.range.len();
        let mut extra = 0.0;
        let mut l = vec![0f32; n * n];
        for _ in 0..TRIES {
            let reversed = |i: usize| self.order[n - 1 - i] as usize;
            l.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
                let from = &self.h[reversed(i) * n..][..n];
                for (j, v) in row.iter_mut().enumerate() {
                    *v = if j <= i { from[reversed(j)] } else { 0.0 };
                }
                row[i] += extra as f32;
            });
            if cholesky(&mut l, n) {
                let diagonal: Vec<f32> = (0..n).map(|i| l[i * n + i]).collect();
                self.pivots = diagonal.iter().rev().map(|d| d * d).collect();
                l.par_chunks_mut(n).for_each(|row| {
                    for (v, d) in row.iter_mut().zip(&diagonal) {
                        *v /= d;
                    }
                });
                // In squares, both of which the cache holds.
                for (rows, columns) in squares(n) {
                    for i in rows {
                        for j in columns.start..columns.end.min(i + 1) {
                            let (a, b) = (i * n + j, (n - 1 - j) * n + n - 1 - i);
                            if a < b {
                                l.swap(a, b);
                            }
                        }
                    }
                }
                self.feedback = l;
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

/// Rows and columns of the squares of [`STEP`] that make up a matrix of `n` rows, from its diagonal down.
fn squares(n: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let part = move |start: usize| start..n.min(start + STEP);
    let columns = move |row: usize| {
        (0..=row)
            .step_by(STEP)
            .map(move |column| (part(row), part(column)))
    };
    (0..n).step_by(STEP).flat_map(columns)
}

/// The lower Cholesky factor in place, block column by block column; whether it exists.
fn cholesky(l: &mut [f32], n: usize) -> bool {
    for start in (0..n).step_by(STEP) {
        let end = n.min(start + STEP);
        // What the columns before `start` take off the block column.
        let below = &mut l[start * n..];
        if start > 0 {
            let block = below[..(end - start) * n].to_vec();
            let parts = below.par_chunks_mut(PART * n).enumerate();
            parts.for_each(|(part, rows)| {
                let (width, count) = (end - start, rows.len() / n);
                let mut taken = vec![0f32; count * width];
                let inner = Columns {
                    data: rows,
                    cols: n,
                    range: 0..start,
                };
                let block = Columns {
                    data: &block,
                    cols: n,
                    range: 0..start,
                };
                products(inner, block, &mut taken);
                for (i, (row, taken)) in rows
                    .chunks_exact_mut(n)
                    .zip(taken.chunks_exact(width))
                    .enumerate()
                {
                    // Above the diagonal nothing is written.
                    let last = end.min(start + part * PART + i + 1);
                    for (v, t) in row[start..last].iter_mut().zip(taken) {
                        *v -= t;
                    }
                }
            });
        }
        let (above, below) = l.split_at_mut(end * n);
        for i in start..end {
            let (before, row) = above.split_at_mut(i * n);
            let row = &mut row[..n];
            for j in start..i {
                let other = &before[j * n..][..n];
                let sum = dot(&row[start..j], &other[start..j]);
                row[j] = ((f64::from(row[j]) - sum) / f64::from(other[j])) as f32;
            }
            let pivot = f64::from(row[i]) - dot(&row[start..i], &row[start..i]);
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
            }
            row[i] = libm::sqrt(pivot) as f32;
        }
        let above = &*above;
        below.par_chunks_mut(n).for_each(|row| {
            for j in start..end {
                let other = &above[j * n..][..n];
                let sum = dot(&row[start..j], &other[start..j]);
                row[j] = ((f64::from(row[j]) - sum) / f64::from(other[j])) as f32;
            }
        });
    }
    true
}

/// Eight interleaved sums in f64, added in order.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f64; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let product = |x: &f32, y: &f32| f64::from(*x) * f64::from(*y);
    for (a, b) in a.iter().zip(b) {
        for ((s, x), y) in sums.iter_mut().zip(a).zip(b) {
            *s += product(x, y);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| product(x, y)).sum();
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
        let solver = hessian.solve(Ridge::NONE, true).unwrap();
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
        assert!(hessian.solve(Ridge::FIT, true).is_some());
        let mut hessian = Hessian::new(40);
        hessian.add(&[1.0; 80]);
        assert!(hessian.solve(Ridge::NONE, true).is_some());
        let mut hessian = Hessian::new(2);
        hessian.add(&[1.0, f32::NAN]);
        assert!(hessian.solve(Ridge::FIT, true).is_none());
    }
}
