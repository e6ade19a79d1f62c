//! The npm package in headless Chromium, against the native engine: see `browser/suite.mjs`.
#![allow(clippy::unwrap_used)]

use carat::internals::sample::Params;
use carat::internals::selftest::{Flavour, Shape};
use carat::internals::{
    Beside, DeviceChoice, Event, GenerateOptions, Generation, Generator, Model, Session,
    SessionOptions, Step, Verify, generate, generate_constrained,
};
use carat_format::{Encoding, ScaleGroup};
use carat_tests::drivers;
use carat_tests::facet;
use carat_text::constraint::Constraint;
use carat_text::grammar::{Guide, Kind, Vocabulary};
use carat_text::template::{ChatTemplate, Clock, Conversation, chat_ids};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["mood", "age"],
  "properties": {"mood": {"enum": ["calm", "grim"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99},
                 "tags": {"type": "array", "maxItems": 2, "items": {"type": "string", "maxLength": 6}}}}"#;
const GRAMMAR: &str = "start: \" \" WORD (\", \" WORD)~0..3 \".\"\nWORD: /[a-z]{2,8}/";
const PROMPT: &str = "Once upon a time";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A text under a schema or a grammar, with the options of the package.
fn constrained(
    model: &Arc<Model>,
    prompt: &[u32],
    sampling: Params,
    kind: Kind,
    text: &str,
) -> Value {
    let vocabulary = Vocabulary::new(model.tokenizer().unwrap()).unwrap();
    let mut guide = Guide::new(&vocabulary, kind, text).unwrap();
    let options = json!({
        "temperature": sampling.temperature,
        "seed": sampling.seed.to_string(),
        "maxTokens": 96,
        if kind == Kind::Lark { "grammar" } else { "jsonSchema" }: text,
    });
    let mut session = session(model);
    let of = GenerateOptions {
        max_tokens: 96,
        sampling,
        ..GenerateOptions::default()
    };
    let mut watch = |_: Event<'_>| ControlFlow::Continue(());
    let guide: &mut dyn Constraint = &mut guide;
    let run = generate_constrained(&mut session, prompt, &of, Some(guide), &mut watch);
    let run = pollster::block_on(run).unwrap();
    json!({ "options": options, "native": {
        "ids": run.ids, "hash": run.logits_hash, "text": run.text, "complete": run.complete, "reason": run.reason.name(),
    } })
}

fn session(model: &Arc<Model>) -> Session {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 512,
        ..SessionOptions::default()
    };
    pollster::block_on(Session::new(model.clone(), &options)).unwrap()
}

