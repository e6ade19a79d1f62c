//! Adapters: `--lora`, and `carat inspect` of one.

use crate::support::{carat, checkpoint, failure, json, model};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A directory of PEFT for the bundled model's queries: one pair for each of `blocks`, of width 256, with `B` of a size.
fn adapter(directory: &Path, blocks: u32, size: f32) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    let mut state = 7u32;
    for block in 0..blocks {
        for (side, shape, most) in [("A", [2, 256], 0.06), ("B", [256, 2], size)] {
            let start = data.len();
            for _ in 0..512 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = (f64::from(state) / f64::from(1u32 << 31) - 1.0) as f32 * most;
                data.extend(value.to_le_bytes());
            }
            let tensor = serde_json::json!(
                {"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}
            );
            let module = format!("base_model.model.model.layers.{block}.self_attn.q_proj");
            header.insert(format!("{module}.lora_{side}.weight"), tensor);
        }
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    fs::write(directory.join("adapter_model.safetensors"), bytes).unwrap();
    let config =
        r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "facet"}"#;
    fs::write(directory.join("adapter_config.json"), config).unwrap();
}

fn run(adapters: &[String]) -> Value {
    let mut c = carat();
    c.arg("run").arg(model());
    c.args([
        "The sea was",
        "-n",
        "12",
        "--temp",
        "0",
        "--json",
        "--device",
        "cpu",
    ]);
    for adapter in adapters {
        c.args(["--lora", adapter]);
    }
    json(&mut c)
}

#[test]
fn adapters_change_a_text_by_their_strength() {
    let directory = tempfile::tempdir().unwrap();
    adapter(directory.path(), 2, 0.3);
    let path = directory.path().display().to_string();
    let of = |adapters: &[String]| run(adapters)["logits_hash"].clone();
    let plain = of(&[]);
    let one = of(std::slice::from_ref(&path));
    assert_ne!(plain, one);
    assert_eq!(one, of(&[format!("{path}:1")]));
    assert_eq!(plain, of(&[format!("{path}:0")]));
    assert_ne!(one, of(&[format!("{path}:0.5")]));
    assert_eq!(one, of(&[path.clone(), format!("{path}:0")]));
}

#[test]
fn adapters_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let error = |value: &str, code: i32| {
        let mut c = carat();
        c.arg("run")
            .arg(model())
            .args(["The", "-n", "1", "--lora", value]);
        failure(&mut c, code)
    };
    let path = directory.path().display().to_string();
    assert!(error(&path, 1).contains("no adapter is there"));
    assert!(error(&format!("{path}:99"), 2).contains("-16 to 16"));
    adapter(directory.path(), 99, 0.3);
    let absent = error(&path, 1);
    assert!(
        absent.contains("blk.") && absent.contains("another model"),
        "{absent}"
    );
    let file = directory.path().join("adapter_model.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(error(&path, 1).contains("safetensors"));
}

#[test]
fn what_an_adapter_holds() {
    let directory = tempfile::tempdir().unwrap();
    adapter(directory.path(), 2, 0.001);
    let inspect = || {
        let mut c = carat();
        c.arg("inspect").arg(directory.path());
        c
    };
    let report = json(inspect().arg("--json"));
    assert_eq!(report["format"], "adapter");
    assert_eq!(
        (&report["rank"], &report["alpha"]),
        (&2.into(), &4.0.into())
    );
    assert_eq!(report["base"], "facet");
    let matrices = report["matrices"].as_array().unwrap();
    assert_eq!(matrices.len(), 2);
    assert_eq!(matrices[1]["name"], "blk.1.attn_q");
    assert_eq!(matrices[0]["factor"], 2.0);
    assert!(matrices[0].get("intruders").is_none());
    for base in [checkpoint(), model().to_path_buf()] {
        // What is small leaves the matrix's own directions.
        let report = json(inspect().arg("--json").arg("--base").arg(&base));
        assert_eq!(report["intruders"], 0, "{report}");
        let cosines = report["matrices"][0]["cosines"].as_array().unwrap();
        assert_eq!(cosines.len(), 10);
    }
    // What is large has two directions of its own in each matrix.
    adapter(directory.path(), 2, 30.0);
    let report = json(inspect().arg("--json").arg("--base").arg(checkpoint()));
    assert_eq!(report["intruders"], 4, "{report}");
    let text = inspect().arg("--base").arg(checkpoint()).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("blk.1.attn_q") && text.contains("4 of the 20"),
        "{text}"
    );
    let error = failure(inspect().arg("--verify"), 2);
    assert!(error.contains("--verify"), "{error}");
}
