//! A model's hyper-parameters, in integers, and the tensors that make it up.

use crate::{FormatError, Pooling, Tensor, keys};
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
    /// ε of every RMSNorm, added to the mean of squares.
    pub epsilon: Fixed,
    /// Factor of a query's product with a key times log2(e): scores are kept in units of log2.
    pub attention_scale: Fixed,
    /// Tables of rotary positions: `head_dim/2` phase increments a position each, of the rotated pairs
    /// `(i, i + head_dim/2)`, in turns as 0.64 fixed point. At least one table.
    pub rope_tables: Vec<Vec<u64>>,
    /// Index into `rope_tables` of each block.
    pub block_rope: Vec<u32>,
    /// Positions that each block's attention sees, its own included; 0 is all.
    pub block_window: Vec<u32>,
    /// What the gate passes through.
    pub activation: Activation,
    /// Which tensors a block has beside the matrices and the two norms.
    pub extras: Extras,
    /// Scores `s` become `cap · tanh(s / cap)`; the cap in units of log2.
    pub attention_softcap: Option<Fixed>,
    /// Logits likewise, in their own unit.
    pub logits_softcap: Option<Fixed>,
    /// The checkpoint has no head: the model turns texts into vectors and generates none. Logits are products with the
    /// embedding, with which a device proves itself.
    pub headless: bool,
    /// How the checkpoint makes a vector of a text, where it says so.
    pub pooling: Option<Pooling>,
    /// The residual stream's i32 have the unit `2^residual_exponent`.
    pub residual_exponent: i32,
}

