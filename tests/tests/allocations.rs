//! Decoding on the CPU allocates nothing: neither a pass nor the choice of a token.
#![allow(clippy::unwrap_used)]

mod counting;

use carat::internals::sample::{Params, Sampler};
use carat::internals::{DeviceChoice, Model, Output, Session, SessionOptions, Verify, Want};
use carat_format::Encoding;
use carat_tests::synth::Shape;
use std::sync::Arc;

/// A pass enters the thread pool through the queue of what comes from outside (crossbeam's `Injector`), which takes its
/// places in blocks of 63: one allocation as many passes, by a library, whatever the model.
const QUEUE_BLOCK: usize = 63;
/// Windows of as many tokens.
const WINDOWS: usize = 12;

/// Allocations of each window, and the session: the threads of one that is closed allocate as they end, whenever that is.
fn windows(
    model: &Arc<Model>,
    threads: usize,
    want: Want,
    params: Params,
) -> (Vec<usize>, Session) {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: (QUEUE_BLOCK * WINDOWS) as u32,
        threads: Some(threads),
        ..Default::default()
    };
    let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    let exponent = session.logits_exponent();
    let mut sampler = Sampler::new(params).unwrap();
    let mut history = Vec::with_capacity(session.context() as usize);
    history.push(1);
    let mut window = || {
        for _ in 0..QUEUE_BLOCK {
            let last = [history[history.len() - 1]];
            let mut next = 0;
            let mut choose = |o: Output<'_>| {
                next = match want {
                    Want::LastResult | Want::Greedy => o.argmax,
                    _ => sampler.sample(o.logits, exponent, &history).unwrap(),
                };
            };
            pollster::block_on(session.forward(&last, want, &mut choose)).unwrap();
            history.push(next);
        }
    };
    let counts = (0..WINDOWS).map(|_| counting::measured(&mut window).2);
    (counts.collect(), session)
}

/// One test alone: the counter is the process's.
#[test]
fn decoding_allocates_nothing() {
    let drawn = Params {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.01,
        repeat_penalty: 1.1,
        ..Params::default()
    };
    let greedy = Params {
        temperature: 0.0,
        ..Params::default()
    };
    let mut open = Vec::new();
    for encoding in Encoding::ALL {
        let shape = Shape {
            encoding,
            vocab: 1000,
            ..Default::default()
        };
        let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
        for (want, params) in [
            (Want::LastResult, &greedy),
            (Want::Greedy, &greedy),
            (Want::Last, &greedy),
            (Want::Last, &drawn),
        ] {
            for threads in [1, 2] {
                let (found, session) = windows(&model, threads, want, params.clone());
                open.push(session);
                let what = format!("{encoding:?}, {threads} threads, {want:?}: {found:?}");
                // Each thread makes room when it first needs it. Which one starts a pass is chance, so of two the second
                // may need it late.
                match threads {
                    1 => assert!(found[1..].iter().all(|n| *n <= 1), "{what}"),
                    _ => assert!(
                        found[1..].iter().filter(|n| **n <= 1).count() > WINDOWS / 2,
                        "{what}"
                    ),
                }
            }
        }
    }
}
