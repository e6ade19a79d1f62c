//! A device proves itself: every kernel against its CPU twin over small synthetic models.
//!
//! The models are generated here from a seed, so that no file is needed: all encodings, odd widths, rows on
//! both sides of a border between pages. Each step of their plans runs on the CPU and on the device, and what
//! it wrote is compared word by word.

mod adapter;
mod compare;
mod rng;
mod synth;

pub use adapter::{adapter, terms};
pub use compare::{Difference, KernelCheck, compare};
pub use rng::Rng;
pub use synth::{Flavour, Shape};

use crate::error::Error;
use crate::model::{Model, Verify};
use crate::plan::Row;
use crate::session::{DeviceChoice, Session, SessionOptions};
use carat_format::{Encoding, ScaleGroup};
use std::sync::Arc;

/// Positions of a pass: at the start, at the border of a page of 256, far beyond it.
const PASSES: [&[u32]; 3] = [&[0, 1, 2, 3, 4, 5, 6], &[254, 255, 256, 257], &[599]];

/// A model for each encoding and each flavour of architecture: together they use every kernel, every reach
/// of a scale, tied and untied heads, and widths that fill neither groups nor words.
pub fn shapes() -> Vec<Shape> {
    let shape = |(i, encoding): (usize, Encoding)| Shape {
        dim: [48, 64, 100, 172][i % 4],
        heads: [4, 6, 3, 2][i % 4],
        kv_heads: [2, 2, 1, 2][i % 4],
        head_dim: [16, 10, 80, 32][i % 4],
        ff: [96, 130, 200, 64][i % 4],
        tied: i % 2 == 0,
        encoding,
        group: ScaleGroup::ALL[i % 3],
        seed: 40 + i as u64,
        ..Shape::default()
    };
    let flavoured = |(i, flavour): (usize, Flavour)| Shape {
        flavour,
        ..shape((i, Encoding::Pow4))
    };
    let encodings = Encoding::ALL.into_iter().enumerate().map(shape);
    let flavours = Flavour::ALL.into_iter().skip(1).enumerate().map(flavoured);
    encodings.chain(flavours).collect()
}

/// Compares every kernel on `device` with its twin; one entry for each kernel and encoding, sorted.
///
/// In a model the comparison ends at its first step that differs: what follows would only inherit the
/// difference. `cancelled` is asked before each pass.
///
/// Errors: no such device, it refuses or fails, or cancelled.
pub async fn check_kernels(
    device: &DeviceChoice,
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<KernelCheck>, Error> {
    let mut checks = Vec::new();
    #[cfg(feature = "gpu")]
    let gpu = crate::device::choose(device, crate::plan::DEFAULT_BINDING).await?;
    for shape in shapes() {
        let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Structure)?);
        let with = |device: &DeviceChoice| SessionOptions {
            adapters: match shape.flavour {
                // Into every kind of product; the other models have fused ones.
                Flavour::Biases | Flavour::BranchNorms | Flavour::Mixed => {
                    adapter::several(model.spec(), shape.seed)
                }
                _ => Vec::new(),
            },
            ..options(device.clone())
        };
        let (on_cpu, on_device) = (with(&DeviceChoice::Cpu), with(device));
        let mut cpu = Session::new(model.clone(), &on_cpu).await?;
        #[cfg(feature = "gpu")]
        let other = match &gpu {
            Some(gpu) => Session::on(model, &on_device, gpu.clone()).await,
            None => Session::new(model, &on_device).await,
        };
        #[cfg(not(feature = "gpu"))]
        let other = Session::new(model, &on_device).await;
        let mut other = other?;
        let mut rng = Rng(shape.seed);
        for positions in PASSES {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            // In an order of its own: a row's place in a batch means nothing.
            let rows: Vec<Row> = positions
                .iter()
                .rev()
                .map(|p| Row {
                    token: rng.below(shape.vocab.into()) as u32,
                    position: *p,
                    sequence: 0,
                })
                .collect();
            let outputs = if rows.len() > 3 { 3 } else { 1 };
            if !compare(&mut cpu, &mut other, &rows, outputs, &mut checks).await? {
                break;
            }
        }
    }
    checks.sort_by_key(|c| (c.kernel, c.encoding));
    Ok(checks)
}

