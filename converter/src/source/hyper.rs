//! A model's hyper-parameters in real numbers.

use super::SourceError;
use carat_format::{Activation, Extras, Fixed, ModelSpec, Pooling, Tensor, bounds};
use std::f64::consts::{LOG2_E, TAU};
use std::path::Path;

/// Hyper-parameters of a decoder-only transformer in its normal form: RMSNorm before each part, rotary
/// positions, grouped-query attention, a gated feed-forward network, and the extras that are named here.
/// What an architecture has beyond (scaled embeddings, gains about one, fused matrices, partial
/// rotation) is folded into the weights as they are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Hyper {
    /// Architecture as the source names it, e.g. `llama`.
    pub architecture: String,
    /// Rows of the embedding; may exceed the tokenizer's tokens.
    pub vocab_size: u32,
    /// Positions the model was trained for.
    pub context_length: u32,
    /// Width of the residual stream, D.
    pub embedding_length: u32,
    /// Transformer blocks.
    pub block_count: u32,
    /// Width of the feed-forward network, F.
    pub feed_forward_length: u32,
    /// Query heads, H.
    pub head_count: u32,
    /// Key/value heads; divides `head_count`.
    pub head_count_kv: u32,
    /// Dimensions of a head; even.
    pub head_dim: u32,
    /// ε of RMSNorm, added to the mean of squares.
    pub epsilon: f64,
    /// Factor of a query's product with a key.
    pub attention_scale: f64,
    /// Tables of rotary positions: angle per position of each rotated pair `(i, i + head_dim/2)`, in
    /// radians, `head_dim/2` of them, every scaling folded in. At least one.
    pub rope_tables: Vec<Vec<f64>>,
    /// Each block's index into `rope_tables` and window.
    pub blocks: Vec<BlockHyper>,
    /// What the gate passes through.
    pub activation: Activation,
    /// Which tensors a block has beside the matrices and the two norms.
    pub extras: Extras,
    /// Scores `s`, scaled, become `cap · tanh(s / cap)`.
    pub attention_softcap: Option<f64>,
    /// Logits likewise.
    pub logits_softcap: Option<f64>,
    /// True when the embedding serves as head.
    pub tied: bool,
    /// The checkpoint is a bare backbone: what the embedding serves for, as head, is no prediction.
    pub headless: bool,
    /// How a text becomes a vector, where the checkpoint says so.
    pub pooling: Option<Pooling>,
}

/// What may differ from block to block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHyper {
    /// Index into [`Hyper::rope_tables`].
    pub rope: u32,
    /// Positions that attention sees, its own included; all where absent.
    pub window: Option<u32>,
}

impl Hyper {
    /// Query heads that share a key/value head.
    pub fn heads_per_kv(&self) -> u32 {
        self.head_count / self.head_count_kv
    }

    /// The tensors of the model in file order.
    pub fn tensors(&self) -> Vec<Tensor> {
        Tensor::all(self.block_count, self.tied, self.extras)
    }

    /// `(rows, cols)` of a tensor; a vector has one row.
    pub fn shape(&self, tensor: Tensor) -> (u64, u64) {
        tensor.shape(&self.spec(0))
    }

    /// Number of weights, norms included.
    pub fn weights(&self) -> u64 {
        let spec = self.spec(0);
        let size = |t: Tensor| {
            let (rows, cols) = t.shape(&spec);
            rows * cols
        };
        self.tensors().into_iter().map(size).sum()
    }

    /// The same model in integers; `residual_exponent` is the unit of its residual stream.
    pub fn spec(&self, residual_exponent: i32) -> ModelSpec {
        let zero = Fixed {
            mantissa: 0,
            exponent: 0,
        };
        let fixed = |x: f64| Fixed::from_f64(x).unwrap_or(zero);
        let turns = |w: &f64| {
            let turns = w / TAU;
            // A fraction of a turn below 1 scaled by 2^64 is exact; the cast saturates at 2^64.
            ((turns - libm::floor(turns)) * libm::exp2(64.0)) as u64
        };
        let table = |angles: &Vec<f64>| angles.iter().map(turns).collect();
        ModelSpec {
            source_architecture: self.architecture.clone(),
            vocab_size: self.vocab_size,
            context_length: self.context_length,
            embedding_length: self.embedding_length,
            block_count: self.block_count,
            feed_forward_length: self.feed_forward_length,
            head_count: self.head_count,
            head_count_kv: self.head_count_kv,
            head_dim: self.head_dim,
            epsilon: fixed(self.epsilon),
            attention_scale: fixed(LOG2_E * self.attention_scale),
            rope_tables: self.rope_tables.iter().map(table).collect(),
            block_rope: self.blocks.iter().map(|b| b.rope).collect(),
            block_window: self.blocks.iter().map(|b| b.window.unwrap_or(0)).collect(),
            activation: self.activation,
            extras: self.extras,
            attention_softcap: self.attention_softcap.map(|c| fixed(c * LOG2_E)),
            logits_softcap: self.logits_softcap.map(fixed),
            headless: self.headless,
            pooling: self.pooling,
            residual_exponent,
        }
    }

