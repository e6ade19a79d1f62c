//! Changes of a checkpoint's tensors that leave the model's function as it is: matrices that follow each other
//! take a scaling or a rotation and its inverse. Applied as rows are read, so that whoever reads sees one model.

use carat_format::Tensor;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A step of a change. Of a vector, which is one row, the elements are its columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Every column times a factor of its own.
    ScaleColumns(Arc<[f32]>),
    /// Every row times a factor of its own.
    ScaleRows(Arc<[f32]>),
    /// Each row `w` becomes `w · R`.
    RotateColumns(Arc<Rotation>),
    /// The matrix W becomes `Rᵀ · W`.
    RotateRows(Arc<Rotation>),
    /// Every element is 1.
    Ones,
}

/// The orthogonal matrix `R = diag(signs) · H`, H block-diagonal of Hadamard matrices over √block.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Elements of a block, a power of two.
    block: usize,
    /// ±1, repeated along the elements; a multiple of the block.
    signs: Vec<f32>,
}

impl Rotation {
    /// Blocks of the largest power of two that divides `period`, the number of signs.
    pub fn new(signs: Vec<f32>) -> Self {
        let block = 1usize << signs.len().trailing_zeros().min(31);
        Self {
            block: block.min(signs.len().max(1)),
            signs,
        }
    }

    /// Elements of a block.
    pub fn block(&self) -> usize {
        self.block
    }

    /// `x · R` of a row that holds whole blocks: as H is symmetric, `Rᵀ` times the row as a column.
    fn row(&self, x: &mut [f32]) {
        self.rows(x, 1, 0);
    }

