//! Quantized GGUF types: every value equals that of the Python package `gguf`; what is not finite is
//! refused by tensor and index; damage ends in an error or in values.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, SourceError};
use carat_format::{Part, Tensor};
use carat_gguf::TensorType;
use common::fnv;
use common::gguf::{COLS, GgufTensor, Q_ROWS, llama, write_llama};
use std::collections::BTreeMap;
use std::path::Path;

/// Written by tests/scripts/gguf_golden.py.
const GOLDEN: &str = include_str!("data/gguf_blocks.json");

/// A row of 256 weights.
#[derive(serde::Deserialize)]
struct Row {
    blocks: String,
    /// FNV-1a over the bytes of the values, in hexadecimal.
    fnv: Option<String>,
    /// The first value that is not finite.
    not_finite: Option<(u64, String)>,
}

impl Row {
    fn bytes(&self) -> Vec<u8> {
        (0..self.blocks.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&self.blocks[i..i + 2], 16).unwrap())
            .collect()
    }
}

fn golden() -> BTreeMap<String, Vec<Row>> {
    serde_json::from_str(GOLDEN).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The tensor of that name, its rows replaced.
fn replace(tensors: &mut [GgufTensor], name: &str, ty: TensorType, rows: &[Vec<u8>]) {
    let t = tensors.iter_mut().find(|t| t.name == name).unwrap();
    (t.ty, t.dims, t.data) = (ty, vec![COLS, rows.len() as u64], rows.concat());
}

/// A model whose embedding has these rows.
fn with_embedding(path: &Path, ty: TensorType, rows: &[Vec<u8>]) -> Checkpoint {
    let mut tensors = llama(1, common::noise(29));
    replace(&mut tensors, "token_embd.weight", ty, rows);
    write_llama(path, &tensors);
    Checkpoint::open(path).unwrap()
}

#[test]
fn every_value_is_that_of_the_python_package() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let golden = golden();
    assert_eq!(golden.len(), 28);
    for (name, rows) in &golden {
        let ty = TensorType::from_name(name).unwrap();
        let bytes: Vec<_> = rows.iter().map(Row::bytes).collect();
        let c = with_embedding(&path, ty, &bytes);
        assert_eq!(c.type_name(Tensor::TokenEmbedding).unwrap(), name);
        let (mut finite, mut out) = (0, Vec::new());
        for (r, row) in (0u64..).zip(rows) {
            match (
                c.read_rows(Tensor::TokenEmbedding, r..r + 1, &mut out),
                &row.fnv,
                &row.not_finite,
            ) {
                (Ok(()), Some(expected), None) => {
                    finite += 1;
                    assert_eq!(&fnv(&out), expected, "{name}, row {r}: {}", row.blocks);
                }
                (
                    Err(SourceError::NotFinite {
                        tensor,
                        index,
                        found,
                        ..
                    }),
                    None,
                    Some((expected, value)),
                ) => {
                    assert_eq!(tensor, "token_embd.weight");
                    assert_eq!(index, r * COLS + expected, "{name}, row {r}");
                    assert_eq!(&found.to_string(), value, "{name}, row {r}");
                }
                (found, ..) => panic!("{name}, row {r}: {found:?}"),
            }
        }
        // Every bit pattern of an NVFP4 block is a finite number.
        let all = name == "NVFP4";
        assert!(
            finite >= 20 && all == (finite == rows.len()),
            "{name}: {finite}"
        );
    }
}

#[test]
fn many_rows_at_once_are_the_same_and_queries_are_unpermuted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    for (name, rows) in golden() {
        let ty = TensorType::from_name(&name).unwrap();
        let finite: Vec<_> = rows.iter().filter(|r| r.fnv.is_some()).collect();
        let stored: Vec<_> = finite
            .iter()
            .cycle()
            .take(Q_ROWS as usize)
            .map(|r| r.bytes())
            .collect();
        let mut tensors = llama(1, common::noise(29));
        for tensor in ["token_embd.weight", "blk.0.attn_q.weight"] {
            replace(&mut tensors, tensor, ty, &stored);
        }
        write_llama(&path, &tensors);
        let c = Checkpoint::open(&path).unwrap();
        let (mut plain, mut queries, mut one) = (Vec::new(), Vec::new(), Vec::new());
        c.read_rows(Tensor::TokenEmbedding, 0..Q_ROWS, &mut plain)
            .unwrap();
        c.read_rows(Part::AttnQ.of(0), 0..Q_ROWS, &mut queries)
            .unwrap();
        let row = |r: usize| &plain[r * 256..][..256];
        for r in 0..Q_ROWS as usize {
            assert_eq!(Some(&fnv(row(r))), finite[r % finite.len()].fnv.as_ref());
            // Heads of 16: ggml has dimensions i and i + 8 at 2·i and 2·i + 1.
            let (head, i) = (r / 16, r % 16);
            let at = 16 * head + if i < 8 { 2 * i } else { 2 * (i - 8) + 1 };
            assert_eq!(bits(&queries[r * 256..][..256]), bits(row(at)), "{name}");
            let r = r as u64;
            c.read_rows(Part::AttnQ.of(0), r..r + 1, &mut one).unwrap();
            assert_eq!(bits(&one), bits(row(at)), "{name}");
        }
    }
}

