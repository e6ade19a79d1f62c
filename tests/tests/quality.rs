//! What integers and codes cost on the bundled model, against the f32 reference.
//!
//! The text is the bundled one: a smoke test of the bounds that the documentation states for a longer
//! text, which `carat eval` measures. With `CARAT_TEXT` set to a file that text is used instead.
#![allow(clippy::unwrap_used)]

use carat::internals::{DeviceChoice, Model, Session, SessionOptions, Verify};
use carat_converter::eval::{IntegerLogits, Options, Quality, ReferenceLogits, evaluate};
use carat_converter::progress::Silent;
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;
use carat_tests::facet;
use std::path::Path;
use std::sync::Arc;

const CTX: usize = 256;

struct Row {
    bits: u32,
    /// Integers against the unquantized f32 model.
    total: Quality,
    /// Integers against the f32 run of the same file's decoded weights.
    integers: Quality,
}

fn measure(bits: u32, text: &str, chunks: Option<usize>, dir: &Path) -> Row {
    let path = dir.join(format!("{bits}.gguf"));
    facet::convert_to(bits, &path);
    let model = Arc::new(Model::open(&path, Verify::Hashes).unwrap());
    let tokenizer = model.tokenizer().unwrap();
    let tokens = tokenizer.encode_prompt(text, false);
    let options = Options {
        ctx: CTX,
        chunks,
        bos: tokenizer.bos().filter(|_| tokenizer.adds_bos()),
    };
    let session = || {
        let options = SessionOptions {
            device: DeviceChoice::Cpu,
            context: CTX as u32,
            batch: Some(64),
            outputs: 64,
            ..Default::default()
        };
        IntegerLogits::new(
            pollster::block_on(Session::new(model.clone(), &options)).unwrap(),
            &Silent,
        )
    };
    let against = |checkpoint: &Path| {
        let checkpoint = Checkpoint::open(checkpoint).unwrap();
        let reference = Reference::open(&checkpoint, 1 << 30).unwrap();
        evaluate(
            &mut session(),
            Some(&mut ReferenceLogits::new(&reference)),
            &tokens,
            &options,
            &Silent,
        )
        .unwrap()
    };
    Row {
        bits,
        total: against(&facet::directory()),
        integers: against(&path),
    }
}

#[test]
fn integers_cost_nothing_and_codes_little() {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../converter/texts/demo.txt");
    let path = std::env::var_os("CARAT_TEXT").map_or(bundled, Into::into);
    let text = std::fs::read_to_string(path).unwrap();
    let chunks = std::env::var("CARAT_CHUNKS")
        .ok()
        .and_then(|n| n.parse().ok());
    let dir = tempfile::tempdir().unwrap();
    for bits in [8, 4, 3, 2] {
        let row = measure(bits, &text, chunks, dir.path());
        let (total, integers) = (
            row.total.divergence.unwrap(),
            row.integers.divergence.unwrap(),
        );
        let ratio = row.total.ppl / total.reference_ppl;
        println!(
            "{} bits: ppl {:.3} ({ratio:.4} of the reference), KL {:.5} (99 %: {:.4}), top-1 {:.3}; integers alone: KL {:.6}",
            row.bits, row.total.ppl, total.kl_mean, total.kl_p99, total.top1, integers.kl_mean,
        );
        // (ratio of perplexities, mean KL, 99th percentile of KL)
        let limits = match bits {
            8 => (1.005, 0.0004, 0.002),
            4 => (1.020, 0.0185, 0.2),
            3 => (1.078, 0.086, 1.0),
            _ => (1.45, 0.44, 4.0),
        };
        assert!(
            ratio <= limits.0 && total.kl_mean <= limits.1 && total.kl_p99 <= limits.2,
            "{bits} bits"
        );
        assert!(
            integers.kl_mean <= 0.0005,
            "{bits} bits: {}",
            integers.kl_mean
        );
    }
}
