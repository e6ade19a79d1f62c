//! Embeddings: the same integers for every batch and device, and the direction that the f32 pass gives.
#![allow(clippy::unwrap_used)]

use carat::internals::{DeviceChoice, Embedding, Model, Session, SessionOptions, Verify};
use carat_converter::reference::{Reference, Run};
use carat_converter::source::Checkpoint;
use carat_format::Pooling;
use carat_tests::facet;
use std::sync::Arc;

const TEXT: &str = "The captain looked out over the grey water and said nothing for a long while. ";

fn embed(
    model: &Arc<Model>,
    ids: &[u32],
    device: &str,
    batch: u32,
    pooling: Pooling,
) -> Vec<Embedding> {
    let options = SessionOptions {
        device: match device {
            "cpu" => DeviceChoice::Cpu,
            name => DeviceChoice::GpuNamed(name.into()),
        },
        context: 512,
        batch: Some(batch),
        ..Default::default()
    };
    let mut session = pollster::block_on(Session::new(model.clone(), &options)).unwrap();
    let first = pollster::block_on(session.embed(ids, pooling)).unwrap();
    // What was there before does not show.
    pollster::block_on(session.embed(&ids[..3], pooling)).unwrap();
    let again = pollster::block_on(session.embed(ids, pooling)).unwrap();
    assert_eq!(first, again);
    assert_eq!(session.tokens(), ids);
    first
}

fn model(bits: u32) -> (tempfile::TempDir, Arc<Model>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facet.gguf");
    facet::convert_to(bits, &path);
    let model = Model::open(&path, Verify::Hashes).unwrap();
    (directory, Arc::new(model))
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn integers_equal_and_close_to_f32() {
    let (_directory, model) = model(8);
    let ids = model
        .tokenizer()
        .unwrap()
        .encode_prompt(&TEXT.repeat(8), false);
    assert!(ids.len() > 100, "{}", ids.len());
    let source = Checkpoint::open(facet::directory()).unwrap();
    let reference = Reference::open(&source, 1 << 30).unwrap();
    let hidden = reference
        .hidden(&[ids.as_slice()], &mut Run::default())
        .unwrap();
    let width = model.spec().embedding_length as usize;
    let rows: Vec<&[f32]> = hidden[0].chunks_exact(width).collect();
    assert_eq!(rows.len(), ids.len());
    // One for each token, in the text's order: what all others are made of.
    let each = embed(&model, &ids, "cpu", 64, Pooling::None);
    assert_eq!(each.len(), ids.len());
    for (vector, row) in each.iter().zip(&rows) {
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let close = cosine(&vector.unit(), &row);
        assert!(close >= 0.995, "{close}");
    }
    for pooling in Pooling::ALL {
        let all = embed(&model, &ids, "cpu", 64, pooling);
        for batch in [1, 7] {
            assert_eq!(embed(&model, &ids, "cpu", batch, pooling), all, "{batch}");
        }
        let [one] = &all[..] else {
            assert_eq!((pooling, &all), (Pooling::None, &each));
            continue;
        };
        assert_eq!(one.integers.len(), width);
        match pooling {
            Pooling::Cls => assert_eq!(one, &each[0]),
            Pooling::Last => assert_eq!(one, &each[ids.len() - 1]),
            Pooling::Mean | Pooling::None => assert_eq!(pooling, Pooling::Mean),
        }
        let exact: Vec<f64> = (0..width)
            .map(|i| match pooling {
                Pooling::Mean => rows.iter().map(|r| f64::from(r[i])).sum::<f64>(),
                Pooling::Cls => f64::from(rows[0][i]),
                _ => f64::from(rows[rows.len() - 1][i]),
            })
            .collect();
        let unit = one.unit();
        let length: f64 = unit.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-12);
        let close = cosine(&unit, &exact);
        println!("{pooling:?}: cosine {close}");
        assert!(close >= 0.999, "{pooling:?}: {close}");
        // The size too: integers times their unit are the hidden state itself.
        let count = if pooling == Pooling::Mean {
            rows.len()
        } else {
            1
        } as f64;
        let unit = f64::from(one.exponent).exp2();
        let size = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let ratio = size(&mut one.integers.iter().map(|x| *x as f64 * unit))
            / size(&mut exact.iter().map(|x| x / count));
        assert!((ratio - 1.0).abs() < 0.01, "{pooling:?}: {ratio}");
    }
}

#[test]
fn texts_that_cannot_be_embedded() {
    let (_directory, model) = model(4);
    let options = SessionOptions {
        device: DeviceChoice::Cpu,
        context: 256,
        ..Default::default()
    };
    let mut session = pollster::block_on(Session::new(model, &options)).unwrap();
    for ids in [&[][..], &[1 << 30], &[1; 257]] {
        assert!(pollster::block_on(session.embed(ids, Pooling::Mean)).is_err());
    }
}

/// The drivers that are installed are chosen by the environment, so the adapters are asked for by name.
#[cfg(feature = "gpu")]
#[test]
fn the_same_on_every_driver() {
    let (_directory, model) = model(4);
    let ids = model.tokenizer().unwrap().encode_prompt(TEXT, false);
    for driver in &carat_tests::drivers::VULKAN {
        if driver.manifest_or_absent().is_none() {
            continue;
        }
        let options = SessionOptions {
            device: DeviceChoice::GpuNamed(driver.adapter.into()),
            ..Default::default()
        };
        // Chromium's driver is not among the system's own: the loader sees it where it is told to.
        if pollster::block_on(Session::new(model.clone(), &options)).is_err() {
            println!("{} is not offered to this process", driver.name);
            continue;
        }
        for pooling in Pooling::ALL {
            let expected = embed(&model, &ids, "cpu", 64, pooling);
            for batch in [7, 64] {
                assert_eq!(
                    embed(&model, &ids, driver.adapter, batch, pooling),
                    expected
                );
            }
        }
    }
}
