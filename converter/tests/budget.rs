//! Conversions to a size, and on the model's own text: within the size and near it, better than the same bits
//! everywhere, the same bytes whatever the threads, faults by their name.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::budget::Target;
use carat_converter::calibrate::{Calibration, Methods, Text};
use carat_converter::convert::{ConvertError, Options, Summary, convert};
use carat_converter::progress::{Progress, Silent};
use carat_converter::source::Checkpoint;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

fn options(output: &Path, text: Text, target: Option<Target>) -> Options {
    Options {
        source: common::facet(),
        output: output.into(),
        bits: 2.0,
        target,
        calibration: Some(Calibration {
            text,
            tokens: 512,
            seed: 0,
            methods: Methods {
                descent: false,
                exponent: false,
                ..Methods::default()
            },
        }),
        ..Default::default()
    }
}

fn demo() -> Text {
    Text::File(Path::new(env!("CARGO_MANIFEST_DIR")).join("texts/demo.txt"))
}

/// Bytes of all tensors.
fn payload(s: &Summary) -> u64 {
    s.report.tensors.iter().map(|t| t.bytes).sum()
}

#[test]
fn a_target_is_met_within_a_hundredth_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for threads in [1, 3] {
        let path = folder.path().join(format!("{threads}.gguf"));
        let target = Some(Target::BitsPerWeight(2.5));
        let summary = convert(
            &Options {
                threads: Some(threads),
                ..options(&path, demo(), target)
            },
            &Silent,
        )
        .unwrap();
        let (found, asked) = (payload(&summary) as f64 * 8.0, 2.5 * summary.weights as f64);
        assert!(found <= asked && found >= 0.99 * asked, "{found} {asked}");
        let bits: std::collections::BTreeSet<String> = summary
            .report
            .tensors
            .iter()
            .filter(|t| t.group.is_some())
            .map(|t| t.bits.to_string())
            .collect();
        assert!(bits.len() > 1, "the same bits everywhere: {bits:?}");
        files.push(fs::read(path).unwrap());
    }
    assert!(files[0] == files[1]);
}

#[test]
fn a_rule_stands_and_a_size_in_bytes_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    let mut options = options(&path, demo(), Some(Target::Bytes(2_000_000)));
    options.rules = vec!["attn_k=8,g64".parse().unwrap()];
    let summary = convert(&options, &Silent).unwrap();
    let found = payload(&summary);
    assert!((1_980_000..=2_000_000).contains(&found), "{found}");
    for t in &summary.report.tensors {
        if t.name.contains("attn_k.") {
            assert_eq!((t.bits, t.group), (8.0, Some(64)), "{}", t.name);
        }
    }
}

#[test]
fn targets_that_cannot_be_met_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    for text in [demo(), Text::Own, Text::BuiltIn] {
        let target = Some(Target::BitsPerWeight(0.5));
        let steps = Stop(Mutex::new(u32::MAX));
        match convert(&options(&path, text, target), &steps).unwrap_err() {
            ConvertError::Target { found, least, .. } => assert!(found < least),
            other => panic!("{other}"),
        }
        // Before anything was sampled or measured.
        assert_eq!(*steps.0.lock().unwrap(), u32::MAX);
    }
    let error = convert(
        &Options {
            calibration: None,
            ..options(&path, demo(), Some(Target::BitsPerWeight(3.0)))
        },
        &Silent,
    );
    assert!(matches!(error.unwrap_err(), ConvertError::TargetText));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Cancels after some steps.
struct Stop(Mutex<u32>);

impl Progress for Stop {
    fn step(&self, _: u64, _: u64) {
        let mut left = self.0.lock().unwrap();
        *left = left.saturating_sub(1);
    }

    fn cancelled(&self) -> bool {
        *self.0.lock().unwrap() == 0
    }
}

