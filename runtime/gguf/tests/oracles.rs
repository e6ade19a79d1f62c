//! Real files, beside the repository where they are present.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use std::path::{Path, PathBuf};

use carat_gguf::{Header, Parse, TensorType, parse};

/// The folder of the oracles; `None`, loudly, where there is none.
fn oracles() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!(
        "ABSENT: {} (real GGUF files); this test checks nothing",
        path.display()
    );
    None
}

fn whole(bytes: &[u8]) -> Header<'_> {
    match parse(bytes, bytes.len() as u64) {
        Ok(Parse::Complete(header)) => header,
        other => panic!("{other:?}"),
    }
}

fn ggufs(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "gguf"))
        .collect();
    files.sort();
    files
}

#[test]
fn vocabularies_parse() {
    let Some(oracles) = oracles() else { return };
    let files = ggufs(&oracles.join("tokenizers"));
    assert!(files.len() >= 8, "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let header = whole(&bytes);
        let tokens = header.str_array("tokenizer.ggml.tokens").unwrap();
        let types = header.array_of::<i32>("tokenizer.ggml.token_type").unwrap();
        assert!(
            tokens.len() > 1000 && tokens.len() == types.len(),
            "{path:?}"
        );
        assert_eq!(tokens.map(str::len).filter(|n| *n > 10_000).count(), 0);
        assert!(carat_gguf::fuzzing::drive(&bytes));

        // A reader over a network starts with 4096 bytes and doubles at least.
        let (mut have, mut requests) = (4096, 1);
        while let Parse::NeedMore(n) = parse(&bytes[..have], bytes.len() as u64).unwrap() {
            (have, requests) = (n as usize, requests + 1);
        }
        assert!(
            requests <= 2 + (bytes.len() / 4096).ilog2(),
            "{path:?}: {requests} requests"
        );
    }
}

#[test]
fn tensors_of_every_type_parse() {
    let Some(oracles) = oracles() else { return };
    let files = ggufs(&oracles.join("tiny256"));
    assert!(files.len() >= 11, "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let header = whole(&bytes);
        assert!(
            header.tensors().iter().all(|t| t.size.is_some()),
            "{path:?}"
        );
        // Data that fills the file but for padding: the sizes of the types are those of ggml.
        let end = header
            .tensors()
            .iter()
            .filter_map(|t| Some(t.range()?.end))
            .max()
            .unwrap();
        assert!(bytes.len() as u64 - end < header.alignment(), "{path:?}");
        let mut starts: Vec<_> = header
            .tensors()
            .iter()
            .map(|t| t.range().unwrap())
            .collect();
        starts.sort_by_key(|r| r.start);
        for pair in starts.windows(2) {
            assert_eq!(
                pair[0].end.next_multiple_of(header.alignment()),
                pair[1].start,
                "{path:?}"
            );
        }
        assert!(carat_gguf::fuzzing::drive(&bytes));
    }
}

#[test]
fn version_1_and_version_3_of_a_model_agree() {
    let Some(oracles) = oracles() else { return };
    let mut files = ggufs(&oracles.join("stories260k"));
    files.retain(|p| p.to_str().unwrap().ends_with("f32.gguf"));
    let [v1, v3] = files.try_into().expect("one file of each version");
    let (v1, v3) = (std::fs::read(v1).unwrap(), std::fs::read(v3).unwrap());
    let (h1, h3) = (whole(&v1), whole(&v3));
    assert_eq!((h1.version(), h3.version()), (1, 3));
    for (key, value) in h1.metadata() {
        assert_eq!(h3.get(key), Some(value), "{key}");
    }
    assert_eq!(h1.tensors().len(), h3.tensors().len());
    for a in h1.tensors() {
        let b = h3.tensor(a.name).unwrap();
        assert_eq!((a.dims, a.ty, a.size), (b.dims, b.ty, b.size), "{}", a.name);
        assert_eq!(a.ty, TensorType::F32);
        let data = |bytes: &[u8], r: std::ops::Range<u64>| {
            bytes[r.start as usize..r.end as usize].to_vec()
        };
        assert!(
            data(&v1, a.range().unwrap()) == data(&v3, b.range().unwrap()),
            "{}",
            a.name
        );
    }
}