fn options(device: DeviceChoice) -> SessionOptions {
    SessionOptions {
        device,
        context: 600,
        batch: Some(7),
        outputs: 3,
        ..SessionOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use std::collections::BTreeSet;

    #[test]
    fn every_kernel_is_compared() {
        let checks = block_on(check_kernels(&DeviceChoice::Cpu, &|| false)).unwrap();
        let compared: BTreeSet<&str> = checks.iter().map(|c| c.kernel).collect();
        let all: BTreeSet<&str> = carat_shaders::KERNELS
            .iter()
            .map(|k| k.name)
            .filter(|n| *n != carat_shaders::READ)
            .collect();
        assert_eq!(compared, all, "a kernel that no model of `shapes` uses");
        for kernel in ["embed_row_q", "linear_tile_q"] {
            let bits: Vec<_> = checks.iter().filter(|c| c.kernel == kernel).collect();
            assert_eq!(bits.len(), Encoding::ALL.len());
        }
        for check in &checks {
            assert!(check.words > 0, "{check:?}");
            assert_eq!(check.difference, None, "the CPU equals itself");
        }
    }

    #[test]
    fn a_difference_is_found_and_named() {
        let [a, b] = [40, 41].map(|seed| {
            let shape = Shape {
                seed,
                ..Shape::default()
            };
            let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
            block_on(Session::new(model.clone(), &options(DeviceChoice::Cpu))).unwrap()
        });
        let (mut a, mut b) = (a, b);
        let row = Row {
            token: 3,
            position: 0,
            sequence: 0,
        };
        let mut checks = Vec::new();
        let same = block_on(compare(&mut a, &mut b, &[row], 1, &mut checks)).unwrap();
        assert!(!same);
        assert_eq!(checks.len(), 1, "the comparison ends where words differ");
        let difference = checks[0].difference.clone().unwrap();
        assert_eq!(
            (checks[0].kernel, difference.step.as_str()),
            ("embed_row_q", "embed")
        );
        assert_ne!(difference.expected, difference.found);
        assert!(difference.differing > 0 && difference.word < 64);
        let text = difference.to_string();
        assert!(text.contains("word") && text.contains("'embed'"), "{text}");
    }

    #[test]
    fn bytes_of_a_decoded_token() {
        // Widths that fill groups of 32 and tiles of 32 rows: by hand from the format's definition.
        for tied in [true, false] {
            let shape = Shape {
                tied,
                ..Shape::default()
            };
            let model = Arc::new(Model::from_bytes(&shape.bytes(), Verify::Hashes).unwrap());
            let session =
                block_on(Session::new(model.clone(), &options(DeviceChoice::Cpu))).unwrap();
            // 4 bits: 16 bytes of codes and a scale a group, 4 bytes a row.
            let matrix = |rows: u64, cols: u64| rows * (cols / 32 * 17 + 4);
            // q, k, v, output; gate, up, down; two norms of 64 words.
            let attention = 2 * matrix(64, 64) + 2 * matrix(32, 64);
            let feed_forward = 2 * matrix(96, 64) + matrix(64, 96);
            let block = attention + feed_forward + 2 * 64 * 4;
            let expected = matrix(1, 64) + 2 * block + 64 * 4 + matrix(128, 64);
            assert_eq!(
                session.plan().decode_weight_bytes(),
                expected,
                "tied: {tied}"
            );
        }
    }

    #[test]
    fn it_can_be_cancelled() {
        let result = block_on(check_kernels(&DeviceChoice::Cpu, &|| true));
        assert!(matches!(result, Err(Error::Cancelled)));
    }
}
