//! A model as metadata of a file: `SPEC.md` has the keys.

use super::{
    Activation, Attention, Block, FeedForward, Fixed, Gated, Mixer, ModelSpec, bounds, check,
};
use crate::{FormatError, Pooling, keys};
use carat_gguf::{Header, OwnedValue, Scalar};

/// Names of a kind's mixer and feed-forward part.
const NONE: &str = "none";
const ATTENTION: &str = "attention";
const GATED: &str = "gated";

impl ModelSpec {
    /// Features that a reader of the file must have, in the order of [`keys::FEATURES`].
    pub fn requires(&self) -> Vec<&'static str> {
        let needed = [(self.headless, keys::FEATURE_NO_HEAD)];
        let needed = needed.into_iter().filter(|(on, _)| *on);
        needed.map(|(_, feature)| feature).collect()
    }

    /// The distinct blocks, and which of them each block is.
    fn kinds(&self) -> (Vec<Block>, Vec<u32>) {
        let mut kinds: Vec<Block> = Vec::new();
        let of = |b: &Block| {
            let known = kinds.iter().position(|k| k == b);
            let place = known.unwrap_or_else(|| {
                kinds.push(*b);
                kinds.len() - 1
            });
            place as u32
        };
        let list = self.blocks.iter().map(of).collect();
        (kinds, list)
    }

    /// The model's metadata, without the directory of tensors and the tokenizer.
    pub fn to_metadata(&self) -> Vec<(&'static str, OwnedValue)> {
        let (major, minor) = keys::FORMAT_VERSION;
        let (kinds, list) = self.kinds();
        let lengths: Vec<u32> = self.rope_tables.iter().map(|t| t.len() as u32).collect();
        let mut metadata = vec![
            (keys::ARCHITECTURE, keys::CARAT.to_string().into()),
            (keys::VERSION, format!("{major}.{minor}").into()),
            (keys::REQUIRES, self.requires().into()),
            (
                keys::SOURCE_ARCHITECTURE,
                self.source_architecture.clone().into(),
            ),
            (keys::VOCAB_SIZE, self.vocab_size.into()),
            (keys::CONTEXT_LENGTH, self.context_length.into()),
            (keys::EMBEDDING_LENGTH, self.embedding_length.into()),
            (keys::BLOCK_COUNT, self.block_count().into()),
            (keys::BLOCK_KINDS, list.into()),
            (keys::EPSILON_MANTISSA, self.epsilon.mantissa.into()),
            (keys::EPSILON_EXPONENT, self.epsilon.exponent.into()),
            (keys::ROPE_PAIRS, lengths.into()),
            (keys::ROPE_INCREMENTS, self.rope_tables.concat().into()),
            (keys::RESIDUAL_EXPONENT, self.residual_exponent.into()),
        ];
        metadata.extend(columns(&kinds));
        if let Some(cap) = self.logits_softcap {
            metadata.push((keys::LOGITS_SOFTCAP_MANTISSA, cap.mantissa.into()));
            metadata.push((keys::LOGITS_SOFTCAP_EXPONENT, cap.exponent.into()));
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
        let rope_tables = rope_tables(header)?;
        let spec = Self {
            source_architecture: header.str(keys::SOURCE_ARCHITECTURE)?.into(),
            vocab_size: header.u32(keys::VOCAB_SIZE)?,
            context_length: header.u32(keys::CONTEXT_LENGTH)?,
            embedding_length: header.u32(keys::EMBEDDING_LENGTH)?,
            blocks: blocks(header, &rope_tables)?,
            epsilon: fixed(header, keys::EPSILON_MANTISSA, keys::EPSILON_EXPONENT, 0)?,
            rope_tables,
            logits_softcap: match header.get(keys::LOGITS_SOFTCAP_MANTISSA) {
                None => None,
                Some(_) => Some(fixed(
                    header,
                    keys::LOGITS_SOFTCAP_MANTISSA,
                    keys::LOGITS_SOFTCAP_EXPONENT,
                    1 << 30,
                )?),
            },
            tied: header.tensor(&super::Tensor::Output.name()).is_none(),
            headless: requires.contains(&keys::FEATURE_NO_HEAD),
            pooling: pooling(header)?,
            residual_exponent: check(
                keys::RESIDUAL_EXPONENT,
                header.i32(keys::RESIDUAL_EXPONENT)?,
                bounds::RESIDUAL_EXPONENTS,
            )?,
        };
        spec.check()?;
        Ok(spec)
    }
}

