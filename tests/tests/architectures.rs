//! Every architecture in f32 against Hugging Face transformers: see `oracles/make_architectures.py`.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::reference::{Arithmetic, Reference, Run};
use carat_converter::source::Checkpoint;
use carat_tests::architectures::{Model, NAMES, model};
use serde_json::{Value, json};

/// Logits `[positions][vocab]` of the model's tokens.
fn logits(model: &Model) -> Vec<Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    model.write(dir.path());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let reference = Reference::open(&checkpoint, 1 << 30)
        .unwrap()
        .arithmetic(Arithmetic::Reproducible);
    let mut rows = Vec::new();
    let mut sink = |_: usize, _: usize, row: &[f32]| rows.push(row.to_vec());
    reference
        .forward(
            std::slice::from_ref(&model.ids),
            0,
            &mut Run::default(),
            &mut sink,
        )
        .unwrap();
    rows
}

/// Largest difference from the oracle over the root mean square of its logits.
fn distance(model: &Model) -> f64 {
    let found = logits(model);
    assert_eq!(found.len(), model.logits.len());
    let mut far = 0f64;
    for ((found, seen), expected) in found.iter().zip(&model.seen).zip(&model.logits) {
        for (id, z) in seen.iter().zip(expected) {
            far = far.max((f64::from(found[*id as usize]) - z).abs());
        }
    }
    far / model.rms
}

#[test]
fn every_architecture_gives_the_logits_of_transformers() {
    let mut far = Vec::new();
    for name in NAMES {
        let d = distance(&model(name));
        eprintln!("{name}: {d:.1e} of rms");
        if d.is_nan() || d > 1e-3 {
            far.push((name, d));
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn every_tensor_is_noticed() {
    for name in NAMES {
        let original = model(name);
        for i in 0..original.tensors.len() {
            // Every second architecture's matrices would only repeat the first's.
            if original.tensors[i].shape.len() > 1 && *name != "llama" && *name != "phi3" {
                continue;
            }
            let mut changed = original.clone();
            changed.tensors[i].most = changed.tensors[i].most / 2 + 1;
            let tensor = &original.tensors[i];
            let d = distance(&changed);
            assert!(
                d > 2e-3,
                "{name}: {} changes the logits by {d:.1e}",
                tensor.name
            );
        }
    }
}

#[test]
fn every_hyper_parameter_is_noticed() {
    let cases: &[(&str, &str, Value)] = &[
        ("llama", "/rope_scaling", Value::Null),
        ("llama", "/rope_scaling/factor", json!(2.0)),
        ("llama", "/rope_scaling/low_freq_factor", json!(0.5)),
        ("llama", "/rope_theta", json!(1e4)),
        ("llama", "/hidden_act", json!("relu2")),
        ("llama-linear", "/rope_scaling/factor", json!(2.0)),
        ("mistral", "/sliding_window", json!(9)),
        ("mistral", "/sliding_window", Value::Null),
        ("qwen2", "/sliding_window", json!(13)),
        ("qwen2", "/use_sliding_window", json!(false)),
        ("qwen2", "/max_window_layers", json!(2)),
        ("qwen3-yarn", "/rope_scaling/factor", json!(2.0)),
        ("qwen3-yarn", "/rope_scaling/attention_factor", json!(1.0)),
        ("qwen3-yarn", "/rope_scaling/beta_fast", json!(4.0)),
        ("phi3", "/partial_rotary_factor", json!(1.0)),
        ("phi3", "/sliding_window", Value::Null),
        ("phi3-longrope", "/rope_scaling/short_factor/3", json!(1.0)),
        (
            "phi3-longrope",
            "/rope_scaling/attention_factor",
            json!(1.0),
        ),
        (
            "phi3-longrope-whole",
            "/rope_scaling/attention_factor",
            json!(1.0),
        ),
        ("gemma2", "/attn_logit_softcapping", json!(50.0)),
        ("gemma2", "/final_logit_softcapping", Value::Null),
        ("gemma2", "/query_pre_attn_scalar", json!(32)),
        ("gemma2", "/hidden_activation", json!("silu")),
        ("gemma2", "/sliding_window", json!(64)),
        ("gemma3", "/rope_local_base_freq", json!(1e6)),
        ("gemma3", "/rope_scaling/factor", json!(1.0)),
        ("gemma3", "/sliding_window_pattern", json!(3)),
        ("gemma3-new", "/layer_types/0", json!("full_attention")),
        (
            "gemma3-new",
            "/rope_parameters/sliding_attention/rope_theta",
            json!(1e6),
        ),
        ("gemma3-new", "/final_logit_softcapping", Value::Null),
        ("bitnet", "/hidden_act", json!("silu")),
        ("bitnet", "/rms_norm_eps", json!(1e-1)),
    ];
    for (name, pointer, value) in cases {
        let mut changed = model(name);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match changed.config.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            object => object[key] = value.clone(),
        }
        let d = distance(&changed);
        assert!(
            d > 2e-3,
            "{name}: {pointer} = {value} changes the logits by {d:.1e}"
        );
    }
}

#[test]
fn a_limited_context_is_said() {
    let dir = tempfile::tempdir().unwrap();
    model("phi3-longrope").write(dir.path());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.hyper().context_length, 64);
    let note = checkpoint.notes().join(" ");
    assert!(note.contains("64 of 256"), "{note}");
}
