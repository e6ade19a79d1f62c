//! A model's hyper-parameters, in integers, and the tensors that make it up.

use crate::{FormatError, keys};
use carat_gguf::{Header, OwnedValue};

/// A positive real as `mantissa · 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Mantissa.
    pub mantissa: u32,
    /// Power of two.
    pub exponent: i32,
}

impl Fixed {
    /// The nearest 31-bit fixed-point value of a positive finite `x`; `None` for any other.
    pub fn from_f64(x: f64) -> Option<Self> {
        if !(x.is_finite() && x > 0.0) {
            return None;
        }
        let (m, e) = libm::frexp(x); // m in [0.5, 1)
        let mantissa = libm::round(m * f64::from(1u32 << 31)) as u32; // 2^30..=2^31
        Some(Self {
            mantissa,
            exponent: e - 31,
        })
    }
}

/// Hyper-parameters of a decoder-only transformer as the integer engine needs them.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Architecture of the checkpoint, e.g. `llama`.
    pub source_architecture: String,
    /// Rows of the embedding (may exceed the tokenizer's tokens).
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
    /// Dimensions of a head.
    pub head_dim: u32,
    /// ε of RMSNorm times D: added to the sum of squares.
    pub epsilon: Fixed,
    /// `log2(e)/√head_dim`: scores are kept in units of log2.
    pub attention_scale: Fixed,
    /// Phase increment of each rotated pair `(i, i + head_dim/2)` per position, in turns as 0.64 fixed point.
    pub rope_increments: Vec<u64>,
    /// The residual stream's i32 have the unit `2^residual_exponent`.
    pub residual_exponent: i32,
}

/// Upper bounds for which the kernels' arithmetic is proved.
pub mod bounds {
    /// Longest row of a matrix (1,024 groups) and widest residual stream.
    pub const MAX_COLS: u32 = 32_768;
    /// Largest head.
    pub const MAX_HEAD_DIM: u32 = 256;
    /// Accepted power-of-two exponents anywhere in a file.
    pub const EXPONENTS: core::ops::RangeInclusive<i32> = -96..=64;
    /// Accepted exponents of a product's unit; keys and values store theirs in 8 bits.
    pub const PRODUCT_EXPONENTS: core::ops::RangeInclusive<i32> = -64..=32;
    /// Most blocks (transformer layers).
    pub const MAX_BLOCKS: u32 = 1024;
    /// Most rows of an embedding.
    pub const MAX_VOCAB: u32 = 1 << 22;
    /// Longest context.
    pub const MAX_CONTEXT: u32 = 1 << 24;
}

/// A tensor of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tensor {
    /// Token embedding `[vocab, D]`; also the head where the file has no [`Tensor::Output`].
    TokenEmbedding,
    /// Gains of the last norm `[D]`.
    OutputNorm,
    /// Head `[vocab, D]`, absent when tied to the embedding.
    Output,
    /// Gains of the norm before attention `[D]`.
    AttnNorm(u32),
    /// Query projection `[H·head_dim, D]`.
    AttnQ(u32),
    /// Key projection `[Hkv·head_dim, D]`.
    AttnK(u32),
    /// Value projection `[Hkv·head_dim, D]`.
    AttnV(u32),
    /// Output projection of attention `[D, H·head_dim]`.
    AttnOutput(u32),
    /// Gains of the norm before the feed-forward network `[D]`.
    FfnNorm(u32),
    /// Gate projection `[F, D]`.
    FfnGate(u32),
    /// Up projection `[F, D]`.
    FfnUp(u32),
    /// Down projection `[D, F]`.
    FfnDown(u32),
}

impl Tensor {
    /// The tensors of a model in file order.
    pub fn all(block_count: u32, tied: bool) -> Vec<Tensor> {
        use Tensor::*;
        let mut list = vec![TokenEmbedding];
        for b in 0..block_count {
            list.extend([
                AttnNorm(b),
                AttnQ(b),
                AttnK(b),
                AttnV(b),
                AttnOutput(b),
                FfnNorm(b),
                FfnGate(b),
                FfnUp(b),
                FfnDown(b),
            ]);
        }
        list.push(OutputNorm);
        if !tied {
            list.push(Output);
        }
        list
    }

