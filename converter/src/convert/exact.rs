//! Checkpoints that were trained to weights of two or three values, as BitNet b1.58 and the 1-bit and ternary models of
//! 2026: matrices that lose no code by codes of one bit or ternary ones.
//!
//! A row of one scale keeps it to the row scale's 16 bits. Where scales differ within a row (a scale for each 64 or 128
//! weights, as blocks of Q1_0, Q2_0 and the TQ types have), they are rounded to half of 1/255 of the row's largest, since
//! the file has 8 bits for each: codes stay, scales move by that much.
//!
//! Source: Ma et al., "The Era of 1-bit LLMs: All Large Language Models are in 1.58 Bits" (2024).

use super::ConvertError;
use crate::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use std::collections::BTreeMap;

/// What the other matrices of a model of exact ones become where its codes are asked for: embedding and head were not
/// trained for them.
const OTHERS: Encoding = Encoding::Pow4;
/// Weights read at a time.
const WEIGHTS: u64 = 1 << 20;

/// The codings that can hold a matrix as it is, by rising size. 128 weights of a scale divide the 256 of ggml's ternary
/// blocks and are those of Q1_0; Q2_0 has 64.
fn candidates() -> Vec<Coding> {
    [Encoding::Pow1, Encoding::Ternary]
        .into_iter()
        .flat_map(|encoding| {
            let groups = ScaleGroup::ALL.into_iter().rev();
            groups.map(move |group| Coding { encoding, group })
        })
        .collect()
}

/// The matrices of a checkpoint that hold nothing but −s and s, or −s, 0 and s, with one s for each scale of their coding.
#[derive(Debug, Default)]
pub(super) struct ExactMatrices {
    /// The smallest coding of each.
    found: BTreeMap<Tensor, Coding>,
    /// The widest encoding of the blocks' matrices, where all of them are exact.
    all: Option<Encoding>,
}

