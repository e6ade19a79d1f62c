//! An adapter for one model: its matrices in that model's order of rows, as integers.

use crate::adapter::{Adapter, LowRank, Term};
use crate::file::{Container, Pair, Stored};
use crate::{AdapterError, AdapterFile};
use carat_format::model::Attention;
use carat_format::{ModelSpec, Part, Tensor};

/// ggml's architectures, and those that a Carat file of them may state where the names differ.
const ARCHITECTURES: &[(&str, &[&str])] = &[
    ("llama", &["llama", "mistral"]),
    ("gemma3", &["gemma3", "gemma3_text"]),
    ("bitnet", &["bitnet"]),
    ("bitnet-b1.58", &["bitnet", "bitnet-b1.58"]),
    ("bitnet-25", &["bitnet", "bitnet-25"]),
];

/// The architecture whose GGUF files have both dimensions of a rotated pair side by side.
const PAIRS_TOGETHER: &str = "llama";

impl AdapterFile {
    /// The adapter for a model.
    ///
    /// # Errors
    /// A matrix that the model does not have, or one of another shape; elements that are not finite or too large.
    pub fn fit(&self, spec: &ModelSpec) -> Result<Adapter, AdapterError> {
        let mut matrices = Vec::new();
        self.terms(spec, &mut |pair, term| {
            let matrix = LowRank::new(&term).ok_or_else(|| AdapterError::Magnitude {
                path: self.path().into(),
                tensor: pair.a.name.clone(),
            })?;
            matrices.push(matrix);
            Ok(())
        })?;
        Ok(Adapter::of(self.name(), matrices))
    }

    /// Gives `take` what is added to each matrix of a model, with the pair that it comes from.
    ///
    /// # Errors
    /// A matrix that the model does not have, or one of another shape; elements that are not finite; what `take` returns.
    pub fn terms(
        &self,
        spec: &ModelSpec,
        take: &mut dyn FnMut(&Pair, Term) -> Result<(), AdapterError>,
    ) -> Result<(), AdapterError> {
        self.check_architecture(spec)?;
        let mut seen = std::collections::BTreeSet::new();
        for pair in &self.pairs {
            let parts = self.parts(spec, pair)?;
            let [a, b] = self.matrices(pair)?;
            let (rank, cols) = (pair.a.rows as usize, pair.a.cols as usize);
            let mut rows = b.chunks(rank);
            for (tensor, count) in parts {
                if !seen.insert(tensor) {
                    return Err(AdapterError::Unsupported {
                        path: self.path().into(),
                        what: format!("the adapter's tensor '{}'", pair.a.name),
                        remedy: "another tensor is for the same matrix; save the adapter again",
                    });
                }
                let own: Vec<&[f64]> = rows.by_ref().take(count as usize).collect();
                let order = self.order(spec, pair, tensor)?;
                let stored = |i: usize| own.get(order.map_or(i, |o| o.stored(i))).copied();
                let b = (0..own.len()).filter_map(stored).flatten().copied();
                let term = Term {
                    tensor,
                    rank,
                    cols,
                    b: b.collect(),
                    a: a.clone(),
                };
                take(pair, term)?;
            }
        }
        Ok(())
    }

    fn check_architecture(&self, spec: &ModelSpec) -> Result<(), AdapterError> {
        let Some(found) = self.architecture() else {
            return Ok(());
        };
        let own = &spec.source_architecture[..];
        let known = ARCHITECTURES.iter().find(|a| a.0 == found);
        match known.map_or(found == own, |a| a.1.contains(&own)) {
            true => Ok(()),
            false => Err(AdapterError::Architecture {
                path: self.path().into(),
                found: found.into(),
                expected: own.into(),
            }),
        }
    }

    /// The matrices of a pair, and how many rows of `B` each has.
    fn parts(&self, spec: &ModelSpec, pair: &Pair) -> Result<Vec<(Tensor, u64)>, AdapterError> {
        let of = |part: &Part| {
            let tensor = part.of(pair.target.block);
            let known = spec.site(tensor).is_some();
            known.then(|| (tensor, spec.shape(tensor)))
        };
        let shapes = |parts: &[Part]| parts.iter().map(of).collect::<Option<Vec<_>>>();
        let absent = || AdapterError::NotInModel {
            path: self.path().into(),
            tensor: pair.a.name.clone(),
            what: pair.target.name(),
        };
        let mut found = shapes(pair.target.parts).ok_or_else(absent)?;
        let rows = |found: &[(Tensor, (u64, u64))]| found.iter().map(|f| f.1.0).sum::<u64>();
        // In ggml's files of fused gates `ffn_up` is both.
        if self.container() == Container::Gguf && pair.target.parts == [Part::FfnUp] {
            let both = shapes(&[Part::FfnGate, Part::FfnUp]).ok_or_else(absent)?;
            if rows(&both) == pair.b.rows {
                found = both;
            }
        }
        let cols = found.first().map_or(0, |f| f.1.1);
        self.check_shape(&pair.a, pair.a.rows, cols)?;
        self.check_shape(&pair.b, rows(&found), pair.b.cols)?;
        Ok(found.into_iter().map(|(t, shape)| (t, shape.0)).collect())
    }

    fn check_shape(&self, stored: &Stored, rows: u64, cols: u64) -> Result<(), AdapterError> {
        match (stored.rows, stored.cols) == (rows, cols) {
            true => Ok(()),
            false => Err(AdapterError::Shape {
                path: self.path().into(),
                tensor: stored.name.clone(),
                found: vec![stored.rows, stored.cols],
                expected: format!("[{rows}, {cols}] for this model"),
            }),
        }
    }

    /// The order of `B`'s rows where it is not that of the model's.
    fn order(
        &self,
        spec: &ModelSpec,
        pair: &Pair,
        tensor: Tensor,
    ) -> Result<Option<Pairs>, AdapterError> {
        let Tensor::Block(b, Part::AttnQ | Part::AttnK) = tensor else {
            return Ok(None);
        };
        let block = spec.blocks.get(b as usize);
        let Some(attention) = block.and_then(|b| b.attention()) else {
            return Ok(None);
        };
        if rotates_a_part(spec, attention) {
            return Err(AdapterError::Unsupported {
                path: self.path().into(),
                what: format!("the adapter's tensor '{}'", pair.b.name),
                remedy: "queries and keys of this model are rotated in part, and their rows have another order and scale; merge the \
                         adapter into its model and convert that",
            });
        }
        let together = self.architecture() == Some(PAIRS_TOGETHER);
        Ok(together.then_some(Pairs {
            head_dim: attention.head_dim as usize,
        }))
    }
}

/// Dimensions without rotation are pairs of angle 0.
fn rotates_a_part(spec: &ModelSpec, attention: &Attention) -> bool {
    let table = spec.rope_tables.get(attention.rope as usize);
    table.is_some_and(|t| t.contains(&0))
}

/// Both dimensions of a rotated pair side by side.
#[derive(Clone, Copy)]
struct Pairs {
    head_dim: usize,
}

impl Pairs {
    /// Where a row is stored whose pair is half a head apart.
    fn stored(self, row: usize) -> usize {
        let within = row % self.head_dim;
        let half = (self.head_dim / 2).max(1);
        row - within + 2 * (within % half) + within / half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_pulled_apart() {
        let pairs = Pairs { head_dim: 8 };
        let rows: Vec<usize> = (0..16).map(|i| pairs.stored(i)).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
    }
}
