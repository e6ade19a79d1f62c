//! Hugging Face directories: weights, indexes, configurations, tokenizers.

use crate::{ONE, check, refused};
use carat_tests::facet;
use carat_tests::hostile::{End, disturb, mutate, odd};
use carat_tests::rng::Rng;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// A llama of one block that uses the bundled tokenizer.
fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 4096,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": true, "attention_bias": false, "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 0, "eos_token_id": [1],
    })
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    // The bytes of a small positive bf16, and of an f32 of the same two halves.
    file.extend([0x20, 0x3c].into_iter().cycle().take(data));
    file
}

/// Header and bytes of the data of that model's weights.
fn weights() -> (Map<String, Value>, usize) {
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let tensors = [
        ("model.embed_tokens.weight".into(), vec![4096, 32]),
        ("model.norm.weight".into(), vec![32]),
        (layer("input_layernorm"), vec![32]),
        (layer("self_attn.q_proj"), vec![32, 32]),
        (layer("self_attn.k_proj"), vec![16, 32]),
        (layer("self_attn.v_proj"), vec![16, 32]),
        (layer("self_attn.o_proj"), vec![32, 32]),
        (layer("post_attention_layernorm"), vec![32]),
        (layer("mlp.gate_proj"), vec![32, 32]),
        (layer("mlp.up_proj"), vec![32, 32]),
        (layer("mlp.down_proj"), vec![32, 32]),
    ];
    let (mut header, mut at) = (Map::new(), 0);
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    (header, at)
}

/// Writes the whole checkpoint.
fn checkpoint(directory: &Path) {
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let from = facet::directory().join(name);
        if from.exists() {
            fs::copy(from, directory.join(name)).unwrap();
        }
    }
    fs::write(directory.join("config.json"), config().to_string()).unwrap();
    fs::write(directory.join("generation_config.json"), "{}").unwrap();
    let (header, data) = weights();
    let file = safetensors(&Value::Object(header).to_string(), data);
    fs::write(directory.join("model.safetensors"), file).unwrap();
}

#[test]
fn lying_safetensors() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    checkpoint(at);
    assert_eq!(check(at, true, "whole"), End::Read);
    let path = at.join("model.safetensors");
    let (header, data) = weights();
    let whole = Value::Object(header.clone()).to_string();
    let norm = "model.norm.weight";
    let with = |field: &str, value: Value| {
        let mut header = header.clone();
        header[norm][field] = value;
        Value::Object(header).to_string()
    };
    let lies = [
        ("overlap", with("data_offsets", json!([0, 64]))),
        ("backwards", with("data_offsets", json!([64, 0]))),
        ("negative", with("data_offsets", json!([-64, 0]))),
        (
            "huge",
            with("data_offsets", json!([u64::MAX - 64, u64::MAX])),
        ),
        ("fraction", with("data_offsets", json!([0.5, 64.5]))),
        ("three offsets", with("data_offsets", json!([0, 64, 64]))),
        ("product", with("shape", json!([1_u64 << 40, 1_u64 << 40]))),
        ("no shape", with("shape", json!([]))),
        ("zero", with("shape", json!([0]))),
        ("unknown type", with("dtype", json!("F5"))),
        ("type of another size", with("dtype", json!("F64"))),
        ("no object", "[]".into()),
        ("no JSON", "{\"a\"".into()),
        ("nothing", String::new()),
        ("deep", "[".repeat(100_000)),
        (
            "twice",
            whole.replacen('{', &format!("{{\"{norm}\":{},", header[norm]), 1),
        ),
    ];
    for (what, header) in lies {
        fs::write(&path, safetensors(&header, data)).unwrap();
        // A name that is there twice may be taken once: then the last counts.
        match check(at, false, what) {
            End::Refused(error) => assert!(error.contains("model.safetensors"), "{what}: {error}"),
            End::Read => assert_eq!(what, "twice"),
        }
    }
    let file = safetensors(&whole, data);
    for length in [u64::MAX, 1 << 62, 100_000_001, data as u64 * 2, 7] {
        let mut file = file.clone();
        file[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(&path, file).unwrap();
        assert!(refused(at, "length").contains("model.safetensors"));
    }
    let mut rng = Rng(13);
    for i in 0..1500 {
        let mut file = file.clone();
        if i % 4 == 0 {
            file.truncate(rng.below(file.len() as u64) as usize);
        } else {
            mutate(&mut file, 0..8 + whole.len(), &mut rng);
        }
        fs::write(&path, file).unwrap();
        check(at, i % 100 == 1, &format!("safetensors {i}"));
    }
}

