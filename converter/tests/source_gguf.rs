//! GGUF and Carat files: the tensors of the checkpoint that they were made of; damage is refused.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, Kind, SourceError};
use carat_format::{
    Directory, Encoding, PackedRow, RowScale, Table, Tensor, TensorEntry, TensorLayout, Vector,
    decode_row_f32, pack_rows,
};
use carat_gguf::{TensorType, Writer};
use common::{checkpoint, config, shared, tensors};
use std::fs;

fn open_error(dir: &std::path::Path) -> SourceError {
    match Checkpoint::open(dir) {
        Ok(_) => panic!("{} was accepted", dir.display()),
        Err(e) => e,
    }
}

#[test]
fn gguf_files_of_every_type() {
    let Some(f32_file) = shared("oracles/tiny256/tiny256-f32.gguf") else {
        return;
    };
    let truth = Checkpoint::open(f32_file).unwrap();
    assert_eq!(truth.kind(), Kind::Gguf);
    assert_eq!(truth.hyper().blocks[0].attention().unwrap().head_dim, 64);
    assert_eq!(
        truth.header().unwrap().str("general.name").unwrap(),
        truth.name().unwrap()
    );
    for (ty, tolerance) in [
        ("f16", 1e-3),
        ("bf16", 8e-3),
        ("q8_0", 2e-2),
        ("q4_0", 0.2),
        ("q4_1", 0.2),
        ("q5_0", 0.1),
        ("q5_1", 0.1),
        ("q4_k", 0.2),
        ("q6_k", 0.05),
        ("iq4_nl", 0.2),
    ] {
        let file = shared(&format!("oracles/tiny256/tiny256-{ty}.gguf")).unwrap();
        let c = Checkpoint::open(file).unwrap();
        assert_eq!(c.hyper(), truth.hyper());
        for t in truth.hyper().tensors() {
            let (rows, _) = truth.hyper().shape(t);
            let (mut x, mut y) = (Vec::new(), Vec::new());
            truth.read_rows(t, 0..rows, &mut x).unwrap();
            c.read_rows(t, 0..rows, &mut y).unwrap();
            let most = x.iter().fold(0f32, |m, v| m.max(v.abs()));
            let far = x
                .iter()
                .zip(&y)
                .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(far <= tolerance * most, "{ty} {t:?}: {far} of {most}");
        }
    }
}

#[test]
fn damaged_gguf_files_are_refused() {
    let Some(file) = shared("oracles/stories260k/stories260k-v3-f32.gguf") else {
        return;
    };
    let good = fs::read(file).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let mut next = common::noise(3);
    for _ in 0..300 {
        let cut = ((next() + 1.0) / 2.0 * (good.len() - 1) as f32) as usize;
        fs::write(&path, &good[..cut]).unwrap();
        open_error(&path);
    }
    for _ in 0..1000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            let at = ((next() + 1.0) / 2.0 * 12_000.0) as usize;
            bad[at] = (next() * 127.0) as i8 as u8;
        }
        fs::write(&path, &bad).unwrap();
        let Ok(c) = Checkpoint::open(&path) else {
            continue;
        };
        let mut out = Vec::new();
        for t in c.hyper().tensors() {
            let _ = c.read_rows(t, 0..1, &mut out);
        }
    }
}

