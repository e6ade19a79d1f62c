//! The wgpu executor against the CPU executor on every Vulkan driver that is here: every named
//! intermediate, logits, pipelines, dispatches.
#![allow(clippy::unwrap_used)]

use carat::internals::device::limits;
use carat::internals::exec::Executor;
use carat::internals::plan::{Content, DEFAULT_BINDING, PAGE, Rows};
use carat::internals::selftest;
use carat::internals::{
    Checksum, DeviceChoice, Model, Output, Session, SessionOptions, Verify, Want,
};
use carat_tests::drivers::on_each_driver;
use carat_tests::rng::Rng;
use carat_tests::synth::Shape;
use pollster::block_on;
use std::sync::Arc;

/// An output that outlives the call that gave it.
#[derive(Debug, PartialEq)]
struct Kept {
    position: u32,
    logits: Vec<i32>,
    checksum: Checksum,
    argmax: u32,
}

impl Kept {
    fn of(o: Output<'_>) -> Self {
        Self {
            position: o.position,
            logits: o.logits.to_vec(),
            checksum: o.checksum,
            argmax: o.argmax,
        }
    }
}

fn session(model: &Arc<Model>, device: DeviceChoice) -> Session {
    let options = SessionOptions {
        device,
        context: 600,
        batch: Some(7),
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

#[test]
fn every_intermediate_is_the_same() {
    on_each_driver("every_intermediate_is_the_same", |adapter| {
        let choice = DeviceChoice::GpuNamed(adapter.to_lowercase());
        let checks = block_on(selftest::check_kernels(&choice, &|| false)).unwrap();
        for check in &checks {
            assert!(check.words > 0, "{check:?}");
            if let Some(difference) = &check.difference {
                panic!("{} on {adapter}: {difference}", check.kernel);
            }
        }
        checks.len() as u64
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
            block_on(s.forward(tokens, want, &mut |o| all.push(Kept::of(o)))).unwrap();
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
        // One dispatch a step and batch, without those that only rows with logits need where there are none; few
        // pipelines; an account that covers the weights.
        let steps = &gpu.plan().steps;
        let every = steps.iter().filter(|s| s.rows == Rows::Batch).count() as u64;
        let (dispatches, steps) = (gpu.dispatches(), steps.len() as u64);
        assert!(
            dispatches > 40 * every && dispatches <= 45 * steps,
            "{dispatches}"
        );
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

/// The longest context that WebGPU's default binding holds runs everywhere, a longer one where the device has larger buffers.
/// The cache's pages are given out from its end, so that the first tokens are beyond the default.
#[test]
fn a_long_context_takes_what_buffers_there_are() {
    on_each_driver("a_long_context_takes_what_buffers_there_are", |adapter| {
        let shape = Shape {
            seed: 4,
            ..Default::default()
        };
        let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
        let open = |device: DeviceChoice, context| {
            let options = SessionOptions {
                device,
                context,
                batch: Some(64),
                ..Default::default()
            };
            block_on(Session::new(model.clone(), &options))
        };
        let tokens: Vec<u32> = (0..300).map(|t| t * 7 % shape.vocab).collect();
        let run = |session: &mut Session| {
            let mut kept = None;
            block_on(session.forward(&tokens, Want::Last, &mut |o| kept = Some(Kept::of(o))))
                .unwrap();
            let (executor, plan) = session.executor();
            let mut table = Vec::new();
            block_on(executor.read(plan.pages[0].table, 2, &mut table)).unwrap();
            let pages = plan.extent.context / PAGE;
            assert_eq!(table, [pages - 1, pages - 2]);
            kept.unwrap()
        };
        let expected = run(&mut open(DeviceChoice::Cpu, 512).unwrap());

        let limits = block_on(limits());
        let (_, limits) = limits
            .iter()
            .find(|(a, _)| a.name.contains(adapter))
            .unwrap();
        let limit = |name| limits.iter().find(|l| l.name == name).unwrap().has;
        let offered = limit("maxStorageBufferBindingSize").min(limit("maxBufferSize"));
        // Positions in 128 MiB: keys, values and their scales of 2 heads of 16 dimensions.
        let most = (DEFAULT_BINDING / (2 * (2 * 16 + 4))) as u32 / PAGE * PAGE;
        let mut dispatches = 0;
        for context in [most, most + 4 * PAGE] {
            let mut cpu = open(DeviceChoice::Cpu, context).unwrap();
            let largest = cpu.plan().largest_buffer();
            assert_eq!(largest > DEFAULT_BINDING, context > most);
            assert_eq!(run(&mut cpu), expected);
            match open(DeviceChoice::GpuNamed(adapter.to_lowercase()), context) {
                Ok(mut gpu) => {
                    assert!(largest <= offered.max(DEFAULT_BINDING));
                    assert_eq!(run(&mut gpu), expected);
                    dispatches += gpu.dispatches();
                    println!("{context} positions on {adapter}: {largest} bytes");
                }
                Err(e) => {
                    assert!(largest > offered, "{e}");
                    let text = e.to_string();
                    let says = |n: u64| text.contains(&n.to_string());
                    assert!(
                        says(largest) && says(offered) && !text.contains("--"),
                        "{text}"
                    );
                }
            }
        }
        dispatches
    });
}

/// Likeliest tokens, each pass begun before the result of the one before is read: the same outputs and statistics, also
/// where a pass is forgotten.
#[test]
fn passes_that_run_ahead_do_not_show() {
    on_each_driver("passes_that_run_ahead_do_not_show", |adapter| {
        // Weights too large for the residual stream: a pass too many would show in the statistics.
        let shape = Shape {
            gain: 12,
            seed: 21,
            ..Default::default()
        };
        let (mut cpu, mut gpu) = pair(&shape, adapter);
        let run = |s: &mut Session| {
            let mut outputs = Vec::new();
            let mut next = vec![5, 3, 1];
            for i in 0..40 {
                let want = match i {
                    20 => Want::Last,
                    30 => Want::LastResult,
                    _ => Want::Greedy,
                };
                block_on(s.forward(&next, want, &mut |o| outputs.push(Kept::of(o)))).unwrap();
                next = vec![outputs.last().unwrap().argmax];
                match i {
                    // Another token than the likeliest; more than one; fewer positions, and the same.
                    7 => next = vec![(next[0] + 1) % shape.vocab],
                    12 => next.extend([9, 8]),
                    16 => assert_eq!(s.truncate(10), 10),
                    25 => assert_eq!(s.truncate(usize::MAX), s.tokens().len()),
                    35 => {
                        let stats = block_on(s.residual_stats()).unwrap();
                        assert!(stats.0 > 0, "nothing is saturated");
                    }
                    _ => {}
                }
            }
            let stats = block_on(s.residual_stats()).unwrap();
            (outputs, s.tokens().to_vec(), stats)
        };
        let expected = run(&mut cpu);
        assert_eq!(run(&mut gpu), expected);
        // Passes were begun ahead, six of them for nothing.
        let steps = gpu.plan().steps.len() as u64;
        assert_eq!(gpu.dispatches(), (40 + 6) * steps);

        // To the last position of the context, after which nothing is begun.
        let fill = |s: &mut Session| {
            s.truncate(0);
            let mut outputs = Vec::new();
            let left = s.context() as usize - 2;
            let tokens: Vec<u32> = (0..left as u32).map(|t| t % shape.vocab).collect();
            block_on(s.forward(&tokens, Want::Greedy, &mut |o| outputs.push(Kept::of(o)))).unwrap();
            for _ in 0..2 {
                let next = outputs.last().unwrap().argmax;
                block_on(s.forward(&[next], Want::Greedy, &mut |o| outputs.push(Kept::of(o))))
                    .unwrap();
            }
            assert!(block_on(s.forward(&[1], Want::Greedy, &mut |_| ())).is_err());
            outputs
        };
        assert_eq!(fill(&mut gpu), fill(&mut cpu));
        gpu.dispatches()
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
