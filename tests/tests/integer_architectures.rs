//! Every architecture in integers: near its f32 pass at 8 bits, and one hash on every device.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_tests::architectures::{NAMES, model};
use carat_tests::divergence;
use carat_tests::drivers::{self, Driver};
use carat_tests::hashes::{Request, hashes};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_logits_hash");
/// Positions of the hash: beyond every window of the models, and into a second page of the cache.
const TOKENS: u32 = 270;

/// Converts a checkpoint to 8 bits in `dir`.
fn converted(source: &Path, dir: &Path) -> PathBuf {
    let output = dir.join("model.gguf");
    let options = Options {
        source: source.into(),
        output: output.clone(),
        bits: 8.0,
        ..Options::default()
    };
    convert(&options, &Silent).unwrap();
    output
}

#[test]
fn eight_bits_in_integers_stay_near_the_f32_pass() {
    let mut far = Vec::new();
    for name in NAMES {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = model(name);
        model.write(source.path());
        let file = converted(source.path(), target.path());
        let kl = divergence::mean(source.path(), &file, &model.ids);
        eprintln!("{name}: mean KL {kl:.6} at 8 bits");
        if kl.is_nan() || kl > 1e-3 {
            far.push((name, kl));
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn one_hash_on_every_device() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &&str| {
        let (source, target) = (tempfile::tempdir().unwrap(), dir.path().join(name));
        std::fs::create_dir(&target).unwrap();
        model(name).write(source.path());
        converted(source.path(), &target)
    };
    let files: Vec<PathBuf> = NAMES.iter().map(file).collect();
    let paths = || files.iter().map(PathBuf::as_path);
    let runs = |batch| -> Vec<Request<'_>> { paths().map(|f| (f, batch, TOKENS)).collect() };
    let expected = hashes(&mut Command::new(PROGRAM), "cpu", &runs(64));
    for (name, v) in NAMES.iter().zip(&expected) {
        assert_eq!(v["saturated"], Value::from(0), "{name}");
    }
    for batch in [0, 7] {
        let found = hashes(&mut Command::new(PROGRAM), "cpu", &runs(batch));
        for ((name, v), expected) in NAMES.iter().zip(found).zip(&expected) {
            assert_eq!(v["hash"], expected["hash"], "{name}: batch {batch}");
        }
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let mut command = Command::new(PROGRAM);
        let program = command.envs(Driver::environment(manifest));
        let found = hashes(program, driver.adapter, &runs(64));
        for ((name, v), expected) in NAMES.iter().zip(found).zip(&expected) {
            assert!(v["dispatches"].as_u64().unwrap() > 0, "{v}");
            assert_eq!(v["hash"], expected["hash"], "{name} on {}", driver.name);
        }
    }
}

#[test]
fn checkpoints_of_others_stay_near_the_f32_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oracles/architectures");
    let Ok(entries) = std::fs::read_dir(&root) else {
        eprintln!(
            "ABSENT: {} is not there, nothing is compared",
            root.display()
        );
        return;
    };
    let mut far = Vec::new();
    for entry in entries.map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        let bytes = std::fs::read(entry.join("logits.bin")).unwrap();
        let count = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let ids = bytes[8..8 + 4 * count].as_chunks::<4>().0;
        let ids: Vec<u32> = ids.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let target = tempfile::tempdir().unwrap();
        let file = converted(&entry, target.path());
        let kl = divergence::mean(&entry, &file, &ids);
        eprintln!("{}: mean KL {kl:.6} at 8 bits", entry.display());
        if kl.is_nan() || kl > 1e-3 {
            far.push((entry, kl));
        }
    }
    assert!(far.is_empty(), "{far:?}");
}
