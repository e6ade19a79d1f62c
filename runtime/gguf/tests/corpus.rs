//! The seeds of the fuzz target, replayed on each run of the tests.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carat_gguf::fuzzing::drive;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse")
}

/// The seeds that tests/common makes: valid files of each version and each attack.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds: BTreeMap<_, _> = common::cases::cases()
        .into_iter()
        .filter(|case| case.total_len == case.bytes.len() as u64)
        .map(|case| (case.name.to_string(), case.bytes))
        .collect();
    for version in 1..=3 {
        seeds.insert(format!("valid-v{version}"), common::valid(version));
    }
    seeds
}

#[test]
fn the_corpus_replays() {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        files.insert(name, std::fs::read(path).unwrap());
    }
    for (name, bytes) in &files {
        assert_eq!(drive(bytes), name.starts_with("valid-"), "{name}");
    }
    for (name, bytes) in seeds() {
        let found = files.get(&name);
        assert!(
            found == Some(&bytes),
            "{name}: run the ignored test write_corpus"
        );
    }
    assert!(files.len() <= 60, "{} seeds", files.len());
    assert!(files.values().map(Vec::len).sum::<usize>() <= 200_000);
}

#[test]
#[ignore = "writes the seeds into fuzz/corpus"]
fn write_corpus() {
    std::fs::create_dir_all(folder()).unwrap();
    for (name, bytes) in seeds() {
        std::fs::write(folder().join(name), bytes).unwrap();
    }
}
