//! GGUFs in several files: any part opens the same model as the whole; every disagreement is named with
//! its file.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_converter::source::{Checkpoint, SourceError};
use carat_gguf::{OwnedValue, Parse, parse};
use common::gguf::{GgufTensor, gguf_bytes, llama, llama_keys, write_llama};
use common::shared;
use std::fs;
use std::path::{Path, PathBuf};

type Keys = Vec<(String, OwnedValue)>;

/// What a part holds.
struct Part {
    keys: Keys,
    tensors: Vec<GgufTensor>,
}

impl Part {
    fn set(&mut self, key: &str, value: OwnedValue) {
        self.unset(key);
        self.keys.push((key.into(), value));
    }

    fn unset(&mut self, key: &str) {
        self.keys.retain(|(k, _)| k != key);
    }
}

fn name(dir: &Path, no: usize) -> PathBuf {
    dir.join(format!("tiny-model-{:05}-of-00003.gguf", no + 1))
}

/// The model in three parts of which the first has the keys and no tensor, as `gguf-split
/// --no-tensor-first-split` makes them.
fn parts() -> [Part; 3] {
    let mut tensors = llama(12, common::noise(29));
    let rest = tensors.split_off(4);
    let total = (tensors.len() + rest.len()) as i32;
    let mut no = 0;
    [(llama_keys(), vec![]), (vec![], rest), (vec![], tensors)].map(|(mut keys, tensors)| {
        keys.push(("split.no".into(), OwnedValue::U16(no)));
        keys.push(("split.count".into(), OwnedValue::U16(3)));
        keys.push(("split.tensors.count".into(), OwnedValue::I32(total)));
        no += 1;
        Part { keys, tensors }
    })
}

/// Writes the parts and returns the directory.
fn write(parts: &[Part]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (no, part) in parts.iter().enumerate() {
        let bytes = gguf_bytes(&part.keys, &part.tensors);
        fs::write(name(dir.path(), no), bytes).unwrap();
    }
    dir
}

fn weights(c: &Checkpoint) -> Vec<(String, Vec<f32>)> {
    let read = |t: carat_format::Tensor| {
        let mut out = Vec::new();
        c.read_rows(t, 0..c.hyper().shape(t).0, &mut out).unwrap();
        (t.name(), out)
    };
    c.hyper().tensors().into_iter().map(read).collect()
}

#[test]
fn any_part_opens_the_whole_model() {
    let dir = write(&parts());
    let whole_path = dir.path().join("whole.gguf");
    write_llama(&whole_path, &llama(12, common::noise(29)));
    let whole = Checkpoint::open(&whole_path).unwrap();
    for no in 0..3 {
        let c = Checkpoint::open(name(dir.path(), no)).unwrap();
        assert_eq!(c.hyper(), whole.hyper());
        assert!(weights(&c) == weights(&whole), "from part {no}");
        assert_eq!(
            c.header().unwrap().str("general.architecture").unwrap(),
            "llama"
        );
        let bytes = (0..3).map(|no| fs::metadata(name(dir.path(), no)).unwrap().len());
        assert_eq!(c.bytes(), bytes.sum::<u64>());
    }
    // What `gguf-split --merge` leaves of the keys.
    let mut keys = llama_keys();
    keys.push(("split.count".into(), OwnedValue::U16(0)));
    let merged_path = dir.path().join("merged.gguf");
    fs::write(
        &merged_path,
        gguf_bytes(&keys, &llama(12, common::noise(29))),
    )
    .unwrap();
    let merged = Checkpoint::open(&merged_path).unwrap();
    assert!(weights(&merged) == weights(&whole));
}

