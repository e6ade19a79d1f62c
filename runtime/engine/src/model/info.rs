//! What a file says of itself.

use super::Model;
use carat_format::{Card, keys};

/// What a model's file says of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name, as the checkpoint had it; empty where the file has none.
    pub name: String,
    /// The checkpoint's architecture, `llama` for instance; empty where the file has none.
    pub architecture: String,
    /// Weights.
    pub parameters: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bits per weight of matrices, with their scales and tables.
    pub bits_per_weight: f64,
    /// Positions that the model was trained for.
    pub context_length: u32,
    /// Tokens of the vocabulary.
    pub vocab_size: u32,
    /// Numbers of an embedding.
    pub embedding_size: u32,
    /// The quality card, if the file has one that is whole.
    pub card: Option<Card>,
}

impl Model {
    /// What the file says of itself.
    pub fn info(&self) -> ModelInfo {
        let (spec, directory) = (self.spec(), self.directory());
        let (mut weights, mut stored) = (0u64, 0u64);
        for m in &directory.matrices {
            weights += m.layout.rows * m.layout.cols;
            stored += m.layout.payload_bytes();
        }
        let vectors: u64 = directory.vectors.iter().map(|v| v.len).sum();
        let header = self.header().ok();
        let text = |key: &str| {
            let found = header.as_ref().and_then(|h| h.str_opt(key).ok().flatten());
            found.unwrap_or_default().to_owned()
        };
        ModelInfo {
            name: text(keys::NAME),
            architecture: text(keys::SOURCE_ARCHITECTURE),
            parameters: weights + vectors,
            bytes: self.len(),
            bits_per_weight: stored as f64 * 8.0 / weights.max(1) as f64,
            context_length: spec.context_length,
            vocab_size: spec.vocab_size,
            embedding_size: spec.embedding_length,
            // A file with a damaged card runs all the same.
            card: self.card().ok().flatten(),
        }
    }
}