#[test]
fn lying_indexes() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    checkpoint(at);
    let shard = "model-00001-of-00001.safetensors";
    fs::rename(at.join("model.safetensors"), at.join(shard)).unwrap();
    let index = at.join("model.safetensors.index.json");
    let (header, _) = weights();
    let map: Map<String, Value> = header.keys().map(|k| (k.clone(), shard.into())).collect();
    let whole = json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(&index, whole.to_string()).unwrap();
    assert_eq!(check(at, false, "whole"), End::Read);
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/b",
        "C:\\x",
        "a\\..\\b",
        "model.safetensors.index.json",
        "config.json",
        "none.safetensors",
        "a\0b",
    ] {
        let mut lie = whole.clone();
        lie["weight_map"]["model.norm.weight"] = name.into();
        fs::write(&index, lie.to_string()).unwrap();
        let error = refused(at, name);
        assert!(!error.contains("root:"), "{error}");
    }
    fs::create_dir(at.join("folder.safetensors")).unwrap();
    let mut lie = whole.clone();
    lie["weight_map"]["model.norm.weight"] = "folder.safetensors".into();
    fs::write(&index, lie.to_string()).unwrap();
    refused(at, "a folder");
    let mut rng = Rng(14);
    for i in 0..500 {
        let mut lie = whole.clone();
        disturb(&mut lie, &mut rng);
        fs::write(&index, lie.to_string()).unwrap();
        check(at, false, &format!("index {i}"));
    }
}

/// Documents instead of the one at `name`, each of them driven.
fn documents(at: &Path, name: &str, whole: &Value, times: usize, rng: &mut Rng) {
    let path = at.join(name);
    let text = whole.to_string();
    for (what, bytes) in [
        ("deep list", "[".repeat(200_000)),
        ("deep object", "{\"a\":".repeat(200_000)),
        ("infinite", "{\"hidden_size\": 1e999}".into()),
        ("no number", "{\"rms_norm_eps\": NaN}".into()),
        ("nothing", String::new()),
        ("a text", "\"text\"".into()),
    ] {
        fs::write(&path, bytes).unwrap();
        check(at, false, &format!("{name}: {what}"));
    }
    fs::write(&path, b"{\"a\": \"\xff\"}").unwrap();
    check(at, false, &format!("{name}: not UTF-8"));
    for key in whole.as_object().into_iter().flat_map(Map::keys) {
        for _ in 0..12 {
            let mut lie = whole.clone();
            lie[key] = odd(rng);
            fs::write(&path, lie.to_string()).unwrap();
            check(at, false, &format!("{name}: {key} = {}", lie[key]));
        }
    }
    for i in 0..times {
        let mut bytes = text.clone().into_bytes();
        match i % 4 {
            0 => bytes.truncate(rng.below(bytes.len() as u64) as usize),
            1 => {
                let all = 0..bytes.len();
                mutate(&mut bytes, all, rng);
            }
            _ => {
                let mut lie = whole.clone();
                disturb(&mut lie, rng);
                bytes = lie.to_string().into_bytes();
            }
        }
        fs::write(&path, bytes).unwrap();
        check(at, i % 50 == 2, &format!("{name} {i}"));
    }
    fs::write(&path, text).unwrap();
}

#[test]
fn damaged_configurations() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    checkpoint(at);
    let mut rng = Rng(15);
    documents(at, "config.json", &config(), 600, &mut rng);
    let generation = json!({
        "eos_token_id": [1, 2], "bos_token_id": 0, "temperature": 0.7, "top_k": 40, "top_p": 0.9,
        "min_p": 0.1, "repetition_penalty": 1.1, "do_sample": true,
    });
    documents(at, "generation_config.json", &generation, 200, &mut rng);
    let settings = json!({
        "add_bos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "</s>",
        "chat_template": [{"name": "default", "template": "{{ messages }}"}],
        "added_tokens_decoder": {"0": {"content": "<s>", "special": true}},
    });
    documents(at, "tokenizer_config.json", &settings, 200, &mut rng);
    assert_eq!(check(at, false, "whole again"), End::Read);
}

#[test]
fn damaged_tokenizers() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    checkpoint(at);
    let text = fs::read(at.join("tokenizer.json")).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    documents(at, "tokenizer.json", &whole, 300, &mut Rng(16));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    checkpoint(at);
    for name in ["config.json", "model.safetensors", "generation_config.json"] {
        let path = at.join(name);
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        if !made.is_ok_and(|s| s.success()) {
            eprintln!("ABSENT: mkfifo; this check did not run");
            return;
        }
        // Nobody ever writes to it.
        let error = refused(at, name);
        assert!(error.contains(name), "{error}");
        fs::remove_file(&path).unwrap();
        checkpoint(at);
    }
}
