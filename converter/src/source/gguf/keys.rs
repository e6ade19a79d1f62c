//! Hyper-parameters from a GGUF's metadata. Keys of the architecture that are not read are refused.

use super::At;
use crate::source::architecture::{Architecture, Windows};
use crate::source::rope::Rope;
use crate::source::{Hyper, SourceError, tables};
use carat_format::{Activation, Extras, Tensor};
use carat_gguf::Value;

/// A number: every so many blocks one has no window. Or a list: which have one.
const PATTERN: &str = "attention.sliding_window_pattern";

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
        self.key(self.header.u32(&self.name(key)))
    }

    pub fn size_opt(&self, key: &str) -> Result<Option<u32>, SourceError> {
        self.key(self.header.u32_opt(&self.name(key)))
    }

    pub fn number_opt(&self, key: &str) -> Result<Option<f64>, SourceError> {
        let name = self.name(key);
        match self.key(self.header.f64_opt(&name))? {
            Some(x) if !(x.is_finite() && x > 0.0) => {
                Err(self.value(&name, x, "a positive number"))
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
        let heads = self.size("attention.head_count")?;
        let hidden = self.size("embedding_length")?;
        let head_dim = match self.size_opt("attention.key_length")? {
            Some(d) => d,
            None => match hidden.checked_div(heads) {
                Some(d) if d * heads == hidden => d,
                _ => {
                    let name = self.name("attention.head_count");
                    return Err(self.value(&name, heads, format!("a divisor of {hidden}")));
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
        let block_count = self.size("block_count")?;
        let narrow = architecture.query_scale == Some(block_count);
        let query_scale = match hidden.checked_div(heads) {
            Some(d) if narrow => d,
            _ => head_dim,
        };
        let has = |tensor: Tensor| self.tensor(&tensor.name()).is_some();
        let cap = |key: &str, which: usize| match architecture.softcaps {
            Some(defaults) => Ok(self.number_opt(key)?.or(defaults[which])),
            None => Ok(None),
        };
        let mut hyper = Hyper {
            architecture: self.prefix.into(),
            vocab_size: u32::try_from(rows).unwrap_or(u32::MAX),
            context_length: self.size("context_length")?,
            embedding_length: hidden,
            block_count,
            feed_forward_length: self.size("feed_forward_length")?,
            head_count: heads,
            head_count_kv: self.size_opt("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            epsilon: self.key(
                self.header
                    .f64(&self.name("attention.layer_norm_rms_epsilon")),
            )?,
            attention_scale: 1.0 / libm::sqrt(f64::from(query_scale)),
            rope_tables: Vec::new(),
            blocks: Vec::new(),
            activation: self.activation(architecture)?,
            extras: Extras {
                attention_bias: has(Tensor::AttnQBias(0)),
                attention_output_bias: has(Tensor::AttnOutputBias(0)),
                feed_forward_bias: has(Tensor::FfnUpBias(0)),
                qk_norm: architecture.qk_norm,
                post_norm: architecture.post_norm,
                sub_norm: architecture.sub_norm,
            },
            attention_softcap: cap("attn_logit_softcapping", 0)?,
            logits_softcap: cap("final_logit_softcapping", 1)?,
            tied: !has(Tensor::Output),
        };
        hyper.check(self.path)?;
        let ropes = self.ropes(architecture, &hyper)?;
        let mut notes = Vec::new();
        if ropes.context < hyper.context_length {
            let stated = hyper.context_length;
            notes.push(crate::source::shorter_context(ropes.context, stated));
            hyper.context_length = ropes.context;
        }
        let (windowed, window) = self.windows(architecture, &hyper)?;
        let (ropes, blocks) = tables(ropes.full, ropes.local, &windowed, window, &hyper);
        hyper.blocks = blocks;
        Ok(Described {
            hyper,
            ropes,
            notes,
        })
    }

    /// Which blocks are of the kind that has a window, and the window, if there is one.
    fn windows(
        &self,
        architecture: &Architecture,
        hyper: &Hyper,
    ) -> Result<(Vec<bool>, Option<u32>), SourceError> {
        const KEY: &str = "attention.sliding_window";
        // 0 is none.
        let stated = self.size_opt(KEY)?;
        let window = stated.filter(|w| *w > 0 && *w < hyper.context_length);
        let (rule, window) = match architecture.windows {
            // llama.cpp's name of Mistral, whose blocks all have one.
            Windows::Never => (Windows::All { default: None }, window),
            Windows::All { .. } => (architecture.windows, window),
            Windows::From { .. } => match window {
                Some(w) => {
                    return Err(SourceError::Unsupported {
                        path: self.path(),
                        field: self.name(KEY),
                        found: w.to_string(),
                        hint: "; the file does not say which blocks have it",
                    });
                }
                None => (Windows::Never, None),
            },
            Windows::Pattern {
                period,
                default,
                unstated,
            } => {
                // Without a window Gemma 3 has no blocks of that kind.
                if unstated.is_none() && stated.is_none_or(|w| w == 0) {
                    return Ok((vec![false; hyper.block_count as usize], None));
                }
                let window = window.or(unstated.filter(|_| stated.is_none()));
                if let Some(listed) = self.listed_windows(hyper)? {
                    return Ok((listed, window));
                }
                let period = self.size_opt(PATTERN)?.unwrap_or(period);
                let rule = Windows::Pattern {
                    period,
                    default,
                    unstated,
                };
                (rule, window)
            }
        };
        let windowed = (0..hyper.block_count).map(|b| rule.has(b)).collect();
        Ok((windowed, window))
    }

    /// Which blocks have a window, where the file lists them.
    fn listed_windows(&self, hyper: &Hyper) -> Result<Option<Vec<bool>>, SourceError> {
        let name = self.name(PATTERN);
        let Some(list) = self.header.get(&name).and_then(Value::as_array) else {
            return Ok(None);
        };
        let blocks: Option<Vec<bool>> = list.iter().map(|v| v.as_bool()).collect();
        match blocks.filter(|b| b.len() == hyper.block_count as usize) {
            Some(blocks) => Ok(Some(blocks)),
            None => {
                let found = format!("a list of {}", list.len());
                let expected = format!(
                    "a number, or true or false for each of {}",
                    hyper.block_count
                );
                Err(self.value(&name, found, expected))
            }
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

    /// Keys of the architecture that are not read may change the arithmetic.
    fn refuse_unknown_keys(&self) -> Result<(), SourceError> {
        const KNOWN: &[&str] = &[
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.layer_norm_rms_epsilon",
            "attention.sliding_window",
            PATTERN,
            "attention.value_length",
            "attn_logit_softcapping",
            "block_count",
            "context_length",
            "embedding_length",
            "feed_forward_length",
            "final_logit_softcapping",
            "hidden_act",
            "hidden_activation",
            "rope.dimension_count",
            "rope.freq_base",
            "rope.freq_base_swa",
            "rope.scale_linear",
            "rope.scaling.attn_factor",
            "rope.scaling.factor",
            "rope.scaling.finetuned",
            "rope.scaling.original_context_length",
            "rope.scaling.type",
            "rope.scaling.yarn_attn_factor",
            "rope.scaling.yarn_beta_fast",
            "rope.scaling.yarn_beta_slow",
            "rope.scaling.yarn_ext_factor",
            "rope.scaling.yarn_log_multiplier",
            "tensor_data_layout",
            "vocab_size",
        ];
        let prefix = self.name("");
        for (key, value) in self.header.metadata() {
            if key.starts_with("prism.hadamard.") {
                return Err(SourceError::Unsupported {
                    path: self.path(),
                    field: (*key).into(),
                    found: format!("{value:?}").chars().take(80).collect(),
                    hint: "; its activations are rotated between matrices, give the checkpoint that it was made from",
                });
            }
            let Some(part) = key.strip_prefix(prefix.as_str()) else {
                continue;
            };
            // Zero experts, a bias that is off.
            let off = value.as_int() == Some(0) || value.as_bool() == Some(false);
            if !off && !KNOWN.contains(&part) {
                let found = format!("{value:?}").chars().take(80).collect();
                return Err(SourceError::UnknownField {
                    path: self.path(),
                    field: (*key).into(),
                    found,
                });
            }
        }
        Ok(())
    }
}