fn native(model: &Arc<Model>, prompt: &[u32], sampling: Params, max_tokens: usize) -> Value {
    let mut session = session(model);
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

/// A number as it is written.
fn short(x: f32) -> Value {
    x.to_string().parse::<f64>().unwrap().into()
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
        seed: u64::MAX - 6,
        ..file_says.clone().with_repeat_penalty(1.125)
    };
    let template = ChatTemplate::of_header(&header).unwrap();
    let hello = Conversation::of_texts([("user", "Hello")]);
    let chat = chat_ids(tokenizer, template.as_ref(), &hello, Clock::Unix(0)).unwrap();
    let mut under = Vec::new();
    for (kind, text) in [(Kind::JsonSchema, SCHEMA), (Kind::Lark, GRAMMAR)] {
        for temperature in [0.0, 0.75] {
            let sampling = Params {
                temperature,
                seed: 11,
                ..Params::of_header(&header)
            };
            under.push(constrained(&model, &prompt, sampling, kind, text));
        }
    }
    json!({
        "constrained": under,
        "file": file,
        "bytes": model.len(),
        "prompt": PROMPT,
        "perplexity": model.card().unwrap().map(|c| c.figures.ppl),
        "defaults": {
            "temperature": short(file_says.temperature),
            "topK": file_says.top_k,
            "topP": short(file_says.top_p),
            "minP": short(file_says.min_p),
            "repeatPenalty": short(file_says.repeat_penalty),
            "repeatLastN": file_says.repeat_last_n,
            "dryMultiplier": short(file_says.dry_multiplier),
            "dryBase": short(file_says.dry_base),
            "dryAllowedLength": file_says.dry_allowed_length,
            "dryPenaltyLastN": file_says.dry_penalty_last_n,
            "presencePenalty": short(file_says.presence_penalty),
            "frequencyPenalty": short(file_says.frequency_penalty),
            "topNSigma": short(file_says.top_n_sigma),
            "typicalP": short(file_says.typical_p),
            "xtcProbability": short(file_says.xtc_probability),
            "xtcThreshold": short(file_says.xtc_threshold),
            "dynatempRange": short(file_says.dynatemp_range),
            "dynatempExponent": short(file_says.dynatemp_exponent),
            "mirostat": file_says.mirostat,
            "mirostatTau": short(file_says.mirostat_tau),
            "mirostatEta": short(file_says.mirostat_eta),
            "adaptiveTarget": short(file_says.adaptive_target),
            "adaptiveDecay": short(file_says.adaptive_decay),
            "seed": file_says.seed.to_string(),
        },
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
        "session": saved(&model, &prompt, seeded.clone()),
        "seeded": native(&model, &prompt, seeded, 64),
    })
}

/// The file of a text that was cut off on this processor.
fn saved(model: &Arc<Model>, prompt: &[u32], sampling: Params) -> Vec<u8> {
    let mut session = session(model);
    let options = GenerateOptions {
        max_tokens: 21,
        sampling,
        ..GenerateOptions::default()
    };
    let mut generator = Generator::new(&session, prompt, &options, false).unwrap();
    while pollster::block_on(generator.step(&mut session, None)).unwrap() != Step::End {}
    let (snapshot, pending) = generator.snapshot();
    let beside = Beside {
        pending,
        snapshot: Some(snapshot),
        note: Vec::new(),
    };
    let mut file = Vec::new();
    pollster::block_on(session.save(&beside, &mut file)).unwrap();
    file
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
                .join("runtime/web/npm/dist/carat_grammar_bg.wasm")
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
    chromium("suite.mjs", &json);
}

/// Runs a script of `tests/browser` against what is expected.
fn chromium(script: &str, expected: &Path) {
    let done = Command::new("node")
        .arg(root().join("tests/browser").join(script))
        .arg(root().join("runtime/web/npm"))
        .arg(expected)
        .status()
        .unwrap();
    assert!(done.success(), "see the lines above");
}

/// About 1 GB, in blocks whose matrices have the size of a model's of one billion weights.
const LARGE: Shape = Shape {
    dim: 2048,
    blocks: 17,
    heads: 16,
    kv_heads: 4,
    head_dim: 128,
    ff: 8192,
    vocab: 256,
    flavour: Flavour::Plain,
    encoding: Encoding::Int8,
    group: ScaleGroup::W32,
    tied: true,
    gain: 0,
    seed: 5,
};

#[test]
#[ignore = "a file of 1 GB, written, downloaded and stored: cargo test --release -p carat-tests --test browser -- --ignored"]
fn a_file_of_a_gigabyte_needs_little_of_the_modules_memory() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.gguf");
    std::fs::write(&file, LARGE.bytes()).unwrap();
    let model = Arc::new(Model::open(&file, Verify::Structure).unwrap());
    let greedy = Params {
        temperature: 0.0,
        ..Params::default()
    };
    let prompt = [3, 141, 59];
    let expected = json!({
        "file": file,
        "prompt": prompt,
        "greedy": native(&model, &prompt, greedy, 4),
    });
    let json = directory.path().join("expected.json");
    std::fs::write(&json, expected.to_string()).unwrap();
    chromium("large.mjs", &json);
}