/// Keys and tensors of a file.
fn read(path: &Path) -> (Keys, Vec<GgufTensor>) {
    let bytes = fs::read(path).unwrap();
    let Parse::Complete(header) = parse(&bytes, bytes.len() as u64).unwrap() else {
        panic!("{} is incomplete", path.display());
    };
    let keys = header.metadata().iter();
    let tensors = header.tensors().iter().map(|t| {
        let range = t.range().unwrap();
        GgufTensor {
            name: t.name.into(),
            dims: t.dims.to_vec(),
            ty: t.ty,
            data: bytes[range.start as usize..range.end as usize].to_vec(),
        }
    });
    (
        keys.map(|(key, value)| ((*key).into(), value.into()))
            .collect(),
        tensors.collect(),
    )
}

#[test]
fn a_quantized_model_converts_to_the_same_bytes_from_its_parts() {
    for ty in ["q4_k", "iq4_nl"] {
        let Some(source) = shared(&format!("oracles/tiny256/tiny256-{ty}.gguf")) else {
            return;
        };
        let (keys, tensors) = read(&source);
        let mut parts = parts();
        for (no, part) in parts.iter_mut().enumerate() {
            if no == 0 {
                part.keys.retain(|(key, _)| key.starts_with("split."));
                part.keys.extend(keys.iter().cloned());
            }
            part.tensors = tensors.iter().skip(no).step_by(3).cloned().collect();
            part.set("split.tensors.count", OwnedValue::I32(tensors.len() as i32));
        }
        let dir = write(&parts);
        let convert = |source: &Path, output: &str| {
            let output = dir.path().join(output);
            let options = Options {
                source: source.into(),
                output: output.clone(),
                bits: 4.0,
                ..Default::default()
            };
            let summary = convert(&options, &Silent).unwrap();
            assert_eq!(
                summary.weights,
                Checkpoint::open(source).unwrap().hyper().weights()
            );
            fs::read(output).unwrap()
        };
        let whole = convert(&source, "whole.out");
        let split = convert(&name(dir.path(), 1), "split.out");
        assert!(whole == split, "{ty}");
    }
}

#[test]
fn no_part_is_replaced_by_a_conversion() {
    let dir = write(&parts());
    let part = name(dir.path(), 2);
    let before = fs::read(&part).unwrap();
    let options = Options {
        source: name(dir.path(), 0),
        output: part.clone(),
        bits: 4.0,
        force: true,
        ..Default::default()
    };
    let e = convert(&options, &Silent).unwrap_err().to_string();
    assert!(e.contains("lies in the source"), "{e}");
    assert!(fs::read(&part).unwrap() == before);
}

#[test]
fn a_relative_path_finds_the_other_parts() {
    let dir = write(&parts());
    // The tests of a binary share the working directory; a path through it serves.
    let up = std::env::current_dir().unwrap();
    let up: PathBuf = up.ancestors().skip(1).map(|_| "..").collect();
    let relative = up.join(dir.path().strip_prefix("/").unwrap_or(dir.path()));
    Checkpoint::open(name(&relative, 1)).unwrap();
}

