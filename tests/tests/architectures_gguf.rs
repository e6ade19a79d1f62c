//! The oracle's models as GGUF files by llama.cpp's conventions (its `conversion/*.py` and
//! `src/models/*.cpp`, gguf's `constants.py` and `tensor_mapping.py`), and Gemma 3 as a part of a larger
//! model, against the logits of Hugging Face transformers.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::reference::{Arithmetic, Reference, Run};
use carat_converter::source::Checkpoint;
use carat_gguf::{OwnedArray, OwnedValue, TensorType, Writer};
use carat_tests::architectures::{Model, model, safetensors};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A GGUF file of f32.
struct File {
    architecture: &'static str,
    keys: Vec<(&'static str, OwnedValue)>,
    /// Name, dimensions in ggml's order, elements.
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

fn u(n: u64) -> OwnedValue {
    OwnedValue::U32(n as u32)
}

fn f(x: f64) -> OwnedValue {
    OwnedValue::F32(x as f32)
}

fn s(text: &str) -> OwnedValue {
    OwnedValue::from(text.to_string())
}

/// gguf's name of a tensor.
fn ggml_name(name: &str, gemma: bool) -> String {
    let (stem, end) = name.rsplit_once('.').unwrap();
    let whole = match stem {
        "model.embed_tokens" => Some("token_embd"),
        "model.norm" => Some("output_norm"),
        "lm_head" => Some("output"),
        _ => None,
    };
    if let Some(whole) = whole {
        return format!("{whole}.{end}");
    }
    let rest = stem.strip_prefix("model.layers.").unwrap();
    let (block, part) = rest.split_once('.').unwrap();
    let part = match part {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.attn_sub_norm" => "attn_sub_norm",
        "post_attention_layernorm" if gemma => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        "mlp.ffn_sub_norm" => "ffn_sub_norm",
        other => panic!("{other}"),
    };
    format!("blk.{block}.{part}.{end}")
}

impl File {
    /// The keys and tensors that all architectures have.
    fn new(architecture: &'static str, model: &Model) -> Self {
        let c = |key: &str| model.config[key].as_u64().unwrap();
        let gemma = architecture.starts_with("gemma");
        let mut keys = vec![
            ("context_length", u(c("max_position_embeddings"))),
            ("embedding_length", u(c("hidden_size"))),
            ("block_count", u(c("num_hidden_layers"))),
            ("feed_forward_length", u(c("intermediate_size"))),
            ("attention.head_count", u(c("num_attention_heads"))),
            ("attention.head_count_kv", u(c("num_key_value_heads"))),
        ];
        let epsilon = model.config["rms_norm_eps"].as_f64().unwrap();
        keys.push(("attention.layer_norm_rms_epsilon", f(epsilon)));
        if let Some(dim) = model.config["head_dim"].as_u64() {
            keys.push(("attention.key_length", u(dim)));
            keys.push(("attention.value_length", u(dim)));
        }
        if let Some(base) = model.config["rope_theta"].as_f64() {
            keys.push(("rope.freq_base", f(base)));
        }
        let tensors = model.tensors.iter().map(|t| {
            let dims = t.shape.iter().rev().map(|d| *d as u64).collect();
            // Gemma's gains are stored as they are multiplied.
            let add = f32::from(gemma && t.name.ends_with("norm.weight"));
            let values = t.values().map(|x| x + add).collect();
            (ggml_name(&t.name, gemma), dims, values)
        });
        Self {
            architecture,
            keys,
            tensors: tensors.collect(),
        }
    }

    fn with(mut self, keys: impl IntoIterator<Item = (&'static str, OwnedValue)>) -> Self {
        for (key, value) in keys {
            self.keys.retain(|(k, _)| *k != key);
            self.keys.push((key, value));
        }
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(k, _)| *k != key);
        self
    }

    fn tensor(mut self, name: &str, values: Vec<f32>) -> Self {
        self.tensors
            .push((name.into(), vec![values.len() as u64], values));
        self
    }

    /// Multiplies the tensors of that kind.
    fn times(mut self, end: &str, factor: f64) -> Self {
        for (name, _, values) in &mut self.tensors {
            if name.ends_with(end) {
                values.iter_mut().for_each(|x| *x *= factor as f32);
            }
        }
        self
    }

    fn write(&self, path: &Path) {
        let mut w = Writer::new();
        w.kv("general.architecture", s(self.architecture)).unwrap();
        for (key, value) in &self.keys {
            let key = format!("{}.{key}", self.architecture);
            w.kv(key, value.clone()).unwrap();
        }
        for (name, dims, values) in &self.tensors {
            let bytes = values.len() as u64 * 4;
            w.tensor(name.clone(), dims, TensorType::F32, bytes)
                .unwrap();
        }
        let layout = w.finish().unwrap();
        let mut file = layout.header.clone();
        for (at, (_, _, values)) in layout.tensor_offsets.iter().zip(&self.tensors) {
            file.resize(*at as usize, 0);
            file.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        file.resize(layout.file_len as usize, 0);
        std::fs::write(path, file).unwrap();
    }

    /// As [`distance`].
    fn distance(&self, model: &Model) -> f64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        self.write(&path);
        distance(&path, model)
    }
}

/// Largest difference of the checkpoint's logits from the oracle over the root mean square of its logits.
fn distance(path: &Path, model: &Model) -> f64 {
    let checkpoint = match Checkpoint::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(e) => panic!("{e}"),
    };
    let reference = Reference::open(&checkpoint, 1 << 30)
        .unwrap()
        .arithmetic(Arithmetic::Reproducible);
    let ids = std::slice::from_ref(&model.ids);
    let (mut far, mut count) = (0f64, 0);
    let mut sink = |_: usize, at: usize, row: &[f32]| {
        for (id, z) in model.seen[at].iter().zip(&model.logits[at]) {
            far = far.max((f64::from(row[*id as usize]) - z).abs());
        }
        count += 1;
    };
    reference
        .forward(ids, 0, &mut Run::default(), &mut sink)
        .unwrap();
    assert_eq!(count, model.logits.len());
    far / model.rms
}

fn near(what: &str, distance: f64) {
    eprintln!("{what}: {distance:.1e} of rms");
    assert!(distance <= 1e-3, "{what}: {distance:.1e} of rms");
}

fn far(what: &str, distance: f64) {
    assert!(distance > 2e-3, "{what}: {distance:.1e} of rms");
}

#[test]
fn yarn() {
    near(
        "qwen3",
        File::new("qwen3", &model("qwen3")).distance(&model("qwen3")),
    );
    let m = model("qwen3-yarn");
    let file = || {
        File::new("qwen3", &m).with([
            ("rope.scaling.type", s("yarn")),
            ("rope.scaling.factor", f(4.0)),
            ("rope.scaling.original_context_length", u(64)),
        ])
    };
    near("yarn", file().distance(&m));
    let stated = [
        ("rope.scaling.yarn_ext_factor", f(1.0)),
        ("rope.scaling.yarn_beta_fast", f(32.0)),
        ("rope.scaling.yarn_beta_slow", f(1.0)),
        ("rope.scaling.yarn_attn_factor", f(0.1 * 4f64.ln() + 1.0)),
    ];
    near("yarn, all stated", file().with(stated).distance(&m));
    for (key, value) in [
        ("rope.scaling.factor", f(2.0)),
        ("rope.scaling.original_context_length", u(16)),
        ("rope.scaling.attn_factor", f(1.5)),
        ("rope.scaling.yarn_attn_factor", f(1.0)),
        ("rope.scaling.yarn_log_multiplier", f(1.0)),
        ("rope.scaling.yarn_beta_fast", f(4.0)),
    ] {
        far(key, file().with([(key, value)]).distance(&m));
    }
}

#[test]
fn phi3() {
    for name in ["phi3", "phi3-longrope", "phi3-longrope-whole"] {
        let m = model(name);
        let c = |key: &str| m.config[key].as_u64();
        let part = m.config["partial_rotary_factor"].as_f64().unwrap_or(1.0);
        let original = c("original_max_position_embeddings").unwrap();
        let mut file = File::new("phi3", &m).with([
            ("rope.scaling.original_context_length", u(original)),
            ("rope.dimension_count", u((part * 32.0) as u64)),
            // 0 where there is none.
            (
                "attention.sliding_window",
                u(c("sliding_window").unwrap_or(0)),
            ),
        ]);
        let scaling = &m.config["rope_scaling"];
        if scaling.is_object() {
            let factors =
                |key: &str| -> Vec<f32> { serde_json::from_value(scaling[key].clone()).unwrap() };
            let amplitude = (1.0 + 4f64.ln() / 64f64.ln()).sqrt();
            file = file
                .with([("rope.scaling.attn_factor", f(amplitude))])
                .tensor("rope_factors_long.weight", factors("long_factor"))
                .tensor("rope_factors_short.weight", factors("short_factor"));
            near(name, file.distance(&m));
            let file = file.with([("rope.scaling.attn_factor", f(1.0))]);
            far("attn_factor", file.distance(&m));
        } else {
            near(name, file.distance(&m));
            let window = ("attention.sliding_window", u(0));
            far("sliding_window", file.with([window]).distance(&m));
        }
    }
}

/// The file's attention is divided by the root of the head dimension, 32; the model's by that of 24.
const QUERIES: f64 = 1.154_700_538_379_251_5;

#[test]
fn gemma2() {
    let m = model("gemma2");
    let file = || {
        File::new("gemma2", &m)
            .with([
                ("attn_logit_softcapping", f(2.0)),
                ("final_logit_softcapping", f(3.0)),
                ("attention.sliding_window", u(8)),
            ])
            .times("attn_q.weight", QUERIES)
    };
    near("gemma2", file().distance(&m));
    for (key, value) in [
        ("attn_logit_softcapping", f(50.0)),
        ("final_logit_softcapping", f(30.0)),
        ("attention.sliding_window", u(4096)),
        ("attention.sliding_window_pattern", u(3)),
        ("rope.freq_base_swa", f(1e2)),
    ] {
        far(key, file().with([(key, value)]).distance(&m));
    }
    far(
        "no window",
        file().without("attention.sliding_window").distance(&m),
    );
}

#[test]
fn gemma3() {
    let m = model("gemma3");
    let file = || {
        File::new("gemma3", &m)
            .with([
                ("attention.sliding_window", u(8)),
                ("attention.sliding_window_pattern", u(2)),
                ("rope.scaling.type", s("linear")),
                ("rope.scaling.factor", f(8.0)),
            ])
            .times("attn_q_norm.weight", QUERIES)
    };
    near("gemma3", file().distance(&m));
    let pattern = |blocks: [bool; 3]| {
        let blocks = OwnedValue::Array(OwnedArray::Bool(blocks.into()));
        [("attention.sliding_window_pattern", blocks)]
    };
    let listed = file().with(pattern([true, false, true]));
    near("gemma3, blocks listed", listed.distance(&m));
    let listed = file().with(pattern([false, true, true]));
    far("other blocks", listed.distance(&m));
    for (key, value) in [
        ("rope.freq_base_swa", f(1e6)),
        ("rope.scaling.factor", f(1.0)),
        ("attention.sliding_window", u(16)),
    ] {
        far(key, file().with([(key, value)]).distance(&m));
    }

    let m = model("gemma3-new");
    let file = || {
        File::new("gemma3", &m)
            .with([
                ("rope.freq_base", f(1e6)),
                ("rope.freq_base_swa", f(1e4)),
                ("final_logit_softcapping", f(4.0)),
                ("attention.sliding_window", u(8)),
            ])
            .with(pattern([true, false, true]))
    };
    near("gemma3-new", file().distance(&m));
    let without = file().without("final_logit_softcapping");
    far("final_logit_softcapping", without.distance(&m));
}

#[test]
fn gemma3_without_a_window_has_one_kind_of_block() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    File::new("gemma3", &model("gemma3")).write(&path);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let hyper = checkpoint.hyper();
    assert_eq!(hyper.rope_tables.len(), 1);
    // The second pair turns by base^(-2/32).
    assert!((hyper.rope_tables[0][1] - 1e6f64.powf(-1.0 / 16.0)).abs() < 1e-9);
    assert!(
        hyper
            .blocks
            .iter()
            .all(|b| b.attention().is_some_and(|a| a.window.is_none()))
    );
}

