//! Hugging Face directories: tied or not by what is stored; backbones alone; how embedding models pool.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::source::{Checkpoint, SourceError};
use carat_format::{Pooling, Tensor};
use common::{config, tensors};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Writes the made-up checkpoint, `tied` as its configuration says it, without the tensors `left_out`, the head's noise
/// that of the embedding if they are `equal`.
fn write(tied: Value, left_out: &[&str], equal: bool) -> tempfile::TempDir {
    let mut c = config();
    c["tie_word_embeddings"] = tied;
    let mut list = tensors();
    list.retain(|(name, _)| !left_out.contains(&name.as_str()));
    let dir = common::checkpoint(&c, &list);
    if equal {
        let path = dir.path().join("model.safetensors");
        let mut file = fs::read(&path).unwrap();
        let start = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&file[8..start]).unwrap();
        let place = |name: &str| {
            let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
            start + at(0)..start + at(1)
        };
        file.copy_within(place(EMBEDDING), place(HEAD).start);
        fs::write(path, file).unwrap();
    }
    dir
}

fn read(c: &Checkpoint, tensor: Tensor) -> Vec<f32> {
    let mut out = Vec::new();
    c.read_rows(tensor, 0..c.hyper().shape(tensor).0, &mut out)
        .unwrap();
    out
}

#[test]
fn what_is_stored_decides_whether_the_head_is_the_embedding() {
    let truth = Checkpoint::open(write(json!(false), &[], false).path()).map(|_| ());
    truth.unwrap();
    for tied in [json!(true), json!(false), Value::Null] {
        // Both, and different: the head is used.
        let dir = write(tied.clone(), &[], false);
        let c = Checkpoint::open(dir.path()).unwrap();
        assert!(!c.hyper().tied, "{tied}");
        assert_ne!(read(&c, Tensor::Output), read(&c, Tensor::TokenEmbedding));
        let noted = c.notes().iter().any(|n| n.contains("tie_word_embeddings"));
        assert_eq!(noted, tied == json!(true));
        // Both, and equal: stored once.
        let dir = write(tied.clone(), &[], true);
        let c = Checkpoint::open(dir.path()).unwrap();
        assert!(c.hyper().tied && !c.hyper().headless, "{tied}");
        assert!(c.notes().is_empty());
    }
    // A lone head serves both, where the model is tied.
    let dir = write(json!(true), &[EMBEDDING], false);
    let c = Checkpoint::open(dir.path()).unwrap();
    assert!(c.hyper().tied && !c.hyper().headless);
    let whole = write(json!(true), &[], false);
    let whole = Checkpoint::open(whole.path()).unwrap();
    assert_eq!(
        read(&c, Tensor::TokenEmbedding),
        read(&whole, Tensor::Output)
    );
    for tied in [json!(false), Value::Null] {
        let error = Checkpoint::open(write(tied, &[EMBEDDING], false).path()).unwrap_err();
        assert!(
            matches!(&error, SourceError::MissingTensor { tensor, .. } if tensor == EMBEDDING),
            "{error}"
        );
    }
    // A head of another shape is no embedding.
    let mut list = tensors();
    list.iter_mut().find(|(n, _)| n == HEAD).unwrap().1 = vec![21, 16];
    let mut c = config();
    c["tie_word_embeddings"] = json!(true);
    let error = Checkpoint::open(common::checkpoint(&c, &list).path()).unwrap_err();
    assert!(matches!(error, SourceError::Shape { .. }), "{error}");
}

#[test]
fn a_backbone_alone_has_no_head() {
    let c = Checkpoint::open(write(json!(false), &[HEAD], false).path()).unwrap();
    assert!(c.hyper().headless && c.hyper().tied);
    assert!(
        c.notes().iter().any(|n| n.contains(HEAD)),
        "{:?}",
        c.notes()
    );
    assert!(c.hyper().spec(0).headless);
    // With the names that such checkpoints have.
    let mut c = config();
    c["architectures"] = json!(["LlamaModel"]);
    let mut list = tensors();
    list.retain(|(name, _)| name != HEAD);
    for (name, _) in &mut list {
        *name = name.trim_start_matches("model.").into();
    }
    let bare = Checkpoint::open(common::checkpoint(&c, &list).path()).unwrap();
    assert!(bare.hyper().headless);
    // Tied, it has the embedding.
    c["tie_word_embeddings"] = json!(true);
    let tied = Checkpoint::open(common::checkpoint(&c, &list).path()).unwrap();
    assert!(tied.hyper().tied && !tied.hyper().headless);
}