    /// `Rᵀ · W` of rows from `first` on, a block's first.
    fn rows(&self, w: &mut [f32], cols: usize, first: u64) {
        let period = self.signs.len().max(1) as u64;
        for (i, row) in w.chunks_exact_mut(cols).enumerate() {
            let sign = self.signs.get(((first + i as u64) % period) as usize);
            let sign = sign.copied().unwrap_or(1.0);
            row.iter_mut().for_each(|x| *x *= sign);
        }
        let scale = (1.0 / libm::sqrt(self.block as f64)) as f32;
        for block in w.chunks_exact_mut(self.block * cols) {
            let mut half = cols;
            while half < block.len() {
                for pair in block.chunks_exact_mut(2 * half) {
                    let (a, b) = pair.split_at_mut(half);
                    for (a, b) in a.iter_mut().zip(b) {
                        (*a, *b) = (*a + *b, *a - *b);
                    }
                }
                half *= 2;
            }
            block.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

/// The changes of a model's tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transform(BTreeMap<Tensor, Vec<Step>>);

impl Transform {
    /// One more step for a tensor, after those that it has.
    pub fn push(&mut self, tensor: Tensor, step: Step) {
        self.0.entry(tensor).or_default().push(step);
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows that have to be read for `rows` of a tensor of `count`.
    pub(super) fn needed(&self, tensor: Tensor, rows: &Range<u64>, count: u64) -> Range<u64> {
        let steps = self.0.get(&tensor).map_or(&[][..], Vec::as_slice);
        let blocks = steps.iter().filter_map(|s| match s {
            Step::RotateRows(r) => Some(r.block as u64),
            _ => None,
        });
        // Powers of two: the largest block holds the others.
        let block = blocks.max().unwrap_or(1);
        let end = rows.end.next_multiple_of(block).min(count);
        rows.start / block * block..end
    }

    /// Changes rows from `first` on, as [`needed`](Self::needed) gave them.
    pub(super) fn apply(&self, tensor: Tensor, w: &mut [f32], cols: usize, first: u64) {
        for step in self.0.get(&tensor).map_or(&[][..], Vec::as_slice) {
            match step {
                Step::ScaleColumns(factors) => {
                    for row in w.chunks_exact_mut(cols) {
                        row.iter_mut()
                            .zip(factors.iter())
                            .for_each(|(x, f)| *x *= f);
                    }
                }
                Step::ScaleRows(factors) => {
                    for (i, row) in w.chunks_exact_mut(cols).enumerate() {
                        let factor = factors.get(first as usize + i).copied().unwrap_or(1.0);
                        row.iter_mut().for_each(|x| *x *= factor);
                    }
                }
                Step::RotateColumns(r) => w.chunks_exact_mut(cols).for_each(|row| r.row(row)),
                Step::RotateRows(r) => r.rows(w, cols, first),
                Step::Ones => w.fill(1.0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(n: usize) -> Rotation {
        Rotation::new(
            (0..n)
                .map(|i| if i * 7 % 5 < 2 { -1.0 } else { 1.0 })
                .collect(),
        )
    }

    /// R from its definition.
    fn matrix(r: &Rotation, n: usize) -> Vec<Vec<f32>> {
        let entry = |i: usize, j: usize| {
            if i / r.block != j / r.block {
                return 0.0;
            }
            // Sylvester's Hadamard matrix: −1 to the number of bits in common.
            let common = ((i % r.block) & (j % r.block)).count_ones();
            let sign = r.signs[i % r.signs.len()];
            let h = if common.is_multiple_of(2) {
                sign
            } else {
                -sign
            };
            h / (r.block as f32).sqrt()
        };
        (0..n)
            .map(|i| (0..n).map(|j| entry(i, j)).collect())
            .collect()
    }

    #[test]
    fn rotations_are_products_with_an_orthogonal_matrix() {
        for (period, block, n) in [(8, 8, 16), (12, 4, 24), (1, 1, 3), (32, 32, 32)] {
            let r = rotation(period);
            assert_eq!(r.block(), block);
            let m = matrix(&r, n);
            let dot = |f: &dyn Fn(usize) -> f32| (0..n).map(f).sum::<f32>();
            let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-4, "{a} {b}");
            for i in 0..n {
                for j in 0..n {
                    near(dot(&|k| m[i][k] * m[j][k]), f32::from(u8::from(i == j)));
                }
            }
            let value = |i: usize| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0;
            let x: Vec<f32> = (0..n).map(value).collect();
            let mut row = x.clone();
            r.row(&mut row);
            let cols = 3;
            let w: Vec<f32> = (0..n * cols).map(value).collect();
            let mut rows = w.clone();
            r.rows(&mut rows, cols, 0);
            for j in 0..n {
                near(row[j], dot(&|k| x[k] * m[k][j]));
                for c in 0..cols {
                    near(rows[j * cols + c], dot(&|k| m[k][j] * w[k * cols + c]));
                }
            }
        }
    }

    #[test]
    fn parts_of_rows_are_those_of_the_whole() {
        let mut t = Transform::default();
        let (tensor, cols, count) = (carat_format::Part::AttnV.of(0), 5, 24u64);
        t.push(tensor, Step::RotateRows(Arc::new(rotation(8))));
        t.push(
            tensor,
            Step::ScaleRows((1..=24).map(|i| i as f32).collect()),
        );
        let whole: Vec<f32> = (0..count as usize * cols)
            .map(|i| (i % 13) as f32 - 6.0)
            .collect();
        let mut expected = whole.clone();
        t.apply(tensor, &mut expected, cols, 0);
        for rows in [0..1, 3..9, 7..24, 16..16, 23..24] {
            let needed = t.needed(tensor, &rows, count);
            let mut part = whole[needed.start as usize * cols..needed.end as usize * cols].to_vec();
            t.apply(tensor, &mut part, cols, needed.start);
            let skip = (rows.start - needed.start) as usize * cols;
            let part = &part[skip..][..(rows.end - rows.start) as usize * cols];
            assert_eq!(
                part,
                &expected[rows.start as usize * cols..rows.end as usize * cols]
            );
        }
    }
}
