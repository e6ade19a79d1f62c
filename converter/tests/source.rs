//! Hugging Face directories: rows come back; every way to be wrong has its own error.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, Kind, SourceError};
use carat_format::{Part, Tensor};
use common::{checkpoint, config, safetensors, tensors};
use serde_json::json;
use std::fs;

fn open_error(dir: &std::path::Path) -> SourceError {
    match Checkpoint::open(dir) {
        Ok(_) => panic!("{} was accepted", dir.display()),
        Err(e) => e,
    }
}

/// The error of the made-up checkpoint with one more key, or another value of a key.
fn with_key(key: &str, value: serde_json::Value) -> Result<(), SourceError> {
    let mut c = config();
    c[key] = value;
    Checkpoint::open(checkpoint(&c, &tensors()).path()).map(|_| ())
}

#[test]
fn the_bundled_checkpoint() {
    let c = Checkpoint::open(common::facet()).unwrap();
    let h = c.hyper();
    let a = h.blocks[0].attention().unwrap();
    let width = h.blocks[0].gated().unwrap().width;
    assert_eq!((c.kind(), c.name()), (Kind::HuggingFace, Some("facet-6m")));
    assert_eq!(
        (h.embedding_length, h.block_count(), a.heads, a.kv_heads),
        (256, 6, 8, 4)
    );
    assert_eq!(
        (a.head_dim, width, h.vocab_size, h.tied),
        (32, 768, 4096, true)
    );
    assert_eq!(h.rope_tables[0].len(), 16);
    assert_eq!(h.weights(), 5_770_496);
    assert_eq!(c.type_name(Tensor::TokenEmbedding).unwrap(), "BF16");
    assert_eq!(c.generation().eos_token_ids, [1]);
    assert_eq!(c.generation().top_p, Some(0.95));
    for t in h.tensors() {
        let (rows, cols) = h.shape(t);
        let (mut all, mut some) = (Vec::new(), Vec::new());
        c.read_rows(t, 0..rows, &mut all).unwrap();
        assert_eq!(all.len() as u64, rows * cols);
        c.read_rows(t, rows / 2..rows, &mut some).unwrap();
        assert_eq!(some, all[(rows / 2 * cols) as usize..]);
    }
}

