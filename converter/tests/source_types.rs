//! Quantized GGUF types: every value equals that of the Python package `gguf`; what is not finite is
//! refused by tensor and index; damage ends in an error or in values.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, SourceError};
use carat_format::Tensor;
use carat_gguf::TensorType;
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

fn fnv(values: &[f32]) -> String {
    let hash = values
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
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
    assert_eq!(golden.len(), 15);
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
        assert!(finite >= 20 && finite < rows.len(), "{name}: {finite}");
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
        c.read_rows(Tensor::AttnQ(0), 0..Q_ROWS, &mut queries)
            .unwrap();
        let row = |r: usize| &plain[r * 256..][..256];
        for r in 0..Q_ROWS as usize {
            assert_eq!(Some(&fnv(row(r))), finite[r % finite.len()].fnv.as_ref());
            // Heads of 16: ggml has dimensions i and i + 8 at 2·i and 2·i + 1.
            let (head, i) = (r / 16, r % 16);
            let at = 16 * head + if i < 8 { 2 * i } else { 2 * (i - 8) + 1 };
            assert_eq!(bits(&queries[r * 256..][..256]), bits(row(at)), "{name}");
            let r = r as u64;
            c.read_rows(Tensor::AttnQ(0), r..r + 1, &mut one).unwrap();
            assert_eq!(bits(&one), bits(row(at)), "{name}");
        }
    }
}

#[test]
fn types_that_are_not_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let mut tensors = llama(1, common::noise(29));
    let row = vec![0; 66];
    replace(
        &mut tensors,
        "token_embd.weight",
        TensorType::IQ2_XXS,
        &[row],
    );
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
                ("token_embd.weight", "IQ2_XXS")
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
