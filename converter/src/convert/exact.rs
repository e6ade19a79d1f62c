//! Checkpoints that were trained to ternary weights, as BitNet b1.58: matrices that lose nothing by ternary codes.
//!
//! Source: Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits" (2024).

use super::ConvertError;
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use std::collections::BTreeSet;

/// What a matrix of ternary weights becomes: 128 weights of a scale divide the 256 of ggml's ternary blocks.
const CODING: Coding = Coding {
    encoding: Encoding::Ternary,
    group: ScaleGroup::W128,
};
/// What the other matrices of a model of ternary blocks become where ternary codes are asked for: embedding and head
/// were not trained for them.
const OTHERS: Encoding = Encoding::Pow4;
/// Weights read at a time.
const WEIGHTS: u64 = 1 << 20;

/// The matrices of a checkpoint that hold nothing but −s, 0 and s, with one s for each scale of [`CODING`].
#[derive(Debug, Default)]
pub(super) struct TernaryMatrices {
    found: BTreeSet<Tensor>,
    /// Every matrix of the blocks is one.
    all: bool,
}

impl TernaryMatrices {
    /// Reads each matrix up to its first other weight.
    pub fn find(
        source: &Checkpoint,
        cancelled: impl Fn() -> Result<(), ConvertError>,
    ) -> Result<Self, ConvertError> {
        let hyper = source.hyper();
        let mut found = BTreeSet::new();
        let mut all = true;
        let mut weights = Vec::new();
        for tensor in hyper.tensors() {
            if tensor.is_vector() {
                continue;
            }
            let (rows, cols) = hyper.shape(tensor);
            let mut row = 0;
            let mut ternary = true;
            while ternary && row < rows {
                cancelled()?;
                // One row tells of nearly every matrix.
                let n = if row == 0 { 1 } else { WEIGHTS / cols.max(1) };
                let end = rows.min(row + n.max(1));
                source.read_rows(tensor, row..end, &mut weights)?;
                ternary = weights.chunks(cols.max(1) as usize).all(is_ternary);
                row = end;
            }
            if ternary {
                found.insert(tensor);
            } else if !matches!(tensor, Tensor::TokenEmbedding | Tensor::Output) {
                all = false;
            }
        }
        let all = all && !found.is_empty();
        Ok(Self { found, all })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The coding of a matrix for which no rule says one: `base`, unless ternary codes lose less or take no more.
    pub fn coding(&self, tensor: Tensor, base: Coding) -> Coding {
        if self.found.contains(&tensor) && base.encoding >= Encoding::Ternary {
            CODING
        } else if self.all && base.encoding == Encoding::Ternary {
            Coding {
                encoding: OTHERS,
                ..base
            }
        } else {
            base
        }
    }

    /// Whether ternary codes hold the matrix as it is, so that there is nothing to fit.
    pub fn contains(&self, tensor: Tensor) -> bool {
        self.found.contains(&tensor)
    }
}

/// Whether each scale's weights of the row are −s, 0 and s.
fn is_ternary(row: &[f32]) -> bool {
    row.chunks(CODING.group.weights()).all(|weights| {
        let mut magnitudes = weights.iter().map(|w| w.abs()).filter(|m| *m != 0.0);
        magnitudes
            .next()
            .is_none_or(|first| magnitudes.all(|m| m == first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_magnitude_for_each_scale() {
        assert!(is_ternary(&[0.0, 1.5, -1.5, -0.0]));
        assert!(is_ternary(&[0.0; 300]));
        assert!(!is_ternary(&[0.0, 1.5, -1.5000001]));
        let mut row = vec![2.0; 300];
        row[128..].fill(-3.0);
        assert!(is_ternary(&row));
        row[127] = 3.0;
        assert!(!is_ternary(&row));
    }

    #[test]
    fn fewer_bits_are_given_where_they_are_asked_for() {
        let (q, embedding) = (Tensor::AttnQ(0), Tensor::TokenEmbedding);
        let model = |all| TernaryMatrices {
            found: [q].into(),
            all,
        };
        for base in Encoding::ALL {
            let base = Coding::from(base);
            let expected = if base.encoding == Encoding::Pow1 {
                base
            } else {
                CODING
            };
            assert_eq!(model(false).coding(q, base), expected);
            assert_eq!(model(false).coding(embedding, base), base);
            let expected = match base.encoding {
                Encoding::Ternary => OTHERS,
                other => other,
            };
            assert_eq!(model(true).coding(embedding, base), expected.into());
        }
    }
}
