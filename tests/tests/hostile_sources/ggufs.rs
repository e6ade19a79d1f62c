//! GGUF files of every element type, whole and split.

#[path = "../../../converter/tests/common/gguf.rs"]
mod model;

use crate::{ONE, check, refused};
use carat_gguf::{OwnedValue, TensorType};
use carat_tests::hostile::{End, mutate};
use carat_tests::rng::Rng;
use std::fs;
use std::path::Path;

/// The model in this type where its rows are long enough: whole, or part `no` of `count`.
fn gguf(ty: TensorType, part: Option<(u16, u16)>) -> Vec<u8> {
    let (no, count) = part.unwrap_or((0, 1));
    let mut keys = Vec::new();
    if no == 0 {
        keys.extend(model::llama_keys());
        keys.extend(model::tokenizer_keys());
    }
    let mut tensors = model::llama(model::VOCAB, || 0.0);
    if part.is_some() {
        let all = tensors.len() as i32;
        for (key, value) in [
            ("no", OwnedValue::U16(no)),
            ("count", OwnedValue::U16(count)),
            ("tensors.count", OwnedValue::I32(all)),
        ] {
            keys.push((format!("split.{key}"), value));
        }
    }
    for t in &mut tensors {
        if t.dims.len() > 1 && t.dims[0] == model::COLS {
            let elements: u64 = t.dims.iter().product();
            let bytes = elements / ty.block_size().unwrap() * ty.type_size().unwrap();
            // Bytes 0 are finite in every type.
            (t.ty, t.data) = (ty, vec![0; bytes as usize]);
        }
    }
    let mut i = 0..tensors.len();
    tensors.retain(|_| {
        i.next()
            .is_some_and(|i| i % usize::from(count) == usize::from(no))
    });
    model::gguf_bytes(&keys, &tensors)
}

fn header_len(bytes: &[u8]) -> usize {
    match carat_gguf::parse(bytes, bytes.len() as u64) {
        Ok(carat_gguf::Parse::Complete(h)) => h.data_start() as usize,
        other => panic!("{other:?}"),
    }
}

/// Element types that are read.
const TYPES: [TensorType; 31] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::IQ4_NL,
    TensorType::IQ4_XS,
    TensorType::MXFP4,
    TensorType::TQ1_0,
    TensorType::TQ2_0,
    TensorType::PTQ1_0,
    TensorType::Q1_0,
    TensorType::Q2_0,
    TensorType::PQ2_0,
    TensorType::Q8_K,
    TensorType::NVFP4,
    TensorType::IQ1_S,
    TensorType::IQ1_M,
    TensorType::IQ2_XXS,
    TensorType::IQ2_XS,
    TensorType::IQ2_S,
    TensorType::IQ3_XXS,
    TensorType::IQ3_S,
];

/// Truncates and mutates a GGUF; (read, refused).
fn damage(path: &Path, file: &[u8], times: usize, rng: &mut Rng) -> (usize, usize) {
    let (header, mut read, mut refused) = (header_len(file), 0, 0);
    for i in 0..times {
        let mut bytes = file.to_vec();
        let what = match i % 4 {
            0 => {
                bytes.truncate(rng.below(file.len() as u64) as usize);
                format!("{}: truncated to {}", path.display(), bytes.len())
            }
            n => {
                let all = if n == 1 {
                    header..file.len()
                } else {
                    0..header
                };
                mutate(&mut bytes, all, rng);
                format!("{}: mutation {i}", path.display())
            }
        };
        fs::write(path, &bytes).unwrap();
        match check(path, i % 64 == 1, &what) {
            End::Read => read += 1,
            End::Refused(_) => refused += 1,
        }
    }
    (read, refused)
}

#[test]
fn damaged_ggufs() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let mut rng = Rng(11);
    let (mut read, mut refused) = (0, 0);
    for ty in TYPES {
        let path = directory.path().join(format!("{ty}.gguf"));
        let file = gguf(ty, None);
        fs::write(&path, &file).unwrap();
        assert_eq!(check(&path, false, "whole"), End::Read, "{ty}");
        let (a, b) = damage(&path, &file, 200, &mut rng);
        (read, refused) = (read + a, refused + b);
    }
    println!("{read} were read, {refused} were refused");
    assert!(read > 300 && refused > 1500, "{read} {refused}");
}

#[test]
fn damaged_ggufs_of_another_program() {
    let _one = ONE.lock();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oracles/tiny256");
    let Ok(entries) = fs::read_dir(&place) else {
        eprintln!("ABSENT: ../shared/oracles/tiny256; this check did not run");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut rng = Rng(12);
    for entry in entries.flatten().map(|e| e.path()) {
        if entry.extension().is_some_and(|e| e == "gguf") {
            let file = fs::read(&entry).unwrap();
            let path = directory.path().join(entry.file_name().unwrap());
            damage(&path, &file, 16, &mut rng);
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn damaged_parts() {
    let _one = ONE.lock();
    let directory = tempfile::tempdir().unwrap();
    let at = |no: usize| {
        directory
            .path()
            .join(format!("m-0000{}-of-00003.gguf", no + 1))
    };
    let parts = [0, 1, 2].map(|no| gguf(TensorType::Q4_0, Some((no, 3))));
    let write = || {
        for (no, part) in parts.iter().enumerate() {
            fs::write(at(no), part).unwrap();
        }
    };
    write();
    assert_eq!(check(&at(1), false, "whole"), End::Read);
    // Another part, or part of another model, under a part's name.
    for (no, other) in [(0, 1), (1, 0), (2, 1)] {
        fs::write(at(no), &parts[other]).unwrap();
        for opened in 0..3 {
            refused(&at(opened), &format!("{other} in the place of {no}"));
        }
        write();
    }
    fs::write(at(2), gguf(TensorType::Q4_0, Some((2, 65_535)))).unwrap();
    refused(&at(0), "another count");
    fs::remove_file(at(2)).unwrap();
    assert!(refused(&at(0), "missing").contains("m-00003-of-00003.gguf"));
    let mut rng = Rng(17);
    for i in 0..600 {
        write();
        let no = rng.below(3) as usize;
        let mut bytes = parts[no].clone();
        if i % 4 == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        } else {
            mutate(&mut bytes, 0..header_len(&parts[no]), &mut rng);
        }
        fs::write(at(no), bytes).unwrap();
        check(&at(i % 3), false, &format!("part {no}, mutation {i}"));
    }
}
