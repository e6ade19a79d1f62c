//! One file, one sequence: the same logits for any batch size and number of threads.
#![allow(clippy::unwrap_used)]

use carat::{DeviceChoice, LogitsHash, Model, Session, SessionOptions, Verify, Want};
use carat_format::{Encoding, ScaleGroup};
use carat_tests::rng::Rng;
use carat_tests::synth::Shape;
use std::sync::Arc;

fn hash(model: &Arc<Model>, tokens: &[u32], batch: u32, threads: usize) -> String {
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: tokens.len() as u32,
        batch,
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
        assert_eq!(carat::sample::argmax(&o.logits), Some(o.argmax));
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