#[test]
fn what_is_not_supported_is_named() {
    let short = OwnedValue::Array(OwnedArray::Bool(vec![true]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    for (key, value) in [
        ("attention.sliding_window_pattern", short),
        ("hidden_activation", s("tanh")),
        ("rope.scaling.yarn_ext_factor", f(0.5)),
    ] {
        let file = File::new("gemma3", &model("gemma3")).with([
            ("attention.sliding_window", u(8)),
            ("rope.scaling.type", s("yarn")),
            ("rope.scaling.factor", f(4.0)),
            (key, value),
        ]);
        file.write(&path);
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("gemma3.{key}")), "{error}");
    }
}

#[test]
fn bitnet() {
    let m = model("bitnet");
    let linear = [
        ("rope.scaling.type", s("linear")),
        ("rope.scaling.factor", f(1.0)),
    ];
    for architecture in ["bitnet-b1.58", "bitnet-25"] {
        near(architecture, File::new(architecture, &m).distance(&m));
    }
    // The first converter's files are of models with SiLU.
    let file = || File::new("bitnet", &m).with(linear.clone());
    far("bitnet", file().distance(&m));
    for key in HIDDEN_ACT {
        near(key, file().with([(*key, s("relu2"))]).distance(&m));
    }
    // A matrix over a scalar beside it.
    let mut scaled = File::new("bitnet-b1.58", &m);
    let names: Vec<String> = scaled.tensors.iter().map(|t| t.0.clone()).collect();
    for (i, name) in names.iter().enumerate() {
        let stem = name.strip_suffix(".weight").unwrap();
        if !stem.starts_with("blk.") || stem.ends_with("norm") {
            continue;
        }
        let scale = (i + 2) as f64;
        scaled = scaled
            .times(name, 1.0 / scale)
            .tensor(&format!("{stem}.scale"), vec![scale as f32]);
    }
    near("bitnet, scaled", scaled.distance(&m));
}

