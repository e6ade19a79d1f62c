//! Adapters as PEFT and llama.cpp write them, of the same numbers.

use carat::internals::adapter::{AdapterFile, Term};
use carat_format::{Part, Tensor};
use carat_gguf::{TensorType, Writer};
use std::path::Path;

/// Rank, α and what a configuration says of them.
pub const ALPHA: f64 = 8.0;

/// A tensor: name, rows, columns, elements.
pub type Named = (String, u64, u64, Vec<f32>);

/// A safetensors file of f32 tensors.
pub fn safetensors(tensors: &[Named]) -> Vec<u8> {
    let (mut header, mut data) = (Vec::new(), Vec::new());
    for (name, rows, cols, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let end = data.len();
        header.push(format!(
            "\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{rows},{cols}],\"data_offsets\":[{start},{end}]}}"
        ));
    }
    let header = format!("{{{}}}", header.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

/// `adapter_config.json` with further fields.
pub fn config(rank: usize, more: &str) -> String {
    format!(
        "{{\"peft_type\":\"LORA\",\"r\":{rank},\"lora_alpha\":{ALPHA},\"bias\":\"none\"{more}}}"
    )
}

fn module(part: Part) -> &'static str {
    match part {
        Part::AttnQ => "self_attn.q_proj",
        Part::AttnK => "self_attn.k_proj",
        Part::AttnV => "self_attn.v_proj",
        Part::AttnOutput => "self_attn.o_proj",
        Part::FfnGate => "mlp.gate_proj",
        Part::FfnUp => "mlp.up_proj",
        _ => "mlp.down_proj",
    }
}

/// Both matrices of each term; `B` without the factor α/r. `name` is that of the module and the side.
fn matrices(terms: &[Term], name: impl Fn(u32, Part, bool) -> String) -> Vec<Named> {
    let mut out = Vec::new();
    for t in terms {
        let Tensor::Block(block, part) = t.tensor else {
            panic!("{:?}", t.tensor);
        };
        let factor = ALPHA / t.rank as f64;
        let (rank, rows) = (t.rank as u64, (t.b.len() / t.rank) as u64);
        let a = t.a.iter().map(|v| *v as f32).collect();
        let b = t.b.iter().map(|v| (v / factor) as f32).collect();
        out.push((name(block, part, true), rank, t.cols as u64, a));
        out.push((name(block, part, false), rows, rank, b));
    }
    out
}

pub fn peft_tensors(terms: &[Term]) -> Vec<Named> {
    matrices(terms, |block, part, a| {
        let side = if a { "A" } else { "B" };
        let module = module(part);
        format!("base_model.model.model.layers.{block}.{module}.lora_{side}.weight")
    })
}

/// PEFT's adapter of these terms, read.
pub fn peft(terms: &[Term]) -> AdapterFile {
    let bytes = safetensors(&peft_tensors(terms));
    let json = config(terms[0].rank, "");
    let (config, tensors) = (Path::new("a/adapter_config.json"), Path::new("a/t"));
    AdapterFile::from_peft((config, json.as_bytes()), (tensors, bytes)).unwrap()
}

/// llama.cpp's file of these terms for an architecture; that of `llama` has both dimensions of a rotated pair of queries and keys
/// side by side.
pub fn gguf(terms: &[Term], architecture: &str, head_dim: usize) -> Vec<u8> {
    let mut tensors = matrices(terms, |block, part, a| {
        let side = if a { "a" } else { "b" };
        format!("{}.lora_{side}", part.of(block).name())
    });
    for (name, rows, cols, values) in &mut tensors {
        let rotated = ["attn_q.weight.lora_b", "attn_k.weight.lora_b"];
        if architecture != "llama" || !rotated.iter().any(|r| name.ends_with(r)) {
            continue;
        }
        let (plain, cols) = (values.clone(), *cols as usize);
        for row in 0..*rows as usize {
            // As convert_hf_to_gguf permutes: (half, pair) becomes (pair, half).
            let (head, within) = (row / head_dim, row % head_dim);
            let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
            let to = head * head_dim + 2 * pair + half;
            values[to * cols..][..cols].copy_from_slice(&plain[row * cols..][..cols]);
        }
    }
    write_gguf(&tensors, architecture)
}

pub fn write_gguf(tensors: &[Named], architecture: &str) -> Vec<u8> {
    let mut w = Writer::new();
    w.kv("general.architecture", architecture).unwrap();
    w.kv("general.type", "adapter").unwrap();
    w.kv("adapter.type", "lora").unwrap();
    w.kv("adapter.lora.alpha", ALPHA as f32).unwrap();
    for (name, rows, cols, values) in tensors {
        let bytes = values.len() as u64 * 4;
        w.tensor(name.as_str(), &[*cols, *rows], TensorType::F32, bytes)
            .unwrap();
    }
    let layout = w.finish().unwrap();
    let mut bytes = vec![0; layout.file_len as usize];
    bytes[..layout.header.len()].copy_from_slice(&layout.header);
    for (at, (.., values)) in layout.tensor_offsets.iter().zip(tensors) {
        for (i, v) in values.iter().enumerate() {
            bytes[*at as usize + 4 * i..][..4].copy_from_slice(&v.to_le_bytes());
        }
    }
    bytes
}
