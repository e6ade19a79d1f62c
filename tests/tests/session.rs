//! One file, one sequence: the same logits for any batch size and number of threads.
#![allow(clippy::unwrap_used)]

use carat::internals::{DeviceChoice, LogitsHash, Model, Session, SessionOptions, Verify, Want};
use carat_format::{Encoding, ScaleGroup};
use carat_tests::rng::Rng;
use carat_tests::synth::Shape;
use std::sync::Arc;

fn hash(model: &Arc<Model>, tokens: &[u32], batch: u32, threads: usize) -> String {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: tokens.len() as u32,
        batch: Some(batch),
        outputs: batch,
        threads: Some(threads),
        ..Default::default()
    };
    let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    let mut hash = LogitsHash::new(session.logits_exponent());
    let mut spread = 0;
    pollster::block_on(session.forward(tokens, Want::From(0), &mut |o| {
        hash.push(o.checksum);
        spread |= o.logits.iter().max().unwrap() ^ o.logits.iter().min().unwrap();
        assert_eq!(carat::internals::sample::argmax(o.logits), Some(o.argmax));
    }))
    .unwrap();
    assert_ne!(spread, 0, "logits are all alike");
    let (saturated, max) = pollster::block_on(session.residual_stats()).unwrap();
    assert_eq!(saturated, 0);
    assert!(max > 0);
    hash.hex()
}

#[test]
fn batches_and_threads_do_not_show() {
    for encoding in Encoding::ALL {
        let shape = Shape {
            encoding,
            group: ScaleGroup::ALL[encoding as usize % 3],
            seed: 7,
            ..Default::default()
        };
        let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
        let mut rng = Rng(3);
        let tokens: Vec<u32> = (0..300)
            .map(|_| rng.below(shape.vocab.into()) as u32)
            .collect();
        let one = hash(&model, &tokens, 1, 1);
        for (batch, threads) in [(7, 2), (64, 1), (512, 3)] {
            assert_eq!(
                hash(&model, &tokens, batch, threads),
                one,
                "{encoding:?} {batch} {threads}"
            );
        }
    }
}

/// After a session was rewound it gives what a new one gives.
#[test]
fn a_rewound_session_is_as_new() {
    let shape = Shape {
        seed: 11,
        ..Default::default()
    };
    let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
    let mut rng = Rng(5);
    let mut some = |n: usize| -> Vec<u32> {
        let one = |_| rng.below(shape.vocab.into()) as u32;
        (0..n).map(one).collect()
    };
    // Beyond a page of the cache, and back into the first.
    let (start, first, second) = (some(200), some(150), some(120));
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 512,
        outputs: 64,
        ..Default::default()
    };
    let checksums = |session: &mut Session, tokens: &[u32]| {
        let mut out = Vec::new();
        let mut sink = |o: carat::internals::Output<'_>| out.push((o.position, o.checksum));
        pollster::block_on(session.forward(tokens, Want::From(0), &mut sink)).unwrap();
        out
    };
    let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    checksums(&mut session, &start);
    let before = checksums(&mut session, &first);
    session.truncate(start.len());
    let rewound = checksums(&mut session, &second);
    session.truncate(start.len());
    assert_eq!(session.tokens(), start);
    let again = checksums(&mut session, &first);
    assert_eq!(again, before);

    let mut fresh = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    checksums(&mut fresh, &start);
    assert_eq!(rewound, checksums(&mut fresh, &second));
    assert_ne!(rewound[0], before[0]);
}

/// A pass in many submissions is the same pass.
#[test]
fn cut_submissions_do_not_show() {
    let shape = Shape {
        seed: 13,
        ..Default::default()
    };
    let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 256,
        outputs: 40,
        ..Default::default()
    };
    let tokens: Vec<u32> = (0..40).collect();
    let mut found = Vec::new();
    for most in [u64::MAX, 5_000, 1] {
        let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
        session.limit_submissions(most);
        let mut sums = Vec::new();
        let mut sink = |o: carat::internals::Output<'_>| sums.push(o.checksum);
        pollster::block_on(session.forward(&tokens, Want::From(0), &mut sink)).unwrap();
        assert!(session.work() > 5_000);
        found.push(sums);
    }
    assert!(found.iter().all(|f| *f == found[0] && f.len() == 40));
}
