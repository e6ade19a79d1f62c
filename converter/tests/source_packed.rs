//! Quantized matrices of safetensors: every weight equals the one of the library that packs them; a tensor that is
//! missing, of another type or shape is named; damage ends in an error or in values.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, SourceError};
use carat_format::{Part, Tensor};
use common::fnv;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Written by tests/scripts/packed_golden.py.
const GOLDEN: &str = include_str!("data/packed.json");
/// The matrix that is quantized, of shape `[hidden, intermediate]`.
const STEM: &str = "model.layers.0.mlp.down_proj";
const MATRIX: Tensor = Tensor::Block(0, Part::FfnDown);

#[derive(Clone, serde::Deserialize)]
struct Stored {
    dtype: String,
    shape: Vec<usize>,
    /// In hexadecimal.
    data: String,
}

#[derive(Clone, serde::Deserialize)]
struct Case {
    name: String,
    config: Value,
    shape: [usize; 2],
    /// By the end of the name.
    tensors: BTreeMap<String, Stored>,
    /// FNV-1a over the bytes of each row's values, in hexadecimal.
    rows: Vec<String>,
}

type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

impl Case {
    /// The tensors of the matrix under this stem.
    fn matrix(&self, stem: &str) -> Tensors {
        self.tensors
            .iter()
            .map(|(end, t)| {
                let bytes = (0..t.data.len()).step_by(2);
                let bytes = bytes.map(|i| u8::from_str_radix(&t.data[i..i + 2], 16).unwrap());
                let tensor = (t.dtype.clone(), t.shape.clone(), bytes.collect());
                (format!("{stem}{end}"), tensor)
            })
            .collect()
    }

    /// The configuration of a llama of one block with the matrix.
    fn model_config(&self) -> Value {
        let mut config = common::config();
        config["hidden_size"] = self.shape[0].into();
        config["intermediate_size"] = self.shape[1].into();
        config["num_hidden_layers"] = 1.into();
        config["quantization_config"] = self.config.clone();
        config
    }

    /// Its tensors.
    fn model(&self) -> Tensors {
        let [d, f] = self.shape;
        let mut tensors = self.matrix(STEM);
        for (name, shape) in [
            ("model.embed_tokens", vec![20, d]),
            ("model.norm", vec![d]),
            ("lm_head", vec![20, d]),
            ("model.layers.0.input_layernorm", vec![d]),
            ("model.layers.0.self_attn.q_proj", vec![32, d]),
            ("model.layers.0.self_attn.k_proj", vec![16, d]),
            ("model.layers.0.self_attn.v_proj", vec![16, d]),
            ("model.layers.0.self_attn.o_proj", vec![d, 32]),
            ("model.layers.0.post_attention_layernorm", vec![d]),
            ("model.layers.0.mlp.gate_proj", vec![f, d]),
            ("model.layers.0.mlp.up_proj", vec![f, d]),
        ] {
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            tensors.insert(format!("{name}.weight"), ("F32".into(), shape, bytes));
        }
        tensors
    }

    fn expected(&self, row: usize) -> &str {
        &self.rows[row]
    }
}

fn golden() -> Vec<Case> {
    serde_json::from_str(GOLDEN).unwrap()
}

fn case(name: &str) -> Case {
    let found = golden().into_iter().find(|c| c.name.starts_with(name));
    found.unwrap()
}

/// The bytes of a file of these tensors.
fn safetensors<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a (String, Vec<usize>, Vec<u8>))>,
) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let start = data.len();
        data.extend(bytes);
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

fn write(dir: &Path, config: &Value, tensors: &Tensors) {
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("model.safetensors"), safetensors(tensors.iter())).unwrap();
}

/// Opens a checkpoint of these tensors.
fn open(config: &Value, tensors: &Tensors) -> Result<Checkpoint, SourceError> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), config, tensors);
    Checkpoint::open(dir.path())
}

/// All weights of the matrix.
fn weights(config: &Value, tensors: &Tensors) -> Result<Vec<f32>, SourceError> {
    let (c, mut out) = (open(config, tensors)?, Vec::new());
    c.read_rows(MATRIX, 0..c.hyper().shape(MATRIX).0, &mut out)?;
    Ok(out)
}