/// A Carat file of the made-up model: random codes in every encoding.
fn carat_file(c: &Checkpoint, path: &std::path::Path) -> Vec<(Tensor, Vec<f32>)> {
    let mut next = common::noise(11);
    let mut byte = move || (next() * 127.0) as i8 as u8;
    let spec = c.hyper().spec(-17);
    let (mut directory, mut payloads, mut expected) =
        (Directory::default(), Vec::new(), Vec::new());
    for (i, tensor) in c.hyper().tensors().into_iter().enumerate() {
        let (rows, cols) = spec.shape(tensor);
        if tensor.is_vector() {
            let gains: Vec<i32> = (0..cols).map(|_| i32::from(byte()) << 8).collect();
            let unit = 2f64.powi(-12) / 4.0; // the square root of 16 is folded in
            expected.push((
                tensor,
                gains
                    .iter()
                    .map(|g| (f64::from(*g) * unit) as f32)
                    .collect(),
            ));
            payloads.push((
                tensor,
                TensorType::I32,
                bytemuck::cast_slice(&gains).to_vec(),
            ));
            directory.vectors.push(Vector {
                tensor,
                len: cols,
                exponent: -12,
                hash: [0; 32],
                offset: 0,
            });
            continue;
        }
        let encoding = Encoding::ALL[i % 4];
        let layout = TensorLayout::new(encoding, rows, cols).unwrap();
        let packed: Vec<PackedRow> = (0..rows)
            .map(|_| PackedRow {
                // -128 is no level.
                codes: (0..cols)
                    .map(|_| (u32::from(byte()) % encoding.codes().min(128)) as u8)
                    .collect(),
                scales: (0..layout.groups).map(|_| byte().max(1)).collect(),
                scale: RowScale {
                    mantissa: 0x8000 | u16::from(byte()),
                    exponent: -30,
                },
            })
            .collect();
        let payload = pack_rows(&layout, &packed).unwrap();
        let table = Table::power(encoding, 1.3);
        let mut all = Vec::new();
        for r in 0..rows {
            decode_row_f32(&layout, &table, &payload, r, &mut all).unwrap();
        }
        expected.push((tensor, all));
        payloads.push((tensor, TensorType::I8, payload));
        directory.matrices.push(TensorEntry {
            tensor,
            layout,
            table,
            power: 1.3,
            exponent: -10,
            error: 0.0,
            hash: [0; 32],
            offset: 0,
        });
    }
    let mut w = Writer::new().alignment(256);
    for (key, value) in spec
        .to_metadata()
        .into_iter()
        .chain(directory.to_metadata(&spec).unwrap())
    {
        w.kv(key, value).unwrap();
    }
    for (tensor, ty, payload) in &payloads {
        let size = payload.len() as u64;
        let element = if tensor.is_vector() { 4 } else { 1 };
        w.tensor(tensor.name(), &[size / element], *ty, size)
            .unwrap();
    }
    let layout = w.finish().unwrap();
    let mut file = layout.header.clone();
    for (at, (.., payload)) in layout.tensor_offsets.iter().zip(&payloads) {
        file.resize(*at as usize, 0);
        file.extend(payload);
    }
    file.resize(layout.file_len as usize, 0);
    fs::write(path, file).unwrap();
    expected
}

#[test]
fn a_carat_file_gives_its_decoded_weights() {
    let dir = checkpoint(&config(), &tensors());
    let source = Checkpoint::open(dir.path()).unwrap();
    let path = dir.path().join("x.gguf");
    let expected = carat_file(&source, &path);
    let c = Checkpoint::open(&path).unwrap();
    assert_eq!(
        (c.kind(), c.encoding(Tensor::TokenEmbedding)),
        (Kind::Carat, Some(Encoding::ALL[0]))
    );
    let (a, b) = (source.hyper(), c.hyper());
    assert!((a.epsilon / b.epsilon - 1.0).abs() < 1e-8);
    let near = a.rope_tables[0]
        .iter()
        .zip(&b.rope_tables[0])
        .all(|(a, b)| (a / b - 1.0).abs() < 1e-12);
    assert!(near, "{:?} {:?}", a.rope_tables[0], b.rope_tables[0]);
    assert_eq!(
        (a.spec(0).rope_tables, a.tied),
        (b.spec(0).rope_tables, b.tied)
    );
    for (tensor, weights) in expected {
        let (rows, cols) = c.hyper().shape(tensor);
        let mut out = Vec::new();
        for start in 0..rows {
            for end in [start, start + 1, rows] {
                c.read_rows(tensor, start..end, &mut out).unwrap();
                assert_eq!(
                    out,
                    weights[(start * cols) as usize..(end * cols) as usize],
                    "{tensor:?}"
                );
            }
        }
    }
}