    /// ggml's name.
    pub fn name(self) -> String {
        use Tensor::*;
        let (block, part) = match self {
            TokenEmbedding => return "token_embd.weight".into(),
            OutputNorm => return "output_norm.weight".into(),
            Output => return "output.weight".into(),
            AttnNorm(b) => (b, "attn_norm"),
            AttnQ(b) => (b, "attn_q"),
            AttnK(b) => (b, "attn_k"),
            AttnV(b) => (b, "attn_v"),
            AttnOutput(b) => (b, "attn_output"),
            FfnNorm(b) => (b, "ffn_norm"),
            FfnGate(b) => (b, "ffn_gate"),
            FfnUp(b) => (b, "ffn_up"),
            FfnDown(b) => (b, "ffn_down"),
        };
        format!("blk.{block}.{part}.weight")
    }

    /// The block it belongs to, if any.
    pub fn block(self) -> Option<u32> {
        use Tensor::*;
        match self {
            TokenEmbedding | OutputNorm | Output => None,
            AttnNorm(b) | AttnQ(b) | AttnK(b) | AttnV(b) | AttnOutput(b) | FfnNorm(b)
            | FfnGate(b) | FfnUp(b) | FfnDown(b) => Some(b),
        }
    }

    /// True for a vector of gains, which is stored as i32 mantissas and not quantized.
    pub fn is_vector(self) -> bool {
        matches!(
            self,
            Tensor::OutputNorm | Tensor::AttnNorm(_) | Tensor::FfnNorm(_)
        )
    }

    /// `(rows, cols)`; a vector has one row.
    pub fn shape(self, spec: &ModelSpec) -> (u64, u64) {
        use Tensor::*;
        let d = u64::from(spec.embedding_length);
        let f = u64::from(spec.feed_forward_length);
        let q = u64::from(spec.head_count) * u64::from(spec.head_dim);
        let kv = u64::from(spec.head_count_kv) * u64::from(spec.head_dim);
        match self {
            TokenEmbedding | Output => (u64::from(spec.vocab_size), d),
            OutputNorm | AttnNorm(_) | FfnNorm(_) => (1, d),
            AttnQ(_) => (q, d),
            AttnK(_) | AttnV(_) => (kv, d),
            AttnOutput(_) => (d, q),
            FfnGate(_) | FfnUp(_) => (f, d),
            FfnDown(_) => (d, f),
        }
    }
}

impl ModelSpec {
    /// The model's metadata, without the directory of tensors and the tokenizer.
    pub fn to_metadata(&self) -> Vec<(&'static str, OwnedValue)> {
        let (major, minor) = keys::FORMAT_VERSION;
        vec![
            (keys::ARCHITECTURE, keys::CARAT.to_string().into()),
            (keys::VERSION, format!("{major}.{minor}").into()),
            (keys::REQUIRES, Vec::<String>::new().into()),
            (
                keys::SOURCE_ARCHITECTURE,
                self.source_architecture.clone().into(),
            ),
            (keys::VOCAB_SIZE, self.vocab_size.into()),
            (keys::CONTEXT_LENGTH, self.context_length.into()),
            (keys::EMBEDDING_LENGTH, self.embedding_length.into()),
            (keys::BLOCK_COUNT, self.block_count.into()),
            (keys::FEED_FORWARD_LENGTH, self.feed_forward_length.into()),
            (keys::HEAD_COUNT, self.head_count.into()),
            (keys::HEAD_COUNT_KV, self.head_count_kv.into()),
            (keys::HEAD_DIM, self.head_dim.into()),
            (keys::EPSILON_MANTISSA, self.epsilon.mantissa.into()),
            (keys::EPSILON_EXPONENT, self.epsilon.exponent.into()),
            (
                keys::ATTENTION_SCALE_MANTISSA,
                self.attention_scale.mantissa.into(),
            ),
            (
                keys::ATTENTION_SCALE_EXPONENT,
                self.attention_scale.exponent.into(),
            ),
            (keys::ROPE_INCREMENTS, self.rope_increments.clone().into()),
            (keys::RESIDUAL_EXPONENT, self.residual_exponent.into()),
        ]
    }

