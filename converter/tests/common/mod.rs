//! Shared by the tests: oracles outside the repository, and checkpoints made up on the spot.
#![allow(dead_code, clippy::unwrap_used)] // Each test binary uses its part.

pub mod gguf;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A file of the oracles beside the repository; says so loudly where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let full = root().parent().unwrap().join("shared").join(path);
    if full.exists() {
        return Some(full);
    }
    eprintln!("ABSENT: ../shared/{path}; this check did not run");
    None
}

/// The bundled checkpoint.
pub fn facet() -> PathBuf {
    root().join("examples/models/facet-6m")
}

/// A deterministic stream of values in -1..1.
pub fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / 8_388_608.0) - 1.0
    }
}

/// FNV-1a of 64 bits over the bytes of the values, in hexadecimal, as the scripts of the fixtures write it.
pub fn fnv(values: &[f32]) -> String {
    let hash = values
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// Hyper-parameters of the made-up checkpoint.
pub fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 20,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false, "attention_bias": false, "torch_dtype": "float32",
        "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": [2, 3],
    })
}

/// Names and shapes of its tensors.
pub fn tensors() -> Vec<(String, Vec<usize>)> {
    let (d, f, q, kv, v) = (16, 24, 32, 16, 20);
    let mut list = vec![
        ("model.embed_tokens.weight".to_string(), vec![v, d]),
        ("model.norm.weight".into(), vec![d]),
        ("lm_head.weight".into(), vec![v, d]),
    ];
    for b in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![d]),
            ("self_attn.q_proj", vec![q, d]),
            ("self_attn.k_proj", vec![kv, d]),
            ("self_attn.v_proj", vec![kv, d]),
            ("self_attn.o_proj", vec![d, q]),
            ("post_attention_layernorm", vec![d]),
            ("mlp.gate_proj", vec![f, d]),
            ("mlp.up_proj", vec![f, d]),
            ("mlp.down_proj", vec![d, f]),
        ] {
            list.push((format!("model.layers.{b}.{name}.weight"), shape));
        }
    }
    list
}

/// A safetensors file of those tensors in f32, each filled with noise seeded by its name.
pub fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let mut next = noise(name.bytes().map(u64::from).sum());
        let start = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            data.extend(next().to_le_bytes());
        }
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &data,
    ]
    .concat()
}

/// Writes a checkpoint with this configuration and these tensors.
pub fn checkpoint(config: &Value, tensors: &[(String, Vec<usize>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), safetensors(tensors)).unwrap();
    dir
}

/// The made-up checkpoint has 20 rows of embedding; a vocabulary of its own makes it whole.
pub fn copy_tokenizer(dir: &Path) {
    let vocab: serde_json::Map<String, Value> = (0..19u32)
        .map(|i| {
            (
                char::from_u32(u32::from('a') + i).unwrap().to_string(),
                i.into(),
            )
        })
        .chain([("ab".into(), 19.into())])
        .collect();
    let tokenizer = std::fs::read_to_string(facet().join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["model"]["vocab"] = vocab.into();
    tokenizer["model"]["merges"] = json!([["a", "b"]]);
    tokenizer["added_tokens"] = json!([]);
    tokenizer["post_processor"] = Value::Null;
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}
