//! The normal form: what an architecture has beyond the forward pass is folded into rows and elements as
//! they are read.

use super::Hyper;
use super::architecture::Architecture;
use super::rope::Rope;
use carat_format::model::Block;
use carat_format::{Part, Tensor};
use std::sync::Arc;

/// How the stored elements of a tensor become the model's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Form {
    /// Where the rows of a head lie, for matrices with rows, and vectors with elements, of heads.
    pub heads: Option<Arc<HeadRows>>,
    /// Added to every element, before the factor.
    pub add: f32,
    /// Factor of every element.
    pub times: f32,
}

/// Where each row of a head is stored within the head, and its factor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeadRows(pub Vec<(u32, f32)>);

impl Default for Form {
    fn default() -> Self {
        Self {
            heads: None,
            add: 0.0,
            times: 1.0,
        }
    }
}

impl HeadRows {
    /// The stored row of a row, and its factor.
    pub fn stored(&self, row: u64) -> (u64, f32) {
        let dims = self.0.len() as u64;
        let (within, factor) = self.0[(row % dims) as usize];
        (row - row % dims + u64::from(within), factor)
    }

    /// The order of a head of which the first `dims` dimensions are rotated, each of them times
    /// `amplitude`: rotated pairs become `(i, i + head_dim/2)` from `i = 0` on. Stored are they half of
    /// `dims` apart or, `together`, side by side.
    fn new(head_dim: u32, dims: u32, amplitude: f32, together: bool) -> Self {
        let (half, pairs) = (head_dim / 2, dims / 2);
        let row = |i: u32| {
            let (upper, pair) = (i / half, i % half);
            if pair >= pairs {
                return (dims + upper * (half - pairs) + pair - pairs, 1.0);
            }
            let stored = match together {
                true => 2 * pair + upper,
                false => upper * pairs + pair,
            };
            (stored, amplitude)
        };
        Self((0..head_dim).map(row).collect())
    }

    fn is_plain(&self) -> bool {
        let plain = |(i, row): (usize, &(u32, f32))| *row == (i as u32, 1.0);
        self.0.iter().enumerate().all(plain)
    }
}

/// What is folded into the tensors of a model.
pub(super) struct Normal {
    /// Of queries and keys, block by block.
    heads: Vec<Option<HeadForms>>,
    gains: f32,
    embedding: f32,
    output_gains: f32,
}

/// Where heads have norms, a factor before the norm would be lost.
struct HeadForms {
    products: Arc<HeadRows>,
    gains: Arc<HeadRows>,
}

impl Normal {
    /// Puts the rotary tables into the hyper-parameters, their amplitude into the attention's scale where
    /// that can hold it. `stored_gains`: gains are stored less one. `together`: as of the source's heads.
    pub fn new(
        architecture: &Architecture,
        hyper: &mut Hyper,
        ropes: &[Rope],
        together: bool,
        gains_about_zero: bool,
    ) -> Self {
        let first = ropes.first().map_or(1.0, |r| r.amplitude);
        // The rotary positions of a block that has some, and its dimensions of a head.
        let rotated = |b: &Block<_>| {
            let a = b.attention()?;
            Some((*a, ropes.get(a.rope as usize)?))
        };
        let whole = hyper.blocks.iter().filter_map(rotated);
        let whole = whole
            .into_iter()
            .all(|(a, r)| r.dims == a.head_dim && r.amplitude == first);
        let heads = hyper.blocks.iter().map(|b| {
            let (a, r) = rotated(b)?;
            let amplitude = if whole { 1.0 } else { r.amplitude as f32 };
            let rows = |factor| Arc::new(HeadRows::new(a.head_dim, r.dims, factor, together));
            let forms = HeadForms {
                products: rows(if a.head_norm { 1.0 } else { amplitude }),
                gains: rows(amplitude),
            };
            (!forms.gains.is_plain()).then_some(forms)
        });
        let heads = heads.collect();
        // Angles of a table for as many pairs as its heads have.
        let angles = ropes.iter().enumerate().map(|(i, r)| {
            let mut of_table = hyper.blocks.iter().filter_map(Block::attention);
            let first = of_table.find(|a| a.rope as usize == i);
            let mut angles = r.angles();
            angles.resize(first.map_or(r.dims, |a| a.head_dim) as usize / 2, 0.0);
            angles
        });
        let rope_tables = angles.collect();
        if whole && first != 1.0 {
            let attention = hyper.blocks.iter_mut().filter_map(Block::attention_mut);
            attention.for_each(|a| a.scale *= first * first);
        }
        let root = match architecture.scaled_embedding {
            true => libm::sqrt(f64::from(hyper.embedding_length)),
            false => 1.0,
        };
        // A tied head multiplies with the scaled embedding.
        let output = if hyper.tied { 1.0 / root } else { 1.0 };
        hyper.rope_tables = rope_tables;
        Self {
            heads,
            gains: if gains_about_zero { 1.0 } else { 0.0 },
            embedding: root as f32,
            output_gains: output as f32,
        }
    }

    /// How a tensor is read.
    pub fn form(&self, tensor: Tensor) -> Form {
        use Part::*;
        Form {
            heads: match tensor {
                Tensor::Block(b, part) => {
                    let heads = self.heads.get(b as usize).and_then(Option::as_ref);
                    heads.and_then(|h| match part {
                        AttnQ | AttnK | AttnQBias | AttnKBias => Some(h.products.clone()),
                        AttnQNorm | AttnKNorm => Some(h.gains.clone()),
                        _ => None,
                    })
                }
                _ => None,
            },
            add: match tensor.kind() {
                carat_format::Shape::Gains => self.gains,
                _ => 0.0,
            },
            times: match tensor {
                Tensor::TokenEmbedding => self.embedding,
                Tensor::OutputNorm => self.output_gains,
                _ => 1.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(head_dim: u32, dims: u32, together: bool) -> Vec<u64> {
        let rows = HeadRows::new(head_dim, dims, 1.0, together);
        (0..2 * u64::from(head_dim))
            .map(|r| rows.stored(r).0)
            .collect()
    }

    #[test]
    fn pairs_are_pulled_apart() {
        let rows = order(8, 8, true);
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
        assert!(HeadRows::new(8, 8, 1.0, false).is_plain());
        assert!(!HeadRows::new(8, 8, 1.5, false).is_plain());
    }

    #[test]
    fn dimensions_that_are_not_rotated_fill_the_other_pairs() {
        assert_eq!(order(8, 4, false)[..8], [0, 1, 4, 5, 2, 3, 6, 7]);
        assert_eq!(order(8, 4, true)[..8], [0, 2, 4, 5, 1, 3, 6, 7]);
        let rows = HeadRows::new(8, 4, 3.0, false);
        assert_eq!((rows.stored(9), rows.stored(10)), ((9, 3.0), (12, 1.0)));
        let mut all = order(24, 10, true);
        all.sort();
        assert_eq!(all, (0..48).collect::<Vec<_>>());
    }
}
