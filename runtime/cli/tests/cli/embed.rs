//! `carat embed`.

use crate::support::{carat, failure, json, model, text};
use serde_json::Value;
use std::fs;

fn embed(text: &std::path::Path) -> assert_cmd::Command {
    let mut c = carat();
    c.arg("embed").arg(model()).arg("--text").arg(text);
    c.args(["--device", "cpu"]);
    c
}

#[test]
fn one_vector_a_text_or_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lines.txt");
    fs::write(&file, "The sea was calm.\nA stranger came to the inn.\n").unwrap();
    let report = json(embed(&file).args(["--lines", "--json"]));
    assert_eq!(report["pooling"], "mean");
    let rows = report["embeddings"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let dimensions = report["dimensions"].as_u64().unwrap() as usize;
    for row in rows {
        let vector: Vec<f64> = serde_json::from_value(row["embedding"].clone()).unwrap();
        let integers: Vec<i64> = serde_json::from_value(row["integers"].clone()).unwrap();
        assert_eq!((vector.len(), integers.len()), (dimensions, dimensions));
        let length: f64 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert_ne!(rows[0]["integers"], rows[1]["integers"]);

    let plain = embed(&file).arg("--lines").output().unwrap();
    let lines = String::from_utf8(plain.stdout).unwrap();
    let vectors: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(vectors.len(), 2);
    assert_eq!(vectors[1], rows[1]["embedding"]);

    fs::write(&file, "A stranger came to the inn.").unwrap();
    let alone = json(embed(&file).args(["--json", "--threads", "1"]));
    assert_eq!(alone["embeddings"][0], rows[1]);
    let last = json(embed(&file).args(["--json", "--pooling", "last"]));
    assert_ne!(last["hash"], alone["hash"]);
    let input = json(
        carat()
            .arg("embed")
            .arg(model())
            .args(["--text", "-", "--json", "--device", "cpu"])
            .write_stdin("A stranger came to the inn."),
    );
    assert_eq!(input["hash"], alone["hash"]);
}

#[test]
fn texts_without_a_vector() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("long.txt");
    fs::write(&file, fs::read_to_string(text()).unwrap().repeat(4)).unwrap();
    let error = failure(&mut embed(&file), 1);
    assert!(
        error.contains("long.txt") && error.contains("--lines"),
        "{error}"
    );
    assert!(failure(embed(&file).args(["--pooling", "max"]), 2).contains("mean"));
    let error = failure(&mut embed(&directory.path().join("none")), 1);
    assert!(error.contains("No such file"), "{error}");
}
