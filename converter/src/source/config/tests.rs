//! Whole configurations of current families: what they say beside the hyper-parameters does not stand in the way, and what
//! would change the arithmetic is refused by name.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use super::{Described, keys, read};
use crate::source::SourceError;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Keys and values as the family publishes them; LongRoPE's factors of Phi-4 are made up.
macro_rules! published {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("published/", $name, ".json")))),*]
    };
}

/// Of architectures that are read.
const KNOWN: [(&str, &str); 8] = published![
    "llama-3.2-1b-instruct",
    "smollm2-135m-instruct",
    "qwen2.5-0.5b-instruct",
    "qwen3-embedding-0.6b",
    "gemma-2-2b-it",
    "gemma-3-270m-it",
    "mistral-7b-instruct-v0.3",
    "phi-4-mini-instruct",
];
/// Of others.
const OTHERS: [(&str, &str); 4] = published![
    "smollm3-3b",
    "granite-3.3-2b-instruct",
    "olmo-1b-hf",
    "olmo-2-0425-1b-instruct",
];
/// The defaults of each configuration class of transformers 5.24, every key of it: `to_json_string(use_diff=False)`.
const CLASSES: &str = include_str!("published/transformers-5.json");

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

fn open(config: &Map<String, Value>) -> Result<Described, SourceError> {
    read(Path::new("config.json"), config)
}

fn with(config: &Map<String, Value>, key: &str, value: Value) -> Result<Described, SourceError> {
    let mut config = config.clone();
    config.insert(key.into(), value);
    open(&config)
}

fn known(name: &str) -> Map<String, Value> {
    object(KNOWN.iter().find(|k| k.0 == name).unwrap().1)
}

#[test]
fn published_configurations_are_read() {
    let shape = |name: &str| {
        let h = open(&known(name))
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .hyper;
        let windowed = h.blocks.iter().filter_map(|b| b.attention());
        let windowed = windowed.filter(|a| a.window.is_some()).count();
        let a = h.blocks[0].attention().unwrap();
        (a.head_dim, a.kv_heads, h.tied, h.context_length, windowed)
    };
    for (name, expected) in [
        ("llama-3.2-1b-instruct", (64, 8, true, 131_072, 0)),
        ("smollm2-135m-instruct", (64, 3, true, 8192, 0)),
        ("qwen2.5-0.5b-instruct", (64, 2, true, 32_768, 0)),
        ("qwen3-embedding-0.6b", (128, 8, true, 32_768, 0)),
        ("gemma-2-2b-it", (256, 4, true, 8192, 13)),
        ("gemma-3-270m-it", (256, 1, true, 32_768, 15)),
        ("mistral-7b-instruct-v0.3", (128, 8, false, 32_768, 0)),
        // Up to the context of its first training.
        ("phi-4-mini-instruct", (128, 8, true, 4096, 0)),
    ] {
        assert_eq!(shape(name), expected, "{name}");
    }
}

#[test]
fn families_that_are_not_read_are_named() {
    for (name, text) in OTHERS {
        let config = object(text);
        let error = open(&config).map(|_| ()).unwrap_err();
        let kind = config["model_type"].as_str().unwrap();
        assert!(
            matches!(&error, SourceError::Architecture { found, .. } if found == kind),
            "{name}: {error}"
        );
    }
}

#[test]
fn every_key_of_the_classes_is_known() {
    let classes = object(CLASSES);
    assert_eq!(classes.len(), 8);
    for (kind, config) in classes {
        let config = config.as_object().unwrap();
        open(config)
            .map(|_| ())
            .unwrap_or_else(|e| panic!("{kind}: {e}"));
    }
}

/// What people's files have beside those keys.
#[test]
fn keys_that_do_not_touch_the_arithmetic_are_passed_over() {
    for (name, text) in KNOWN {
        let config = object(text);
        let plain = open(&config).unwrap().hyper;
        for (key, value) in [
            ("attn_implementation", json!("flash_attention_2")),
            ("_attn_implementation_autoset", json!(true)),
            ("use_flash_attn", json!(true)),
            ("license", json!("apache-2.0")),
            ("tags", json!(["chat"])),
            ("z_loss", json!(1e-4)),
            ("z_loss_coef", json!(1e-4)),
            ("router_aux_loss_coef", json!(0.001)),
            ("output_router_logits", json!(true)),
            ("num_experts_per_tok", json!(2)),
            ("num_experts", json!(0)),
            ("hidden_dropout", json!(0.1)),
            ("hidden_dropout_prob", json!(0.1)),
            ("classifier_dropout", json!(0.1)),
            ("initializer_range", json!(0.5)),
            ("neftune_noise_alpha", json!(5)),
            ("gradient_checkpointing", json!(true)),
            ("torch_dtype", json!("float16")),
            ("dtype", json!("float32")),
            ("use_cache", json!(false)),
            ("num_labels", json!(3)),
            ("max_length", json!(20)),
            ("temperature", json!(0.6)),
            ("image_token_id", json!(7)),
            ("unsloth_version", json!("2025.1")),
            ("is_causal", json!(true)),
            ("logits_scaling", json!(1.0)),
            ("num_nextn_predict_layers", json!(0)),
            ("surprise", json!(false)),
            ("surprise", json!({})),
        ] {
            let found = with(&config, key, value.clone());
            let found = found.unwrap_or_else(|e| panic!("{name}: {key}: {e}"));
            assert_eq!(found.hyper, plain, "{name}: {key} = {value}");
        }
    }
}

#[test]
fn keys_that_change_the_arithmetic_are_refused_by_name() {
    for (name, text) in KNOWN {
        let config = object(text);
        for (key, value) in [
            ("is_causal", json!(false)),
            ("use_bidirectional_attention", json!(true)),
            ("use_rope", json!(false)),
            ("use_rms_norm", json!(false)),
            ("is_encoder_decoder", json!(true)),
            ("embedding_multiplier", json!(12.0)),
            ("residual_multiplier", json!(0.22)),
            ("attention_multiplier", json!(0.0156)),
            ("logits_scaling", json!(8.0)),
            ("num_experts", json!(8)),
            ("num_local_experts", json!(8)),
            ("no_rope_layers", json!([1, 1, 1, 0])),
            ("clip_qkv", json!(8.0)),
            ("per_layer_config", json!({"0": {"hidden_size": 8}})),
            ("pruned_heads", json!({"0": [1]})),
            ("num_nextn_predict_layers", json!(1)),
            ("quantization", json!({"group_size": 64, "bits": 4})),
            ("surprise", json!(3)),
            ("surprise", json!("on")),
            ("surprise", json!(true)),
        ] {
            let error = with(&config, key, value.clone()).map(|_| ());
            let error = error.expect_err(&format!("{name}: {key} = {value}"));
            assert!(error.to_string().contains(key), "{name}: {error}");
        }
    }
    // What a mixture of experts has says something where there are some.
    let mut config = known("qwen3-embedding-0.6b");
    config.insert("num_experts".into(), json!(1));
    assert!(with(&config, "num_experts_per_tok", json!(2)).is_err());
}

#[test]
fn every_key_is_in_one_list_with_its_reason() {
    keys::check_lists();
}
