//! `carat tokenize`: the library's ids, through every way to name a text and a model.

use crate::support::{carat, checkpoint, failure, json, model, text};
use serde_json::json;
use std::fs;
use std::path::Path;

fn ids(line: &[u8]) -> Vec<u64> {
    let line = std::str::from_utf8(line).unwrap();
    line.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

#[test]
fn a_text_has_the_same_ids_everywhere() {
    let tokenize = |model: &Path| {
        let mut c = carat();
        c.arg("tokenize").arg(model).arg("--text").arg(text());
        c
    };
    let plain = tokenize(model()).output().unwrap();
    assert!(plain.status.success());
    let found = ids(&plain.stdout);
    assert!(found.len() > 20);
    let report = json(tokenize(model()).arg("--json"));
    assert_eq!(report["ids"], json!(found));
    let pieces: String = report["pieces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    assert_eq!(pieces, fs::read_to_string(text()).unwrap());
    assert_eq!(
        json(tokenize(&checkpoint()).arg("--json"))["ids"],
        json!(found)
    );
    let piped = carat()
        .args(["tokenize", "--text", "-"])
        .arg(model())
        .write_stdin(fs::read(text()).unwrap())
        .output()
        .unwrap();
    assert_eq!(ids(&piped.stdout), found);
    // What `carat run` does with a prompt.
    let run = json(
        carat()
            .arg("run")
            .arg(model())
            .arg("-f")
            .arg(text())
            .args(["-n", "0", "--device", "cpu", "--json"]),
    );
    assert_eq!(
        run["prompt_ids"],
        json(tokenize(model()).args(["--json", "--bos"]))["ids"]
    );
}

#[test]
fn only_special_spells_control_tokens() {
    let count = |flags: &[&str]| {
        let output = carat()
            .args(["tokenize", "--text", "-"])
            .arg(checkpoint())
            .args(flags)
            .write_stdin("a<|end_of_text|>b")
            .output()
            .unwrap();
        assert!(output.status.success());
        ids(&output.stdout).len()
    };
    assert!(count(&["--special"]) < count(&[]));
}

/// llama.cpp's vectors, of vocabulary-only files.
#[test]
fn vocabularies_without_weights() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracles/tokenizers");
    if !directory.exists() {
        eprintln!(
            "ABSENT: {}, the check against it is skipped",
            directory.display()
        );
        return;
    }
    for name in ["llama-spm", "qwen2"] {
        let file = directory.join(format!("ggml-vocab-{name}.gguf"));
        let side =
            |end: &str| fs::read_to_string(file.with_extension(format!("gguf.{end}"))).unwrap();
        let (inputs, outputs) = (side("inp"), side("out"));
        let cases = inputs.split("\n__ggml_vocab_test__\n").zip(outputs.lines());
        // Each case starts the program: some of them are enough.
        for (text, expected) in cases.step_by(9) {
            let output = carat()
                .args(["tokenize", "--text", "-"])
                .arg(&file)
                .write_stdin(text)
                .output()
                .unwrap();
            assert_eq!(
                ids(&output.stdout),
                ids(expected.as_bytes()),
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn faults_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = directory.path().join("latin1.txt");
    fs::write(&bytes, b"caf\xe9").unwrap();
    let error = |model: &Path, text: &Path| {
        failure(
            carat().arg("tokenize").arg(model).arg("--text").arg(text),
            1,
        )
    };
    assert!(error(model(), &bytes).contains("byte 3"));
    assert!(error(model(), Path::new("missing.txt")).contains("missing.txt"));
    assert!(error(Path::new("missing.gguf"), &text()).contains("missing.gguf"));
    assert!(error(directory.path(), &text()).contains("tokenizer.json"));
    assert!(error(&text(), &text()).contains("not a GGUF"));
}
