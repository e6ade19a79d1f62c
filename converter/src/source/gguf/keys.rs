//! Hyper-parameters from a GGUF's metadata. Keys of the architecture that are not read are refused.

use super::At;
use super::known::{number, show};
use crate::source::architecture::{Architecture, Windowing};
use crate::source::hyper::{Windows, block_count, check, tables};
use crate::source::normal::Form;
use crate::source::rope::Rope;
use crate::source::{Hyper, SourceError, decode};
use carat_format::model::{Attention, Block, FeedForward, Gated, Mixer};
use carat_format::{Activation, Part, Pooling, Tensor};
use carat_gguf::{Array, Value};

/// A number: every so many blocks one has no window. Or a list: which have one.
pub(super) const PATTERN: &str = "attention.sliding_window_pattern";

const EPSILON: &str = "attention.layer_norm_rms_epsilon";

/// What the metadata says.
pub(super) struct Described {
    /// Without rotary tables.
    pub hyper: Hyper,
    /// The rotary positions of each table.
    pub ropes: Vec<Rope>,
    pub notes: Vec<String>,
}

impl At<'_, '_> {
    /// The architecture's key of that name.
    pub fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    pub fn size(&self, key: &str) -> Result<u32, SourceError> {
        match self.size_opt(key)? {
            Some(n) => Ok(n),
            // Missing, by name.
            None => self.key(self.header.u32(&self.name(key))),
        }
    }

    /// How many blocks there are, of as many as a model may have.
    fn block_count(&self) -> Result<u32, SourceError> {
        block_count(self.path, self.size("block_count")?)
    }

    fn sizes(&self, key: &str, count: u32) -> Result<Vec<u32>, SourceError> {
        match self.sizes_opt(key, count)? {
            Some(sizes) => Ok(sizes),
            // Missing, by name.
            None => Ok(vec![self.size(key)?; count as usize]),
        }
    }