/// The table of kinds, a list for each field; what a kind's part does not have is 0.
fn columns(kinds: &[Block]) -> Vec<(&'static str, OwnedValue)> {
    fn of<T>(kinds: &[Block], get: impl Fn(&Attention) -> T, none: impl Fn() -> T) -> Vec<T> {
        let each = kinds.iter().map(Block::attention);
        each.map(|a| a.map_or_else(&none, &get)).collect()
    }
    let sizes = |get: fn(&Attention) -> u32| of(kinds, get, || 0).into();
    let flags = |get: fn(&Attention) -> bool| of(kinds, get, || false).into();
    let fixed = |get: fn(&Attention) -> Fixed| of(kinds, get, Fixed::default);
    let cap = |a: &Attention| a.softcap.unwrap_or_default();
    let (scales, caps) = (fixed(|a| a.scale), fixed(cap));
    let mantissas = |list: &[Fixed]| list.iter().map(|f| f.mantissa).collect::<Vec<u32>>().into();
    let exponents = |list: &[Fixed]| list.iter().map(|f| f.exponent).collect::<Vec<i32>>().into();
    let gated = || kinds.iter().map(Block::gated);
    let gated_flags = |get: fn(&Gated) -> bool| -> OwnedValue {
        gated()
            .map(|g| g.is_some_and(get))
            .collect::<Vec<bool>>()
            .into()
    };
    let mixers = kinds.iter().map(|k| match k.mixer {
        None => NONE,
        Some(Mixer::Attention(_)) => ATTENTION,
    });
    let feed_forwards = kinds.iter().map(|k| match k.feed_forward {
        None => NONE,
        Some(FeedForward::Gated(_)) => GATED,
    });
    let activations = gated().map(|g| g.map_or(NONE, |g| g.activation.name()));
    vec![
        (keys::KIND_MIXER, mixers.collect::<Vec<&str>>().into()),
        (keys::KIND_HEADS, sizes(|a| a.heads)),
        (keys::KIND_KV_HEADS, sizes(|a| a.kv_heads)),
        (keys::KIND_HEAD_DIM, sizes(|a| a.head_dim)),
        (keys::KIND_WINDOW, sizes(|a| a.window.unwrap_or(0))),
        (keys::KIND_ROPE, sizes(|a| a.rope)),
        (keys::KIND_SCALE_MANTISSA, mantissas(&scales)),
        (keys::KIND_SCALE_EXPONENT, exponents(&scales)),
        (keys::KIND_SOFTCAP_MANTISSA, mantissas(&caps)),
        (keys::KIND_SOFTCAP_EXPONENT, exponents(&caps)),
        (keys::KIND_BIAS, flags(|a| a.bias)),
        (keys::KIND_OUTPUT_BIAS, flags(|a| a.output_bias)),
        (keys::KIND_HEAD_NORM, flags(|a| a.head_norm)),
        (keys::KIND_SUB_NORM, flags(|a| a.sub_norm)),
        (keys::KIND_POST_NORM, flags(|a| a.post_norm)),
        (
            keys::KIND_FEED_FORWARD,
            feed_forwards.collect::<Vec<&str>>().into(),
        ),
        (
            keys::KIND_WIDTH,
            gated()
                .map(|g| g.map_or(0, |g| g.width))
                .collect::<Vec<u32>>()
                .into(),
        ),
        (
            keys::KIND_ACTIVATION,
            activations.collect::<Vec<&str>>().into(),
        ),
        (keys::KIND_FFN_BIAS, gated_flags(|g| g.bias)),
        (keys::KIND_FFN_SUB_NORM, gated_flags(|g| g.sub_norm)),
        (keys::KIND_FFN_POST_NORM, gated_flags(|g| g.post_norm)),
    ]
}

/// The blocks: each one's kind, from the table of kinds.
fn blocks(header: &Header<'_>, rope_tables: &[Vec<u64>]) -> Result<Vec<Block>, FormatError> {
    let most = u64::from(bounds::MAX_BLOCKS);
    let length = |key: &str| -> Result<u64, FormatError> {
        check(key, header.array(key)?.len() as u64, 1..=most)
    };
    let (listed, kinds) = (length(keys::BLOCK_KINDS)?, length(keys::KIND_MIXER)?);
    let count = header.u32(keys::BLOCK_COUNT)?;
    check(keys::BLOCK_COUNT, count.into(), listed..=listed)?;
    let table = Table {
        header,
        kinds: kinds as usize,
    };
    let kinds = table.read(rope_tables)?;
    let list = header.array_of::<u32>(keys::BLOCK_KINDS)?;
    let of = |kind: u32| {
        let known = kinds.get(kind as usize).copied();
        known.ok_or_else(|| FormatError::Range {
            field: keys::BLOCK_KINDS.into(),
            found: kind.to_string(),
            expected: format!("below the {} kinds", kinds.len()),
        })
    };
    list.map(of).collect()
}