/// Compares every row, alone and among others.
fn compare(c: &Checkpoint, case: &Case) {
    let [rows, cols] = case.shape;
    let (mut all, mut some) = (Vec::new(), Vec::new());
    c.read_rows(MATRIX, 0..rows as u64, &mut all).unwrap();
    assert_eq!(all.len(), rows * cols);
    for (r, row) in all.chunks(cols).enumerate() {
        assert_eq!(fnv(row), case.expected(r), "{}, row {r}", case.name);
    }
    for start in 0..rows {
        for len in [0, 1, 2, 7, 13] {
            let end = rows.min(start + len);
            c.read_rows(MATRIX, start as u64..end as u64, &mut some)
                .unwrap();
            assert!(some == all[start * cols..end * cols], "{}", case.name);
        }
    }
}

#[test]
fn every_weight_is_that_of_the_library() {
    let golden = golden();
    assert_eq!(golden.len(), 35);
    for case in &golden {
        let c = open(&case.model_config(), &case.model());
        let c = c.unwrap_or_else(|e| panic!("{}: {e}", case.name));
        compare(&c, case);
        assert!(c.encoding(MATRIX).is_none());
        assert_ne!(c.type_name(MATRIX).unwrap(), "F32", "{}", case.name);
    }
}

#[test]
fn tensors_of_a_matrix_in_several_files() {
    for case in golden() {
        let dir = tempfile::tempdir().unwrap();
        let (tensors, mut map) = (case.model(), serde_json::Map::new());
        for part in 0..3 {
            let file = format!("part{part}.safetensors");
            let of = tensors.iter().enumerate().filter(|(i, _)| i % 3 == part);
            let of: Vec<_> = of.map(|(_, t)| t).collect();
            map.extend(of.iter().map(|(n, _)| ((*n).clone(), json!(file))));
            fs::write(dir.path().join(file), safetensors(of.into_iter())).unwrap();
        }
        let index = json!({"weight_map": map}).to_string();
        fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let config = case.model_config().to_string();
        fs::write(dir.path().join("config.json"), config).unwrap();
        compare(&Checkpoint::open(dir.path()).unwrap(), &case);
    }
}

/// Queries, keys and values in one matrix.
#[test]
fn fused_matrices_are_ranges_of_rows() {
    for case in golden() {
        let [rows, hidden] = case.shape;
        if rows != 40 {
            continue;
        }
        let mut config = common::config();
        for (key, value) in [
            ("model_type", json!("phi3")),
            ("hidden_size", hidden.into()),
            ("num_hidden_layers", 1.into()),
            ("num_attention_heads", 2.into()),
            ("num_key_value_heads", 1.into()),
            ("head_dim", 10.into()),
            ("pad_token_id", 0.into()),
            ("quantization_config", case.config.clone()),
        ] {
            config[key] = value;
        }
        let mut tensors = case.matrix("model.layers.0.self_attn.qkv_proj");
        for (name, shape) in [
            ("model.embed_tokens", vec![20, hidden]),
            ("model.norm", vec![hidden]),
            ("lm_head", vec![20, hidden]),
            ("model.layers.0.input_layernorm", vec![hidden]),
            ("model.layers.0.self_attn.o_proj", vec![hidden, 20]),
            ("model.layers.0.post_attention_layernorm", vec![hidden]),
            ("model.layers.0.mlp.gate_up_proj", vec![48, hidden]),
            ("model.layers.0.mlp.down_proj", vec![hidden, 24]),
        ] {
            let bytes = vec![0; 4 * shape.iter().product::<usize>()];
            tensors.insert(format!("{name}.weight"), ("F32".into(), shape, bytes));
        }
        let c = open(&config, &tensors).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let mut out = Vec::new();
        for (tensor, first, n) in [
            (Part::AttnQ.of(0), 0, 20),
            (Part::AttnK.of(0), 20, 10),
            (Part::AttnV.of(0), 30, 10),
        ] {
            for r in 0..n {
                c.read_rows(tensor, r as u64..r as u64 + 1, &mut out)
                    .unwrap();
                assert_eq!(fnv(&out), case.expected(first + r), "{}", case.name);
            }
        }
    }
}

/// Tensors that may be absent or of any kind.
fn is_optional(end: &str) -> bool {
    ["_idx", ".input_scale", ".activation_scale", ".bias"]
        .iter()
        .any(|o| end.ends_with(o))
}