impl ExactMatrices {
    /// Reads each matrix up to its first other weight.
    pub fn find(
        source: &Checkpoint,
        cancelled: impl Fn() -> Result<(), ConvertError>,
    ) -> Result<Self, ConvertError> {
        let hyper = source.hyper();
        let mut found = BTreeMap::new();
        let (mut all, mut widest) = (true, None);
        let mut weights = Vec::new();
        for tensor in hyper.tensors() {
            if tensor.is_vector() {
                continue;
            }
            let (rows, cols) = hyper.shape(tensor);
            let (mut row, mut codings) = (0, candidates());
            while !codings.is_empty() && row < rows {
                cancelled()?;
                // One row tells of nearly every matrix.
                let n = if row == 0 { 1 } else { WEIGHTS / cols.max(1) };
                let end = rows.min(row + n.max(1));
                source.read_rows(tensor, row..end, &mut weights)?;
                let rows = || weights.chunks(cols.max(1) as usize);
                codings.retain(|coding| rows().all(|row| holds(*coding, row)));
                row = end;
            }
            let outside = matches!(tensor, Tensor::TokenEmbedding | Tensor::Output);
            if let Some(coding) = codings.first() {
                found.insert(tensor, *coding);
                if !outside {
                    widest = widest.max(Some(coding.encoding));
                }
            } else if !outside {
                all = false;
            }
        }
        let all = widest.filter(|_| all);
        Ok(Self { found, all })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The coding of a matrix for which no rule says one: `base`, unless its own codes lose less or take no more.
    pub fn coding(&self, tensor: Tensor, base: Coding) -> Coding {
        match self.found.get(&tensor) {
            Some(own) if base.encoding >= own.encoding => *own,
            _ if self.all == Some(base.encoding) => Coding {
                encoding: OTHERS,
                ..base
            },
            _ => base,
        }
    }

    /// Whether the matrix is one.
    pub fn contains(&self, tensor: Tensor) -> bool {
        self.found.contains_key(&tensor)
    }

    /// Whether this coding's codes hold the matrix as it is, so that there is nothing to fit.
    pub fn keeps(&self, tensor: Tensor, coding: Coding) -> bool {
        let own = self.found.get(&tensor);
        // Smaller groups divide larger ones.
        own.is_some_and(|own| {
            (own.encoding..=Encoding::Ternary).contains(&coding.encoding)
                && coding.group.weights() <= own.group.weights()
        })
    }
}

/// Whether each scale's weights of the row are −s and s, where the coding has a zero also 0; none but 0 are.
fn holds(coding: Coding, row: &[f32]) -> bool {
    let zeros = coding.encoding == Encoding::Ternary;
    row.chunks(coding.group.weights()).all(|weights| {
        let magnitudes = || weights.iter().map(|w| w.abs());
        let largest = magnitudes().fold(0f32, f32::max);
        magnitudes().all(|m| m == largest || zeros && m == 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_format::Part;

    const W128: Coding = Coding {
        encoding: Encoding::Ternary,
        group: ScaleGroup::W128,
    };
    const BITS: Coding = Coding {
        encoding: Encoding::Pow1,
        group: ScaleGroup::W128,
    };

    #[test]
    fn one_magnitude_for_each_scale() {
        assert!(holds(W128, &[0.0, 1.5, -1.5, -0.0]));
        assert!(!holds(BITS, &[0.0, 1.5, -1.5, -0.0]));
        assert!(holds(BITS, &[1.5, -1.5]));
        assert!(holds(W128, &[0.0; 300]) && holds(BITS, &[0.0; 300]));
        assert!(!holds(W128, &[0.0, 1.5, -1.5000001]));
        let mut row = vec![2.0; 300];
        row[128..].fill(-3.0);
        assert!(holds(W128, &row) && holds(BITS, &row));
        row[127] = 3.0;
        assert!(!holds(W128, &row));
        row[64..128].fill(3.0);
        for coding in [W128, BITS] {
            let group = ScaleGroup::W64;
            assert!(!holds(coding, &row) && holds(Coding { group, ..coding }, &row));
        }
    }

    #[test]
    fn candidates_rise() {
        let bits = |c: &Coding| c.encoding.stored_bits() + 8.0 / c.group.weights() as f64;
        assert!(candidates().is_sorted_by(|a, b| bits(a) < bits(b)));
    }

    #[test]
    fn fewer_bits_are_given_where_they_are_asked_for() {
        let (q, embedding) = (Part::AttnQ.of(0), Tensor::TokenEmbedding);
        for own in [W128, BITS] {
            let model = |all: bool| ExactMatrices {
                found: [(q, own)].into(),
                all: all.then_some(own.encoding),
            };
            for base in Encoding::ALL {
                let base = Coding::from(base);
                let expected = match base.encoding < own.encoding {
                    true => base,
                    false => own,
                };
                assert_eq!(model(false).coding(q, base), expected);
                assert_eq!(model(false).coding(embedding, base), base);
                let expected = match base.encoding == own.encoding {
                    true => OTHERS,
                    false => base.encoding,
                };
                assert_eq!(model(true).coding(embedding, base), expected.into());
            }
        }
    }

    #[test]
    fn codes_with_a_zero_hold_those_without() {
        let [q, k, v] = [Part::AttnQ, Part::AttnK, Part::AttnV].map(|p| p.of(0));
        let model = ExactMatrices {
            found: [(q, BITS), (k, W128)].into(),
            all: None,
        };
        assert!(model.keeps(q, BITS) && model.keeps(q, W128));
        assert!(model.keeps(k, W128) && !model.keeps(k, BITS));
        assert!(model.keeps(k, Encoding::Ternary.into()));
        assert!(!model.keeps(k, Encoding::Int8.into()) && !model.keeps(v, W128));
        let narrow = ExactMatrices {
            found: [(q, Encoding::Pow1.into())].into(),
            all: None,
        };
        assert!(!narrow.keeps(q, BITS) && narrow.keeps(q, Encoding::Ternary.into()));
    }
}
