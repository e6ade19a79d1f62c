//! Text under a schema, with a bias, greedy and seeded: the same tokens on every driver as on the CPU.
#![allow(clippy::unwrap_used)]

use carat::internals::sample::{LogitBias, Params};
use carat::internals::{
    DeviceChoice, Event, GenerateOptions, Generation, Model, Session, SessionOptions, Verify,
    generate_constrained,
};
use carat_tests::drivers::{self, Driver};
use carat_text::grammar::{Guide, Kind, Vocabulary};
use pollster::block_on;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// In a child process: the adapter to run on, and the model.
const CHILD: &str = "CARAT_TEST_FOLLOW";

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["mood", "age"],
  "properties": {"mood": {"enum": ["calm", "grim"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99},
                 "tags": {"type": "array", "maxItems": 2, "items": {"type": "string", "maxLength": 6}}}}"#;

fn texts(model: &Path, device: DeviceChoice) -> (String, Vec<(Generation, Vec<f64>)>) {
    let model = Arc::new(Model::open(model, Verify::Structure).unwrap());
    let vocabulary = Vocabulary::new(model.tokenizer().unwrap()).unwrap();
    let prompt = model
        .tokenizer()
        .unwrap()
        .encode_prompt("The old house", false);
    let mut name = String::new();
    let texts = [0.0f32, 0.9].map(|temperature| {
        let options = SessionOptions {
            device: device.clone(),
            context: 256,
            ..Default::default()
        };
        let mut session = block_on(Session::new(model.clone(), &options)).unwrap();
        name = session.device();
        let mut guide = Guide::new(&vocabulary, Kind::JsonSchema, SCHEMA).unwrap();
        let options = GenerateOptions {
            max_tokens: 240,
            sampling: Params {
                temperature,
                seed: 11,
                logit_bias: vec![LogitBias { id: 65, bias: 1.5 }],
                ..Params::default()
            },
            metrics: Some(2),
            ..Default::default()
        };
        let mut reports = Vec::new();
        let mut watch = |event: Event<'_>| {
            if let Event::Token { metrics, .. } = event {
                let m = metrics.unwrap();
                reports.extend([m.logprob, m.entropy, m.top[1].logprob]);
            }
            ControlFlow::Continue(())
        };
        let follow = Some(&mut guide as &mut dyn carat_text::constraint::Constraint);
        let text = generate_constrained(&mut session, &prompt, &options, follow, &mut watch);
        (block_on(text).unwrap(), reports)
    });
    (name, texts.into())
}

#[test]
fn structured_text_is_the_same_on_every_driver() {
    if let Ok(child) = std::env::var(CHILD) {
        let (adapter, model) = child.split_once('\n').unwrap();
        let (name, on_gpu) = texts(
            Path::new(model),
            DeviceChoice::GpuNamed(adapter.to_lowercase()),
        );
        assert!(name.contains(adapter), "{name}");
        let (_, on_cpu) = texts(Path::new(model), DeviceChoice::Cpu);
        // The reports too, bit for bit: they are made of the same integers.
        assert_eq!(on_gpu, on_cpu);
        println!("RAN on {name}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("facet.gguf");
    carat_tests::facet::convert_to(4, &model);
    let (_, on_cpu) = texts(&model, DeviceChoice::Cpu);
    for (text, _) in &on_cpu {
        assert_eq!(text.complete, Some(true), "{text:?}");
        let v: serde_json::Value = serde_json::from_str(&text.text).unwrap();
        assert!(
            v["mood"].is_string() && v["age"].as_i64().unwrap() <= 99,
            "{v}"
        );
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "structured_text_is_the_same_on_every_driver"])
            .args(["--nocapture", "--test-threads=1"])
            .envs(Driver::environment(manifest))
            .env(CHILD, format!("{}\n{}", driver.adapter, model.display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{}:\n{text}\n{errors}", driver.name);
        assert!(text.contains("RAN on"), "{text}");
    }
}
