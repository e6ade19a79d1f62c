//! `carat embed`.

use crate::support::{carat, checkpoint, failure, json, model, text};
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

/// The bundled checkpoint without a head, and what sentence-transformers keeps beside one that embeds.
fn backbone(directory: &std::path::Path, pooling: &str) {
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
    }
    let path = directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["architectures"] = "LlamaModel".into();
    config["tie_word_embeddings"] = false.into();
    fs::write(&path, config.to_string()).unwrap();
    fs::create_dir(directory.join("1_Pooling")).unwrap();
    let config = format!(
        r#"{{"pooling_mode_mean_tokens": false, "pooling_mode_{pooling}": true, "word_embedding_dimension": 256}}"#
    );
    fs::write(directory.join("1_Pooling/config.json"), config).unwrap();
    let modules = r#"[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;
    fs::write(directory.join("modules.json"), modules).unwrap();
}

#[test]
fn a_backbone_embeds_as_it_pools_and_generates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("backbone");
    fs::create_dir(&source).unwrap();
    backbone(&source, "lasttoken");
    let text = directory.path().join("text.txt");
    fs::write(&text, "A stranger came to the inn.").unwrap();
    let file = directory.path().join("backbone.gguf");
    let output = carat()
        .arg("convert")
        .arg(&source)
        .arg("-o")
        .arg(&file)
        .args(["--method", "none"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("lm_head.weight"),
        "{said}"
    );

    let embed = |of: &std::path::Path| {
        let mut c = carat();
        c.arg("embed").arg(of).arg("--text").arg(&text);
        c.args(["--device", "cpu", "--json"]);
        c
    };
    // What the checkpoint says is the default; the weights are those of the model with a head.
    let own = json(&mut embed(&file));
    assert_eq!(own["pooling"], "last");
    let asked = json(embed(model()).args(["--pooling", "last"]));
    assert_eq!(own["hash"], asked["hash"]);
    let mean = json(embed(&file).args(["--pooling", "mean"]));
    assert_eq!(mean["hash"], json(&mut embed(model()))["hash"]);
    // A vector for each token.
    let each = json(embed(&file).args(["--pooling", "none"]));
    let rows = each["embeddings"].as_array().unwrap();
    assert_eq!(
        rows.len() as u64,
        own["embeddings"][0]["tokens"].as_u64().unwrap()
    );
    assert_eq!(
        rows[rows.len() - 1]["integers"],
        own["embeddings"][0]["integers"]
    );
    assert_eq!(rows[1]["token"], 1);
    let first = json(embed(&file).args(["--pooling", "cls"]));
    assert_eq!(rows[0]["integers"], first["embeddings"][0]["integers"]);

    // The file says so, and nothing that needs predictions takes it; a checkpoint is refused before it is converted.
    let report = json(carat().arg("inspect").arg(&file).arg("--json"));
    assert_eq!(
        (
            &report["model"]["headless"],
            &report["model"]["pooling"],
            &report["card"]
        ),
        (&true.into(), &"last".into(), &Value::Null)
    );
    for of in [&file, &source] {
        for rest in [
            &["run", "-p", "Hi"][..],
            &["chat"],
            &["logits", "--tokens", "1,2"],
            &["eval", "--text", text.to_str().unwrap()],
            &["compare", "--text", text.to_str().unwrap()],
        ] {
            let mut c = carat();
            c.arg(rest[0]).arg(of).args(&rest[1..]);
            let error = failure(&mut c, 1);
            assert!(
                error.contains("lm_head.weight") && error.contains("carat embed"),
                "{rest:?}: {error}"
            );
        }
    }
}
