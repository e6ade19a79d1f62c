//! What people give for a model that is none: what it is, and what to do.

use crate::support::{carat, checkpoint, failure, text};
use carat_gguf::{TensorType, Writer};
use serde_json::{Value, json};
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

/// The failure of `carat run` as JSON.
fn told(path: &Path) -> Value {
    let mut c = carat();
    let output = c.arg("run").arg(path).args(["hi", "--json"]).output();
    let told: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    told["error"].clone()
}

fn check(path: &Path, what: &str, remedy: &str) {
    // The whole remedy, which stands behind what it is.
    let told = told(path);
    let message = told["message"].as_str().unwrap();
    assert_eq!(message.split_once("; ").unwrap().1, told["hint"], "{told}");
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
    let steers = [("general.architecture", "controlvector")];
    gguf(&at("steers.gguf"), &steers, &[], "direction.1");
    check(&at("steers.gguf"), "control vector", "the model itself");
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
    for (name, bytes, what, remedy) in [
        ("empty.gguf", "", "an empty file", "fetch it again"),
        ("pointer.gguf", POINTER, "Git LFS", "git lfs pull"),
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
    let adapter = at("trained");
    copy(&adapter);
    fs::remove_file(adapter.join("model.safetensors")).unwrap();
    fs::write(adapter.join("adapter_config.json"), config).unwrap();
    let what = "a LoRA adapter, which changes org/Base-1B";
    check(&adapter, what, "merge_and_unload");
    // By a configuration.
    let bits = json!({"group_size": 64, "bits": 4});
    let mut experts = configuration();
    experts["num_local_experts"] = 8.into();
    let mut packed = configuration();
    packed["quantization"] = bits.clone();
    packed["quantization_config"] = bits;
    let images = json!({"model_type": "llama", "text_config": configuration()});
    for (name, config, what, remedy) in [
        ("moe", experts, "8 experts", "dense model"),
        ("mlx", packed, "MLX", "give the unquantized checkpoint"),
        ("images", images, "multimodal", "of that model alone"),
    ] {
        let place = at(name);
        copy(&place);
        replace(&place.join("config.json"), config.to_string());
        check(&place, what, remedy);
    }
}

/// The bundled checkpoint's configuration.
fn configuration() -> Value {
    serde_json::from_slice(&fs::read(checkpoint().join("config.json")).unwrap()).unwrap()
}

/// Copies the bundled checkpoint.
fn copy(to: &Path) {
    for entry in fs::read_dir(checkpoint()).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Writes a file anew: a copy may be read-only, as what it was copied from.
fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    fs::remove_file(path).unwrap();
    fs::write(path, contents).unwrap();
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";

#[test]
fn pointers_in_a_directory() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = tempfile::tempdir().unwrap();
        copy(folder.path());
        replace(&folder.path().join(name), POINTER);
        let told = told(folder.path());
        let message = told["message"].as_str().unwrap();
        assert!(
            message.contains(name) && message.contains("Git LFS"),
            "{told}"
        );
        assert_eq!(
            told["hint"], "fetch the file itself: git lfs pull",
            "{told}"
        );
        assert_eq!(told["code"], "no_model", "{told}");
    }
}

#[test]
fn codes_of_faults_in_a_directory() {
    let is = |name: &str, contents: Option<&str>, code: &str| {
        let folder = tempfile::tempdir().unwrap();
        copy(folder.path());
        let place = folder.path().join(name);
        match contents {
            Some(contents) => replace(&place, contents),
            None => fs::remove_file(&place).unwrap(),
        }
        let told = told(folder.path());
        assert!(told["message"].as_str().unwrap().contains(name), "{told}");
        assert_eq!(told["code"], code, "{told}");
        told
    };
    is("tokenizer.json", None, "not_found");
    is("tokenizer.json", Some("{"), "invalid_file");
    let ends = r#"{"eos_token_id": [1, 128009]}"#;
    is("generation_config.json", Some(ends), "invalid_file");
    let told = is("config.json", Some("{"), "invalid_file");
    assert_eq!(told["hint"], "fetch the file again, or mend it");
}

#[test]
fn names_of_what_is_elsewhere() {
    for (name, remedy) in [
        ("Qwen/Qwen3-0.6B", "give hf:Qwen/Qwen3-0.6B"),
        ("org/X-GGUF:Q4_K_M", "give hf:org/X-GGUF:Q4_K_M"),
        ("llama3.2:1b", "download a GGUF"),
        ("https://example.org/a.gguf", "give the path"),
    ] {
        check(Path::new(name), "not on this machine", remedy);
    }
    // A path that is only wrong.
    for name in ["models/a.gguf", "./models/a", "src/none"] {
        let error = failure(carat().args(["run", name, "hi"]), 1);
        assert!(error.contains("is the path right?"), "{error}");
    }
}