    /// A size, of all blocks or the same for each of them.
    pub fn size_opt(&self, key: &str) -> Result<Option<u32>, SourceError> {
        let name = self.name(key);
        let Some(value) = self.of_every_block(&name)? else {
            return self.key(self.header.u32_opt(&name));
        };
        match value.to_int().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(self.value(&name, show(&value), "integers of type uint32")),
        }
    }

    /// A list of one number for each block; `None` where the key is no list.
    fn list_of_blocks(&self, name: &str) -> Result<Option<Array<'_>>, SourceError> {
        const BLOCKS: &str = "block_count";
        let Some(list) = self.header.get(name).and_then(Value::as_array) else {
            return Ok(None);
        };
        let blocks = self.key(self.header.u32(&self.name(BLOCKS)))?;
        if list.len() != blocks as usize {
            let expected = format!("a number, or a list of one for each of {blocks} blocks");
            return Err(self.value(name, format!("a list of {}", list.len()), expected));
        }
        Ok(Some(list))
    }

    /// A size of each of `count` blocks, which may differ; `None` where the key is absent.
    pub fn sizes_opt(&self, key: &str, count: u32) -> Result<Option<Vec<u32>>, SourceError> {
        let name = self.name(key);
        let Some(list) = self.list_of_blocks(&name)? else {
            let all = self.size_opt(key)?;
            return Ok(all.map(|n| vec![n; count as usize]));
        };
        let size = |v: Value<'_>| v.to_int().and_then(|n| u32::try_from(n).ok());
        match list.iter().map(size).collect() {
            Some(sizes) => Ok(Some(sizes)),
            None => Err(self.value(&name, show(&Value::Array(list)), "integers of type uint32")),
        }
    }

    /// The element of a list with the same number for every block; `None` where the key is no list.
    fn of_every_block(&self, name: &str) -> Result<Option<Value<'_>>, SourceError> {
        let Some(list) = self.list_of_blocks(name)? else {
            return Ok(None);
        };
        let first = list.iter().next();
        match first.filter(|first| list.iter().all(|v| v == *first)) {
            Some(first) => Ok(Some(first)),
            None => Err(SourceError::Unsupported {
                path: self.path(),
                field: name.into(),
                found: show(&Value::Array(list)),
                hint: "; the same in every block is",
            }),
        }
    }

    /// A number, of all blocks or the same for each of them.
    fn real_opt(&self, key: &str) -> Result<Option<f64>, SourceError> {
        let name = self.name(key);
        match self.of_every_block(&name)? {
            None => self.key(self.header.f64_opt(&name)),
            Some(value) => match value.to_float() {
                None => Err(self.value(&name, show(&value), "numbers")),
                found => Ok(found),
            },
        }
    }

    pub fn number_opt(&self, key: &str) -> Result<Option<f64>, SourceError> {
        match self.real_opt(key)? {
            Some(x) if !(x.is_finite() && x > 0.0) => {
                Err(self.value(&self.name(key), x, "a positive number"))
            }
            x => Ok(x),
        }
    }

    pub fn value(
        &self,
        field: &str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> SourceError {
        SourceError::Value {
            path: self.path(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    pub fn describe(&self, architecture: &'static Architecture) -> Result<Described, SourceError> {
        self.refuse_unknown_keys()?;
        let block_count = self.block_count()?;
        let hidden = self.size("embedding_length")?;
        let heads = self.sizes("attention.head_count", block_count)?;
        // Of the first block that has some.
        let first = heads.iter().copied().find(|n| *n > 0).unwrap_or(0);
        let head_dim = match self.size_opt("attention.key_length")? {
            Some(d) => d,
            None => match hidden.checked_div(first) {
                Some(d) if d * first == hidden => d,
                _ => {
                    let name = self.name("attention.head_count");
                    return Err(self.value(&name, first, format!("a divisor of {hidden}")));
                }
            },
        };
        match self.size_opt("attention.value_length")? {
            Some(d) if d != head_dim => {
                let name = self.name("attention.value_length");
                return Err(self.value(&name, d, format!("{head_dim}, the head dimension")));
            }
            _ => {}
        }
        let embedding = Tensor::TokenEmbedding.name();
        let rows = self
            .tensor(&embedding)
            .map(|t| t.dims.get(1).copied().unwrap_or(1));
        let Some(rows) = rows else {
            return Err(SourceError::MissingTensor {
                path: self.path(),
                tensor: embedding,
            });
        };
        let narrow = architecture.query_scale == Some(block_count);
        let query_scale = match hidden.checked_div(first) {
            Some(d) if narrow => d,
            _ => head_dim,
        };
        let has = |tensor: Tensor| self.tensor(&tensor.name()).is_some();
        let cap = |key: &str, which: usize| match architecture.softcaps {
            Some(defaults) => Ok(self.number_opt(key)?.or(defaults[which])),
            None => Ok(None),
        };
        let kv_heads = self.sizes_opt("attention.head_count_kv", block_count)?;
        let widths = self.sizes("feed_forward_length", block_count)?;
        let activation = self.activation(architecture)?;
        let softcap = cap("attn_logit_softcapping", 0)?;
        // A list may say of a block that it has no heads, or no feed-forward part.
        let listed = |key: &str| self.header.get(&self.name(key)).and_then(Value::as_array);
        let lacks = |key: &str, n: u32| n == 0 && listed(key).is_some();
        let block = |b: u32| {
            let (i, width) = (b as usize, widths[b as usize]);
            let attention = Attention {
                heads: heads[i],
                kv_heads: kv_heads.as_ref().map_or(heads[i], |kv| kv[i]),
                head_dim,
                window: None,
                rope: 0,
                scale: 1.0 / libm::sqrt(f64::from(query_scale)),
                softcap,
                bias: has(Part::AttnQBias.of(b)),
                output_bias: has(Part::AttnOutputBias.of(b)),
                head_norm: architecture.head_norm,
                sub_norm: architecture.sub_norm,
                post_norm: architecture.post_norm,
            };
            let gated = Gated {
                width,
                activation,
                bias: has(Part::FfnUpBias.of(b)),
                sub_norm: architecture.sub_norm,
                post_norm: architecture.post_norm,
            };
            let (mixer, feed_forward) = (Mixer::Attention(attention), FeedForward::Gated(gated));
            Block {
                mixer: (!lacks("attention.head_count", heads[i])).then_some(mixer),
                feed_forward: (!lacks("feed_forward_length", width)).then_some(feed_forward),
            }
        };
        let mut hyper = Hyper {
            source_architecture: self.prefix.into(),
            vocab_size: u32::try_from(rows).unwrap_or(u32::MAX),
            context_length: self.size("context_length")?,
            embedding_length: hidden,
            blocks: (0..block_count).map(block).collect(),
            epsilon: match self.real_opt(EPSILON)? {
                Some(epsilon) => epsilon,
                // Missing, by name.
                None => self.key(self.header.f64(&self.name(EPSILON)))?,
            },
            rope_tables: Vec::new(),
            logits_softcap: cap("final_logit_softcapping", 1)?,
            tied: !has(Tensor::Output) || self.head_is_embedding()?,
            headless: false,
            pooling: self.pooling()?,
            residual_exponent: 0,
        };
        check(&hyper, self.path)?;
        let ropes = self.ropes(architecture, head_dim, hyper.context_length)?;
        let mut notes = Vec::new();
        if ropes.context < hyper.context_length {
            let stated = hyper.context_length;
            notes.push(crate::source::shorter_context(ropes.context, stated));
            hyper.context_length = ropes.context;
        }
        let windows = self.windows(architecture, &hyper)?;
        let ropes = tables(&mut hyper, [ropes.full, ropes.local], windows);
        Ok(Described {
            hyper,
            ropes,
            notes,
        })
    }

    /// Which blocks have a window.
    fn windows(&self, architecture: &Architecture, hyper: &Hyper) -> Result<Windows, SourceError> {
        const KEY: &str = "attention.sliding_window";
        // 0 is none.
        let stated = self.size_opt(KEY)?;
        let window = stated.filter(|w| *w > 0 && *w < hyper.context_length);
        let (rule, window) = match architecture.windows {
            // llama.cpp's name of Mistral, whose blocks all have one.
            Windowing::Never => (Windowing::All { default: None }, window),
            Windowing::All { .. } => (architecture.windows, window),
            Windowing::From { .. } => match window {
                Some(w) => {
                    return Err(SourceError::Unsupported {
                        path: self.path(),
                        field: self.name(KEY),
                        found: w.to_string(),
                        hint: "; the file does not say which blocks have it",
                    });
                }
                None => (Windowing::Never, None),
            },
            Windowing::Pattern {
                period,
                default,
                unstated,
            } => {
                // Without a window Gemma 3 has no blocks of that kind.
                if unstated.is_none() && stated.is_none_or(|w| w == 0) {
                    return Ok(Windows {
                        blocks: vec![false; hyper.blocks.len()],
                        length: None,
                    });
                }
                let window = window.or(unstated.filter(|_| stated.is_none()));
                if let Some(listed) = self.listed_windows(hyper)? {
                    return Ok(Windows {
                        blocks: listed,
                        length: window,
                    });
                }
                let period = self.size_opt(PATTERN)?.unwrap_or(period);
                let rule = Windowing::Pattern {
                    period,
                    default,
                    unstated,
                };
                (rule, window)
            }
        };
        Ok(Windows {
            blocks: (0..hyper.block_count()).map(|b| rule.has(b)).collect(),
            length: window,
        })
    }

    /// Which blocks have a window, where the file lists them.
    fn listed_windows(&self, hyper: &Hyper) -> Result<Option<Vec<bool>>, SourceError> {
        let name = self.name(PATTERN);
        let Some(list) = self.header.get(&name).and_then(Value::as_array) else {
            return Ok(None);
        };
        let flag = |v: Value<'_>| match number(&v) {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        };
        let blocks: Option<Vec<bool>> = list.iter().map(flag).collect();
        match blocks.filter(|b| b.len() == hyper.blocks.len()) {
            Some(blocks) => Ok(Some(blocks)),
            None => {
                let found = format!("a list of {}", list.len());
                let expected = format!(
                    "a number, or true or false for each of {}",
                    hyper.blocks.len()
                );
                Err(self.value(&name, found, expected))
            }
        }
    }

    /// Whether the head that is stored has the embedding's weights.
    fn head_is_embedding(&self) -> Result<bool, SourceError> {
        let names = [Tensor::TokenEmbedding, Tensor::Output].map(|t| t.name());
        let beside = |name: &String| name.replace(".weight", ".scale");
        if names.iter().any(|n| self.tensor(&beside(n)).is_some()) {
            return Ok(false);
        }
        let [Some(a), Some(b)] = names.each_ref().map(|n| self.tensor(n)) else {
            return Ok(false);
        };
        let [cols, rows] = a.dims[..] else {
            return Ok(false);
        };
        if a.dims != b.dims || decode::ggml(a.ty).is_none() || decode::ggml(b.ty).is_none() {
            return Ok(false);
        }
        let stored = |name: &str| self.stored(name, rows, cols, Form::default());
        match (stored(&names[0])?, stored(&names[1])?) {
            (Some(a), Some(b)) => a.equals(&b, &self.container.files),
            _ => Ok(false),
        }
    }

    /// How a text becomes a vector, by ggml's number.
    fn pooling(&self) -> Result<Option<Pooling>, SourceError> {
        let name = self.name("pooling_type");
        let number = self.key(self.header.i32_opt(&name))?;
        // −1 is no statement.
        let Some(number) = number.filter(|n| *n != -1) else {
            return Ok(None);
        };
        let pooling = usize::try_from(number)
            .ok()
            .and_then(|n| Pooling::ALL.get(n));
        match pooling {
            Some(pooling) => Ok(Some(*pooling)),
            None => Err(SourceError::Unsupported {
                path: self.path(),
                field: name,
                found: number.to_string(),
                hint: "; 0 (none), 1 (mean), 2 (cls) and 3 (last) are",
            }),
        }
    }

    /// The function of the gate.
    fn activation(&self, architecture: &Architecture) -> Result<Activation, SourceError> {
        for key in ["hidden_activation", "hidden_act"] {
            let name = self.name(key);
            return match self.key(self.header.str_opt(&name))? {
                None => continue,
                Some("silu" | "swish") => Ok(Activation::Silu),
                Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
                Some("relu2") => Ok(Activation::ReluSquared),
                Some(other) => Err(SourceError::Unsupported {
                    path: self.path(),
                    field: name,
                    found: format!("'{other}'"),
                    hint: "; silu, gelu_pytorch_tanh and relu2 are",
                }),
            };
        }
        Ok(architecture.activation)
    }
}
