//! Rotations and scalings that are folded into the weights leave the model's function as it is.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::calibrate::{Calibration, Methods, Text, rotate};
use carat_converter::convert::{ConvertError, Options, convert};
use carat_converter::progress::Silent;
use carat_converter::reference::{Reference, Run};
use carat_converter::source::{Checkpoint, Transform};
use carat_format::{Part, Tensor};
use serde_json::json;
use std::fs;
use std::path::Path;

/// All logits after some tokens.
fn logits(checkpoint: &Checkpoint) -> Vec<f32> {
    let reference = Reference::open(checkpoint, 0).unwrap();
    let tokens: Vec<u32> = (0..24)
        .map(|i| i * 7 % checkpoint.hyper().vocab_size)
        .collect();
    let mut all = Vec::new();
    let mut sink = |_: usize, _: usize, row: &[f32]| all.extend_from_slice(row);
    reference
        .forward(&[tokens], 0, &mut Run::default(), &mut sink)
        .unwrap();
    all
}

fn same(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < 2e-5 * largest, "{a} {b} of {largest}");
    }
}

/// A model with a head of its own and every bias.
fn untied() -> tempfile::TempDir {
    let mut config = common::config();
    config["attention_bias"] = json!(true);
    config["mlp_bias"] = json!(true);
    let mut tensors = common::tensors();
    for b in 0..2 {
        for (name, n) in [
            ("self_attn.q_proj", 32),
            ("self_attn.k_proj", 16),
            ("self_attn.v_proj", 16),
            ("self_attn.o_proj", 16),
            ("mlp.gate_proj", 24),
            ("mlp.up_proj", 24),
            ("mlp.down_proj", 16),
        ] {
            tensors.push((format!("model.layers.{b}.{name}.bias"), vec![n]));
        }
    }
    common::checkpoint(&config, &tensors)
}

#[test]
fn rotations_change_weights_and_no_logit() {
    use Part::*;
    let folder = untied();
    for path in [folder.path(), &common::facet()] {
        let plain = Checkpoint::open(path).unwrap();
        let expected = logits(&plain);
        let mut transform = Transform::default();
        rotate::heads(&plain, &mut transform);
        assert!(!transform.is_empty());
        if rotate::stream_rotates(&plain) {
            rotate::stream(&plain, &mut transform).unwrap();
        }
        let rotated = Checkpoint::open(path).unwrap().transformed(transform);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for tensor in plain.hyper().tensors() {
            plain.read_rows(tensor, 0..1, &mut a).unwrap();
            rotated.read_rows(tensor, 0..1, &mut b).unwrap();
            let heads = matches!(tensor, Tensor::Block(_, AttnV | AttnOutput | AttnVBias));
            // With the stream rotated nothing is left but biases that neither read it nor write to it.
            let inner = matches!(
                tensor,
                Tensor::Block(_, AttnQBias | AttnKBias | FfnGateBias | FfnUpBias)
            );
            let expected = heads || (!plain.hyper().tied && !inner);
            assert_eq!(a != b, expected, "{}", tensor.name());
        }
        same(&expected, &logits(&rotated));
    }
}

fn calibrated(source: &Path, output: &Path, methods: Methods) -> Options {
    Options {
        source: source.into(),
        output: output.into(),
        bits: 8.0,
        calibration: Some(Calibration {
            text: Text::File(common::root().join("converter/texts/demo.txt")),
            tokens: 512,
            seed: 0,
            methods,
        }),
        threads: Some(2),
        ..Options::default()
    }
}

#[test]
fn a_folded_model_is_the_model_at_eight_bits() {
    let folder = tempfile::tempdir().unwrap();
    let expected = logits(&Checkpoint::open(common::facet()).unwrap());
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    let none = Methods {
        gptq: false,
        descent: false,
        drift: false,
        exponent: false,
        ..Methods::default()
    };
    let mut files = Vec::new();
    for (name, rotate_heads, awq) in [
        ("plain", false, false),
        ("heads", true, false),
        ("awq", false, true),
        ("both", true, true),
    ] {
        let file = folder.path().join(name);
        let methods = Methods {
            rotate_heads,
            awq,
            ..none
        };
        convert(&calibrated(&common::facet(), &file, methods), &Silent).unwrap();
        let found = logits(&Checkpoint::open(&file).unwrap());
        for (a, b) in expected.iter().zip(&found) {
            assert!(
                (a - b).abs() < 0.02 * largest,
                "{name}: {a} {b} of {largest}"
            );
        }
        files.push(fs::read(&file).unwrap());
    }
    assert!(
        files.windows(2).all(|f| f[0] != f[1]),
        "each does something"
    );
}

#[test]
fn a_tied_stream_cannot_be_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a");
    let methods = Methods {
        rotate_stream: true,
        ..Methods::default()
    };
    let error = convert(&calibrated(&common::facet(), &file, methods), &Silent).unwrap_err();
    assert!(matches!(error, ConvertError::NoRotation));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
