//! What people give for a model that is none: what it is, and what to do.

use crate::support::{carat, checkpoint, failure, text};
use carat_gguf::{TensorType, Writer};
use std::fs;
use std::path::Path;

/// A GGUF file with these texts and a tensor.
fn gguf(path: &Path, texts: &[(&str, &str)], numbers: &[(&str, u32)], tensor: &str) {
    let mut writer = Writer::new();
    for (key, value) in texts {
        writer.kv(*key, *value).unwrap();
    }
    for (key, value) in numbers {
        writer.kv(*key, *value).unwrap();
    }
    writer.tensor(tensor, &[4, 2], TensorType::F32, 32).unwrap();
    let layout = writer.finish().unwrap();
    let mut bytes = layout.header.clone();
    bytes.resize(layout.file_len as usize, 0);
    fs::write(path, bytes).unwrap();
}

/// The answers of every command that opens a model.
fn errors(path: &Path) -> Vec<String> {
    let out = path.with_extension("out");
    let commands = [
        "run", "chat", "convert", "eval", "logits", "compare", "embed", "bench",
    ];
    let errors = commands.map(|command| {
        let mut c = carat();
        c.arg(command).arg(path).write_stdin("");
        match command {
            "run" => c.arg("hi"),
            "convert" => c.arg("-o").arg(&out),
            "eval" | "compare" | "embed" => c.arg("--text").arg(text()),
            "logits" => c.args(["--tokens", "1"]),
            _ => &mut c,
        };
        let error = failure(&mut c, 1);
        assert!(!out.exists());
        format!("{command}: {error}")
    });
    errors.to_vec()
}

fn check(path: &Path, what: &str, remedy: &str) {
    for error in errors(path) {
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains(what) && error.contains(remedy), "{error}");
    }
}

#[test]
fn files_beside_models() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mmproj = [("general.architecture", "clip"), ("general.type", "mmproj")];
    gguf(&at("mmproj.gguf"), &mmproj, &[], "v.patch_embd.weight");
    check(&at("mmproj.gguf"), "projector", "the model's own file");
    // Older files have no type.
    gguf(&at("clip.gguf"), &mmproj[..1], &[], "v.patch_embd.weight");
    check(&at("clip.gguf"), "projector", "the model's own file");
    let lora = [
        ("general.architecture", "llama"),
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
    ];
    gguf(&at("lora.gguf"), &lora, &[], "blk.0.attn_q.weight.lora_a");
    check(&at("lora.gguf"), "LoRA adapter", "merge it");
    let imatrix = [("general.type", "imatrix")];
    gguf(
        &at("imatrix.gguf"),
        &imatrix,
        &[],
        "blk.0.attn_q.weight.in_sum2",
    );
    check(&at("imatrix.gguf"), "importance matrix", "give the model");
    let old = [
        &2u32.to_le_bytes()[..],
        &18u32.to_le_bytes(),
        b"blk.0.attn_q.weight\0\0",
    ]
    .concat();
    fs::write(at("imatrix.dat"), old).unwrap();
    check(&at("imatrix.dat"), "importance matrix", "give the model");
    for architecture in ["llama", "qwen3moe"] {
        let key = format!("{architecture}.expert_count");
        let texts = [("general.architecture", architecture)];
        gguf(
            &at("moe.gguf"),
            &texts,
            &[(&key, 8)],
            "blk.0.ffn_gate_exps.weight",
        );
        check(&at("moe.gguf"), "8 experts", "dense model");
    }
}

#[test]
fn files_that_were_fetched_wrongly() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for (name, bytes, what, remedy) in [
        ("empty.gguf", "", "an empty file", "fetch it again"),
        ("pointer.gguf", pointer, "Git LFS", "git lfs pull"),
        (
            "page.gguf",
            "<!DOCTYPE html><html>",
            "a web page",
            "/resolve/",
        ),
        (
            "letter.txt",
            "It was a dark night.",
            "a text file",
            "path right",
        ),
        (
            "model.safetensors",
            "\u{8}\0\0\0\0\0\0\0{}",
            "config.json",
            "give the directory",
        ),
        ("model.pt", "PK\u{3}\u{4}", "pickle", "safetensors"),
    ] {
        fs::write(at(name), bytes).unwrap();
        check(&at(name), what, remedy);
    }
    // A header that was cut, anywhere.
    let mut writer = Writer::new();
    writer.kv("general.architecture", "llama").unwrap();
    let tokens: Vec<&str> = vec!["token"; 100];
    writer.kv("tokenizer.ggml.tokens", &tokens[..]).unwrap();
    writer
        .tensor("token_embd.weight", &[4, 2], TensorType::F32, 32)
        .unwrap();
    let layout = writer.finish().unwrap();
    for len in (24..layout.header.len()).step_by(97) {
        fs::write(at("cut.gguf"), &layout.header[..len]).unwrap();
        let error = failure(carat().arg("run").arg(at("cut.gguf")).arg("hi"), 1);
        assert!(error.contains("was cut"), "{len}: {error}");
    }
}

#[test]
fn directories_that_are_no_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    check(
        &at("empty"),
        "a directory without config.json",
        "expected a Hugging Face directory",
    );
    let adapter = at("adapter");
    let config = r#"{"peft_type": "LORA", "base_model_name_or_path": "org/Base-1B"}"#;
    fs::write(adapter.join("adapter_config.json"), config).unwrap();
    fs::write(adapter.join("adapter_model.safetensors"), "x").unwrap();
    check(
        &adapter,
        "a LoRA adapter, which changes org/Base-1B",
        "merge_and_unload",
    );
    let files = at("files");
    fs::write(files.join("model.gguf"), "x").unwrap();
    check(
        &files,
        "a directory without config.json",
        "files/model.gguf",
    );
    fs::write(files.join("other.gguf"), "x").unwrap();
    check(
        &files,
        "a directory without config.json",
        "one of the 2 .gguf files",
    );
    let snapshot = at("models--org--name/snapshots/abc");
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    check(
        &at("models--org--name"),
        "without config.json",
        "snapshots/abc",
    );
    // Experts by a configuration.
    let moe = at("moe");
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), moe.join(entry.file_name())).unwrap();
    }
    let place = moe.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    config["num_local_experts"] = 8.into();
    fs::remove_file(&place).unwrap();
    fs::write(&place, config.to_string()).unwrap();
    for error in errors(&moe) {
        assert!(
            error.contains("8 experts") && error.contains("dense model"),
            "{error}"
        );
    }
}
