//! The wgpu executor against the CPU executor on every Vulkan driver that is here: every named
//! intermediate, logits, pipelines, dispatches.
#![allow(clippy::unwrap_used)]

use carat::exec::{Batch, Executor};
use carat::plan::{Content, Row, Rows};
use carat::{DeviceChoice, Model, Session, SessionOptions, Verify, Want};
use carat_format::Encoding;
use carat_tests::drivers::{self, Driver};
use carat_tests::rng::Rng;
use carat_tests::synth::Shape;
use pollster::block_on;
use std::process::Command;
use std::sync::Arc;

/// In a child process, the adapter to run on.
const CHILD: &str = "CARAT_TEST_DRIVER";

/// Calls `body` with an adapter's name in one child process a driver: the Vulkan loader reads its drivers
/// from the environment. `body` returns the dispatches it saw.
fn on_each_driver(test: &str, body: impl FnOnce(&str) -> u64) {
    if let Ok(name) = std::env::var(CHILD) {
        let dispatches = body(&name);
        assert!(dispatches > 0, "{test}: nothing ran on {name}");
        println!("RAN {test} on {name}: {dispatches} dispatches");
        return;
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .envs(Driver::environment(manifest))
            .env(CHILD, driver.adapter)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        let errors = String::from_utf8_lossy(&child.stderr);
        assert!(
            child.status.success(),
            "{test} on {}:\n{text}\n{errors}",
            driver.name
        );
        let ran = text.lines().find(|l| l.contains("RAN "));
        println!(
            "{}",
            ran.unwrap_or_else(|| panic!("{test} did not run:\n{text}"))
        );
    }
}

fn session(model: &Arc<Model>, device: DeviceChoice) -> Session {
    let options = SessionOptions {
        device,
        context: 600,
        batch: 7,
        outputs: 3,
        ..Default::default()
    };
    block_on(Session::new(model.clone(), &options)).unwrap()
}

fn pair(shape: &Shape, adapter: &str) -> (Session, Session) {
    let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
    let cpu = session(&model, DeviceChoice::Cpu);
    let gpu = session(&model, DeviceChoice::GpuNamed(adapter.to_lowercase()));
    assert!(gpu.device().contains(adapter), "{}", gpu.device());
    (cpu, gpu)
}

/// Runs one batch step by step on both and compares what each step computed.
fn compare_steps(cpu: &mut Session, gpu: &mut Session, rows: &[Row], outputs: &[u32]) {
    let ((cpu, plan), (gpu, _)) = (cpu.executor(), gpu.executor());
    let batch = Batch { rows, outputs };
    for (i, step) in plan.steps.iter().enumerate() {
        let n = match step.rows {
            Rows::Batch => rows.len(),
            Rows::Outputs => outputs.len(),
        } as u64;
        let result = step.bindings[step.result];
        let words = match step.result_stride {
            0 => plan.buffers[result.0].words,
            stride => n * stride,
        };
        let run = |e: &mut Executor| {
            block_on(e.run(plan, batch, i..i + 1)).unwrap();
            block_on(e.read(result, words)).unwrap()
        };
        let (a, b) = (run(cpu), run(gpu));
        let bad = a.iter().zip(&b).filter(|(a, b)| a != b).count();
        assert!(a == b, "{}: {bad} of {words} words differ", step.label);
    }
    let stats = |e: &mut Executor| block_on(e.read(plan.stats, 2)).unwrap();
    assert_eq!(stats(cpu), stats(gpu));
}

