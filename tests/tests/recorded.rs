//! Hashes of logits, recorded once: a change of structure gives the same integers. `oracles/logits.json` has them; it is
//! written again with `CARAT_RECORD=1`, which is a decision about numbers and needs a reason.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_tests::architectures::{NAMES, model};
use carat_tests::drivers::{self, Driver};
use carat_tests::facet;
use carat_tests::hashes::{Request, hashes_of};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_logits_hash");
/// Bits of the bundled model.
const BITS: [f64; 6] = [8.0, 4.0, 3.0, 2.0, 1.6, 1.0];

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracles/logits.json")
}

/// Converts without data, which gives the same bytes on every machine.
fn converted(source: PathBuf, output: PathBuf, bits: f64) -> PathBuf {
    let options = Options {
        source,
        output: output.clone(),
        bits,
        ..Options::default()
    };
    convert(&options, &Silent).unwrap();
    output
}

/// Kinds of caches with 4 bits, by their places in `CacheBits::ALL`.
const NARROW: [(&str, usize); 3] = [("8,4", 1), ("4,8", 2), ("4,4", 3)];

/// Every model with its name in the record, and the kind of its cache.
fn models(dir: &Path) -> Vec<(String, PathBuf, usize)> {
    let mut found = Vec::new();
    for bits in BITS {
        let file = dir.join(format!("facet-{bits}.gguf"));
        found.push((
            format!("facet-6m at {bits}"),
            converted(facet::directory(), file, bits),
            0,
        ));
    }
    for (name, kind) in NARROW {
        let file = dir.join("facet-4.gguf");
        found.push((format!("facet-6m at 4, cache of {name}"), file, kind));
    }
    for name in NAMES {
        let source = tempfile::tempdir().unwrap();
        model(name).write(source.path());
        let file = dir.join(format!("{name}.gguf"));
        let bits = if *name == "bitnet" { 1.6 } else { 4.0 };
        let file = converted(source.path().into(), file, bits);
        found.push(((*name).into(), file, 0));
    }
    found
}

#[test]
fn logits_are_those_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let models = models(dir.path());
    // Into a second page of the cache.
    let runs: Vec<(Request<'_>, usize)> = models
        .iter()
        .map(|(_, file, kind)| ((file.as_path(), 64, 270), *kind))
        .collect();
    let found = hashes_of(&mut Command::new(PROGRAM), "cpu", &runs);
    let of = |v: &Value| v["hash"].clone();
    if std::env::var_os("CARAT_RECORD").is_some_and(|v| v == "1") {
        let table: Map<String, Value> = models
            .iter()
            .zip(&found)
            .map(|((name, ..), v)| (name.clone(), of(v)))
            .collect();
        let text = serde_json::to_string_pretty(&table).unwrap() + "\n";
        std::fs::write(recorded(), text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(recorded()).unwrap();
    let table: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(table.len(), models.len());
    for ((name, ..), v) in models.iter().zip(&found) {
        assert_eq!(Some(&of(v)), table.get(name), "{name} on the CPU");
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let mut command = Command::new(PROGRAM);
        let program = command.envs(Driver::environment(manifest));
        let found = hashes_of(program, driver.adapter, &runs);
        for ((name, ..), v) in models.iter().zip(&found) {
            assert_eq!(Some(&of(v)), table.get(name), "{name} on {}", driver.name);
        }
    }
}