/// The table of kinds of a file.
struct Table<'h, 'b> {
    header: &'h Header<'b>,
    kinds: usize,
}

impl<'b> Table<'_, 'b> {
    fn sized(&self, key: &str) -> Result<(), FormatError> {
        let expected = self.kinds as u64;
        let found = self.header.array(key)?.len() as u64;
        check(key, found, expected..=expected).map(|_| ())
    }

    fn column<T: Scalar>(&self, key: &str) -> Result<Vec<T>, FormatError> {
        self.sized(key)?;
        Ok(self.header.array_of::<T>(key)?.collect())
    }

    fn names(&self, key: &str) -> Result<Vec<&'b str>, FormatError> {
        self.sized(key)?;
        Ok(self.header.str_array(key)?.collect())
    }

    fn fixed(&self, mantissa: &str, exponent: &str) -> Result<Vec<Fixed>, FormatError> {
        let pairs = self.column::<u32>(mantissa)?.into_iter();
        let pairs = pairs.zip(self.column::<i32>(exponent)?);
        let checked = pairs.map(|(m, e)| {
            Ok(Fixed {
                mantissa: check(mantissa, m, 0..=1 << 31)?,
                exponent: check(exponent, e, bounds::EXPONENTS)?,
            })
        });
        checked.collect()
    }

    fn read(&self, rope_tables: &[Vec<u64>]) -> Result<Vec<Block>, FormatError> {
        let mixers = self.names(keys::KIND_MIXER)?;
        let attention = AttentionColumns::read(self)?;
        let feed_forwards = self.names(keys::KIND_FEED_FORWARD)?;
        let gated = GatedColumns::read(self)?;
        let unknown = |key: &str, found: &str, known: &[&str]| FormatError::Range {
            field: key.into(),
            found: found.chars().take(80).collect(),
            expected: format!("one of {}", known.join(", ")),
        };
        let of = |i: usize| {
            let mixer = match mixers[i] {
                NONE => None,
                ATTENTION => Some(Mixer::Attention(attention.kind(i, rope_tables)?)),
                other => return Err(unknown(keys::KIND_MIXER, other, &[NONE, ATTENTION])),
            };
            let feed_forward = match feed_forwards[i] {
                NONE => None,
                GATED => Some(FeedForward::Gated(gated.kind(i)?)),
                other => return Err(unknown(keys::KIND_FEED_FORWARD, other, &[NONE, GATED])),
            };
            Ok(Block {
                mixer,
                feed_forward,
            })
        };
        (0..self.kinds).map(of).collect()
    }
}

struct AttentionColumns {
    heads: Vec<u32>,
    kv_heads: Vec<u32>,
    head_dim: Vec<u32>,
    window: Vec<u32>,
    rope: Vec<u32>,
    scale: Vec<Fixed>,
    softcap: Vec<Fixed>,
    bias: Vec<bool>,
    output_bias: Vec<bool>,
    head_norm: Vec<bool>,
    sub_norm: Vec<bool>,
    post_norm: Vec<bool>,
}

impl AttentionColumns {
    fn read(t: &Table<'_, '_>) -> Result<Self, FormatError> {
        Ok(Self {
            heads: t.column(keys::KIND_HEADS)?,
            kv_heads: t.column(keys::KIND_KV_HEADS)?,
            head_dim: t.column(keys::KIND_HEAD_DIM)?,
            window: t.column(keys::KIND_WINDOW)?,
            rope: t.column(keys::KIND_ROPE)?,
            scale: t.fixed(keys::KIND_SCALE_MANTISSA, keys::KIND_SCALE_EXPONENT)?,
            softcap: t.fixed(keys::KIND_SOFTCAP_MANTISSA, keys::KIND_SOFTCAP_EXPONENT)?,
            bias: t.column(keys::KIND_BIAS)?,
            output_bias: t.column(keys::KIND_OUTPUT_BIAS)?,
            head_norm: t.column(keys::KIND_HEAD_NORM)?,
            sub_norm: t.column(keys::KIND_SUB_NORM)?,
            post_norm: t.column(keys::KIND_POST_NORM)?,
        })
    }

