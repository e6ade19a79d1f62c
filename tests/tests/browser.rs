//! The npm package in headless Chromium, against the native engine: see `browser/suite.mjs`.
#![allow(clippy::unwrap_used)]

use carat::sample::Params;
use carat::template::{ChatTemplate, Clock, Message, chat_ids};
use carat::{
    DeviceChoice, Event, GenerateOptions, Generation, Model, Session, SessionOptions, Verify,
    generate,
};
use carat_tests::drivers;
use carat_tests::facet;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const PROMPT: &str = "Once upon a time";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn native(model: &Arc<Model>, prompt: &[u32], sampling: Params, max_tokens: usize) -> Value {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 512,
        ..SessionOptions::default()
    };
    let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    let options = GenerateOptions {
        max_tokens,
        sampling,
        ..GenerateOptions::default()
    };
    let mut watch = |_: Event<'_>| ControlFlow::Continue(());
    let run = generate(&mut session, prompt, &options, &mut watch);
    let Generation {
        ids, logits_hash, ..
    } = pollster::block_on(run).unwrap();
    json!({ "ids": ids, "hash": logits_hash })
}

/// What the browser has to give.
fn expected(file: &Path) -> Value {
    let model = Arc::new(Model::open(file, Verify::Hashes).unwrap());
    let tokenizer = model.tokenizer().unwrap();
    let header = model.header().unwrap();
    let prompt = tokenizer.encode_prompt(PROMPT, false);
    let file_says = Params::of_header(&header);
    let greedy = Params {
        temperature: 0.0,
        ..file_says.clone()
    };
    let seeded = Params {
        temperature: 0.75,
        top_k: 50,
        top_p: 0.875,
        repeat_penalty: 1.125,
        seed: u64::MAX - 6,
        ..file_says
    };
    let template = ChatTemplate::of_header(&header).unwrap();
    let hello = [Message {
        role: "user",
        content: "Hello",
    }];
    let chat = chat_ids(tokenizer, template.as_ref(), &hello, Clock::Unix(0)).unwrap();
    json!({
        "file": file,
        "bytes": model.len(),
        "prompt": PROMPT,
        "perplexity": model.card().unwrap().map(|c| c.figures.ppl),
        "hello": tokenizer.encode("Hello there", false),
        "greedy": native(&model, &prompt, greedy.clone(), 64),
        "chat": native(&model, &chat, greedy, 8),
        "sampling": {
            "temperature": seeded.temperature,
            "topK": seeded.top_k,
            "topP": seeded.top_p,
            "repeatPenalty": seeded.repeat_penalty,
            "seed": seeded.seed.to_string(),
        },
        "seeded": native(&model, &prompt, seeded, 64),
    })
}

/// Whether all that the suite runs on is here.
fn present() -> bool {
    let chromium = std::env::var("CARAT_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    let node = Command::new("node").arg("--version").output();
    let needs = [
        (
            "Chromium",
            Path::new(&chromium).exists(),
            "apt-get install chromium",
        ),
        ("Node.js", node.is_ok(), "apt-get install nodejs npm"),
        (
            "playwright-core",
            root()
                .join("tests/browser/node_modules/playwright-core")
                .exists(),
            "npm ci --prefix tests/browser",
        ),
        (
            "the module for browsers",
            root()
                .join("runtime/web/npm/dist/carat_web_bg.wasm")
                .exists(),
            "runtime/web/build.sh",
        ),
    ];
    let mut all = true;
    for (name, here, install) in needs {
        if !here {
            drivers::absent(name, install);
            all = false;
        }
    }
    all
}

#[test]
fn the_package_in_chromium_equals_the_native_engine() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("facet.gguf");
    // Two segments.
    facet::convert_to(8, &file);
    let json = directory.path().join("expected.json");
    std::fs::write(&json, expected(&file).to_string()).unwrap();
    let done = Command::new("node")
        .arg(root().join("tests/browser/suite.mjs"))
        .arg(root().join("runtime/web/npm"))
        .arg(&json)
        .status()
        .unwrap();
    assert!(done.success(), "see the lines above");
}
