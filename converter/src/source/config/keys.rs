//! Keys of a configuration that are not read by name: harmless, neutral, or refused.

use super::fields::{Fields, show};
use crate::source::SourceError;
use crate::source::architecture::{Architecture, Presence, Windowing};
use serde_json::Value;

/// Keys that say nothing about the arithmetic of a forward pass: why, and which.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "read by name elsewhere in this module or beside it",
        &[
            "head_dim",
            "hidden_act",
            "hidden_activation",
            "hidden_size",
            "intermediate_size",
            "layer_types",
            "max_position_embeddings",
            "max_window_layers",
            "model_type",
            "num_attention_heads",
            "num_hidden_layers",
            "num_key_value_heads",
            "original_max_position_embeddings",
            "rms_norm_eps",
            "rope_parameters",
            "rope_scaling",
            "rope_theta",
            "sliding_window",
            "tie_word_embeddings",
            "use_sliding_window",
            "vocab_size",
        ],
    ),
    (
        "names, versions, licences: who made the model and of what",
        &[
            "architectures",
            "author",
            "authors",
            "auto_map",
            "base_model",
            "base_model_name",
            "base_model_name_or_path",
            "commit_hash",
            "datasets",
            "description",
            "finetuning_task",
            "is_llama_config",
            "language",
            "languages",
            "library_name",
            "license",
            "license_link",
            "license_name",
            "license_url",
            "model_name",
            "name",
            "name_or_path",
            "organization",
            "pipeline_tag",
            "repo_id",
            "tags",
            "transformers_version",
            "version",
        ],
    ),
    (
        "the type of the file's or the program's floats; each tensor says its own",
        &[
            "bf16",
            "dtype",
            "fp16",
            "fp32",
            "params_dtype",
            "torch_dtype",
            "use_bfloat16",
        ],
    ),
    (
        "of training: how weights begin, what is dropped, what is added to the loss",
        &[
            "alpha_z_loss",
            "attn_pdrop",
            "aux_loss_alpha",
            "aux_loss_coef",
            "classifier_dropout",
            "dropout",
            "embd_pdrop",
            "embedding_init_std",
            "gradient_checkpointing",
            "gradient_checkpointing_use_reentrant",
            "init_cutoff_factor",
            "init_device",
            "init_fn",
            "init_method",
            "init_method_std",
            "init_std",
            "initializer_factor",
            "initializer_range",
            "label_smoothing",
            "label_smoothing_factor",
            "layer_dropout",
            "layerdrop",
            "lm_loss_weight",
            "loss_type",
            "neftune_noise_alpha",
            "num_tokens_trained",
            "output_init_std",
            "recompute",
            "rescale_prenorm_residual",
            "resid_pdrop",
            "router_aux_loss_coef",
            "router_jitter_noise",
            "router_z_loss_coef",
            "seq_aux",
            "softmax_auxiliary_loss",
            "training_tokens",
            "use_aux_loss",
            "use_gradient_checkpointing",
            "use_z_loss",
            "z_loss",
            "z_loss_coef",
            "z_loss_coefficient",
            "z_loss_factor",
            "z_loss_weight",
        ],
    ),
    (
        "which program computes the same function, and how its memory is laid out",
        &[
            "attention_implementation",
            "attn_impl",
            "attn_implementation",
            "cache_implementation",
            "chunk_size_feed_forward",
            "experts_implementation",
            "flash_attention",
            "flash_attn",
            "flash_attn_2_enabled",
            "fuse_cross_entropy",
            "fuse_linear_cross_entropy",
            "fuse_norm",
            "fused_linear_cross_entropy",
            "fused_mlp",
            "fused_norm",
            "fused_rms_norm",
            "fused_rope",
            "fused_swiglu",
            "pad_vocab_size_multiple_of",
            "pretraining_tp",
            "sdpa",
            "tensor_parallel_size",
            "torchscript",
            "transformers.js_config",
            "use_cache",
            "use_cache_quantization",
            "use_flash_attention",
            "use_flash_attention_2",
            "use_flash_attn",
            "use_flash_rms_norm",
            "use_fused_mlp",
            "use_fused_rms_norm",
            "use_fused_rope",
            "use_kernels",
            "use_liger",
            "use_liger_kernel",
            "use_memory_efficient_attention",
            "use_sdpa",
            "use_xformers",
        ],
    ),
    (
        "what a call returns beside the logits",
        &[
            "keys_to_ignore_at_inference",
            "output_attentions",
            "output_hidden_states",
            "output_router_logits",
            "output_scores",
            "return_dict",
            "return_dict_in_generate",
            "tie_last_hidden_states",
            "use_return_dict",
        ],
    ),
    (
        "how tokens are chosen: read from generation_config.json, or left to the user",
        &[
            "bad_words_ids",
            "begin_suppress_tokens",
            "diversity_penalty",
            "do_sample",
            "early_stopping",
            "encoder_no_repeat_ngram_size",
            "exponential_decay_length_penalty",
            "force_words_ids",
            "guidance_scale",
            "length_penalty",
            "max_length",
            "max_new_tokens",
            "min_length",
            "min_new_tokens",
            "min_p",
            "no_repeat_ngram_size",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "penalty_alpha",
            "prefix",
            "remove_invalid_values",
            "renormalize_logits",
            "repetition_penalty",
            "suppress_tokens",
            "task_specific_params",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
            "watermarking_config",
        ],
    ),
    (
        "of other models' heads: classes, pairs of an encoder and a decoder",
        &[
            "cross_attention_hidden_size",
            "decoder_start_token",
            "id2label",
            "is_decoder",
            "label2id",
            "num_labels",
            "problem_type",
            "summary_activation",
            "summary_first_dropout",
            "summary_proj_to_labels",
            "summary_type",
            "summary_use_proj",
            "tie_encoder_decoder",
        ],
    ),
    (
        "of the tokenizer, which has files of its own, and lengths to which texts were cut",
        &[
            "bos_token",
            "eos_token",
            "max_seq_len",
            "max_seq_length",
            "max_sequence_length",
            "model_max_length",
            "pad_token",
            "padding_side",
            "seq_length",
            "tokenizer_class",
            "tokenizer_type",
            "unk_token",
            "vocab_type",
        ],
    ),
];
/// Beginnings and ends of further such keys.
const HARMLESS_START: &[(&str, &str)] = &[
    ("_", "of the program's own objects; it is not read back"),
    ("unsloth", "notes of a program for training"),
];
const HARMLESS_END: &[(&str, &str)] = &[
    ("_token_id", "of the tokenizer, and which tokens end a text"),
    ("_token_ids", "the same, in a list"),
    ("_dropout", "of training"),
    ("_dropout_prob", "of training"),
];
/// Keys about experts: without experts they say nothing.
const OF_EXPERTS: &[&str] = &[
    "decoder_sparse_step",
    "first_k_dense_replace",
    "mlp_only_layers",
    "moe_intermediate_size",
    "moe_layer_freq",
    "n_group",
    "n_shared_experts",
    "norm_topk_prob",
    "num_experts_per_tok",
    "num_experts_per_token",
    "num_shared_experts",
    "routed_scaling_factor",
    "scoring_func",
    "shared_expert_intermediate_size",
    "topk_group",
    "topk_method",
];
/// The number of experts, by the names that it has.
pub const EXPERTS: &[&str] = &["num_experts", "num_local_experts", "n_routed_experts"];