#[test]
fn every_intermediate_is_the_same() {
    on_each_driver("every_intermediate_is_the_same", |adapter| {
        let mut dispatches = 0;
        for (i, encoding) in Encoding::ALL.into_iter().enumerate() {
            let shape = Shape {
                dim: [48, 64, 100, 172][i],
                heads: [4, 6, 3, 2][i],
                kv_heads: [2, 2, 1, 2][i],
                head_dim: [16, 10, 80, 32][i],
                ff: [96, 130, 200, 64][i],
                tied: i % 2 == 0,
                encoding,
                seed: 40 + i as u64,
                ..Default::default()
            };
            let (mut cpu, mut gpu) = pair(&shape, adapter);
            let mut rng = Rng(i as u64);
            // A batch at the start, then rows on both sides of a block's border and far beyond it.
            for positions in [
                vec![0, 1, 2, 3, 4, 5, 6],
                vec![254, 255, 256, 257],
                vec![599],
            ] {
                let rows: Vec<Row> = positions
                    .iter()
                    .map(|p| Row {
                        token: rng.below(shape.vocab.into()) as u32,
                        position: *p,
                        sequence: 0,
                    })
                    .collect();
                let last = rows.len() as u32 - 1;
                let outputs = if last > 2 {
                    vec![last, 0, 2]
                } else {
                    vec![last]
                };
                compare_steps(&mut cpu, &mut gpu, &rows, &outputs);
            }
            dispatches += gpu.dispatches();
        }
        dispatches
    });
}

#[test]
fn logits_are_the_same() {
    on_each_driver("logits_are_the_same", |adapter| {
        let shape = Shape {
            seed: 9,
            ..Default::default()
        };
        let (mut cpu, mut gpu) = pair(&shape, adapter);
        let mut rng = Rng(1);
        let tokens: Vec<u32> = (0..270)
            .map(|_| rng.below(shape.vocab.into()) as u32)
            .collect();
        let run = |s: &mut Session, tokens: &[u32], want| {
            let mut all = Vec::new();
            block_on(s.forward(tokens, want, &mut |o| all.push(o))).unwrap();
            all
        };
        for (tokens, want) in [
            (&tokens[..266], Want::From(255)),
            (&tokens[266..267], Want::Last),
            (&tokens[267..], Want::LastResult),
        ] {
            let (a, b) = (run(&mut cpu, tokens, want), run(&mut gpu, tokens, want));
            assert!(!a.is_empty());
            assert_eq!(a, b);
        }
        // One dispatch a step and batch; few pipelines; an account that covers the weights.
        let steps = gpu.plan().steps.len() as u64;
        assert!(gpu.dispatches() > 38 * (steps - 3) && gpu.dispatches() <= 45 * steps);
        let weights: u64 = gpu
            .plan()
            .buffers
            .iter()
            .filter(|b| matches!(b.content, Content::File { .. }))
            .map(|b| b.words * 4)
            .sum();
        let work = gpu.plan().work_bytes();
        let dispatches = gpu.dispatches();
        let (Executor::Gpu(executor), _) = gpu.executor() else {
            panic!("not a GPU");
        };
        assert!(
            executor.pipelines() <= 30,
            "{} pipelines",
            executor.pipelines()
        );
        assert!(executor.allocated() >= weights + work);
        assert!(executor.allocated() < weights + work + (1 << 20));
        dispatches
    });
}

#[test]
fn a_rasteriser_is_never_taken_unasked() {
    // Software drivers are named to the loader; `auto` must still take the CPU executor.
    on_each_driver("a_rasteriser_is_never_taken_unasked", |adapter| {
        let bytes = Shape::default().bytes();
        let model = Arc::new(Model::from_bytes(&bytes, Verify::Structure).unwrap());
        assert!(
            session(&model, DeviceChoice::Auto)
                .device()
                .starts_with("cpu")
        );
        let options = SessionOptions {
            device: DeviceChoice::Gpu,
            ..Default::default()
        };
        let error = block_on(Session::new(model.clone(), &options))
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            text.contains(adapter) && text.contains("software"),
            "{text}"
        );
        let mut named = session(&model, DeviceChoice::GpuNamed(adapter.into()));
        block_on(named.forward(&[1, 2], Want::Last, &mut |_| {})).unwrap();
        named.dispatches()
    });
}