#[test]
fn missing_and_renamed_parts() {
    let dir = write(&parts());
    for lost in 0..3 {
        let (lost_path, aside) = (name(dir.path(), lost), dir.path().join("aside"));
        fs::rename(&lost_path, &aside).unwrap();
        // What Git LFS leaves in its place.
        fs::write(&lost_path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
        let error = Checkpoint::open(name(dir.path(), (lost + 1) % 3)).unwrap_err();
        assert!(error.to_string().contains("git lfs pull"), "{error}");
        fs::remove_file(&lost_path).unwrap();
        for no in (0..3).filter(|no| *no != lost) {
            match Checkpoint::open(name(dir.path(), no)).unwrap_err() {
                SourceError::MissingPart { path, part, count } => {
                    assert_eq!((path, part, count), (lost_path.clone(), lost as u32 + 1, 3));
                }
                other => panic!("{other}"),
            }
        }
        fs::rename(&aside, &lost_path).unwrap();
    }
    for other in ["model.gguf", "tiny-model-00002-of-00003.gguf"] {
        let dir = write(&parts());
        let path = dir.path().join(other);
        fs::rename(name(dir.path(), 0), &path).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(
            matches!(&error, SourceError::PartName { path: p, part: 1, count: 3, .. } if *p == path),
            "{error}"
        );
        assert!(
            error.to_string().contains("-00001-of-00003.gguf"),
            "{error}"
        );
    }
}

/// Opens the parts from the first; the error must name that part's file.
fn fault(parts: &[Part], no: usize) -> SourceError {
    let dir = write(parts);
    let error = Checkpoint::open(name(dir.path(), 0)).unwrap_err();
    let path = name(dir.path(), no).display().to_string();
    assert!(error.to_string().starts_with(&path), "{error}");
    error
}

#[test]
fn disagreements_are_named_with_their_file() {
    for (no, key, value) in [
        (1, "split.no", OwnedValue::U16(2)),
        (2, "split.no", OwnedValue::U16(3)),
        (2, "split.count", OwnedValue::U16(4)),
        (0, "split.count", OwnedValue::U32(70_000)),
        (1, "split.tensors.count", OwnedValue::I32(10)),
    ] {
        let mut parts = parts();
        parts[no].set(key, value);
        let error = fault(&parts, no);
        assert!(
            matches!(&error, SourceError::Value { field, .. } if field == key),
            "{error}"
        );
    }
    for (no, key) in [(1, "split.no"), (2, "split.count")] {
        let mut parts = parts();
        parts[no].unset(key);
        let error = fault(&parts, no);
        assert!(
            matches!(&error, SourceError::Missing { field, .. } if field == key),
            "{error}"
        );
    }
    // A number that is no whole one, and a negative one.
    for value in [OwnedValue::F32(3.5), OwnedValue::I32(-1)] {
        let mut parts = parts();
        parts[1].set("split.tensors.count", value);
        let error = fault(&parts, 1);
        assert!(matches!(error, SourceError::GgufKey { .. }), "{error}");
    }

    let mut twice = parts();
    let copy = twice[1].tensors[2].clone();
    let name = copy.name.clone();
    twice[2].tensors.push(copy);
    match fault(&twice, 2) {
        SourceError::DuplicateTensor { tensor, first, .. } => {
            assert_eq!(tensor, name);
            assert!(first.ends_with("tiny-model-00002-of-00003.gguf"));
        }
        other => panic!("{other}"),
    }

    let mut wrong = parts();
    wrong[2].tensors[0].dims = vec![128, 24];
    assert!(matches!(fault(&wrong, 2), SourceError::Shape { .. }));

    let mut more = parts();
    let mut extra = more[1].tensors[0].clone();
    extra.name = "blk.0.other.weight".into();
    more[1].tensors.push(extra);
    for part in &mut more {
        part.unset("split.tensors.count");
    }
    assert!(matches!(fault(&more, 1), SourceError::UnknownTensor { .. }));
}

#[test]
fn truncated_and_altered_parts_are_errors_or_values() {
    let dir = write(&parts());
    let mut next = common::noise(5);
    let mut below = |n: usize| ((next() + 1.0) / 2.0 * (n - 1) as f32) as usize;
    for no in 0..3 {
        let path = name(dir.path(), no);
        let good = fs::read(&path).unwrap();
        for _ in 0..60 {
            // Without its last bytes, which may be padding, a part without tensors is whole.
            fs::write(&path, &good[..below(good.len() - 32)]).unwrap();
            let error = Checkpoint::open(name(dir.path(), 0)).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&path.display().to_string()), "{text}");
        }
        for _ in 0..400 {
            let mut bad = good.clone();
            for _ in 0..3 {
                bad[below(1500.min(good.len()))] = below(256) as u8;
            }
            fs::write(&path, &bad).unwrap();
            let Ok(c) = Checkpoint::open(name(dir.path(), below(3))) else {
                continue;
            };
            let mut out = Vec::new();
            for t in c.hyper().tensors() {
                let _ = c.read_rows(t, 0..1, &mut out);
            }
        }
        fs::write(&path, &good).unwrap();
    }
    Checkpoint::open(name(dir.path(), 2)).unwrap();
}
