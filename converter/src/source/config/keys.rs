//! Keys of a configuration that are not read by name: harmless, neutral, or refused.

use super::fields::{Fields, show};
use crate::source::SourceError;
use crate::source::architecture::{Architecture, Presence, Windows};
use serde_json::Value;

/// Keys that are read here, or that say nothing about the arithmetic of a forward pass.
const HARMLESS: &[&str] = &[
    "architectures",
    "attention_dropout",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "hidden_size",
    "id2label",
    "initializer_range",
    "intermediate_size",
    "is_decoder",
    "is_llama_config",
    "label2id",
    "layer_types",
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
    "original_max_position_embeddings",
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
    "sliding_window",
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
    "use_sliding_window",
    "vocab_size",
];
/// Beginnings and ends of further such keys.
const HARMLESS_START: &[&str] = &["_", "unsloth"];
const HARMLESS_END: &[&str] = &["_token_id", "_token_ids", "_dropout"];

/// Keys that change the arithmetic unless they have one of these values, or are null or absent.
fn is_neutral(key: &str, value: &Value) -> Option<bool> {
    let number = |n: f64| value.as_f64() == Some(n);
    Some(match key {
        "partial_rotary_factor"
        | "embedding_multiplier"
        | "logits_scaling"
        | "logit_scale"
        | "residual_multiplier"
        | "full_attn_mod"
        | "interpolate_factor" => number(1.0),
        "num_experts" | "num_local_experts" => number(0.0) || number(1.0),
        _ => return None,
    })
}

/// Whether an unknown key's value says "off".
pub fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(_) | Value::Bool(true) => false,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
    }
}

/// Keys that only some architectures read.
fn is_read(architecture: &Architecture, key: &str) -> bool {
    match key {
        "partial_rotary_factor" => architecture.partial_rotation,
        "rope_local_base_freq" => architecture.defaults.local_rope_base.is_some(),
        "query_pre_attn_scalar" => architecture.query_scale.is_some(),
        "attn_logit_softcapping" | "final_logit_softcapping" => architecture.softcaps.is_some(),
        "sliding_window_pattern" => matches!(architecture.windows, Windows::Pattern { .. }),
        _ => [
            architecture.attention_bias,
            architecture.attention_output_bias,
            architecture.feed_forward_bias,
        ]
        .iter()
        .any(|p| matches!(p, Presence::Key(name) if *name == key)),
    }
}

/// Refuses every key that may change the arithmetic and is not read.
pub fn refuse_unknown(f: &Fields<'_>, architecture: &Architecture) -> Result<(), SourceError> {
    for (key, value) in f.map {
        let harmless = HARMLESS.contains(&key.as_str())
            || HARMLESS_START.iter().any(|s| key.starts_with(s))
            || HARMLESS_END.iter().any(|s| key.ends_with(s))
            || is_read(architecture, key);
        if harmless || is_off(value) || key == super::quantization::KEY {
            continue;
        }
        // Switches that are on are known to change something.
        let switched = value == &Value::Bool(true) && is_switch(key);
        match is_neutral(key, value) {
            Some(true) => {}
            None if !switched => return Err(f.unknown(key, value)),
            _ => return Err(f.unsupported(key, show(value), "")),
        }
    }
    Ok(())
}

fn is_switch(key: &str) -> bool {
    matches!(
        key,
        "attention_bias" | "mlp_bias" | "rope_interleaved" | "use_qk_norm" | "qkv_bias"
    )
}
