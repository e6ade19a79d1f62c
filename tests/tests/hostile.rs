//! Truncated and mutated files, verification off: an error or a run to the end, never a panic, never more
//! than 64 MiB of memory over the file's size.
#![allow(clippy::unwrap_used)]

mod counting;

use carat::internals::sample::{Params, Sampler};
use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify, Want};
use carat_format::{Encoding, ScaleGroup};
use carat_tests::hostile::mutate;
use carat_tests::rng::Rng;
use carat_tests::synth::Shape;
use std::sync::Arc;

/// What came of a file.
#[derive(Debug, PartialEq)]
enum End {
    Refused,
    Ran,
}

/// Opens the bytes and, if they open, runs a prompt and samples.
fn drive(bytes: &[u8]) -> End {
    let Ok(model) = Model::from_bytes(bytes, Verify::Structure) else {
        return End::Refused;
    };
    // Each part may refuse on its own.
    let _ = model.tokenizer().map(|t| t.encode_prompt("a b", false));
    let _ = model.golden();
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 256,
        batch: Some(3),
        threads: Some(1),
        ..Default::default()
    };
    let Ok(mut session) = pollster::block_on(Session::new(Arc::new(model), &options)) else {
        return End::Refused;
    };
    let mut sampler = Sampler::new(Params::default()).unwrap();
    let exponent = session.logits_exponent();
    let mut ran = End::Refused;
    let mut sample = |o: carat::internals::Output<'_>| {
        let _ = sampler.sample(o.logits, exponent, &[1, 2]);
        ran = End::Ran;
    };
    let _ = pollster::block_on(session.forward(&[0, 1, 0, 1, 2], Want::Last, &mut sample));
    ran
}

/// Drives the bytes and checks the peak of memory.
fn check(bytes: &[u8], what: &str) -> End {
    let (end, used, _) = counting::measured(|| drive(bytes));
    // The bytes are copied once, so the file's own size is part of the peak.
    assert!(
        used <= bytes.len() + (64 << 20),
        "{what}: {used} bytes for a file of {}",
        bytes.len()
    );
    end
}

fn model(encoding: Encoding) -> Vec<u8> {
    Shape {
        dim: 32,
        blocks: 1,
        heads: 2,
        kv_heads: 1,
        head_dim: 8,
        ff: 40,
        vocab: 48,
        encoding,
        group: ScaleGroup::ALL[encoding as usize % 3],
        ..Default::default()
    }
    .bytes()
}

fn header_len(bytes: &[u8]) -> usize {
    match carat_gguf::parse(bytes, bytes.len() as u64) {
        Ok(carat_gguf::Parse::Complete(h)) => h.data_start() as usize,
        other => panic!("{other:?}"),
    }
}

// One test: the counters are the process's.
#[test]
fn damaged_files_are_refused_or_run() {
    let mut rng = Rng(6);
    let files: Vec<Vec<u8>> = Encoding::ALL.into_iter().map(model).collect();
    for file in &files {
        assert_eq!(check(file, "whole"), End::Ran);
    }
    for i in 0..4096 {
        let file = &files[i % files.len()];
        let len = rng.below(file.len() as u64) as usize;
        // Only the padding after the last tensor may be missing.
        let end = check(&file[..len], &format!("truncated to {len}"));
        assert!(
            end == End::Refused || file.len() - len < 256,
            "truncated to {len}"
        );
    }
    let (mut ran, mut refused) = (0, 0);
    for i in 0..20_000usize {
        let mut file = files[i / 2 % files.len()].clone();
        let header = header_len(&file);
        let range = if i % 2 == 0 {
            0..header
        } else {
            header..file.len()
        };
        mutate(&mut file, range, &mut rng);
        match check(&file, &format!("mutation {i}")) {
            End::Ran => ran += 1,
            End::Refused => refused += 1,
        }
    }
    println!("{ran} ran, {refused} were refused");
    // Data is never structure, so at least those run; many header mutations must be noticed.
    assert!(
        ran >= 10_000 && refused >= 4_000,
        "{ran} ran, {refused} refused"
    );
}

#[test]
fn verification_notices_any_change_of_a_tensor() {
    let file = model(Encoding::Pow3);
    let header = header_len(&file);
    assert!(Model::from_bytes(&file, Verify::Hashes).is_ok());
    let mut rng = Rng(8);
    let parsed = Model::from_bytes(&file, Verify::Structure).unwrap();
    let payloads: Vec<_> = parsed
        .directory()
        .matrices
        .iter()
        .map(|e| (e.offset as usize, e.layout.payload_bytes() as usize))
        .collect();
    for _ in 0..200 {
        let (at, len) = payloads[rng.below(payloads.len() as u64) as usize];
        let mut file = file.clone();
        file[at + rng.below(len as u64) as usize] ^= 1 << rng.below(8);
        assert!(at >= header);
        let error = Model::from_bytes(&file, Verify::Hashes)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("blake3"), "{error}");
    }
}
