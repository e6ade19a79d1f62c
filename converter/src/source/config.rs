//! Hyper-parameters from a Hugging Face `config.json`. Every key is either read, known not to touch
//! the arithmetic, known to be neutral at one value, or refused by name.

use super::rope::{self, Scaling};
use super::{BlockHyper, Hyper, SourceError};
use carat_format::{Activation, Extras};
use serde_json::{Map, Value};
use std::path::Path;

/// The model types whose arithmetic is this crate's; the first is the plain one.
const KNOWN: &[&str] = &["llama", "mistral"];

/// Keys that are read here, or that say nothing about the arithmetic of a forward pass.
const HARMLESS: &[&str] = &[
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "head_dim",
    "hidden_size",
    "id2label",
    "initializer_range",
    "intermediate_size",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "length_penalty",
    "max_length",
    "max_position_embeddings",
    "max_sequence_length",
    "max_window_layers",
    "min_length",
    "model_max_length",
    "model_type",
    "no_repeat_ngram_size",
    "num_attention_heads",
    "num_beam_groups",
    "num_beams",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "vocab_size",
];
/// Beginnings and ends of further such keys.
const HARMLESS_START: &[&str] = &["_", "unsloth"];
const HARMLESS_END: &[&str] = &["_token_id", "_token_ids", "_dropout"];

/// Keys that change the arithmetic unless they have one of these values, or are null or absent.
fn is_neutral(key: &str, value: &Value) -> Option<bool> {
    let number = |n: f64| value.as_f64() == Some(n);
    Some(match key {
        "hidden_act" | "hidden_activation" => matches!(value.as_str(), Some("silu" | "swish")),
        "partial_rotary_factor"
        | "embedding_multiplier"
        | "logits_scaling"
        | "logit_scale"
        | "residual_multiplier" => number(1.0),
        "layer_types" => value
            .as_array()
            .is_some_and(|l| l.iter().all(|t| t == "full_attention")),
        "num_experts" | "num_local_experts" => number(0.0) || number(1.0),
        // Read together with the context length.
        "sliding_window" | "use_sliding_window" => true,
        _ => return None,
    })
}

/// Whether an unknown key's value says "off".
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(_) | Value::Bool(true) => false,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

/// A JSON object and the file it is from, for typed questions.
struct Fields<'a> {
    path: &'a Path,
    prefix: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> SourceError {
        SourceError::Value {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            found: show(found),
            expected: expected.into(),
        }
    }

    fn need<T>(
        &self,
        key: &str,
        value: Option<T>,
        expected: &'static str,
    ) -> Result<T, SourceError> {
        value.ok_or_else(|| SourceError::Missing {
            path: self.path.into(),
            field: format!("{}{key}", self.prefix),
            expected,
        })
    }

    fn size(&self, key: &str) -> Result<Option<u32>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match v
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
        {
            Some(n) => Ok(Some(n)),
            None => Err(self.wrong(key, v, "a positive integer")),
        }
    }

    fn needed_size(&self, key: &str) -> Result<u32, SourceError> {
        self.need(key, self.size(key)?, "a positive integer")
    }

    fn positive(&self, key: &str) -> Result<Option<f64>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match v.as_f64().filter(|x| x.is_finite() && *x > 0.0) {
            Some(x) => Ok(Some(x)),
            None => Err(self.wrong(key, v, "a positive number")),
        }
    }

    fn needed_positive(&self, key: &str) -> Result<f64, SourceError> {
        self.need(key, self.positive(key)?, "a positive number")
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        v.as_bool()
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, "true or false"))
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        v.as_str()
            .map(Some)
            .ok_or_else(|| self.wrong(key, v, "a string"))
    }

    fn object(&self, key: &'static str) -> Result<Option<Fields<'a>>, SourceError> {
        let Some(v) = self.get(key) else {
            return Ok(None);
        };
        match v.as_object() {
            Some(map) => Ok(Some(Fields {
                path: self.path,
                prefix: key_prefix(key),
                map,
            })),
            None => Err(self.wrong(key, v, "an object")),
        }
    }
}