    fn kind(&self, i: usize, rope_tables: &[Vec<u64>]) -> Result<Attention, FormatError> {
        let rope = self.rope[i];
        let pairs = rope_tables.get(rope as usize).map(|t| t.len() as u32);
        let head_dim = self.head_dim[i];
        if pairs != Some(head_dim / 2) {
            return Err(FormatError::Range {
                field: keys::KIND_ROPE.into(),
                found: rope.to_string(),
                expected: format!("a table of {} pairs", head_dim / 2),
            });
        }
        check(
            keys::KIND_SCALE_MANTISSA,
            self.scale[i].mantissa,
            1..=1 << 31,
        )?;
        let cap = Some(self.softcap[i]).filter(|c| c.mantissa > 0);
        if let Some(cap) = cap {
            check(keys::KIND_SOFTCAP_MANTISSA, cap.mantissa, 1 << 30..=1 << 31)?;
        }
        unbiased(
            self.post_norm[i],
            self.output_bias[i],
            keys::KIND_OUTPUT_BIAS,
        )?;
        Ok(Attention {
            heads: self.heads[i],
            kv_heads: self.kv_heads[i],
            head_dim,
            window: Some(self.window[i]).filter(|w| *w > 0),
            rope,
            scale: self.scale[i],
            softcap: cap,
            bias: self.bias[i],
            output_bias: self.output_bias[i],
            head_norm: self.head_norm[i],
            sub_norm: self.sub_norm[i],
            post_norm: self.post_norm[i],
        })
    }
}

struct GatedColumns<'b> {
    width: Vec<u32>,
    activation: Vec<&'b str>,
    bias: Vec<bool>,
    sub_norm: Vec<bool>,
    post_norm: Vec<bool>,
}

impl<'b> GatedColumns<'b> {
    fn read(t: &Table<'_, 'b>) -> Result<Self, FormatError> {
        Ok(Self {
            width: t.column(keys::KIND_WIDTH)?,
            activation: t.names(keys::KIND_ACTIVATION)?,
            bias: t.column(keys::KIND_FFN_BIAS)?,
            sub_norm: t.column(keys::KIND_FFN_SUB_NORM)?,
            post_norm: t.column(keys::KIND_FFN_POST_NORM)?,
        })
    }

    fn kind(&self, i: usize) -> Result<Gated, FormatError> {
        let name = self.activation[i];
        let activation = Activation::from_name(name).ok_or_else(|| FormatError::Range {
            field: keys::KIND_ACTIVATION.into(),
            found: name.chars().take(80).collect(),
            expected: format!(
                "one of {}",
                Activation::ALL.map(Activation::name).join(", ")
            ),
        })?;
        unbiased(self.post_norm[i], self.bias[i], keys::KIND_FFN_BIAS)?;
        Ok(Gated {
            width: self.width[i],
            activation,
            bias: self.bias[i],
            sub_norm: self.sub_norm[i],
            post_norm: self.post_norm[i],
        })
    }
}

/// A norm takes what a branch adds in a unit that only the pass knows; a bias has no place there.
fn unbiased(post_norm: bool, bias: bool, key: &str) -> Result<(), FormatError> {
    match post_norm && bias {
        false => Ok(()),
        true => Err(FormatError::Range {
            field: key.into(),
            found: "true".into(),
            expected: "false where the branch has a norm of what it adds".into(),
        }),
    }
}

fn rope_tables(header: &Header<'_>) -> Result<Vec<Vec<u64>>, FormatError> {
    let most = bounds::MAX_ROPE_TABLES as u64;
    let tables = header.array(keys::ROPE_PAIRS)?.len() as u64;
    check(keys::ROPE_PAIRS, tables, 0..=most)?;
    let lengths: Vec<u32> = header.array_of::<u32>(keys::ROPE_PAIRS)?.collect();
    for pairs in &lengths {
        check(keys::ROPE_PAIRS, *pairs, 1..=bounds::MAX_HEAD_DIM / 2)?;
    }
    let all: u64 = lengths.iter().map(|n| u64::from(*n)).sum();
    let found = header.array(keys::ROPE_INCREMENTS)?.len() as u64;
    check(keys::ROPE_INCREMENTS, found, all..=all)?;
    let mut increments = header.array_of::<u64>(keys::ROPE_INCREMENTS)?;
    let table = |n: &u32| increments.by_ref().take(*n as usize).collect();
    Ok(lengths.iter().map(table).collect())
}

fn fixed(
    header: &Header<'_>,
    mantissa: &str,
    exponent: &str,
    least: u32,
) -> Result<Fixed, FormatError> {
    Ok(Fixed {
        mantissa: check(mantissa, header.u32(mantissa)?, least..=1 << 31)?,
        exponent: check(exponent, header.i32(exponent)?, bounds::EXPONENTS)?,
    })
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