    /// Reads and checks the model's metadata.
    ///
    /// Errors: not a Carat file, another version, an unknown required feature, a missing key, or a value
    /// outside [`bounds`].
    pub fn from_header(header: &Header<'_>) -> Result<Self, FormatError> {
        let found = header.str(keys::ARCHITECTURE)?;
        if found != keys::CARAT {
            return Err(FormatError::NotCarat {
                found: found.into(),
            });
        }
        check_version(header.str(keys::VERSION)?)?;
        let mut requires = header.str_array(keys::REQUIRES)?;
        if let Some(feature) = requires.find(|f| !keys::FEATURES.contains(f)) {
            return Err(FormatError::Requires {
                feature: feature.into(),
            });
        }
        let u = |key: &str, range: core::ops::RangeInclusive<u32>| -> Result<u32, FormatError> {
            let v = header.u32(key)?;
            check(key, v, range)
        };
        let exponent = |key: &str| -> Result<i32, FormatError> {
            check(key, header.i32(key)?, bounds::EXPONENTS)
        };
        let spec = Self {
            source_architecture: header.str(keys::SOURCE_ARCHITECTURE)?.into(),
            vocab_size: u(keys::VOCAB_SIZE, 1..=bounds::MAX_VOCAB)?,
            context_length: u(keys::CONTEXT_LENGTH, 1..=bounds::MAX_CONTEXT)?,
            embedding_length: u(keys::EMBEDDING_LENGTH, 1..=bounds::MAX_COLS)?,
            block_count: u(keys::BLOCK_COUNT, 1..=bounds::MAX_BLOCKS)?,
            feed_forward_length: u(keys::FEED_FORWARD_LENGTH, 1..=bounds::MAX_COLS)?,
            head_count: u(keys::HEAD_COUNT, 1..=bounds::MAX_COLS)?,
            head_count_kv: u(keys::HEAD_COUNT_KV, 1..=bounds::MAX_COLS)?,
            head_dim: u(keys::HEAD_DIM, 2..=bounds::MAX_HEAD_DIM)?,
            epsilon: Fixed {
                mantissa: u(keys::EPSILON_MANTISSA, 0..=1 << 31)?,
                exponent: exponent(keys::EPSILON_EXPONENT)?,
            },
            attention_scale: Fixed {
                mantissa: u(keys::ATTENTION_SCALE_MANTISSA, 1..=1 << 31)?,
                exponent: exponent(keys::ATTENTION_SCALE_EXPONENT)?,
            },
            rope_increments: header
                .array_of::<u64>(keys::ROPE_INCREMENTS)?
                .take(bounds::MAX_HEAD_DIM as usize)
                .collect(),
            residual_exponent: check(
                keys::RESIDUAL_EXPONENT,
                header.i32(keys::RESIDUAL_EXPONENT)?,
                -31..=16,
            )?,
        };
        let pairs = spec.head_dim / 2;
        check(keys::HEAD_DIM, spec.head_dim % 2, 0..=0)?;
        check(
            keys::ROPE_INCREMENTS,
            spec.rope_increments.len() as u32,
            pairs..=pairs,
        )?;
        check(
            keys::HEAD_COUNT,
            spec.head_count % spec.head_count_kv,
            0..=0,
        )?;
        check(
            keys::HEAD_COUNT,
            spec.head_count.saturating_mul(spec.head_dim),
            1..=bounds::MAX_COLS,
        )?;
        Ok(spec)
    }

    /// Query heads that share a key/value head.
    pub fn heads_per_kv(&self) -> u32 {
        self.head_count / self.head_count_kv
    }
}

fn check<T: PartialOrd + core::fmt::Display + Copy>(
    field: &str,
    v: T,
    range: core::ops::RangeInclusive<T>,
) -> Result<T, FormatError> {
    if range.contains(&v) {
        return Ok(v);
    }
    Err(FormatError::Range {
        field: field.into(),
        found: v.to_string(),
        expected: format!("{} to {}", range.start(), range.end()),
    })
}

fn check_version(found: &str) -> Result<(), FormatError> {
    let (major, minor) = keys::FORMAT_VERSION;
    let parsed = found
        .split_once('.')
        .and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
    // While the major is 0 the layout may change with the minor.
    match parsed {
        Some(v) if v.0 == major && (major > 0 || v.1 == minor) => Ok(()),
        _ => Err(FormatError::Version {
            found: found.into(),
            expected: format!("{major}.{minor}"),
        }),
    }
}