#[test]
fn shards_are_found_and_rows_come_back() {
    let dir = checkpoint(&config(), &tensors());
    let whole = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(whole.generation().eos_token_ids, [2, 3]);
    let sharded = tempfile::tempdir().unwrap();
    fs::write(sharded.path().join("config.json"), config().to_string()).unwrap();
    let list = tensors();
    let (a, b) = list.split_at(7);
    let mut map = serde_json::Map::new();
    for (file, part) in [("a.safetensors", a), ("b.safetensors", b)] {
        fs::write(sharded.path().join(file), safetensors(part)).unwrap();
        map.extend(part.iter().map(|(name, _)| (name.clone(), json!(file))));
    }
    let index = sharded.path().join("model.safetensors.index.json");
    fs::write(
        &index,
        json!({"metadata": {}, "weight_map": map}).to_string(),
    )
    .unwrap();
    let parts = Checkpoint::open(sharded.path()).unwrap();
    assert_eq!(parts.hyper(), whole.hyper());
    for t in whole.hyper().tensors() {
        let (rows, _) = whole.hyper().shape(t);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        whole.read_rows(t, 0..rows, &mut x).unwrap();
        parts.read_rows(t, 0..rows, &mut y).unwrap();
        assert_eq!(x, y, "{t:?}");
    }

    for bad in [
        "../../etc/passwd",
        "/etc/passwd",
        "sub/b.safetensors",
        "..",
        ".",
        "",
        "c:\\x",
        "a\\b",
    ] {
        map.insert("model.norm.weight".into(), json!(bad));
        fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
        let error = open_error(sharded.path());
        assert!(
            matches!(error, SourceError::ShardName { .. }),
            "{bad}: {error}"
        );
        assert!(error.to_string().contains("model.norm.weight"), "{error}");
    }
    map.insert("model.norm.weight".into(), json!("b.safetensors"));
    fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    assert!(matches!(
        open_error(sharded.path()),
        SourceError::ShardTensor { .. }
    ));
    map.insert("model.norm.weight".into(), json!("c.safetensors"));
    fs::write(&index, json!({"weight_map": map}).to_string()).unwrap();
    let error = open_error(sharded.path());
    assert!(matches!(error, SourceError::MissingShard { .. }), "{error}");
    let says = "is the download complete?";
    assert!(error.to_string().contains(says), "{error}");
    for (index_json, missing) in [
        ("{}", true),
        ("{\"weight_map\": 3}", false),
        ("{\"weight_map\": {\"a\": 3}}", false),
    ] {
        fs::write(&index, index_json).unwrap();
        match open_error(sharded.path()) {
            SourceError::Missing { .. } => assert!(missing),
            SourceError::Value { .. } => assert!(!missing),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_changes_the_arithmetic_is_refused_by_name() {
    type Matcher = fn(&SourceError) -> bool;
    let unsupported: Matcher = |e| matches!(e, SourceError::Unsupported { .. });
    let unknown: Matcher = |e| matches!(e, SourceError::UnknownField { .. });
    let value: Matcher = |e| matches!(e, SourceError::Value { .. });
    for (key, v, is) in [
        ("attention_bias", json!(3), value),
        ("qkv_bias", json!(true), unsupported),
        ("hidden_act", json!("gelu"), unsupported),
        ("sliding_window", json!(32), unsupported),
        ("quantization_config", json!({"bits": 4}), unsupported),
        ("logits_scaling", json!(8.0), unsupported),
        ("partial_rotary_factor", json!(0.5), unsupported),
        ("rope_interleaved", json!(true), unsupported),
        (
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
            unsupported,
        ),
        (
            "rope_scaling",
            json!({"type": "magic", "factor": 4.0}),
            unsupported,
        ),
        (
            "rope_scaling",
            json!({"type": "linear", "factor": 4.0, "surprise": 2}),
            unknown,
        ),
        (
            "rope_parameters",
            json!({"full_attention": {"rope_theta": 1e4}}),
            unknown,
        ),
        ("final_logit_softcapping", json!(30.0), unknown),
        ("hidden_size", json!(-1), value),
        ("hidden_size", json!("16"), value),
        ("hidden_size", json!(1e30), value),
        ("hidden_size", json!(16.5), value),
        ("vocab_size", json!(5_000_000), value),
        ("num_hidden_layers", json!(100_000), value),
        ("head_dim", json!(7), value),
        ("head_dim", json!(512), value),
        ("num_key_value_heads", json!(3), value),
        ("num_attention_heads", json!(4_294_967_295u32), value),
        ("rms_norm_eps", json!(-1.0), value),
        ("rope_theta", json!(0), value),
        ("tie_word_embeddings", json!("yes"), value),
    ] {
        let error = with_key(key, v.clone()).expect_err(&format!("{key} = {v} was accepted"));
        assert!(is(&error), "{key} = {v}: {error:?}");
        assert!(error.to_string().contains("config.json"), "{error}");
    }
    let error = with_key("model_type", json!("gpt2"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("gpt2") && error.contains("llama") && error.contains("mistral"),
        "{error}"
    );
    for (key, v) in [
        ("sliding_window", json!(64)),
        ("sliding_window", json!(null)),
        ("surprise", json!(false)),
        ("hidden_size", json!(16.0)),
        ("rope_scaling", json!({"type": "linear", "factor": 4.0})),
        (
            "rope_parameters",
            json!({"rope_type": "default", "rope_theta": 5e5}),
        ),
        ("partial_rotary_factor", json!(1.0)),
        ("_name_or_path", json!("x")),
        ("pad_token_id", json!(7)),
    ] {
        with_key(key, v).unwrap_or_else(|e| panic!("{key}: {e}"));
    }
}

#[test]
fn old_and_new_rope_keys_agree() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    });
    let (mut old, mut new) = (config(), config());
    old["rope_theta"] = json!(5e5);
    old["rope_scaling"] = llama3.clone();
    new.as_object_mut().unwrap().remove("rope_theta");
    new["rope_parameters"] = llama3;
    new["rope_parameters"]["rope_theta"] = json!(5e5);
    let (old, new) = (checkpoint(&old, &tensors()), checkpoint(&new, &tensors()));
    let (old, new) = (
        Checkpoint::open(old.path()).unwrap(),
        Checkpoint::open(new.path()).unwrap(),
    );
    assert_eq!(old.hyper(), new.hyper());
    let plain = checkpoint(&config(), &tensors());
    let plain = Checkpoint::open(plain.path()).unwrap();
    assert_ne!(old.hyper().rope_tables[0], plain.hyper().rope_tables[0]);
}

#[test]
fn windows_and_biases_follow_the_configuration() {
    let mut c = config();
    let windows = |c: &serde_json::Value| -> Vec<Option<u32>> {
        let checkpoint = Checkpoint::open(checkpoint(c, &tensors()).path()).unwrap();
        let blocks = checkpoint.hyper().blocks.iter();
        blocks.map(|b| b.attention().unwrap().window).collect()
    };
    c["model_type"] = json!("mistral");
    c["sliding_window"] = json!(null);
    assert_eq!(windows(&c), [None, None]);
    c["sliding_window"] = json!(16);
    assert_eq!(windows(&c), [Some(16), Some(16)]);
    // Where the key is absent the window is 4096.
    c.as_object_mut().unwrap().remove("sliding_window");
    assert_eq!(windows(&c), [None, None]);
    c["max_position_embeddings"] = json!(8192);
    assert_eq!(windows(&c), [Some(4096), Some(4096)]);
    for key in ["attention_bias", "mlp_bias"] {
        let error = with_key(key, json!(true)).unwrap_err();
        assert!(
            matches!(&error, SourceError::MissingTensor { tensor, .. } if tensor.ends_with("_proj.bias")),
            "{error}"
        );
    }
}

/// Packed ternary weights, two bits each, four rows a byte row.
#[test]
fn packed_ternary_weights_are_unpacked() {
    let mut c = config();
    let dir = checkpoint(&c, &tensors());
    let file = dir.path().join("model.safetensors");
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut put = |name: String, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        let start = data.len();
        data.extend(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    };
    for (name, shape) in tensors() {
        let n: usize = shape.iter().product();
        if name.ends_with("_proj.weight") {
            let bytes = (0..n / 4)
                .map(|i| [0b10_01_00_10, 0b00_10_01_01][i % 2])
                .collect();
            put(name.clone(), "U8", &[shape[0] / 4, shape[1]], bytes);
            put(
                format!("{name}_scale"),
                "F32",
                &[1],
                0.5f32.to_le_bytes().to_vec(),
            );
        } else {
            let ones = (0..n).flat_map(|_| 1f32.to_le_bytes()).collect();
            put(name, "F32", &shape, ones);
        }
    }
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(&file, [&length[..], header.as_bytes(), &data].concat()).unwrap();
    for (class, scale) in [("autobitlinear", 0.5f32), ("bitlinear", 2.0)] {
        c["quantization_config"] = json!({"quant_method": "bitnet", "linear_class": class, "quantization_mode": "offline"});
        fs::write(dir.path().join("config.json"), c.to_string()).unwrap();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let mut out = Vec::new();
        // Rows 0, 8, 16 and 24 of 32 lie in byte row 0.
        for (row, codes) in [
            (0, [1.0, 0.0]),
            (8, [-1.0, 0.0]),
            (16, [0.0, 1.0]),
            (24, [1.0, -1.0]),
        ] {
            checkpoint
                .read_rows(Part::AttnQ.of(1), row..row + 1, &mut out)
                .unwrap();
            assert_eq!(out[..2], codes.map(|x: f32| x * scale), "row {row}");
        }
    }
    c["quantization_config"]["quantization_mode"] = json!("online");
    fs::write(dir.path().join("config.json"), c.to_string()).unwrap();
    assert!(open_error(dir.path()).to_string().contains("online"));
    c["quantization_config"] = json!(null);
    fs::write(dir.path().join("config.json"), c.to_string()).unwrap();
    assert!(matches!(open_error(dir.path()), SourceError::Shape { .. }));
}

#[test]
fn tensors_are_checked_against_the_model() {
    type Tensors = Vec<(String, Vec<usize>)>;
    let with = |change: &dyn Fn(&mut Tensors)| {
        let mut list = tensors();
        change(&mut list);
        open_error(checkpoint(&config(), &list).path())
    };
    let error = with(&|l| l.retain(|(n, _)| n != "model.norm.weight"));
    assert!(
        matches!(&error, SourceError::MissingTensor { tensor, .. } if tensor == "model.norm.weight")
    );
    let error = with(&|l| l[1].1 = vec![17]);
    assert!(
        matches!(&error, SourceError::Shape { expected, found, .. } if expected == &[16] && found == &[17])
    );
    for extra in [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_norm.weight",
    ] {
        let error = with(&|l| l.push((extra.into(), vec![16])));
        assert!(
            matches!(&error, SourceError::UnknownTensor { tensor, .. } if tensor == extra),
            "{error}"
        );
    }
    let mut list = tensors();
    list.push((
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        vec![4],
    ));
    Checkpoint::open(checkpoint(&config(), &list).path()).unwrap();
    let mut tied = config();
    tied["tie_word_embeddings"] = json!(true);
    list.retain(|(n, _)| n != "lm_head.weight");
    Checkpoint::open(checkpoint(&tied, &list).path()).unwrap();
}

#[test]
fn a_weight_that_is_not_finite_is_named() {
    let dir = checkpoint(&config(), &tensors());
    let file = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // Weight 37 of the first tensor.
    bytes[header + 37 * 4..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let c = Checkpoint::open(dir.path()).unwrap();
    let mut out = Vec::new();
    c.read_rows(Tensor::TokenEmbedding, 0..2, &mut out).unwrap();
    match c.read_rows(Tensor::TokenEmbedding, 2..4, &mut out) {
        Err(SourceError::NotFinite {
            tensor,
            index,
            found,
            ..
        }) => {
            assert_eq!((tensor.as_str(), index), ("model.embed_tokens.weight", 37));
            assert!(found.is_nan());
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        c.read_rows(Tensor::TokenEmbedding, 0..21, &mut out),
        Err(SourceError::Rows { .. })
    ));
    assert!(matches!(
        c.read_rows(Part::AttnQ.of(2), 0..1, &mut out),
        Err(SourceError::NoTensor { .. })
    ));
}

#[test]
fn damaged_safetensors_are_refused() {
    let dir = checkpoint(&config(), &tensors());
    let file = dir.path().join("model.safetensors");
    let good = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    for cut in (0..header).step_by(97).chain([good.len() - 1, header]) {
        fs::write(&file, &good[..cut]).unwrap();
        assert!(
            matches!(open_error(dir.path()), SourceError::Length { .. }),
            "cut at {cut}"
        );
    }
    fs::write(&file, [&good[..], &[0]].concat()).unwrap();
    assert!(matches!(open_error(dir.path()), SourceError::Length { .. }));
    fs::write(&file, [&u64::MAX.to_le_bytes()[..], &good[8..]].concat()).unwrap();
    assert!(matches!(
        open_error(dir.path()),
        SourceError::Safetensors { .. }
    ));
    // Any byte of the header may be anything: an error or a model, never a panic.
    let mut next = common::noise(7);
    for _ in 0..3000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            let at = ((next() + 1.0) / 2.0 * (header - 1) as f32) as usize;
            bad[at] = (next() * 127.0) as i8 as u8;
        }
        fs::write(&file, &bad).unwrap();
        let _ = Checkpoint::open(dir.path());
    }
}