#[test]
fn the_models_own_text_is_one_text_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (threads, seed) in [(1, 0), (2, 0), (2, 1)] {
        let path = folder.path().join(format!("{threads}{seed}.gguf"));
        let mut options = options(&path, Text::Own, None);
        options.threads = Some(threads);
        options.calibration.as_mut().unwrap().seed = seed;
        convert(&options, &Silent).unwrap();
        files.push(fs::read(path).unwrap());
    }
    assert!(files[0] == files[1]);
    assert!(files[1] != files[2]);
    let path = folder.path().join("stopped.gguf");
    let target = Some(Target::BitsPerWeight(3.0));
    for steps in [1, 44, 60, 100] {
        let stopped = convert(&options(&path, Text::Own, target), &Stop(Mutex::new(steps)));
        assert!(matches!(stopped, Err(ConvertError::Cancelled)), "{steps}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn sizes_are_read_with_their_units() {
    for (text, bytes) in [
        ("512MiB", 512 << 20),
        (" 1.5 GB ", 1_500_000_000),
        ("7", 7),
        ("2k", 2048),
        ("3kB", 3000),
    ] {
        assert_eq!(Target::parse_size(text), Ok(Target::Bytes(bytes)), "{text}");
    }
    for text in ["", "MiB", "-1MB", "1e99GB", "5 potatoes", "0", "nan"] {
        assert!(Target::parse_size(text).is_err(), "{text}");
    }
    for text in ["", "0", "-2", "33", "inf", "NaN", "3bits"] {
        assert!(Target::parse_bits(text).is_err(), "{text}");
    }
    let source = Checkpoint::open(common::facet()).unwrap();
    let bytes = Target::parse_bits("3.25").unwrap().bytes(source.hyper());
    assert_eq!(bytes, source.hyper().weights() * 13 / 32);
}

#[test]
fn what_is_foretold_ranks_divisions_as_they_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = {
        let source = Checkpoint::open(common::facet()).unwrap();
        let matrices = source.hyper().tensors().into_iter();
        let matrices = matrices.filter(|t| !t.is_vector());
        matrices.map(|t| t.name()).collect()
    };
    let mut found = Vec::new();
    for division in 0..8u64 {
        let mut next = common::noise(division);
        let path = folder.path().join(format!("{division}.gguf"));
        let mut options = options(&path, demo(), Some(Target::BitsPerWeight(16.0)));
        // Around 2 to 5 bits.
        for name in &names {
            let bits = 2.0 + division as f32 * 0.4 + 1.5 * next();
            let bits = bits.round().clamp(2.0, 6.0);
            options
                .rules
                .push(format!("^{name}$={bits},g64").parse().unwrap());
        }
        options.card = Some(Default::default());
        let summary = convert(&options, &Silent).unwrap();
        let measured = summary.quality().unwrap().kl_mean;
        found.push((summary.predicted_kl.unwrap(), measured));
    }
    let rank = |values: Vec<f64>, x: f64| values.iter().filter(|v| **v < x).count() as f64;
    let foretold = |(f, _): &(f64, f64)| rank(found.iter().map(|p| p.0).collect(), *f);
    let measured = |(_, m): &(f64, f64)| rank(found.iter().map(|p| p.1).collect(), *m);
    let apart: f64 = found
        .iter()
        .map(|p| (foretold(p) - measured(p)).powi(2))
        .sum();
    let n = found.len() as f64;
    let correlation = 1.0 - 6.0 * apart / (n * (n * n - 1.0));
    assert!(correlation >= 0.9, "{correlation}: {found:?}");
}

#[test]
fn no_matrix_is_ruined_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = f64::INFINITY;
    for (bits, least) in [(2.4, 1.0), (3.4, 1.6), (4.4, 2.0)] {
        let path = folder.path().join(format!("{bits}.gguf"));
        let target = Some(Target::BitsPerWeight(bits));
        let summary = convert(&options(&path, demo(), target), &Silent).unwrap();
        let matrices = summary.report.tensors.iter().filter(|t| t.group.is_some());
        let fewest = matrices.map(|t| t.bits).fold(f64::INFINITY, f64::min);
        assert!(fewest >= least, "{fewest} bits at {bits}");
        // More bytes never cost more.
        let kl = summary.predicted_kl.unwrap();
        assert!(kl < before, "{kl} {before}");
        before = kl;
    }
}

#[test]
fn a_divergence_is_reached_with_four_bits_at_least() {
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for nats in [10.0, 0.002] {
        let path = folder.path().join(format!("{nats}.gguf"));
        let target = Some(Target::Divergence(nats));
        let summary = convert(&options(&path, demo(), target), &Silent).unwrap();
        assert!(summary.predicted_kl.unwrap() <= nats);
        sizes.push(payload(&summary) as f64 * 8.0 / summary.weights as f64);
    }
    assert!(
        (4.1..4.3).contains(&sizes[0]) && sizes[1] > sizes[0],
        "{sizes:?}"
    );
}
