//! Keys of an architecture in GGUF metadata: read, harmless, neutral at some values, or refused by name.

use super::At;
use super::keys::PATTERN;
use crate::source::SourceError;
use carat_gguf::Value;

/// Keys that are read.
const READ: &[&str] = &[
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
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
];

/// Keys that say nothing about the arithmetic, and why.
const HARMLESS: &[(&str, &str)] = &[
    (
        "attention.layer_norm_epsilon",
        "of norms that subtract a mean, which no architecture here has",
    ),
    (
        "rope.scaling.finetuned",
        "tells how the model was trained; the scaling itself is read",
    ),
    (
        "tensor_data_layout",
        "a note of the program that wrote the file; the architecture tells the order of rows",
    ),
    ("vocab_size", "the embedding has so many rows"),
];

/// Beginnings of keys of experts, and others about them: without experts they say nothing.
const OF_EXPERTS: &[&str] = &[
    "expert_",
    "interleave_moe_layer_step",
    "leading_dense_block_count",
    "moe_every_n_layers",
];
const EXPERTS: &str = "expert_count";

/// Keys that change the arithmetic unless they have one of these values.
const NEUTRAL: &[(&str, &[f64])] = &[
    ("attention.causal", &[1.0]),
    ("attention.output_scale", &[0.0, 1.0]),
    // 0 is absence in the next three.
    ("embedding_scale", &[0.0, 1.0]),
    ("logit_scale", &[0.0, 1.0]),
    ("residual_scale", &[0.0, 1.0]),
];

impl At<'_, '_> {
    /// Refuses every key of the architecture that may change the arithmetic and is not read.
    pub fn refuse_unknown_keys(&self) -> Result<(), SourceError> {
        let prefix = self.name("");
        let experts = self.size_opt(EXPERTS)?.unwrap_or(0);
        for (key, value) in self.header.metadata() {
            let unsupported = |hint| SourceError::Unsupported {
                path: self.path(),
                field: (*key).into(),
                found: show(value),
                hint,
            };
            if key.starts_with("prism.hadamard.") {
                return Err(unsupported(
                    "; its activations are rotated between matrices, give the checkpoint that it was made from",
                ));
            }
            let Some(part) = key.strip_prefix(prefix.as_str()) else {
                continue;
            };
            let of_experts = OF_EXPERTS.iter().any(|start| part.starts_with(start));
            let harmless = HARMLESS.iter().any(|(key, _)| *key == part);
            if READ.contains(&part) || harmless || (of_experts && experts == 0) {
                continue;
            }
            if of_experts {
                return Err(unsupported("; models without experts are"));
            }
            if let Some((_, neutral)) = NEUTRAL.iter().find(|(key, _)| *key == part) {
                let found = number(value);
                if found.is_some_and(|x| neutral.contains(&x)) {
                    continue;
                }
                return Err(unsupported(match part {
                    "attention.causal" => "; models in which a token sees those before it are",
                    _ => "; 1 is",
                }));
            }
            if !is_off(value) {
                return Err(SourceError::UnknownField {
                    path: self.path(),
                    field: (*key).into(),
                    found: show(value),
                });
            }
        }
        Ok(())
    }
}

/// The number, or the boolean as 0 or 1.
pub(super) fn number(value: &Value<'_>) -> Option<f64> {
    let flag = value.as_bool().map(|b| f64::from(u8::from(b)));
    value.to_float().or(flag)
}

/// Whether an unknown key's value says "off": zero biases, a switch that is not set, a list of nothing.
fn is_off(value: &Value<'_>) -> bool {
    match value {
        Value::Str(s) => s.is_empty(),
        Value::Array(list) => list.iter().all(|v| number(&v) == Some(0.0)),
        other => number(other) == Some(0.0),
    }
}

/// A value in an error, cut short.
pub(super) fn show(value: &Value<'_>) -> String {
    let text = match value {
        Value::Str(s) => format!("{:?}", s.chars().take(80).collect::<String>()),
        Value::Bool(b) => b.to_string(),
        Value::Array(list) => {
            let first: Vec<String> = list
                .iter()
                .take(8)
                .map(|v| match v.to_float() {
                    Some(x) => x.to_string(),
                    None => format!("{v:?}"),
                })
                .collect();
            let more = if list.len() > 8 { ", …" } else { "" };
            format!("[{}{more}]", first.join(", "))
        }
        other => match (other.as_int(), other.as_float()) {
            (Some(n), _) => n.to_string(),
            (_, Some(x)) => x.to_string(),
            _ => format!("{other:?}"),
        },
    };
    text.chars().take(120).collect()
}