#[test]
fn files_of_other_kinds_say_what_to_do() {
    let dir = checkpoint(&config(), &tensors());
    let error = open_error(&dir.path().join("model.safetensors"));
    assert!(
        matches!(&error, SourceError::BareSafetensors { directory, .. } if directory == dir.path())
    );
    assert!(matches!(
        open_error(&dir.path().join("nothing")),
        SourceError::NotFound { .. }
    ));
    assert!(matches!(
        open_error(&dir.path().join("config.json")),
        SourceError::NoModel { .. }
    ));
    let noise = dir.path().join("noise");
    fs::write(&noise, [0x80, 0xff, 0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    assert!(matches!(
        open_error(&noise),
        SourceError::UnknownKind { found, .. } if found.len() == 8
    ));
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert!(matches!(
        open_error(dir.path()),
        SourceError::NoWeights { .. }
    ));
    fs::write(dir.path().join("pytorch_model.bin"), b"PK").unwrap();
    assert!(matches!(open_error(dir.path()), SourceError::Pickle { .. }));
    fs::write(dir.path().join("config.json"), b"{").unwrap();
    assert!(matches!(open_error(dir.path()), SourceError::Json { .. }));
    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(matches!(
        open_error(dir.path()),
        SourceError::NoModel { .. }
    ));
}
