//! Weights that are −s, 0 and s come through ternary codes: every code, and s to the row scale's 16 bits.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::convert::{Options, convert};
use carat_converter::progress::Silent;
use carat_converter::quantize::{Objective, Quantizer};
use carat_converter::source::Checkpoint;
use carat_format::{Coding, Encoding, ScaleGroup, Tensor};
use std::fs;
use std::path::Path;

/// Half a unit of the smallest normalised mantissa, 32768.
const ROUNDING: f64 = 1.0 / 65536.0;

fn trit(x: f32) -> f32 {
    if x.abs() < 0.34 { 0.0 } else { x.signum() }
}

#[test]
fn a_row_of_one_scale_keeps_every_code() {
    let mut next = common::noise(5);
    for group in ScaleGroup::ALL {
        let quantizer = Quantizer::new(
            Coding {
                encoding: Encoding::Ternary,
                group,
            },
            1.0,
        );
        for (cols, keep_norm) in [(1, true), (33, false), (256, true), (300, true)] {
            for power in [-120, -40, -7, 0, 9] {
                let s = (1.5 + next() * 0.5) * 2f32.powi(power);
                let mut trits: Vec<f32> = (0..cols).map(|_| trit(next())).collect();
                // A scale group without weights, and a row that is not zero.
                trits.iter_mut().skip(128).take(128).for_each(|t| *t = 0.0);
                trits[0] = -1.0;
                let w: Vec<f32> = trits.iter().map(|t| t * s).collect();
                let importance: Vec<f32> = (0..cols).map(|_| next().abs() * 4.0).collect();
                for importance in [None, Some(&importance[..])] {
                    let row = quantizer.row(
                        &w,
                        &Objective {
                            importance,
                            keep_norm,
                        },
                    );
                    let codes: Vec<u8> = trits.iter().map(|t| (t + 1.0) as u8).collect();
                    assert_eq!(row.packed.codes, codes);
                    let unit = f64::from(row.packed.scale.mantissa)
                        * f64::from(row.packed.scale.exponent).exp2();
                    for (i, t) in trits.iter().enumerate().filter(|(_, t)| **t != 0.0) {
                        let scale = f64::from(row.packed.scales[i / group.weights()]);
                        let found = 127.0 * scale * unit / f64::from(s);
                        assert!((found - 1.0).abs() < ROUNDING, "{t}: {found}");
                    }
                }
            }
        }
    }
}

/// Rewrites the matrices of the blocks as trits times a scale of each.
fn make_ternary(dir: &Path) {
    let path = dir.join("model.safetensors");
    let mut file = fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&file[8..start]).unwrap();
    for (i, (_, entry)) in header
        .iter()
        .filter(|(name, _)| name.ends_with("_proj.weight"))
        .enumerate()
    {
        let at = |n: usize| start + entry["data_offsets"][n].as_u64().unwrap() as usize;
        let (from, to) = (at(0), at(1));
        for w in file[from..to].as_chunks_mut::<4>().0 {
            *w = (trit(f32::from_le_bytes(*w)) * (0.013 + 0.001 * i as f32)).to_le_bytes();
        }
    }
    fs::write(&path, file).unwrap();
}

#[test]
fn a_ternary_checkpoint_keeps_every_code() {
    let source = common::checkpoint(&common::config(), &common::tensors());
    common::copy_tokenizer(source.path());
    make_ternary(source.path());
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("ternary.gguf");
    let options = Options {
        source: source.path().into(),
        output: output.clone(),
        bits: 1.6,
        group: ScaleGroup::W128,
        rules: vec!["token_embd|^output=8".parse().unwrap()],
        ..Options::default()
    };
    let summary = convert(&options, &Silent).unwrap();
    let (original, carat) = (
        Checkpoint::open(source.path()).unwrap(),
        Checkpoint::open(&output).unwrap(),
    );
    let mut compared = 0;
    for tensor in original.hyper().tensors() {
        if carat.encoding(tensor) != Some(Encoding::Ternary) {
            continue;
        }
        let rows = 0..tensor_rows(&summary, tensor);
        let (mut w, mut d) = (Vec::new(), Vec::new());
        original.read_rows(tensor, rows.clone(), &mut w).unwrap();
        carat.read_rows(tensor, rows, &mut d).unwrap();
        assert!(w.contains(&0.0) && w.iter().any(|w| *w != 0.0));
        for (w, d) in w.iter().zip(&d) {
            assert!(
                f64::from(w - d).abs() <= f64::from(w.abs()) * (ROUNDING + 1e-7),
                "{tensor:?}: {w} {d}"
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 14);
}

fn tensor_rows(summary: &carat_converter::convert::Summary, tensor: Tensor) -> u64 {
    let name = tensor.name();
    let row = summary.report.tensors.iter().find(|t| t.name == name);
    row.unwrap().shape[0]
}
