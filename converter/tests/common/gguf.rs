//! A made-up llama of one block as GGUF tensors, in any element type.
#![allow(dead_code)] // Each test binary uses its part.

use carat_gguf::{OwnedValue, TensorType, Writer};
use std::path::Path;

/// Weights of a row of every matrix that reads the residual stream: one block of the K types.
pub const COLS: u64 = 256;
/// Rows of queries: two heads of 16.
pub const Q_ROWS: u64 = 32;

/// A tensor of a file.
#[derive(Clone)]
pub struct GgufTensor {
    pub name: String,
    /// In ggml's order.
    pub dims: Vec<u64>,
    pub ty: TensorType,
    pub data: Vec<u8>,
}

/// The model's tensors in f32, each weight the next of `next`; its embedding has `vocab` rows.
pub fn llama(vocab: u64, mut next: impl FnMut() -> f32) -> Vec<GgufTensor> {
    [
        ("token_embd", vec![COLS, vocab]),
        ("output_norm", vec![COLS]),
        ("blk.0.attn_norm", vec![COLS]),
        ("blk.0.attn_q", vec![COLS, Q_ROWS]),
        ("blk.0.attn_k", vec![COLS, 16]),
        ("blk.0.attn_v", vec![COLS, 16]),
        ("blk.0.attn_output", vec![32, COLS]),
        ("blk.0.ffn_norm", vec![COLS]),
        ("blk.0.ffn_gate", vec![COLS, 32]),
        ("blk.0.ffn_up", vec![COLS, 32]),
        ("blk.0.ffn_down", vec![32, COLS]),
    ]
    .map(|(name, dims)| GgufTensor {
        name: format!("{name}.weight"),
        data: (0..dims.iter().product())
            .flat_map(|_| next().to_le_bytes())
            .collect(),
        dims,
        ty: TensorType::F32,
    })
    .into()
}

/// The model's keys.
pub fn llama_keys() -> Vec<(String, OwnedValue)> {
    let mut keys = vec![(
        "general.architecture".to_string(),
        OwnedValue::from("llama".to_string()),
    )];
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", COLS as u32),
        ("block_count", 1),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 16),
    ] {
        keys.push((format!("llama.{key}"), OwnedValue::U32(value)));
    }
    let epsilon = "llama.attention.layer_norm_rms_epsilon".to_string();
    keys.push((epsilon, OwnedValue::F32(1e-5)));
    keys
}

/// Tokens of [`tokenizer_keys`].
pub const VOCAB: u64 = 262;

/// The keys of a tokenizer of single bytes and two letters.
pub fn tokenizer_keys() -> Vec<(String, OwnedValue)> {
    let tokens: Vec<String> = ["<unk>", "<s>", "</s>"]
        .map(String::from)
        .into_iter()
        .chain((0..=255).map(|b| format!("<0x{b:02X}>")))
        .chain(["▁", "a", "b"].map(String::from))
        .collect();
    assert_eq!(tokens.len() as u64, VOCAB);
    let types = [2, 3, 3].into_iter().chain([6; 256]).chain([1; 3]);
    [
        ("model", "llama".into()),
        ("tokens", tokens.into()),
        ("scores", vec![0f32; VOCAB as usize].into()),
        ("token_type", types.collect::<Vec<i32>>().into()),
    ]
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .into()
}

/// The bytes of a file of these keys and tensors.
pub fn gguf_bytes(keys: &[(String, OwnedValue)], tensors: &[GgufTensor]) -> Vec<u8> {
    let mut w = Writer::new();
    for (key, value) in keys {
        w.kv(key.clone(), value.clone()).unwrap();
    }
    for t in tensors {
        w.tensor(t.name.clone(), &t.dims, t.ty, t.data.len() as u64)
            .unwrap();
    }
    let layout = w.finish().unwrap();
    let mut file = layout.header.clone();
    for (at, t) in layout.tensor_offsets.iter().zip(tensors) {
        file.resize(*at as usize, 0);
        file.extend(&t.data);
    }
    file.resize(layout.file_len as usize, 0);
    file
}

/// Writes a whole model.
pub fn write_llama(path: &Path, tensors: &[GgufTensor]) {
    std::fs::write(path, gguf_bytes(&llama_keys(), tensors)).unwrap();
}