    /// The model that an integer specification describes.
    pub fn from_spec(spec: &ModelSpec, tied: bool) -> Self {
        let value = |f: Fixed| libm::ldexp(f64::from(f.mantissa), f.exponent);
        let turn = libm::exp2(-64.0) * TAU;
        let angles = |t: &Vec<u64>| t.iter().map(|i| *i as f64 * turn).collect();
        Self {
            architecture: spec.source_architecture.clone(),
            vocab_size: spec.vocab_size,
            context_length: spec.context_length,
            embedding_length: spec.embedding_length,
            block_count: spec.block_count,
            feed_forward_length: spec.feed_forward_length,
            head_count: spec.head_count,
            head_count_kv: spec.head_count_kv,
            head_dim: spec.head_dim,
            epsilon: value(spec.epsilon),
            attention_scale: value(spec.attention_scale) / LOG2_E,
            rope_tables: spec.rope_tables.iter().map(angles).collect(),
            blocks: spec
                .block_rope
                .iter()
                .zip(&spec.block_window)
                .map(|(rope, window)| BlockHyper {
                    rope: *rope,
                    window: (*window > 0).then_some(*window),
                })
                .collect(),
            activation: spec.activation,
            extras: spec.extras,
            attention_softcap: spec.attention_softcap.map(|c| value(c) / LOG2_E),
            logits_softcap: spec.logits_softcap.map(value),
            tied,
            headless: spec.headless,
            pooling: spec.pooling,
        }
    }

    /// Checks the rotary tables and the attention's scale; `path` is named in the error.
    pub(super) fn check_tables(&self, path: &Path) -> Result<(), SourceError> {
        let error = |field: &str, found: f64, expected: &str| SourceError::Value {
            path: path.into(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        };
        let scale = self.attention_scale;
        if !(scale.is_finite() && scale > 0.0) {
            return Err(error("the attention's scale", scale, "a positive number"));
        }
        let mut angles = self.rope_tables.iter().flatten();
        match angles.find(|w| !w.is_finite()) {
            Some(w) => Err(error("a rotary frequency", *w, "a finite number")),
            None => Ok(()),
        }
    }

    /// Checks every size against the bounds of the integer arithmetic; `path` is named in the error.
    pub(super) fn check(&self, path: &Path) -> Result<(), SourceError> {
        let error = |field: &str, found: String, expected: String| SourceError::Value {
            path: path.into(),
            field: field.into(),
            found,
            expected,
        };
        let heads = self.head_count.saturating_mul(self.head_dim);
        for (field, found, least, most) in [
            ("the vocabulary size", self.vocab_size, 1, bounds::MAX_VOCAB),
            (
                "the context length",
                self.context_length,
                1,
                bounds::MAX_CONTEXT,
            ),
            (
                "the embedding length",
                self.embedding_length,
                1,
                bounds::MAX_COLS,
            ),
            (
                "the number of blocks",
                self.block_count,
                1,
                bounds::MAX_BLOCKS,
            ),
            (
                "the feed-forward length",
                self.feed_forward_length,
                1,
                bounds::MAX_COLS,
            ),
            ("the number of heads", self.head_count, 1, bounds::MAX_COLS),
            (
                "the number of key/value heads",
                self.head_count_kv,
                1,
                self.head_count,
            ),
            ("the head dimension", self.head_dim, 2, bounds::MAX_HEAD_DIM),
            ("heads times head dimension", heads, 2, bounds::MAX_COLS),
        ] {
            if !(least..=most).contains(&found) {
                return Err(error(
                    field,
                    found.to_string(),
                    format!("{least} to {most}"),
                ));
            }
        }
        if !self.head_count.is_multiple_of(self.head_count_kv) {
            let expected = format!("a divisor of the {} heads", self.head_count);
            return Err(error(
                "the number of key/value heads",
                self.head_count_kv.to_string(),
                expected,
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(error(
                "the head dimension",
                self.head_dim.to_string(),
                "an even number".into(),
            ));
        }
        // The integer format holds ε·D down to 2^-96; a larger ε than 1 is no model's.
        if !(self.epsilon >= 0.0 && self.epsilon <= 1.0) {
            return Err(error(
                "the epsilon of RMSNorm",
                self.epsilon.to_string(),
                "0 to 1".into(),
            ));
        }
        Ok(())
    }
}
