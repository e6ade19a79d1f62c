//! `carat convert --report DIR`: the page and its figures.

use crate::support::{carat, checkpoint, failure, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Every element is closed by its own end, in order.
fn is_balanced(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag.split([' ', '/']).next().unwrap();
        if let Some(end) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(end), "{part}");
        } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn convert(source: &Path, folder: &Path, args: &[&str]) -> (Value, String) {
    let mut c = carat();
    c.arg("convert")
        .arg(source)
        .arg("-o")
        .arg(folder.join("m.gguf"));
    c.arg("--report").arg(folder.join("report")).args(args);
    c.assert().success();
    let json = fs::read(folder.join("report/report.json")).unwrap();
    let page = fs::read_to_string(folder.join("report/index.html")).unwrap();
    is_balanced(&page);
    assert!(!page.contains("NaN") && !page.contains(">inf"));
    (serde_json::from_slice(&json).unwrap(), page)
}

#[test]
fn a_calibrated_conversion_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let calib = text();
    let args = ["--target-bpw", "3", "--calib-tokens", "256", "--calib"];
    let args = [&args[..], &[calib.to_str().unwrap()]].concat();
    let (report, page) = convert(&checkpoint(), folder.path(), &args);
    let tensors = report["tensors"].as_array().unwrap();
    for tensor in tensors.iter().filter(|t| !t["group"].is_null()) {
        let name = tensor["name"].as_str().unwrap();
        assert!(page.contains(&format!("<td>{name}</td>")), "{name}");
        assert!(tensor["sensitivity"].as_f64().unwrap() > 0.0, "{name}");
        let error = tensor["output_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 1.5, "{name}: {error}");
        let inputs = &tensor["inputs"];
        assert!(inputs["max"].as_f64() > inputs["rms"].as_f64(), "{name}");
    }
    let predicted = report["predicted"].as_array().unwrap();
    let kl: Vec<f64> = predicted
        .iter()
        .map(|p| p["kl"].as_f64().unwrap())
        .collect();
    assert!(kl.len() > 5 && kl.is_sorted_by(|a, b| a > b), "{kl:?}");
    for title in [
        "Divergence by size",
        "Sensitivity",
        "Largest magnitude",
        "Bytes by kind",
        "Seconds",
    ] {
        assert!(page.contains(title), "{title}");
    }
    let stages = report["stages"].as_array().unwrap();
    assert!(stages.iter().any(|s| s["name"] == "sensitivities"));
}

#[test]
fn a_name_of_a_file_cannot_write_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("<img src=x>&");
    fs::create_dir(&source).unwrap();
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), source.join(entry.file_name())).unwrap();
    }
    let (report, page) = convert(&source, folder.path(), &["--bits", "2", "--method", "none"]);
    assert!(!page.contains("<img"));
    assert!(page.contains("Error of the weights") && !page.contains("Error of the outputs"));
    assert!(report["predicted"].as_array().unwrap().is_empty());

    // What is there is not replaced.
    let mut again = carat();
    again
        .arg("convert")
        .arg(&source)
        .arg("-o")
        .arg(folder.path().join("n.gguf"));
    let error = failure(again.arg("--report").arg(folder.path().join("report")), 1);
    assert!(error.contains("--force"), "{error}");
    assert!(!folder.path().join("n.gguf").exists());
}