/// Keys that change the arithmetic unless they have one of these values, or are null or absent.
fn is_neutral(key: &str, value: &Value) -> Option<bool> {
    let number = |n: f64| value.as_f64() == Some(n);
    Some(match key {
        "partial_rotary_factor"
        | "embedding_multiplier"
        | "lm_head_multiplier"
        | "logits_scaling"
        | "logit_scale"
        | "residual_multiplier"
        | "full_attn_mod"
        | "interpolate_factor" => number(1.0),
        key if EXPERTS.contains(&key) => number(0.0) || number(1.0),
        // What the architectures here are; off is another model.
        "causal" | "is_causal" | "use_causal_mask" | "rope" | "use_rope" | "use_rotary"
        | "gated_mlp" | "glu_mlp" | "use_glu" | "use_swiglu" | "rms_norm" | "use_rms_norm"
        | "scale_attn_weights" => value == &Value::Bool(true),
        // The number of blocks of another kind, of which there are none.
        "num_nextn_predict_layers" | "num_mtp_layers" | "mtp_num_layers" => number(0.0),
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
        // Other programs' words for what the architecture is in any case.
        "attention_bias" | "qkv_bias" if architecture.attention_bias == Presence::Always => true,
        "qk_norm" | "use_qk_norm" => architecture.head_norm,
        "sliding_window_pattern" => matches!(architecture.windows, Windowing::Pattern { .. }),
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
    let experts = EXPERTS
        .iter()
        .any(|key| f.get(key).is_some_and(|v| !is_off(v) && !is_zero(v)));
    for (key, value) in f.map {
        let harmless = is_harmless(key)
            || (!experts && OF_EXPERTS.contains(&key.as_str()))
            || is_read(architecture, key);
        if harmless || value.is_null() || key == super::quantization::KEY {
            continue;
        }
        // Switches that are on are known to change something.
        let switched = value == &Value::Bool(true) && is_switch(key);
        match is_neutral(key, value) {
            Some(true) => {}
            None if is_off(value) => {}
            None if !switched => return Err(f.unknown(key, value)),
            _ => return Err(f.unsupported(key, show(value), "")),
        }
    }
    Ok(())
}

fn is_harmless(key: &str) -> bool {
    HARMLESS.iter().any(|(_, keys)| keys.contains(&key))
        || HARMLESS_START
            .iter()
            .any(|(start, _)| key.starts_with(start))
        || HARMLESS_END.iter().any(|(end, _)| key.ends_with(end))
}

fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn is_switch(key: &str) -> bool {
    matches!(
        key,
        "attention_bias"
            | "mlp_bias"
            | "rope_interleaved"
            | "use_qk_norm"
            | "qkv_bias"
            | "use_bidirectional_attention"
            | "is_encoder_decoder"
            | "add_cross_attention"
    )
}

/// That no key is in two lists, and each list has a reason.
#[cfg(test)]
pub fn check_lists() {
    let mut seen = std::collections::BTreeSet::new();
    for (why, keys) in HARMLESS {
        assert!(!why.is_empty() && keys.is_sorted(), "{why}");
        for key in *keys {
            assert!(seen.insert(*key), "{key} twice");
        }
    }
    for key in OF_EXPERTS.iter().chain(EXPERTS) {
        assert!(seen.insert(*key), "{key} twice");
    }
    for (part, why) in HARMLESS_START.iter().chain(HARMLESS_END) {
        assert!(!part.is_empty() && !why.is_empty());
    }
    for key in seen {
        let neutral = is_neutral(key, &Value::Null).is_some();
        assert_eq!(neutral, EXPERTS.contains(&key), "{key}");
        assert!(!is_switch(key), "{key}");
    }
}
