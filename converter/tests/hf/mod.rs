//! Directories with the bundled tokenizer's files, changed.
#![allow(dead_code)] // No test file uses all of it.

use carat_converter::hf_tokenizer::HfTokenizer;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

pub fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

/// A directory with these files.
pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// The bundled tokenizer's files with changes to tokenizer.json, tokenizer_config.json, config.json and
/// generation_config.json.
pub fn changed(change: impl FnOnce(&mut [Value; 4])) -> TempDir {
    let names = [
        "tokenizer.json",
        "tokenizer_config.json",
        "config.json",
        "generation_config.json",
    ];
    let mut files = names.map(|name| {
        let text = std::fs::read_to_string(root("examples/models/facet-6m").join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    });
    change(&mut files);
    let texts = files.map(|f| f.to_string());
    directory(&[0, 1, 2, 3].map(|i| (names[i], texts[i].as_str())))
}

pub fn load(dir: &TempDir) -> HfTokenizer {
    HfTokenizer::load(dir.path()).unwrap()
}

pub fn fault(dir: &TempDir) -> String {
    HfTokenizer::load(dir.path()).unwrap_err().to_string()
}
