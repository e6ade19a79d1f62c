//! The relay between the CPU and a rasteriser.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::gpu::Waiting;
use super::*;
use crate::device::{self, Gpu};
use crate::generate::generate;
use crate::generate::{GenerateOptions, Generation};
use crate::model::Verify;
use crate::plan::DEFAULT_BINDING;
use crate::sample::Params;
use pollster::block_on;
use std::sync::{OnceLock, Weak};

const TOKENS: usize = 40;
const PROMPT: [u32; 5] = [3, 1, 4, 1, 5];

/// The bundled checkpoint, converted once.
fn model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let convert = || {
        let bytes = std::fs::read(carat_examples::bundled().unwrap()).unwrap();
        Arc::new(Model::from_bytes(&bytes, Verify::Hashes).unwrap())
    };
    MODEL.get_or_init(convert).clone()
}

fn options(memory_limit: Option<u64>) -> SessionOptions {
    SessionOptions {
        device: DeviceChoice::Cpu,
        context: 256,
        threads: Some(1),
        memory_limit,
        ..SessionOptions::default()
    }
}

fn sampled() -> GenerateOptions {
    GenerateOptions {
        max_tokens: TOKENS,
        sampling: Params {
            temperature: 1.0,
            seed: 5,
            ..Params::default()
        },
        ignore_end: true,
        ..GenerateOptions::default()
    }
}

fn rasteriser() -> Option<Gpu> {
    let any = DeviceChoice::GpuNamed(String::new());
    let found = block_on(device::choose(&any, DEFAULT_BINDING));
    if found.is_err() {
        eprintln!("ABSENT: any Vulkan driver (apt-get install libvulkan1 mesa-vulkan-drivers)");
    }
    found.ok().flatten()
}

fn alone() -> Generation {
    let mut session = block_on(cpu(model(), &options(None))).unwrap();
    let mut watch = |_: Event<'_>| ControlFlow::Continue(());
    block_on(generate(&mut session, &PROMPT, &sampled(), &mut watch)).unwrap()
}

/// A relay to a GPU that is there.
fn beside(options: &SessionOptions, gpu: Gpu, asked: bool) -> Result<Relay, Error> {
    let verdict = Verdict::default();
    let opened = Relay::beside(model(), options, gpu, asked, &verdict, Arc::new(()));
    block_on(opened)
}

fn times(relay: &Relay) -> Option<Times> {
    match relay.reason() {
        Reason::Timed { times, .. } => Some(*times),
        _ => None,
    }
}

/// The thread that makes the GPU ready, while it runs.
fn running(relay: &Relay) -> Weak<()> {
    match &relay.waiting {
        Some(Waiting::Opening(opening)) => opening.running.clone(),
        _ => Weak::new(),
    }
}

/// A generation in which the GPU is ready from token `at` on.
fn relayed(relay: &mut Relay, at: usize) -> Generation {
    let mut seen = 0;
    let running = running(relay);
    let mut watch = |event: Event<'_>| {
        seen += usize::from(matches!(event, Event::Token { .. }));
        while seen == at && running.strong_count() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        ControlFlow::Continue(())
    };
    let verdict = Verdict::default();
    let generator = Generator::new(relay.session(), &PROMPT, &sampled(), false);
    let mut generator = generator.unwrap();
    block_on(relay.run(&mut generator, None, &verdict, &mut watch)).unwrap();
    generator.finish(None).0
}

#[test]
fn a_gpu_that_was_asked_for_goes_on_with_the_same_text() {
    let expected = alone();
    assert_eq!(expected.ids.len(), TOKENS);
    for at in [1, 17] {
        let Some(gpu) = rasteriser() else { return };
        let mut relay = beside(&options(None), gpu, true).unwrap();
        assert_eq!(relayed(&mut relay, at), expected);
        let shares = relay.take_shares();
        let tokens: Vec<usize> = shares.iter().map(|s| s.tokens).collect();
        assert!(tokens[0] <= at && tokens.iter().sum::<usize>() == TOKENS);
        assert_eq!(shares.len(), 2, "{shares:?}");
        assert!(shares[0].device.starts_with("cpu") && !shares[1].device.starts_with("cpu"));
        assert!(relay.session().dispatches() > 0 && matches!(relay.reason(), Reason::Ready { .. }));
        assert_eq!(relay.session().tokens().len(), PROMPT.len() + TOKENS - 1);
    }
}

#[test]
fn a_slower_gpu_is_left_aside_unless_it_was_asked_for() {
    let Some(gpu) = rasteriser() else { return };
    let name = gpu.adapter().name.clone();
    let mut relay = beside(&options(None), gpu, false).unwrap();
    assert_eq!(relayed(&mut relay, 3), alone());
    let shares = relay.take_shares();
    // Which of them is faster is the machine's affair, and that of whatever else it does.
    let times = times(&relay).unwrap();
    let moved = times.favour_the_gpu();
    assert_eq!(shares.len(), 1 + usize::from(moved), "{times:?}");
    assert_eq!(relay.session().dispatches() > 0, moved, "{times:?}");
    assert_eq!(moved, times.there < times.here);
    assert!(times.there > Duration::ZERO && times.here > Duration::ZERO);
    let reason = relay.reason().to_string();
    assert!(reason.starts_with(&format!("{name} takes ")), "{reason}");
    assert!(relay.had_a_choice() && relay.take_news().is_some() && relay.take_news().is_none());
}

#[test]
fn a_limit_that_holds_one_device_never_holds_two() {
    let expected = alone();
    let (of_cpu, of_gpu) = (
        options(None).memory(&model()),
        options(None).gpu_memory(&model()),
    );
    // The model of this test is a copy in memory.
    let of_gpu = of_gpu.unwrap().total() + model().len();
    let one = of_cpu.unwrap().total().max(of_gpu);
    for asked in [true, false] {
        let Some(gpu) = rasteriser() else { return };
        let limited = options(Some(one));
        let mut relay = beside(&limited, gpu, asked).unwrap();
        assert!(relay.waiting.is_none() && relay.had_a_choice());
        assert_eq!(relayed(&mut relay, 1), expected);
        let on_gpu = times(&relay).is_none_or(Times::favour_the_gpu);
        assert_eq!(times(&relay).is_none(), asked);
        assert_eq!(relay.session().dispatches() > 0, on_gpu);
    }
}

#[test]
fn a_gpu_beyond_the_limit_is_not_opened() {
    let least = options(None).memory(&model()).unwrap().total();
    for asked in [true, false] {
        let Some(gpu) = rasteriser() else { return };
        let limited = options(Some(least));
        match beside(&limited, gpu, asked) {
            Err(Error::MemoryLimit {
                limit,
                least: needed,
                ..
            }) => {
                assert!(asked && limit == least && needed > least);
            }
            Ok(mut relay) => {
                assert!(!asked && relay.had_a_choice());
                assert_eq!(relay.session().dispatches(), 0);
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn one_that_is_not_ready_is_given_up() {
    let Some(gpu) = rasteriser() else { return };
    let mut relay = beside(&options(None), gpu, true).unwrap();
    let running = running(&relay);
    let done = relayed(&mut relay, usize::MAX);
    assert_eq!(done, alone());
    drop(relay);
    assert_eq!(running.strong_count(), 0, "no thread is left");
}