const LIBRARY: &str = "sentence_transformers.models.";

fn modules(names: &[(&str, &str)]) -> String {
    let step = |(i, (name, path)): (usize, &(&str, &str))| json!({"idx": i, "name": i.to_string(), "path": path, "type": format!("{LIBRARY}{name}")});
    Value::from_iter(names.iter().enumerate().map(step)).to_string()
}

fn pooling_config(on: &[&str]) -> Value {
    let mut config = json!({"word_embedding_dimension": 16, "include_prompt": true});
    for kind in [
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    ] {
        config[format!("pooling_mode_{kind}")] = json!(on.contains(&kind));
    }
    config
}

/// The pooling of the checkpoint with these files of sentence-transformers.
fn pooling(modules: Option<&str>, config: Option<&Value>) -> Result<Option<Pooling>, SourceError> {
    let dir = write(json!(true), &[HEAD], false);
    let put = |name: &Path, text: &str| fs::write(dir.path().join(name), text).unwrap();
    if let Some(text) = modules {
        put(Path::new("modules.json"), text);
    }
    if let Some(config) = config {
        fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        put(Path::new("1_Pooling/config.json"), &config.to_string());
    }
    Checkpoint::open(dir.path()).map(|c| c.hyper().pooling)
}

#[test]
fn the_pooling_of_sentence_transformers() {
    let usual = modules(&[
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        ("Normalize", "2_Normalize"),
    ]);
    for (on, expected) in [
        ("lasttoken", Pooling::Last),
        ("mean_tokens", Pooling::Mean),
        ("cls_token", Pooling::Cls),
    ] {
        let config = pooling_config(&[on]);
        for modules in [Some(usual.as_str()), None] {
            let found = pooling(modules, Some(&config)).unwrap();
            assert_eq!(found, Some(expected), "{on}");
        }
    }
    // The newer way to say it, a byte-order mark, and the mean where nothing is said.
    let newer = json!({"pooling_mode": "lasttoken"});
    let marked = format!("\u{feff}{usual}");
    assert_eq!(
        pooling(Some(&marked), Some(&newer)).unwrap(),
        Some(Pooling::Last)
    );
    assert_eq!(
        pooling(Some(&usual), Some(&json!({}))).unwrap(),
        Some(Pooling::Mean)
    );
    // Without a step that pools nothing is said.
    let none = modules(&[("Transformer", "")]);
    assert_eq!(pooling(Some(&none), None).unwrap(), None);
    assert_eq!(pooling(None, None).unwrap(), None);
}

#[test]
fn other_poolings_and_steps_are_refused_by_name() {
    let usual = modules(&[("Transformer", ""), ("Pooling", "1_Pooling")]);
    let refused = |modules: &str, config: Option<&Value>, words: &[&str]| {
        let error = pooling(Some(modules), config).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    };
    let mean = pooling_config(&["mean_tokens"]);
    for (on, named) in [
        (&["max_tokens"][..], "pooling_mode_max_tokens"),
        (&["weightedmean_tokens"], "pooling_mode_weightedmean_tokens"),
        (&["cls_token", "mean_tokens"], "pooling_mode_mean_tokens"),
        (&[], "pooling_mode_mean_tokens"),
    ] {
        let config = pooling_config(on);
        refused(&usual, Some(&config), &["1_Pooling", named]);
    }
    let newer = json!({"pooling_mode": "max"});
    refused(&usual, Some(&newer), &["pooling_mode", "max"]);
    let dense = modules(&[
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        ("Dense", "2_Dense"),
    ]);
    refused(&dense, Some(&mean), &["modules.json", "Dense"]);
    for path in ["../1_Pooling", "", "/etc", "a/b", ".."] {
        let away = modules(&[("Transformer", ""), ("Pooling", path)]);
        refused(&away, Some(&mean), &["[1].path"]);
    }
    refused("{}", Some(&mean), &["modules.json", "list"]);
    refused("[3]", Some(&mean), &["modules.json", "[0]"]);
    refused("[", Some(&mean), &["modules.json", "JSON"]);
    // The step's file is missing.
    refused(&usual, None, &["1_Pooling", "no such file"]);
}