/// Renames the tensors of a safetensors file and adds one.
fn renamed(file: &[u8], name: impl Fn(&str) -> String, more: &str) -> Vec<u8> {
    let (length, rest) = file.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let (header, data) = rest.split_at(length);
    let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
    let mut header: Map<String, Value> = header.into_iter().map(|(k, v)| (name(&k), v)).collect();
    let end = [data.len(), data.len() + 4];
    header.insert(
        more.into(),
        json!({"dtype": "BF16", "shape": [2], "data_offsets": end}),
    );
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), data, &[0; 4]].concat()
}

#[test]
fn gemma3_in_a_larger_model() {
    for name in ["gemma3", "gemma3-new"] {
        let m = model(name);
        // Before transformers 4.52 and since.
        for (prefix, vision) in [
            ("language_model.model.", "vision_tower.x.weight"),
            ("model.language_model.", "model.vision_tower.x.weight"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            m.write(dir.path());
            let config = json!({
                "model_type": "gemma3",
                "architectures": ["Gemma3ForConditionalGeneration"],
                "mm_tokens_per_image": 256,
                "image_token_index": 262_144,
                "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152},
                "text_config": m.config,
            });
            let new = |old: &str| match old.strip_prefix("model.") {
                Some(rest) => format!("{prefix}{rest}"),
                None if prefix.starts_with("model.") => old.into(),
                None => format!("language_model.{old}"),
            };
            let file = renamed(&safetensors(&m.tensors), new, vision);
            std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
            std::fs::write(dir.path().join("model.safetensors"), file).unwrap();
            near(&format!("{name}, {prefix}"), distance(dir.path(), &m));
        }
    }
}

#[test]
fn a_backbone_alone() {
    let m = model("qwen2");
    let dir = tempfile::tempdir().unwrap();
    m.write(dir.path());
    let mut config = m.config.clone();
    config["architectures"] = json!(["Qwen2Model"]);
    let new = |old: &str| old.strip_prefix("model.").unwrap_or(old).into();
    let file = renamed(
        &safetensors(&m.tensors),
        new,
        "layers.0.self_attn.rotary_emb.inv_freq",
    );
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), file).unwrap();
    near("a backbone alone", distance(dir.path(), &m));
}

/// Keys with the name of the function of the gate.
const HIDDEN_ACT: &[&str] = &["hidden_act", "hidden_activation"];
