//! Hyper-parameters from a Hugging Face `config.json`. Every key is either read, known not to touch
//! the arithmetic, known to be neutral at one value, or refused by name.

mod fields;
mod keys;
mod quantization;
mod rope;
#[cfg(test)]
mod tests;

pub(super) use keys::EXPERTS;
pub(super) use quantization::{Packed, Quantization};

use super::architecture::{self, Architecture, Defaults, Presence, Windowing};
use super::hyper::{Uniform, Windows, check, tables};
use super::rope::Rope;
use super::{Hyper, SourceError};
use carat_format::Activation;
use carat_format::model::{Attention, Gated};
use fields::{Fields, show};
use serde_json::{Map, Value};
use std::path::Path;

/// Model types whose text model is an object of its own.
const COMPOSITE: &[&str] = &["gemma3"];

/// What a configuration says.
pub(super) struct Described {
    pub architecture: &'static Architecture,
    /// Without rotary tables.
    pub hyper: Hyper,
    /// The rotary positions of each table.
    pub ropes: Vec<Rope>,
    pub quantization: Option<Quantization>,
    pub notes: Vec<String>,
}

/// Reads the hyper-parameters. `path` is the file's, for errors.
pub(super) fn read(path: &Path, config: &Map<String, Value>) -> Result<Described, SourceError> {
    let whole = Fields {
        path,
        prefix: String::new(),
        map: config,
    };
    let expected = "the name of an architecture";
    quantization::refuse_mlx(&whole)?;
    let kind = whole.need("model_type", whole.text("model_type")?, expected)?;
    let text = match COMPOSITE.contains(&kind) {
        true => whole.object("text_config")?,
        false => None,
    };
    if text.is_none() && is_multimodal(config, kind) {
        return Err(SourceError::Multimodal {
            path: path.into(),
            found: kind.into(),
        });
    }
    let f = text.unwrap_or(whole);
    let kind = f.need("model_type", f.text("model_type")?, expected)?;
    let Some(architecture) = architecture::hugging_face(kind) else {
        return Err(SourceError::Architecture {
            path: path.into(),
            found: kind.into(),
            known: architecture::names(|a| a.hugging_face),
        });
    };
    keys::refuse_unknown(&f, architecture)?;
    describe(&f, kind, architecture)
}

/// A configuration around that of a text model, one of which could be read alone.
fn is_multimodal(config: &Map<String, Value>, kind: &str) -> bool {
    let Some(text) = config.get("text_config").and_then(Value::as_object) else {
        return false;
    };
    let inner = text.get("model_type").and_then(Value::as_str);
    let known = |kind: &str| architecture::hugging_face(kind).is_some();
    !text.is_empty() && (known(kind) || inner.is_some_and(known))
}

fn describe(
    f: &Fields<'_>,
    kind: &str,
    architecture: &'static Architecture,
) -> Result<Described, SourceError> {
    let path = f.path;
    let defaults = &architecture.defaults;
    let quantization = quantization::read(f)?;
    let or = |key: &str, default: Option<u32>| match f.size(key)? {
        Some(n) => Ok(n),
        None => f.need(key, default, "a positive integer"),
    };
    let heads = or("num_attention_heads", defaults.heads)?;
    let hidden = f.needed_size("hidden_size")?;
    let head_dim = head_dim(f, defaults, hidden, heads)?;
    let kv = match (f.size("num_key_value_heads")?, defaults.kv_heads) {
        (Some(n), _) => n,
        // Null means all heads, an absent key the default.
        (None, Some(n)) if !f.map.contains_key("num_key_value_heads") => n,
        (None, _) => heads,
    };
    let context = or("max_position_embeddings", defaults.context)?;
    let blocks = f.needed_size("num_hidden_layers")?;
    let has = |presence: Presence| match presence {
        Presence::Never => Ok(false),
        Presence::Always => Ok(true),
        Presence::Key(key) => f.flag(key).map(|on| on.unwrap_or(false)),
    };
    let shared = rope::Shared {
        fields: f,
        architecture,
        head_dim,
        context,
    };
    let query_scale = match architecture.query_scale {
        Some(_) => f.positive("query_pre_attn_scalar")?.unwrap_or(256.0),
        None => f64::from(head_dim),
    };
    let cap = |key: &str, which: usize| match architecture.softcaps {
        Some(defaults) if !f.map.contains_key(key) => Ok(defaults[which]),
        Some(_) => f.positive(key),
        None => Ok(None),
    };
    let uniform = Uniform {
        attention: Attention {
            heads,
            kv_heads: kv,
            head_dim,
            window: None,
            rope: 0,
            scale: 1.0 / libm::sqrt(query_scale),
            softcap: cap("attn_logit_softcapping", 0)?,
            bias: has(architecture.attention_bias)?,
            output_bias: has(architecture.attention_output_bias)?,
            head_norm: architecture.head_norm,
            sub_norm: architecture.sub_norm,
            post_norm: architecture.post_norm,
        },
        gated: Gated {
            width: f.needed_size("intermediate_size")?,
            activation: activation(f, architecture)?,
            bias: has(architecture.feed_forward_bias)?,
            sub_norm: architecture.sub_norm,
            post_norm: architecture.post_norm,
        },
    };
    let mut hyper = Hyper {
        source_architecture: kind.into(),
        vocab_size: or("vocab_size", defaults.vocab)?,
        context_length: context,
        embedding_length: hidden,
        blocks: uniform.blocks(path, blocks)?,
        epsilon: f.positive("rms_norm_eps")?.unwrap_or(defaults.epsilon),
        rope_tables: Vec::new(),
        logits_softcap: cap("final_logit_softcapping", 1)?,
        // What is stored may say otherwise.
        tied: f.flag("tie_word_embeddings")?.unwrap_or(defaults.tied),
        headless: false,
        pooling: None,
        residual_exponent: 0,
    };
    check(&hyper, path)?;
    let ropes = shared.read()?;
    let mut notes = Vec::new();
    if ropes.context < context {
        notes.push(super::shorter_context(ropes.context, context));
        hyper.context_length = ropes.context;
    }
    let windows = windows(f, architecture, blocks, context)?;
    let ropes = tables(&mut hyper, [ropes.full, ropes.local], windows);
    Ok(Described {
        architecture,
        hyper,
        ropes,
        quantization,
        notes,
    })
}