#[test]
fn a_missing_tensor_is_named() {
    for case in golden() {
        for end in case.tensors.keys() {
            let name = format!("{STEM}{end}");
            let mut tensors = case.model();
            tensors.remove(&name);
            match open(&case.model_config(), &tensors) {
                Ok(c) => {
                    assert!(is_optional(end), "{}: {end}", case.name);
                    // The order is part of the weights, but in a file where it says nothing.
                    if !end.ends_with("g_idx") {
                        compare(&c, &case);
                    }
                }
                Err(SourceError::MissingBeside { tensor, beside, .. }) => {
                    assert_eq!(tensor, name);
                    assert!(case.tensors.contains_key(&beside[STEM.len()..]));
                }
                // Without its codes, it is no quantized matrix.
                Err(SourceError::MissingTensor { tensor, .. }) => {
                    assert_eq!(tensor, format!("{STEM}.weight"), "{}", case.name);
                }
                Err(other) => panic!("{}: {end}: {other}", case.name),
            }
        }
    }
}

#[test]
fn another_type_or_shape_is_named() {
    for case in golden() {
        for (end, stored) in &case.tensors {
            if is_optional(end) && !end.ends_with("g_idx") {
                continue;
            }
            let name = format!("{STEM}{end}");
            let mut tensors = case.model();
            let (dtype, shape, data) = tensors.get_mut(&name).unwrap();
            // Of the same size, so that the file is right.
            match data.len() % 16 {
                0 => (*dtype, *shape) = ("C64".into(), vec![data.len() / 8]),
                _ => (*dtype, *shape) = ("BOOL".into(), vec![data.len()]),
            }
            let error = open(&case.model_config(), &tensors).unwrap_err();
            match error {
                SourceError::Type { tensor, .. } | SourceError::Shape { tensor, .. } => {
                    assert_eq!(tensor, name);
                }
                other => panic!("{}: {end}: {other}", case.name),
            }
            for more in [vec![1], stored.shape.clone()] {
                let mut tensors = case.model();
                let (_, shape, data) = tensors.get_mut(&name).unwrap();
                // A row more, and another dimension.
                match more.as_slice() {
                    [1] => shape.push(1),
                    _ => match shape.first_mut() {
                        Some(rows) => {
                            data.extend(vec![0; data.len() / *rows]);
                            *rows += 1;
                        }
                        None => continue,
                    },
                }
                match open(&case.model_config(), &tensors) {
                    Err(SourceError::Shape {
                        tensor,
                        expected,
                        found,
                        ..
                    }) => {
                        assert_eq!(tensor, name);
                        assert_ne!(expected, found);
                    }
                    // A dimension of 1 says nothing of a number.
                    Ok(_) if stored.shape.len() < 2 && more == [1] => {}
                    other => panic!("{}: {end}: {other:?}", case.name),
                }
            }
        }
    }
}

#[test]
fn a_cut_file_is_refused() {
    let case = case("awq");
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &case.model_config(), &case.model());
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err();
    assert!(matches!(error, SourceError::Length { .. }), "{error}");
}

