//! Keys of GGUF metadata that say nothing about the arithmetic, numbers of any type, and lists of one number.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, SourceError};
use carat_format::Pooling;
use carat_gguf::{OwnedArray, OwnedValue};
use common::gguf::{gguf_bytes, llama, llama_keys};

type Keys = Vec<(String, OwnedValue)>;

/// The made-up model of one block with `changed` keys, in place of those of the same name or beside them.
fn open(changed: Vec<(&str, OwnedValue)>) -> Result<Checkpoint, SourceError> {
    let mut keys: Keys = llama_keys();
    for (key, value) in changed {
        let key = match key.contains("..") {
            true => key.replace("..", "."),
            false => format!("llama.{key}"),
        };
        keys.retain(|(k, _)| *k != key);
        keys.push((key, value));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    std::fs::write(&path, gguf_bytes(&keys, &llama(12, common::noise(29)))).unwrap();
    Checkpoint::open(&path)
}

fn list(values: &[u32]) -> OwnedValue {
    OwnedValue::Array(OwnedArray::U32(values.to_vec()))
}

#[test]
fn numbers_of_every_type_and_lists_of_one_number() {
    let plain = open(vec![]).unwrap();
    let f32s = |x| OwnedValue::Array(OwnedArray::F32(vec![x]));
    for (key, value) in [
        ("attention.head_count", list(&[2])),
        ("attention.head_count", OwnedValue::F32(2.0)),
        ("attention.head_count_kv", list(&[1])),
        ("attention.head_count_kv", OwnedValue::I64(1)),
        ("feed_forward_length", list(&[32])),
        ("feed_forward_length", f32s(32.0)),
        ("feed_forward_length", OwnedValue::F64(32.0)),
        ("attention.key_length", list(&[16])),
        ("attention.value_length", list(&[16])),
        ("context_length", OwnedValue::U64(64)),
        ("embedding_length", OwnedValue::I16(256)),
        ("block_count", OwnedValue::F32(1.0)),
        ("rope.freq_base", OwnedValue::U32(10_000)),
        ("rope.freq_base", OwnedValue::I64(10_000)),
        ("rope.freq_base", f32s(10_000.0)),
        ("rope.dimension_count", OwnedValue::U8(16)),
        ("rope.scaling.factor", OwnedValue::I32(1)),
        ("attention.sliding_window", list(&[0])),
    ] {
        let shown = format!("{key}: {value:?}");
        let c = open(vec![(key, value)]).unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(c.hyper(), plain.hyper(), "{shown}");
    }
    let epsilon = OwnedValue::F64(f64::from(1e-5f32));
    let c = open(vec![("attention.layer_norm_rms_epsilon", epsilon)]).unwrap();
    assert_eq!(c.hyper(), plain.hyper());
}

#[test]
fn what_is_no_number_or_not_the_same_everywhere_is_refused_by_name() {
    for (key, value, said) in [
        ("attention.head_count", list(&[2, 2]), "list of 2"),
        ("attention.head_count", list(&[]), "list of 0"),
        (
            "attention.head_count",
            OwnedValue::F32(2.5),
            "expected an integer",
        ),
        (
            "feed_forward_length",
            OwnedValue::Str("32".into()),
            "expected an integer",
        ),
        (
            "feed_forward_length",
            OwnedValue::Array(OwnedArray::Str(vec!["32".into()])),
            "expected integers",
        ),
        ("rope.freq_base", OwnedValue::Bool(true), "a number"),
        ("rope.freq_base", OwnedValue::I32(-1), "a positive number"),
    ] {
        let error = open(vec![(key, value)]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(said), "{error}");
    }
    // Two blocks of different windows.
    let error = open(vec![
        ("block_count", OwnedValue::U32(2)),
        ("attention.sliding_window", list(&[32, 64])),
    ]);
    let error = error.unwrap_err();
    assert!(
        matches!(&error, SourceError::Unsupported { field, found, .. }
            if field == "llama.attention.sliding_window" && found == "[32, 64]"),
        "{error}"
    );
}

#[test]
fn keys_that_do_not_touch_the_arithmetic_are_passed_over() {
    let plain = open(vec![]).unwrap();
    let text = |s: &str| OwnedValue::Str(s.into());
    for (key, value) in [
        ("attention.causal", OwnedValue::Bool(true)),
        ("attention.causal", OwnedValue::U32(1)),
        ("pooling_type", OwnedValue::I32(-1)),
        ("expert_count", OwnedValue::U32(0)),
        ("expert_used_count", OwnedValue::U32(2)),
        ("expert_weights_scale", OwnedValue::F32(2.5)),
        ("leading_dense_block_count", OwnedValue::U32(1)),
        ("use_parallel_residual", OwnedValue::Bool(false)),
        ("logit_scale", OwnedValue::F32(1.0)),
        ("residual_scale", OwnedValue::F32(1.0)),
        ("embedding_scale", OwnedValue::F32(0.0)),
        ("attention.clamp_kqv", OwnedValue::F32(0.0)),
        ("attention.max_alibi_bias", OwnedValue::F32(0.0)),
        ("attention.layer_norm_epsilon", OwnedValue::F32(1e-6)),
        ("rope.scaling.type", text("none")),
        ("rope.scaling.finetuned", OwnedValue::Bool(true)),
        ("rope.dimension_sections", list(&[0, 0, 0, 0])),
        ("tensor_data_layout", text("Meta AI original pth")),
        ("vocab_size", OwnedValue::U32(11)),
        ("some_switch", OwnedValue::Bool(false)),
        ("some_note", text("")),
        ("general..quantized_by", text(&"x".repeat(300_000))),
        ("quantize..imatrix..file", text("a.dat")),
        ("split..count", OwnedValue::U16(0)),
        ("mradermacher..quantize_version", text("2")),
    ] {
        let shown = format!("{key}: {:.60?}", value);
        let c = open(vec![(key, value)]).unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(c.hyper(), plain.hyper(), "{shown}");
    }
}

#[test]
fn keys_that_do_are_refused_by_name() {
    for (key, value) in [
        ("attention.causal", OwnedValue::Bool(false)),
        ("attention.causal", OwnedValue::U32(0)),
        ("use_parallel_residual", OwnedValue::Bool(true)),
        ("logit_scale", OwnedValue::F32(0.0625)),
        ("residual_scale", OwnedValue::F32(0.22)),
        ("embedding_scale", OwnedValue::F32(12.0)),
        ("attention.clamp_kqv", OwnedValue::F32(8.0)),
        ("rope.dimension_sections", list(&[16, 24, 24, 0])),
        ("pooling_type", OwnedValue::U32(4)),
        ("pooling_type", OwnedValue::I32(-2)),
        ("some_number", OwnedValue::F32(0.5)),
    ] {
        let error = open(vec![(key, value.clone())]);
        let error = error.expect_err(&format!("{key}: {value:?}")).to_string();
        assert!(error.contains(&format!("llama.{key}")), "{error}");
    }
}

#[test]
fn the_pooling_of_embedding_models() {
    assert_eq!(open(vec![]).unwrap().hyper().pooling, None);
    for (number, expected) in Pooling::ALL.into_iter().enumerate() {
        for value in [
            OwnedValue::U32(number as u32),
            OwnedValue::I32(number as i32),
        ] {
            let c = open(vec![("pooling_type", value)]).unwrap();
            assert_eq!(c.hyper().pooling, Some(expected));
        }
    }
}

/// A head beside the embedding: stored once where it is the same, whatever its type.
#[test]
fn a_head_that_is_the_embedding_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let tied = |change: &dyn Fn(&mut Vec<f32>), half: bool| {
        let mut tensors = llama(12, common::noise(29));
        let embedding = &mut tensors[0];
        // What 16 bits hold too.
        let rounded = |b: &[u8; 4]| f32::from_le_bytes([0, 0, b[2], b[3]]);
        let weights: Vec<f32> = embedding.data.as_chunks().0.iter().map(rounded).collect();
        let bytes = |w: &[f32]| w.iter().flat_map(|x| x.to_le_bytes()).collect();
        embedding.data = bytes(&weights);
        let mut head = embedding.clone();
        let mut weights = weights;
        change(&mut weights);
        head.name = "output.weight".into();
        head.data = match half {
            false => bytes(&weights),
            true => {
                head.ty = carat_gguf::TensorType::BF16;
                let high = |x: &f32| [x.to_le_bytes()[2], x.to_le_bytes()[3]];
                weights.iter().flat_map(high).collect()
            }
        };
        tensors.push(head);
        std::fs::write(&path, gguf_bytes(&llama_keys(), &tensors)).unwrap();
        Checkpoint::open(&path).unwrap().hyper().tied
    };
    for half in [false, true] {
        assert!(tied(&|_| (), half));
        assert!(!tied(&|w| w[5] = 1.0, half));
        assert!(!tied(&|w| *w.last_mut().unwrap() = 1.0, half));
    }
}
