//! Data-free quality of the bundled model, everything but the norms quantized: perplexity and divergence
//! of the decoded weights, in f32, on books that the model never saw.
#![allow(clippy::unwrap_used)]

mod common;

use carat_converter::convert::{Options, convert};
use carat_converter::eval::{self, ReferenceLogits};
use carat_converter::hf_tokenizer::HfTokenizer;
use carat_converter::progress::Silent;
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;

/// Chunks scored; all of them where `CARAT_TEST_FULL` is set, which takes minutes.
fn chunks() -> Option<usize> {
    std::env::var_os("CARAT_TEST_FULL").is_none().then_some(64)
}

fn quality(bits: u32, most_ppl: f64, most_kl: f64) {
    let Some(text) = common::shared("text/eval.txt") else {
        return;
    };
    let text = std::fs::read_to_string(text).unwrap();
    let data = HfTokenizer::load(&common::facet()).unwrap().data;
    let tokens = carat_text::tokenizer::Tokenizer::new(&data)
        .unwrap()
        .encode_prompt(&text, false);

    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.gguf");
    let options = Options {
        source: common::facet(),
        output: output.clone(),
        bits: f64::from(bits),
        ..Default::default()
    };
    convert(&options, &Silent).unwrap();
    let (model, original) = (
        Checkpoint::open(&output).unwrap(),
        Checkpoint::open(common::facet()).unwrap(),
    );
    let open = |c| Reference::open(c, 1 << 30).unwrap();
    let (model, original) = (open(&model), open(&original));
    let options = eval::Options {
        ctx: 256,
        chunks: chunks(),
        bos: data.bos,
    };
    let mut reference = ReferenceLogits::new(&original);
    let q = eval::evaluate(
        &mut ReferenceLogits::new(&model),
        Some(&mut reference),
        &tokens,
        &options,
        &Silent,
    )
    .unwrap();
    let d = q.divergence.unwrap();
    let ratio = q.ppl / d.reference_ppl;
    eprintln!(
        "{bits} bits: perplexity × {ratio:.5}, mean KL {:.5}, p99 {:.5}, top-1 {:.4}",
        d.kl_mean, d.kl_p99, d.top1
    );
    assert!(
        ratio <= most_ppl,
        "perplexity × {ratio}, expected at most {most_ppl}"
    );
    assert!(
        d.kl_mean <= most_kl,
        "mean KL {}, expected at most {most_kl}",
        d.kl_mean
    );
}

#[test]
fn at_8_bits() {
    quality(8, 1.001, 0.0004);
}

#[test]
fn at_6_bits() {
    quality(6, 1.002, 0.0012);
}

#[test]
fn at_5_bits() {
    quality(5, 1.005, 0.0053);
}

#[test]
fn at_4_bits() {
    quality(4, 1.020, 0.0185);
}

#[test]
fn at_3_bits() {
    quality(3, 1.078, 0.086);
}

#[test]
fn at_2_bits() {
    quality(2, 1.45, 0.44);
}