fn key_prefix(key: &'static str) -> &'static str {
    match key {
        "rope_parameters" => "rope_parameters.",
        _ => "rope_scaling.",
    }
}

/// A value in an error, cut short.
fn show(value: &Value) -> String {
    let s = value.to_string();
    match s.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &s[..end]),
        None => s,
    }
}

/// Reads the hyper-parameters. `path` is the file's, for errors.
pub(super) fn hyper(path: &Path, config: &Map<String, Value>) -> Result<Hyper, SourceError> {
    let f = Fields {
        path,
        prefix: "",
        map: config,
    };
    let architecture = f.need(
        "model_type",
        f.text("model_type")?,
        "the name of an architecture",
    )?;
    if !KNOWN.contains(&architecture) {
        return Err(SourceError::Architecture {
            path: path.into(),
            found: architecture.into(),
            known: KNOWN.join(", "),
        });
    }
    refuse_unknown(path, config)?;
    let heads = f.needed_size("num_attention_heads")?;
    let hidden = f.needed_size("hidden_size")?;
    let head_dim = match f.size("head_dim")? {
        Some(d) => d,
        None if hidden % heads == 0 => hidden / heads,
        None => {
            return Err(SourceError::Value {
                path: path.into(),
                field: "hidden_size".into(),
                found: hidden.to_string(),
                expected: format!("a multiple of the {heads} heads where head_dim is absent"),
            });
        }
    };
    // Where the key is absent, transformers takes all heads for llama and 8 for mistral.
    let kv = f
        .size("num_key_value_heads")?
        .unwrap_or(if architecture == "mistral" { 8 } else { heads });
    let context = f.needed_size("max_position_embeddings")?;
    check_window(&f, architecture, context)?;
    let (base, scaling) = rope_parameters(&f)?;
    let hyper = Hyper {
        architecture: architecture.into(),
        vocab_size: f.needed_size("vocab_size")?,
        context_length: context,
        embedding_length: hidden,
        block_count: f.needed_size("num_hidden_layers")?,
        feed_forward_length: f.needed_size("intermediate_size")?,
        head_count: heads,
        head_count_kv: kv,
        head_dim,
        epsilon: f.positive("rms_norm_eps")?.unwrap_or(1e-6),
        attention_scale: 1.0 / libm::sqrt(f64::from(head_dim)),
        rope_tables: Vec::new(),
        blocks: Vec::new(),
        activation: Activation::Silu,
        extras: Extras::default(),
        attention_softcap: None,
        logits_softcap: None,
        tied: f.flag("tie_word_embeddings")?.unwrap_or(false),
    };
    hyper.check(path)?;
    Ok(Hyper {
        rope_tables: vec![rope::frequencies(base, head_dim, scaling)],
        blocks: vec![BlockHyper::default(); hyper.block_count as usize],
        ..hyper
    })
}

fn refuse_unknown(path: &Path, config: &Map<String, Value>) -> Result<(), SourceError> {
    for (key, value) in config {
        let harmless = HARMLESS.contains(&key.as_str())
            || HARMLESS_START.iter().any(|s| key.starts_with(s))
            || HARMLESS_END.iter().any(|s| key.ends_with(s));
        if harmless || is_off(value) {
            continue;
        }
        let found = show(value);
        match is_neutral(key, value) {
            Some(true) => {}
            Some(false) => {
                return Err(SourceError::Unsupported {
                    path: path.into(),
                    field: key.clone(),
                    found,
                    hint: "",
                });
            }
            None if key == "quantization_config" => {
                let hint = "; give the unquantized checkpoint";
                return Err(SourceError::Unsupported {
                    path: path.into(),
                    field: key.clone(),
                    found,
                    hint,
                });
            }
            // Switches that are on are known to change something.
            None if value == &Value::Bool(true) && is_bias(key) => {
                let hint = "";
                return Err(SourceError::Unsupported {
                    path: path.into(),
                    field: key.clone(),
                    found,
                    hint,
                });
            }
            None => {
                return Err(SourceError::UnknownField {
                    path: path.into(),
                    field: key.clone(),
                    found,
                });
            }
        }
    }
    Ok(())
}

