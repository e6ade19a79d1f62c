//! Hashes of logits, recorded once: a change of structure gives the same integers. `oracles/logits.json` has them; it is
//! written again with `CARAT_RECORD=1`, which is a decision about numbers and needs a reason.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_tests::architectures::{NAMES, model};
use carat_tests::drivers::{self, Driver};
use carat_tests::facet;
use carat_tests::hashes::{Request, hashes};
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

/// Every model with its name in the record.
fn models(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for bits in BITS {
        let file = dir.join(format!("facet-{bits}.gguf"));
        found.push((
            format!("facet-6m at {bits}"),
            converted(facet::directory(), file, bits),
        ));
    }
    for name in NAMES {
        let source = tempfile::tempdir().unwrap();
        model(name).write(source.path());
        let file = dir.join(format!("{name}.gguf"));
        let bits = if *name == "bitnet" { 1.6 } else { 4.0 };
        found.push(((*name).into(), converted(source.path().into(), file, bits)));
    }
    found
}

#[test]
fn logits_are_those_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let models = models(dir.path());
    // Into a second page of the cache.
    let runs: Vec<Request<'_>> = models
        .iter()
        .map(|(_, file)| (file.as_path(), 64, 270))
        .collect();
    let found = hashes(&mut Command::new(PROGRAM), "cpu", &runs);
    let of = |v: &Value| v["hash"].clone();
    if std::env::var_os("CARAT_RECORD").is_some_and(|v| v == "1") {
        let table: Map<String, Value> = models
            .iter()
            .zip(&found)
            .map(|((name, _), v)| (name.clone(), of(v)))
            .collect();
        let text = serde_json::to_string_pretty(&table).unwrap() + "\n";
        std::fs::write(recorded(), text).unwrap();
        return;
    }
    let text = std::fs::read_to_string(recorded()).unwrap();
    let table: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(table.len(), models.len());
    for ((name, _), v) in models.iter().zip(&found) {
        assert_eq!(Some(&of(v)), table.get(name), "{name} on the CPU");
    }
    for driver in &drivers::VULKAN {
        let Some(manifest) = driver.manifest_or_absent() else {
            continue;
        };
        let mut command = Command::new(PROGRAM);
        let program = command.envs(Driver::environment(manifest));
        let found = hashes(program, driver.adapter, &runs);
        for ((name, _), v) in models.iter().zip(&found) {
            assert_eq!(Some(&of(v)), table.get(name), "{name} on {}", driver.name);
        }
    }
}