/// The function of the gate in a gated feed-forward network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · σ(x)` (SwiGLU).
    #[default]
    Silu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))` (GeGLU with the tanh approximation).
    GeluTanh,
    /// `max(x, 0)²`.
    ReluSquared,
}

/// Optional tensors of every block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extras {
    /// Biases of query, key and value.
    pub attention_bias: bool,
    /// Bias of attention's output projection.
    pub attention_output_bias: bool,
    /// Biases of gate, up and down.
    pub feed_forward_bias: bool,
    /// RMSNorm over each head of queries and keys, before rotation.
    pub qk_norm: bool,
    /// RMSNorm of what attention and the feed-forward network add to the residual stream.
    pub post_norm: bool,
    /// RMSNorm of the inputs of attention's output projection and of the down projection.
    pub sub_norm: bool,
}

impl Fixed {
    /// `n` times the value, the mantissa in [2^30, 2^31] however few bits this one has, rounded
    /// half up; of zero it is zero.
    pub fn times(self, n: u32) -> Self {
        let product = u64::from(self.mantissa) * u64::from(n);
        let excess = match product {
            0 => 0,
            _ => 33 - product.leading_zeros() as i32,
        };
        let mantissa = match excess {
            0.. => (product + (1u64 << excess >> 1)) >> excess,
            _ => product << -excess,
        };
        Self {
            mantissa: mantissa as u32,
            exponent: self.exponent + excess,
        }
    }
}

impl Activation {
    /// Every function with the feature that a file which uses it requires; none for the first.
    const FEATURES: [(Activation, Option<&'static str>); 3] = [
        (Activation::Silu, None),
        (Activation::GeluTanh, Some(keys::FEATURE_GELU_TANH)),
        (Activation::ReluSquared, Some(keys::FEATURE_RELU_SQUARED)),
    ];
}

impl Extras {
    /// Each member with the feature that a file which has it requires.
    fn features(&mut self) -> [(&mut bool, &'static str); 6] {
        [
            (&mut self.attention_bias, keys::FEATURE_ATTENTION_BIAS),
            (
                &mut self.attention_output_bias,
                keys::FEATURE_ATTENTION_OUTPUT_BIAS,
            ),
            (&mut self.feed_forward_bias, keys::FEATURE_FEED_FORWARD_BIAS),
            (&mut self.qk_norm, keys::FEATURE_QK_NORM),
            (&mut self.post_norm, keys::FEATURE_POST_NORM),
            (&mut self.sub_norm, keys::FEATURE_SUB_NORM),
        ]
    }
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
    /// Most tables of rotary positions.
    pub const MAX_ROPE_TABLES: usize = 8;
}

impl ModelSpec {
    /// The tensors of the model in file order; a tied model has no head of its own.
    pub fn tensors(&self, tied: bool) -> Vec<Tensor> {
        Tensor::all(self.block_count, tied, self.extras)
    }

    /// Features that a reader of the file must have, in the order of [`keys::FEATURES`].
    pub fn requires(&self) -> Vec<&'static str> {
        let mut extras = self.extras;
        let mut needed: Vec<&str> = extras
            .features()
            .into_iter()
            .filter_map(|(on, feature)| on.then_some(feature))
            .collect();
        let activation = Activation::FEATURES.iter().find(|f| f.0 == self.activation);
        needed.extend(activation.and_then(|f| f.1));
        for (on, feature) in [
            (
                self.block_window.iter().any(|w| *w > 0),
                keys::FEATURE_WINDOW,
            ),
            (self.rope_tables.len() > 1, keys::FEATURE_ROPE_TABLES),
            (
                self.attention_softcap.is_some(),
                keys::FEATURE_ATTENTION_SOFTCAP,
            ),
            (self.logits_softcap.is_some(), keys::FEATURE_LOGITS_SOFTCAP),
            (self.headless, keys::FEATURE_NO_HEAD),
        ] {
            needed.extend(on.then_some(feature));
        }
        let known = keys::FEATURES.iter().copied();
        known.filter(|f| needed.contains(f)).collect()
    }

    /// The model's metadata, without the directory of tensors and the tokenizer.
    pub fn to_metadata(&self) -> Vec<(&'static str, OwnedValue)> {
        let (major, minor) = keys::FORMAT_VERSION;
        let requires = self.requires();
        let mut metadata = vec![
            (keys::ARCHITECTURE, keys::CARAT.to_string().into()),
            (keys::VERSION, format!("{major}.{minor}").into()),
            (keys::REQUIRES, strings(&requires).into()),
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
            (keys::ROPE_INCREMENTS, self.rope_tables.concat().into()),
            (keys::RESIDUAL_EXPONENT, self.residual_exponent.into()),
        ];
        if requires.contains(&keys::FEATURE_ROPE_TABLES) {
            metadata.push((keys::BLOCK_ROPE, self.block_rope.clone().into()));
        }
        if requires.contains(&keys::FEATURE_WINDOW) {
            metadata.push((keys::BLOCK_WINDOW, self.block_window.clone().into()));
        }
        for (cap, mantissa, exponent) in [
            (
                self.attention_softcap,
                keys::ATTENTION_SOFTCAP_MANTISSA,
                keys::ATTENTION_SOFTCAP_EXPONENT,
            ),
            (
                self.logits_softcap,
                keys::LOGITS_SOFTCAP_MANTISSA,
                keys::LOGITS_SOFTCAP_EXPONENT,
            ),
        ] {
            if let Some(cap) = cap {
                metadata.push((mantissa, cap.mantissa.into()));
                metadata.push((exponent, cap.exponent.into()));
            }
        }
        if let Some(pooling) = self.pooling {
            metadata.push((keys::POOLING, pooling.name().to_string().into()));
        }
        metadata
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
        let requires: Vec<&str> = header.str_array(keys::REQUIRES)?.collect();
        if let Some(feature) = requires.iter().find(|f| !keys::FEATURES.contains(f)) {
            return Err(FormatError::Requires {
                feature: (*feature).into(),
            });
        }
        let has = |feature: &str| requires.contains(&feature);
        let u = |key: &str, range: core::ops::RangeInclusive<u32>| -> Result<u32, FormatError> {
            let v = header.u32(key)?;
            check(key, v, range)
        };
        let fixed = |mantissa: &str, exponent: &str, least: u32| -> Result<Fixed, FormatError> {
            Ok(Fixed {
                mantissa: u(mantissa, least..=1 << 31)?,
                exponent: check(exponent, header.i32(exponent)?, bounds::EXPONENTS)?,
            })
        };
        let softcap = |feature: &str, mantissa: &str, exponent: &str| {
            let cap = || fixed(mantissa, exponent, 1 << 30);
            has(feature).then(cap).transpose()
        };
        let mut extras = Extras::default();
        for (on, feature) in extras.features() {
            *on = has(feature);
        }
        // A norm takes these products in a unit that only the pass knows; a bias has no place there.
        let biases = [
            (
                extras.attention_output_bias,
                keys::FEATURE_ATTENTION_OUTPUT_BIAS,
            ),
            (extras.feed_forward_bias, keys::FEATURE_FEED_FORWARD_BIAS),
        ];
        if let Some((_, bias)) = biases.iter().find(|b| extras.post_norm && b.0) {
            return Err(FormatError::Requires {
                feature: format!("{bias} with {}", keys::FEATURE_POST_NORM),
            });
        }
        let mut activations = Activation::FEATURES
            .iter()
            .filter(|(_, feature)| feature.is_some_and(has));
        let activation = activations.next().map_or(Activation::Silu, |a| a.0);
        if let Some((_, Some(feature))) = activations.next() {
            return Err(FormatError::Requires {
                feature: (*feature).into(),
            });
        }
        let block_count = u(keys::BLOCK_COUNT, 1..=bounds::MAX_BLOCKS)?;
        let head_dim = u(keys::HEAD_DIM, 2..=bounds::MAX_HEAD_DIM)?;
        check(keys::HEAD_DIM, head_dim % 2, 0..=0)?;
        let of_blocks = |feature: &str, key: &str| -> Result<Vec<u32>, FormatError> {
            if !has(feature) {
                return Ok(vec![0; block_count as usize]);
            }
            let len = header.array(key)?.len() as u64;
            check(key, len, block_count.into()..=block_count.into())?;
            Ok(header.array_of::<u32>(key)?.collect())
        };
        let increments: Vec<u64> = header
            .array_of::<u64>(keys::ROPE_INCREMENTS)?
            .take(bounds::MAX_ROPE_TABLES * bounds::MAX_HEAD_DIM as usize)
            .collect();
        let pairs = head_dim as usize / 2;
        let most_tables = match has(keys::FEATURE_ROPE_TABLES) {
            true => bounds::MAX_ROPE_TABLES,
            false => 1,
        };
        check(keys::ROPE_INCREMENTS, increments.len() % pairs, 0..=0)?;
        check(
            keys::ROPE_INCREMENTS,
            increments.len() / pairs,
            1..=most_tables,
        )?;
        let rope_tables: Vec<Vec<u64>> = increments.chunks(pairs).map(<[u64]>::to_vec).collect();
        let block_rope = of_blocks(keys::FEATURE_ROPE_TABLES, keys::BLOCK_ROPE)?;
        for table in &block_rope {
            check(keys::BLOCK_ROPE, *table, 0..=rope_tables.len() as u32 - 1)?;
        }
        let spec = Self {
            source_architecture: header.str(keys::SOURCE_ARCHITECTURE)?.into(),
            vocab_size: u(keys::VOCAB_SIZE, 1..=bounds::MAX_VOCAB)?,
            context_length: u(keys::CONTEXT_LENGTH, 1..=bounds::MAX_CONTEXT)?,
            embedding_length: u(keys::EMBEDDING_LENGTH, 1..=bounds::MAX_COLS)?,
            block_count,
            feed_forward_length: u(keys::FEED_FORWARD_LENGTH, 1..=bounds::MAX_COLS)?,
            head_count: u(keys::HEAD_COUNT, 1..=bounds::MAX_COLS)?,
            head_count_kv: u(keys::HEAD_COUNT_KV, 1..=bounds::MAX_COLS)?,
            head_dim,
            epsilon: fixed(keys::EPSILON_MANTISSA, keys::EPSILON_EXPONENT, 0)?,
            attention_scale: fixed(
                keys::ATTENTION_SCALE_MANTISSA,
                keys::ATTENTION_SCALE_EXPONENT,
                1,
            )?,
            rope_tables,
            block_rope,
            block_window: of_blocks(keys::FEATURE_WINDOW, keys::BLOCK_WINDOW)?,
            activation,
            extras,
            attention_softcap: softcap(
                keys::FEATURE_ATTENTION_SOFTCAP,
                keys::ATTENTION_SOFTCAP_MANTISSA,
                keys::ATTENTION_SOFTCAP_EXPONENT,
            )?,
            logits_softcap: softcap(
                keys::FEATURE_LOGITS_SOFTCAP,
                keys::LOGITS_SOFTCAP_MANTISSA,
                keys::LOGITS_SOFTCAP_EXPONENT,
            )?,
            headless: has(keys::FEATURE_NO_HEAD),
            pooling: pooling(header)?,
            residual_exponent: check(
                keys::RESIDUAL_EXPONENT,
                header.i32(keys::RESIDUAL_EXPONENT)?,
                -31..=16,
            )?,
        };
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

fn pooling(header: &Header<'_>) -> Result<Option<Pooling>, FormatError> {
    let Some(name) = header.str_opt(keys::POOLING)? else {
        return Ok(None);
    };
    let known = Pooling::from_name(name).ok_or_else(|| FormatError::Range {
        field: keys::POOLING.into(),
        found: name.chars().take(80).collect(),
        expected: format!("one of {}", Pooling::names()),
    });
    known.map(Some)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).into()).collect()
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

#[cfg(test)]
mod tests {
    use super::Fixed;

    #[test]
    fn a_multiple_is_normalised() {
        let of = |mantissa, exponent| Fixed { mantissa, exponent };
        for (value, n, expected) in [
            (of(1, -17), 576, of(576 << 21, -38)),
            (of(1 << 30, -47), 1, of(1 << 30, -47)),
            (of(1 << 31, -48), 1, of(1 << 30, -47)),
            (of(0x7fff_ffff, 0), 3, of(0x6000_0000 - 1, 2)),
            // Rounded up, to the top of the range.
            (of(0x7fff_ffff, 0), 0x8000_0001, of(1 << 31, 31)),
            (of(0, 5), 32_768, of(0, 5)),
        ] {
            assert_eq!(value.times(n), expected, "{n} times {value:?}");
        }
    }
}