#[test]
fn types_that_are_not_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let mut tensors = llama(1, common::noise(29));
    let row = vec![0; 288];
    replace(&mut tensors, "token_embd.weight", TensorType::Q8_1, &[row]);
    write_llama(&path, &tensors);
    match Checkpoint::open(&path).unwrap_err() {
        SourceError::Type {
            tensor,
            found,
            known,
            ..
        } => {
            assert_eq!(
                (tensor.as_str(), found.as_str()),
                ("token_embd.weight", "Q8_1")
            );
            for name in golden().keys() {
                assert!(known.split(", ").any(|k| k == name), "{known}: {name}");
            }
        }
        other => panic!("{other}"),
    }
}

#[test]
fn random_bytes_are_values_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let mut next = common::noise(7);
    for name in golden().keys() {
        let ty = TensorType::from_name(name).unwrap();
        let bytes = COLS / ty.block_size().unwrap() * ty.type_size().unwrap();
        let rows: Vec<Vec<u8>> = (0..200)
            .map(|_| (0..bytes).map(|_| (next() * 128.0) as i8 as u8).collect())
            .collect();
        let c = with_embedding(&path, ty, &rows);
        let mut out = Vec::new();
        for r in 0..200 {
            match c.read_rows(Tensor::TokenEmbedding, r..r + 1, &mut out) {
                Ok(()) => assert!(out.len() == 256 && out.iter().all(|x| x.is_finite())),
                Err(SourceError::NotFinite { index, .. }) => assert_eq!(index / COLS, r),
                Err(other) => panic!("{name}: {other}"),
            }
        }
    }
}

/// The bytes of a model whose embedding of these rows is written as `ty`, its type then overwritten by `number`.
fn renumbered(ty: TensorType, rows: &[Vec<u8>], number: u32) -> Vec<u8> {
    let mut tensors = llama(1, common::noise(29));
    replace(&mut tensors, "token_embd.weight", ty, rows);
    let mut file = common::gguf::gguf_bytes(&common::gguf::llama_keys(), &tensors);
    let name = b"token_embd.weight";
    let at = file.windows(name.len()).position(|w| w == name).unwrap();
    // The number of dimensions and two of them lie between.
    let at = at + name.len() + 4 + 16;
    assert_eq!(file[at..at + 4], ty.0.to_le_bytes());
    file[at..at + 4].copy_from_slice(&number.to_le_bytes());
    file
}

#[test]
fn the_first_ternary_files_have_blocks_of_128_under_the_number_of_q2_0() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let rows: Vec<_> = golden()["PQ2_0"]
        .iter()
        .filter(|r| r.fnv.is_some())
        .map(|r| (r.bytes(), r.fnv.clone()))
        .collect();
    let bytes: Vec<_> = rows.iter().map(|r| r.0.clone()).collect();
    let file = renumbered(TensorType::PQ2_0, &bytes, TensorType::Q2_0.0);
    std::fs::write(&path, file).unwrap();
    let c = Checkpoint::open(&path).unwrap();
    assert_eq!(c.type_name(Tensor::TokenEmbedding).unwrap(), "PQ2_0");
    let mut out = Vec::new();
    for (r, (_, expected)) in (0u64..).zip(&rows) {
        c.read_rows(Tensor::TokenEmbedding, r..r + 1, &mut out)
            .unwrap();
        assert_eq!(Some(fnv(&out)), *expected);
    }
    // Where neither has room, the file is cut or lies.
    let file = renumbered(TensorType::TQ1_0, &vec![vec![0; 54]; 64], 42);
    std::fs::write(&path, file).unwrap();
    let error = Checkpoint::open(&path).unwrap_err();
    assert!(matches!(error, SourceError::Gguf { .. }), "{error}");
}

/// NVFP4 files have a factor of each matrix, and one for activations, which are not rounded here.
#[test]
fn factors_beside_a_matrix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let rows: Vec<_> = golden()["NVFP4"].iter().map(Row::bytes).collect();
    let rows: Vec<_> = rows.iter().cycle().take(Q_ROWS as usize).cloned().collect();
    let mut tensors = llama(1, common::noise(29));
    replace(
        &mut tensors,
        "blk.0.ffn_up.weight",
        TensorType::NVFP4,
        &rows,
    );
    let read = |tensors: &[GgufTensor]| {
        write_llama(&path, tensors);
        let (c, mut out) = (Checkpoint::open(&path)?, Vec::new());
        c.read_rows(Part::FfnUp.of(0), 0..Q_ROWS, &mut out)?;
        Ok::<_, SourceError>(out)
    };
    let plain = read(&tensors).unwrap();
    for (name, factor) in [("scale", 0.375f32), ("input_scale", 3.0)] {
        tensors.push(GgufTensor {
            name: format!("blk.0.ffn_up.{name}"),
            dims: vec![1],
            ty: TensorType::F32,
            data: factor.to_le_bytes().into(),
        });
    }
    let scaled: Vec<f32> = plain.iter().map(|w| w * 0.375).collect();
    assert!(read(&tensors).unwrap() == scaled);
}

/// A model whose activations are rotated between its matrices has other arithmetic.
#[test]
fn rotated_models_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let mut keys = common::gguf::llama_keys();
    let key = "prism.hadamard.version".to_string();
    keys.push((key.clone(), carat_gguf::OwnedValue::U32(1)));
    let tensors = llama(1, common::noise(29));
    std::fs::write(&path, common::gguf::gguf_bytes(&keys, &tensors)).unwrap();
    match Checkpoint::open(&path).unwrap_err() {
        SourceError::Unsupported { field, .. } => assert_eq!(field, key),
        other => panic!("{other}"),
    }
}