fn head_dim(
    f: &Fields<'_>,
    defaults: &Defaults,
    hidden: u32,
    heads: u32,
) -> Result<u32, SourceError> {
    match (f.size("head_dim")?, defaults.head_dim) {
        (Some(d), _) => Ok(d),
        (None, Some(d)) if !f.map.contains_key("head_dim") => Ok(d),
        _ if hidden.is_multiple_of(heads) => Ok(hidden / heads),
        _ => Err(SourceError::Value {
            path: f.path.into(),
            field: "hidden_size".into(),
            found: hidden.to_string(),
            expected: format!("a multiple of the {heads} heads where head_dim is absent"),
        }),
    }
}

fn activation(f: &Fields<'_>, architecture: &Architecture) -> Result<Activation, SourceError> {
    for key in ["hidden_activation", "hidden_act"] {
        return match f.text(key)? {
            None => continue,
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some("relu2") => Ok(Activation::ReluSquared),
            Some(other) => {
                let hint = "; silu, gelu_pytorch_tanh and relu2 are";
                Err(f.unsupported(key, format!("'{other}'"), hint))
            }
        };
    }
    Ok(architecture.activation)
}

/// Which blocks have a window.
fn windows(
    f: &Fields<'_>,
    architecture: &Architecture,
    blocks: u32,
    context: u32,
) -> Result<Windows, SourceError> {
    const KEY: &str = "sliding_window";
    let on = f.flag("use_sliding_window")?;
    let stated = |default: Option<u32>| match f.map.contains_key(KEY) {
        true => f.size(KEY),
        false => Ok(default),
    };
    let (rule, window) = match architecture.windows {
        Windowing::Never => (Windowing::Never, f.size(KEY)?.filter(|_| on != Some(false))),
        Windowing::All { default } => (
            architecture.windows,
            stated(default)?.filter(|_| on != Some(false)),
        ),
        Windowing::From { layer, default } => {
            let layer = f.count("max_window_layers")?.unwrap_or(layer);
            let window = stated(Some(default))?.filter(|_| on == Some(true));
            (Windowing::From { layer, default }, window)
        }
        Windowing::Pattern {
            period,
            default,
            unstated,
        } => {
            let period = f.size("sliding_window_pattern")?.unwrap_or(period);
            let rule = Windowing::Pattern {
                period,
                default,
                unstated,
            };
            (rule, stated(Some(default))?)
        }
    };
    let window = window.filter(|w| *w < context);
    if let (Windowing::Never, Some(w)) = (rule, window) {
        let found = format!("{w} (shorter than the context of {context})");
        let hint = "; a smaller max_position_embeddings avoids it";
        return Err(f.unsupported(KEY, found, hint));
    }
    let by_rule: Vec<bool> = (0..blocks).map(|b| rule.has(b)).collect();
    let Some(types) = f.get("layer_types") else {
        return Ok(Windows {
            blocks: by_rule,
            length: window,
        });
    };
    let kind = |v: &Value| match v.as_str() {
        Some("full_attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    };
    let list: Option<Vec<bool>> = types.as_array().and_then(|a| a.iter().map(kind).collect());
    let Some(list) = list else {
        return Err(f.unsupported("layer_types", show(types), ""));
    };
    if list.len() != blocks as usize {
        return Err(f.wrong("layer_types", types, &format!("a list of {blocks}")));
    }
    let free = matches!(rule, Windowing::From { .. } | Windowing::Pattern { .. });
    if !free && list != by_rule && (window.is_some() || list.contains(&true)) {
        return Err(f.unsupported("layer_types", show(types), ""));
    }
    Ok(Windows {
        blocks: list,
        length: window,
    })
}