#[test]
fn a_group_that_is_not_there_is_named() {
    for (name, end, found) in [
        ("gptq of 4 bits, 40x64", ".g_idx", 4i32),
        ("gptq of 4 bits, 24x96", ".g_idx", -2),
        ("pack-quantized by", ".weight_g_idx", 1 << 30),
    ] {
        let case = case(name);
        let mut tensors = case.model();
        let (.., data) = tensors.get_mut(&format!("{STEM}{end}")).unwrap();
        data[4 * 5..4 * 6].copy_from_slice(&found.to_le_bytes());
        match open(&case.model_config(), &tensors).unwrap_err() {
            SourceError::Element {
                index, found: f, ..
            } => {
                assert_eq!((index, f), (5, i64::from(found)));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let case = case("fp8 f32");
    let mut tensors = case.model();
    let (.., data) = tensors.get_mut(&format!("{STEM}.weight")).unwrap();
    data[88 * 3 + 7] = 0x7f;
    match weights(&case.model_config(), &tensors).unwrap_err() {
        SourceError::NotFinite { tensor, index, .. } => {
            assert_eq!((tensor, index), (format!("{STEM}.weight"), 88 * 3 + 7));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_bias_that_is_not_zero_is_refused() {
    let case = case("gptq of 4 bits");
    let mut tensors = case.model();
    let (.., data) = tensors.get_mut(&format!("{STEM}.bias")).unwrap();
    data[1] = 0x3c;
    match open(&case.model_config(), &tensors).unwrap_err() {
        SourceError::UnknownTensor { tensor, .. } => assert_eq!(tensor, format!("{STEM}.bias")),
        other => panic!("{other}"),
    }
}

/// Scales of the cache say nothing about weights, in a checkpoint that says how it is quantized.
#[test]
fn scales_of_the_cache_are_passed_over() {
    let case = case("float-quantized channel");
    let (mut config, mut tensors) = (case.model_config(), case.model());
    for name in ["k_scale", "v_scale", "k_proj.output_scale"] {
        let name = format!("model.layers.0.self_attn.{name}");
        tensors.insert(name, ("F32".into(), vec![1], vec![0; 4]));
    }
    // An output's scale goes with a matrix that is quantized.
    let output = "model.layers.0.self_attn.k_proj.output_scale";
    match open(&config, &tensors).unwrap_err() {
        SourceError::UnknownTensor { tensor, .. } => assert_eq!(tensor, output),
        other => panic!("{other}"),
    }
    let scale = tensors.remove(output).unwrap();
    compare(&open(&config, &tensors).unwrap(), &case);
    tensors.insert(format!("{STEM}.output_scale"), scale);
    compare(&open(&config, &tensors).unwrap(), &case);
    config["quantization_config"] = json!({});
    assert!(open(&config, &tensors).is_err());
}

/// Matrices that the configuration leaves out are as they are.
#[test]
fn matrices_that_are_not_quantized_lie_beside() {
    for name in ["fp8 f32", "float-quantized", "awq"] {
        let case = case(name);
        let mut tensors = case.model();
        let ones = [1f32.to_le_bytes()].concat();
        let (.., data) = tensors
            .get_mut("model.layers.0.self_attn.o_proj.weight")
            .unwrap();
        data[..4].copy_from_slice(&ones);
        let (c, mut out) = (open(&case.model_config(), &tensors).unwrap(), Vec::new());
        c.read_rows(Part::AttnOutput.of(0), 0..1, &mut out).unwrap();
        assert_eq!(out[..2], [1.0, 0.0]);
    }
}

#[test]
fn what_is_not_read_is_named_with_what_is() {
    let change = |name: &str, path: &str, value: Value| {
        let mut case = case(name);
        *case.config.pointer_mut(path).unwrap() = value;
        let error = open(&case.model_config(), &case.model()).unwrap_err();
        assert!(
            matches!(error, SourceError::Unsupported { .. }),
            "{name}, {path}: {error}"
        );
        error.to_string()
    };
    let message = change("awq", "/quant_method", json!("bitsandbytes"));
    for method in [
        "fp8",
        "compressed-tensors",
        "mxfp4",
        "gptq",
        "awq",
        "config.json",
    ] {
        assert!(message.contains(method), "{message}");
    }
    change("awq", "/version", json!("gemv"));
    change("awq", "/bits", json!(3));
    change("awq", "/zero_point", json!(false));
    change("gptq of", "/bits", json!(3));
    change("gptq of", "/checkpoint_format", json!("marlin"));
    change("gptq of", "/dynamic", json!({"+:.*down.*": {"bits": 8}}));
    change("pack-", "/format", json!("marlin-24"));
    let weights = "/config_groups/group_0/weights";
    change("pack-", &format!("{weights}/num_bits"), json!(3));
    change("pack-", &format!("{weights}/strategy"), json!("token"));
    change("mxfp4-pack", &format!("{weights}/group_size"), json!(16));
    // Groups of matrices that are quantized in two ways.
    let mut other = case("pack-");
    let mut group = other.config["config_groups"]["group_0"].clone();
    group["weights"]["num_bits"] = 8.into();
    other.config["config_groups"]["group_1"] = group;
    let error = open(&other.model_config(), &other.model()).unwrap_err();
    assert!(matches!(error, SourceError::Unsupported { .. }), "{error}");
    for (name, key, value) in [
        ("gptq of", "rotation", json!("hadamard")),
        (
            "pack-",
            "transform_config",
            json!({"config_groups": {"R4": {}}}),
        ),
        (
            "pack-",
            "sparsity_config",
            json!({"format": "sparse-24-bitmask"}),
        ),
    ] {
        let mut case = case(name);
        let path = match key {
            "sparsity_config" => "quantization_config.sparsity_config.format".into(),
            key => format!("quantization_config.{key}"),
        };
        case.config[key] = value;
        match open(&case.model_config(), &case.model()).unwrap_err() {
            SourceError::Unsupported { field, .. } => assert_eq!(field, path),
            other => panic!("{other}"),
        }
    }
    // Packed matrices of which no configuration says how.
    for name in ["gptq of", "awq", "pack-", "mxfp4"] {
        let case = case(name);
        let mut config = case.model_config();
        config["quantization_config"] = Value::Null;
        match open(&config, &case.model()).unwrap_err() {
            SourceError::Missing { field, .. } => assert_eq!(field, "quantization_config"),
            other => panic!("{other}"),
        }
    }
    // FP8 of which no configuration says how it is scaled.
    let case = case("fp8 f32");
    let mut config = case.model_config();
    config["quantization_config"] = Value::Null;
    let error = open(&config, &case.model()).unwrap_err();
    assert!(matches!(error, SourceError::Type { .. }), "{error}");
}

#[test]
fn configurations_without_sense_are_refused() {
    for (name, path, value) in [
        ("gptq of", "/bits", json!("four")),
        ("gptq of", "/group_size", json!(0)),
        ("awq", "/group_size", json!(-7)),
        ("fp8 f32", "/weight_block_size", json!([128])),
        ("fp8 f32", "/weight_block_size", json!([0, 128])),
        ("pack-", "/config_groups", json!({})),
        ("pack-", "/config_groups", json!({"a": 5})),
        ("pack-", "/config_groups/group_0/weights", Value::Null),
        (
            "pack-",
            "/config_groups/group_0/weights/group_size",
            Value::Null,
        ),
        ("pack-", "/format", Value::Null),
    ] {
        let mut case = case(name);
        *case.config.pointer_mut(path).unwrap() = value;
        let error = open(&case.model_config(), &case.model()).unwrap_err();
        assert!(
            matches!(
                error,
                SourceError::Value { .. } | SourceError::Missing { .. }
            ),
            "{name}, {path}: {error}"
        );
    }
}

#[test]
fn random_bytes_are_values_or_an_error() {
    let mut next = common::noise(7);
    for case in golden() {
        for _ in 0..20 {
            let mut tensors = case.model();
            for (name, (.., data)) in &mut tensors {
                if name.starts_with(STEM) && !name.ends_with("_shape") && !name.ends_with("bias") {
                    data.iter_mut()
                        .for_each(|b| *b = (next() * 128.0) as i8 as u8);
                }
            }
            match weights(&case.model_config(), &tensors) {
                Ok(out) => assert!(out.iter().all(|x| x.is_finite())),
                Err(SourceError::NotFinite { .. } | SourceError::Element { .. }) => {}
                Err(other) => panic!("{}: {other}", case.name),
            }
        }
    }
}

/// A byte here and there of the configuration and of the header.
#[test]
fn damaged_checkpoints_are_values_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 5u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    let (mut read, mut refused) = (0, 0);
    for case in golden() {
        write(dir.path(), &case.model_config(), &case.model());
        let paths = ["config.json", "model.safetensors"].map(|n| dir.path().join(n));
        let whole = paths.clone().map(|p| fs::read(p).unwrap());
        for i in 0..60 {
            let mut bytes = whole[i % 2].clone();
            // The header is some two thousand bytes.
            let end = bytes.len().min(2500);
            for _ in 0..1 + below(3) {
                let at = below(end);
                // Digits become digits more often than not.
                bytes[at] = match bytes[at] {
                    b'0'..=b'9' if below(4) > 0 => b'0' + below(10) as u8,
                    _ => below(256) as u8,
                };
            }
            fs::write(&paths[i % 2], &bytes).unwrap();
            let out = Checkpoint::open(dir.path()).and_then(|c| {
                let mut out = Vec::new();
                c.read_rows(MATRIX, 0..c.hyper().shape(MATRIX).0, &mut out)
            });
            match out {
                Ok(()) => read += 1,
                Err(_) => refused += 1,
            }
            fs::write(&paths[i % 2], &whole[i % 2]).unwrap();
        }
    }
    assert!(read > 50 && refused > 1000, "{read} {refused}");
}
