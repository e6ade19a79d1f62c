//! Intruder dimensions of an adapter: directions that `W + BA` has much of and that `W` does not know.
//!
//! Each of the largest left singular vectors of `W + BA` is compared with all of `W`'s. One whose largest cosine is small is an
//! intruder. Adapters with many of them change what the model knew beside their task more than full fine-tuning does.
//!
//! Source: Shuttleworth et al., "LoRA vs Full Fine-tuning: An Illusion of Equivalence" (2024).

use crate::source::{Checkpoint, SourceError};
use carat::internals::adapter::Term;
use nalgebra::{DMatrix, SymmetricEigen};

/// Singular vectors of a matrix that are looked at.
pub const TOP: usize = 10;
/// A vector is an intruder whose cosines are all below.
pub const THRESHOLD: f64 = 0.6;

/// What an adapter does to one matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// ‖BA‖ / ‖W‖.
    pub size: f64,
    /// Of each of the largest left singular vectors of `W + BA`, the largest |cosine| to one of `W`'s.
    pub cosines: Vec<f64>,
}

impl Measured {
    /// How many of the vectors are intruders.
    pub fn intruders(&self) -> usize {
        self.cosines.iter().filter(|c| **c < THRESHOLD).count()
    }
}

/// Compares a matrix of a checkpoint with what an adapter makes of it. Takes time that grows with the cube of the matrix's
/// smaller side.
///
/// # Errors
/// What reading the checkpoint meets.
pub fn measure(base: &Checkpoint, term: &Term) -> Result<Measured, SourceError> {
    let (rows, cols) = base.hyper().shape(term.tensor);
    let mut weights = Vec::new();
    base.read_rows(term.tensor, 0..rows, &mut weights)?;
    let (rows, cols) = (rows as usize, cols as usize);
    let w = DMatrix::from_row_iterator(rows, cols, weights.iter().map(|w| f64::from(*w)));
    let a = DMatrix::from_row_slice(term.rank, cols, &term.a);
    let b = DMatrix::from_row_slice(rows, term.rank, &term.b);
    Ok(compare(w, b * a))
}

fn compare(w: DMatrix<f64>, change: DMatrix<f64>) -> Measured {
    let size = change.norm() / w.norm().max(f64::MIN_POSITIVE);
    let changed = left(&(&w + change), TOP);
    let own = left(&w, usize::MAX);
    // Each column is a vector of the changed matrix.
    let cosines = own.tr_mul(&changed);
    let largest = cosines.column_iter().map(|c| c.amax().min(1.0));
    Measured {
        size,
        cosines: largest.collect(),
    }
}

/// The left singular vectors of the `most` largest singular values, which are columns.
fn left(w: &DMatrix<f64>, most: usize) -> DMatrix<f64> {
    let wide = w.nrows() <= w.ncols();
    let gram = match wide {
        true => w * w.transpose(),
        false => w.tr_mul(w),
    };
    let eigen = SymmetricEigen::new(gram);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    order.truncate(most);
    let vectors = eigen.eigenvectors.select_columns(&order);
    if wide {
        return vectors;
    }
    // W·v is the left vector times its singular value; what has none has no direction.
    let mut vectors = w * vectors;
    for mut column in vectors.column_iter_mut() {
        let norm = column.norm();
        if norm > 0.0 {
            column /= norm;
        }
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rows: usize, cols: usize, seed: u64) -> DMatrix<f64> {
        let mut rng = carat::internals::selftest::Rng(seed);
        let even = |_, _| rng.below(1 << 32) as f64 / f64::from(1u32 << 31) - 1.0;
        DMatrix::from_fn(rows, cols, even)
    }

    #[test]
    fn what_is_added_along_known_directions_is_no_intruder() {
        for (rows, cols) in [(24, 40), (40, 24)] {
            let w = random(rows, cols, 1);
            let same = compare(w.clone(), w.clone() * 0.1);
            assert!(same.cosines.iter().all(|c| *c > 0.999), "{same:?}");
            assert_eq!((same.intruders(), same.cosines.len()), (0, TOP));
            assert!((same.size - 0.1).abs() < 1e-12);
            let none = compare(w.clone(), DMatrix::zeros(rows, cols));
            assert!(none.cosines.iter().all(|c| *c > 0.999) && none.size == 0.0);
        }
    }

    #[test]
    fn a_new_direction_is_an_intruder() {
        for (rows, cols) in [(64, 80), (80, 64)] {
            let w = random(rows, cols, 3);
            // A random direction lies along none of so many.
            let change = random(rows, 1, 5) * random(1, cols, 6) * 5.0;
            let with = compare(w, change);
            assert_eq!(with.intruders(), 1, "{with:?}");
            assert!(with.cosines[0] < 0.6 && with.size > 1.0);
        }
    }
}
