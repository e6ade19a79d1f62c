//! Runs of the program `logits_hash`.

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A model, the batch and how many tokens.
pub type Request<'a> = (&'a Path, u32, u32);

/// What the program prints of each run on a device, with a cache of 8 bits; `program` starts it.
///
/// Panics where it fails: a failed test.
pub fn hashes(program: &mut Command, device: &str, runs: &[Request<'_>]) -> Vec<Value> {
    let runs: Vec<_> = runs.iter().map(|run| (*run, 0)).collect();
    hashes_of(program, device, &runs)
}

/// The same with the kind of cache of each run: its place in [`carat::internals::CacheBits::ALL`].
///
/// Panics where it fails: a failed test.
#[allow(clippy::expect_used)]
pub fn hashes_of(program: &mut Command, device: &str, runs: &[(Request<'_>, usize)]) -> Vec<Value> {
    program.arg(device);
    for ((model, batch, tokens), kv) in runs {
        program.arg(model);
        program.args([batch.to_string(), tokens.to_string(), kv.to_string()]);
    }
    let out = program.output().expect("the program starts");
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program:?}:\n{error}");
    let lines = String::from_utf8_lossy(&out.stdout);
    let found: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("a line is a JSON object"))
        .collect();
    assert_eq!(found.len(), runs.len(), "{program:?}");
    found
}
