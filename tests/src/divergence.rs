//! Divergence of the integer engine's predictions from those of a checkpoint in f32.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

use carat::internals::{DeviceChoice, Session, SessionOptions, Verify, Want};
use carat_converter::reference::{Reference, Run};
use carat_converter::source::Checkpoint;
use std::path::Path;
use std::sync::Arc;

/// Natural logarithms of the softmax of a row.
fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = row.iter().copied().fold(f32::MIN, f32::max);
    let shifted: Vec<f64> = row
        .iter()
        .map(|z| f64::from(*z) - f64::from(most))
        .collect();
    let sum = shifted.iter().map(|z| z.exp()).sum::<f64>().ln();
    shifted.iter().map(|z| z - sum).collect()
}

/// Mean KL divergence of the integer engine's predictions from those of the checkpoint in f32.
///
/// # Panics
/// If either cannot be read or run: a failed test.
pub fn mean(source: &Path, file: &Path, ids: &[u32]) -> f64 {
    let checkpoint = Checkpoint::open(source).unwrap();
    let reference = Reference::open(&checkpoint, 1 << 30).unwrap();
    let mut expected: Vec<Vec<f64>> = Vec::new();
    let mut sink = |_: usize, _: usize, row: &[f32]| expected.push(log_softmax(row));
    reference
        .forward(&[ids.to_vec()], 0, &mut Run::default(), &mut sink)
        .unwrap();
    let model = Arc::new(carat::internals::Model::open(file, Verify::Hashes).unwrap());
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: ids.len() as u32,
        batch: Some(16),
        outputs: 16,
        ..SessionOptions::default()
    };
    let mut session = pollster::block_on(Session::new(model, &options)).unwrap();
    let unit = f64::from(session.logits_exponent()).exp2();
    let mut found: Vec<Vec<f64>> = Vec::new();
    let mut take = |o: carat::internals::Output<'_>| {
        let row: Vec<f32> = o
            .logits
            .iter()
            .map(|z| (f64::from(*z) * unit) as f32)
            .collect();
        found.push(log_softmax(&row));
    };
    pollster::block_on(session.forward(ids, Want::From(0), &mut take)).unwrap();
    assert_eq!((found.len(), expected.len()), (ids.len(), ids.len()));
    let rows = expected.iter().zip(&found).map(|(p, q)| {
        let terms = p.iter().zip(q).map(|(p, q)| p.exp() * (p - q));
        terms.sum::<f64>()
    });
    rows.sum::<f64>() / ids.len() as f64
}
