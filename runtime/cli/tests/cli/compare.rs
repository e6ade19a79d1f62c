//! `carat compare`: the figures of `carat eval`, sorted, marked and drawn.

use crate::support::{carat, checkpoint, failure, json, model, text};
use std::fs;
use std::path::Path;

fn convert(folder: &Path, bits: &str) -> std::path::PathBuf {
    let file = folder.join(format!("{bits}<&>.gguf"));
    let mut convert = carat();
    convert
        .arg("convert")
        .arg(checkpoint())
        .arg("-o")
        .arg(&file);
    convert.args(["--bits", bits, "--method", "none", "--card-tokens", "0"]);
    convert.assert().success();
    file
}

#[test]
fn figures_are_those_of_eval() {
    let folder = tempfile::tempdir().unwrap();
    let (two, svg) = (convert(folder.path(), "2"), folder.path().join("plot.svg"));
    let protocol = ["--ctx", "64", "--chunks", "2", "--device", "cpu"];
    let compare = |reference: bool| {
        let mut c = carat();
        c.arg("compare").arg(checkpoint()).arg(model()).arg(&two);
        c.arg("--text").arg(text()).args(protocol);
        if reference {
            c.arg("--reference").arg(checkpoint());
        }
        c
    };
    let report = json(compare(true).arg("--json").arg("--svg").arg(&svg));
    let files = report["files"].as_array().unwrap();
    assert_eq!(report["chunks"], 2);
    let formats: Vec<&str> = files
        .iter()
        .map(|f| f["format"].as_str().unwrap())
        .collect();
    assert_eq!(formats, ["carat", "carat", "huggingface"], "by size");
    assert!(files.iter().all(|f| f["best"] == true));
    assert_eq!(files[0]["path"], two.to_str().unwrap());
    for file in files {
        let mut eval = carat();
        eval.arg("eval").arg(file["path"].as_str().unwrap());
        eval.arg("--text").arg(text()).args(protocol);
        eval.arg("--reference").arg(checkpoint());
        let expected = json(eval.arg("--json"));
        for key in [
            "ppl",
            "reference_ppl",
            "kl_mean",
            "kl_p99",
            "top1",
            "tokens",
        ] {
            assert_eq!(file[key], expected[key], "{key}");
        }
    }
    let drawing = fs::read_to_string(&svg).unwrap();
    assert_eq!(
        drawing.matches("<circle").count(),
        2,
        "no logarithm of no divergence"
    );
    assert!(drawing.contains("2&lt;&amp;&gt;") && !drawing.contains("2<&"));

    // The table, without a reference.
    let output = compare(false).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(table.lines().all(|l| l.chars().count() <= 80), "{table}");
    assert!(
        table.contains("perplexity") && !table.contains("KL"),
        "{table}"
    );
    assert_eq!(
        table
            .lines()
            .filter(|l| l.starts_with(['a', 'b', 'c']))
            .count(),
        3
    );

    let error = failure(compare(true).arg("--svg").arg(&svg), 1);
    assert!(error.contains("--force"), "{error}");
}

#[test]
fn what_cannot_be_compared_is_named() {
    let with = |file: &Path, args: &[&str]| {
        let mut c = carat();
        c.arg("compare").arg(model()).arg(file);
        c.arg("--text").arg(text()).args(args);
        c
    };
    let error = failure(&mut with("no-such-file".as_ref(), &[]), 1);
    assert!(error.contains("no-such-file"), "{error}");
    let error = failure(&mut with(model(), &["--ctx", "4096"]), 1);
    assert!(error.contains("context"), "{error}");
    let error = failure(&mut with(model(), &["--svg", "/no/such/folder/a.svg"]), 1);
    assert!(error.contains("/no/such/folder"), "{error}");
    failure(carat().arg("compare").arg("--text").arg(text()), 2);

    // A tokenizer in which two tokens have changed places.
    let other = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), other.path().join(entry.file_name())).unwrap();
    }
    let place = other.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (vocab["e"].clone(), vocab["t"].clone());
    vocab.insert("e".into(), b);
    vocab.insert("t".into(), a);
    fs::remove_file(&place).unwrap();
    fs::write(&place, tokenizer.to_string()).unwrap();
    let error = failure(&mut with(other.path(), &["--ctx", "64"]), 1);
    assert!(error.contains("tokenizer cuts"), "{error}");
}