fn is_bias(key: &str) -> bool {
    matches!(
        key,
        "attention_bias" | "mlp_bias" | "rope_interleaved" | "use_qk_norm" | "qkv_bias"
    )
}

/// A window at least as long as the context is none.
fn check_window(f: &Fields<'_>, architecture: &str, context: u32) -> Result<(), SourceError> {
    if f.flag("use_sliding_window")? == Some(false) {
        return Ok(());
    }
    let window = match (f.size("sliding_window")?, architecture) {
        (None, "mistral") if !f.map.contains_key("sliding_window") => Some(4096),
        (w, _) => w,
    };
    match window {
        Some(w) if w < context => Err(SourceError::Unsupported {
            path: f.path.into(),
            field: "sliding_window".into(),
            found: format!("{w} (shorter than the context of {context})"),
            hint: "; a smaller max_position_embeddings avoids it",
        }),
        _ => Ok(()),
    }
}

/// Base and scaling, from `rope_parameters` or from `rope_theta` and `rope_scaling`.
fn rope_parameters(f: &Fields<'_>) -> Result<(f64, Scaling), SourceError> {
    let old = f.object("rope_scaling")?;
    let new = f.object("rope_parameters")?;
    let base = match (&new, f.positive("rope_theta")?) {
        (Some(new), old) => new.positive("rope_theta")?.or(old),
        (None, old) => old,
    };
    let base = base.unwrap_or(10_000.0);
    let Some(p) = new.or(old) else {
        return Ok((base, Scaling::None));
    };
    // The older key is `type`.
    let kind = match p.text("rope_type")? {
        Some(kind) => kind,
        None => p.text("type")?.unwrap_or("default"),
    };
    let mut read = vec!["rope_type", "type", "rope_theta"];
    let scaling = match kind {
        "default" => Scaling::None,
        "linear" => {
            read.push("factor");
            Scaling::Linear(p.needed_positive("factor")?)
        }
        "llama3" => {
            read.extend([
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings",
            ]);
            Scaling::Llama3 {
                factor: p.needed_positive("factor")?,
                low: p.needed_positive("low_freq_factor")?,
                high: p.needed_positive("high_freq_factor")?,
                original_context: p.needed_positive("original_max_position_embeddings")?,
            }
        }
        other => {
            return Err(SourceError::Unsupported {
                path: f.path.into(),
                field: format!("{}rope_type", p.prefix),
                found: format!("'{other}'"),
                hint: "; default, linear and llama3 are",
            });
        }
    };
    if let Some((key, value)) = p
        .map
        .iter()
        .find(|(k, v)| !read.contains(&k.as_str()) && !inert(kind, k, v))
    {
        return Err(SourceError::UnknownField {
            path: f.path.into(),
            field: format!("{}{key}", p.prefix),
            found: show(value),
        });
    }
    if let Scaling::Llama3 { low, high, .. } = scaling
        && low >= high
    {
        return Err(SourceError::Value {
            path: f.path.into(),
            field: format!("{}high_freq_factor", p.prefix),
            found: high.to_string(),
            expected: format!("more than low_freq_factor, {low}"),
        });
    }
    Ok((base, scaling))
}

/// Parameters that change nothing for this kind of scaling.
fn inert(kind: &str, key: &str, value: &Value) -> bool {
    is_off(value)
        || (key == "partial_rotary_factor" && value.as_f64() == Some(1.0))
        || (kind == "default" && matches!(key, "factor" | "original_max_position_embeddings"))
        || (kind == "linear" && key == "original_max_position_embeddings")
}
