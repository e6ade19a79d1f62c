//! The protocol of an evaluation, against a direct computation and against llama.cpp's figure.
#![allow(clippy::unwrap_used)] // A failure here is a failed test.

mod common;

use carat_converter::eval::{
    self, Dump, DumpError, EvalError, Logits, ModelError, Options, ReferenceLogits,
};
use carat_converter::progress::{Progress, Silent};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const VOCAB: u32 = 7;

/// Logits that are a function of the chunk's tokens and the position.
struct Toy {
    seed: u64,
    chunks: Vec<Vec<u32>>,
    at_once: usize,
    last: (usize, usize),
}

impl Toy {
    fn new(seed: u64, at_once: usize) -> Self {
        Self {
            seed,
            chunks: Vec::new(),
            at_once,
            last: (0, 0),
        }
    }

    fn row(seed: u64, tokens: &[u32], position: usize) -> Vec<f32> {
        let sum: u32 = tokens[..=position].iter().sum();
        let mut next = common::noise(seed + u64::from(sum) * 31 + position as u64);
        (0..VOCAB).map(|_| next() * 3.0).collect()
    }
}

impl Logits for Toy {
    fn vocab_size(&self) -> u32 {
        VOCAB
    }

    fn chunks_at_once(&self, _: usize) -> usize {
        self.at_once
    }

    fn start(&mut self, chunks: &[Vec<u32>], progress: &dyn Progress) -> Result<(), ModelError> {
        progress.step(1, 2);
        (self.chunks, self.last) = (chunks.to_vec(), (0, 0));
        Ok(())
    }

    fn read(
        &mut self,
        chunk: usize,
        positions: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        assert!((chunk, positions.start) >= self.last, "asked out of order");
        self.last = (chunk, positions.end);
        out.clear();
        positions.for_each(|p| out.extend(Self::row(self.seed, &self.chunks[chunk], p)));
        Ok(())
    }
}

fn tokens(n: u32) -> Vec<u32> {
    (0..n).map(|i| i * i % VOCAB).collect()
}

#[test]
fn scores_are_those_of_the_protocol() {
    let options = Options {
        ctx: 9,
        chunks: None,
        bos: Some(6),
    };
    let text = tokens(9 * 5 + 4);
    let mut kl = Vec::new();
    let (mut loss, mut reference_loss, mut same) = (0.0, 0.0, 0);
    for chunk in text.chunks_exact(9) {
        let mut chunk = chunk.to_vec();
        chunk[0] = 6;
        for p in 4..8 {
            let softmax = |seed| -> Vec<f64> {
                let z = Toy::row(seed, &chunk, p);
                let sum: f64 = z.iter().map(|z| f64::from(*z).exp()).sum();
                z.iter().map(|z| f64::from(*z).exp() / sum).collect()
            };
            let (q, r) = (softmax(1), softmax(2));
            let top = |d: &[f64]| (0..7).max_by(|a, b| d[*a].total_cmp(&d[*b])).unwrap();
            loss -= q[chunk[p + 1] as usize].ln();
            reference_loss -= r[chunk[p + 1] as usize].ln();
            kl.push(r.iter().zip(&q).map(|(r, q)| r * (r / q).ln()).sum::<f64>());
            same += usize::from(top(&q) == top(&r));
        }
    }
    kl.sort_by(f64::total_cmp);
    for (a, b) in [(1, 1), (3, 1), (2, 8)] {
        let (mut model, mut reference) = (Toy::new(1, a), Toy::new(2, b));
        let q = eval::evaluate(&mut model, Some(&mut reference), &text, &options, &Silent).unwrap();
        let d = q.divergence.unwrap();
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}");
        assert_eq!(q.tokens, 20);
        near(q.ppl, (loss / 20.0).exp());
        near(d.reference_ppl, (reference_loss / 20.0).exp());
        near(d.kl_mean, kl.iter().sum::<f64>() / 20.0);
        near(d.kl_median, kl[9]);
        near(d.kl_p99, kl[19]);
        near(d.kl_max, kl[19]);
        near(d.top1, same as f64 / 20.0);
    }
    let two = Options {
        chunks: Some(2),
        ..options
    };
    let q = eval::evaluate(&mut Toy::new(1, 1), None, &text, &two, &Silent).unwrap();
    assert_eq!((q.tokens, q.divergence), (8, None));
}

#[test]
fn progress_rises_to_the_total_and_cancels() {
    struct Watch(AtomicU64, u64);
    impl Progress for Watch {
        fn step(&self, done: u64, total: u64) {
            assert!(self.0.swap(done, Relaxed) <= done && done <= total);
        }
        fn cancelled(&self) -> bool {
            self.0.load(Relaxed) > self.1
        }
    }
    let options = Options {
        ctx: 8,
        chunks: None,
        bos: None,
    };
    let run = |limit| {
        let watch = Watch(AtomicU64::new(0), limit);
        let mut reference = Toy::new(2, 2);
        let result = eval::evaluate(
            &mut Toy::new(1, 1),
            Some(&mut reference),
            &tokens(48),
            &options,
            &watch,
        );
        (result, watch.0.into_inner())
    };
    let (result, done) = run(u64::MAX);
    assert!(result.is_ok() && done == 6000);
    assert!(matches!(run(2000).0, Err(EvalError::Cancelled)));
}

#[test]
fn faults_are_named() {
    struct Broken(Vec<f32>);
    impl Logits for Broken {
        fn vocab_size(&self) -> u32 {
            VOCAB
        }
        fn start(&mut self, _: &[Vec<u32>], _: &dyn Progress) -> Result<(), ModelError> {
            Ok(())
        }
        fn read(
            &mut self,
            _: usize,
            _: Range<usize>,
            out: &mut Vec<f32>,
        ) -> Result<(), ModelError> {
            *out = self.0.clone();
            Ok(())
        }
    }
    let o = Options {
        ctx: 8,
        chunks: None,
        bos: None,
    };
    let toy =
        |tokens: &[u32], o: &Options| eval::evaluate(&mut Toy::new(1, 1), None, tokens, o, &Silent);
    assert!(matches!(
        toy(&tokens(7), &o),
        Err(EvalError::Short { found: 7, ctx: 8 })
    ));
    assert!(matches!(
        toy(&tokens(7), &Options { ctx: 3, ..o }),
        Err(EvalError::Context { ctx: 3 })
    ));
    assert!(matches!(
        toy(&[7; 8], &o),
        Err(EvalError::Token {
            position: 0,
            found: 7,
            ..
        })
    ));
    let broken = |z: Vec<f32>| eval::evaluate(&mut Broken(z), None, &tokens(8), &o, &Silent);
    let mut z = vec![0.0; 21];
    assert!(broken(z.clone()).is_ok());
    z[7 * 2 + 3] = f32::NAN;
    assert!(matches!(
        broken(z.clone()),
        Err(EvalError::NotFinite {
            chunk: 0,
            position: 6,
            ref which
        }) if which == "model"
    ));
    z.pop();
    assert!(matches!(
        broken(z),
        Err(EvalError::Count {
            expected: 21,
            found: 20,
            ..
        })
    ));
}

#[test]
fn a_model_against_itself() {
    let dir = common::checkpoint(&common::config(), &common::tensors());
    let c = carat_converter::source::Checkpoint::open(dir.path()).unwrap();
    let r = carat_converter::reference::Reference::open(&c, 0).unwrap();
    let text: Vec<u32> = (0..100).map(|i| i * 7 % 20).collect();
    let o = Options {
        ctx: 16,
        chunks: None,
        bos: Some(1),
    };
    let (mut a, mut b) = (ReferenceLogits::new(&r), ReferenceLogits::new(&r));
    let d = eval::evaluate(&mut a, Some(&mut b), &text, &o, &Silent)
        .unwrap()
        .divergence
        .unwrap();
    assert!(d.kl_max.abs() < 1e-12 && d.top1 == 1.0);
}

#[test]
fn dumps_come_back_and_damaged_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.bin");
    let dump = Dump {
        ids: vec![3, 0],
        vocab: 4,
        logits: (0..8).map(|i| i as f32).collect(),
    };
    dump.write(&path).unwrap();
    assert_eq!(Dump::read(&path).unwrap(), dump);
    assert_eq!(
        (dump.row(1), dump.row(2)),
        (Some(&[4.0, 5.0, 6.0, 7.0][..]), None)
    );
    let good = std::fs::read(&path).unwrap();
    for cut in 0..good.len() {
        std::fs::write(&path, &good[..cut]).unwrap();
        assert!(Dump::read(&path).is_err());
    }
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        std::fs::write(&path, bad).unwrap();
        Dump::read(&path)
    };
    assert!(matches!(with(3, 255), Err(DumpError::Length { .. })));
    assert!(matches!(with(7, 255), Err(DumpError::Length { .. })));
    assert!(matches!(
        with(8, 4),
        Err(DumpError::Token {
            position: 0,
            found: 4,
            ..
        })
    ));
    assert!(matches!(
        with(15, 255),
        Err(DumpError::Token { position: 1, .. })
    ));
    let short = Dump {
        logits: vec![0.0; 4],
        ..dump.clone()
    };
    assert!(matches!(
        short.write(&path),
        Err(DumpError::Rows { found: 1, .. })
    ));
    let long = Dump {
        logits: vec![0.0; 12],
        ..dump
    };
    assert!(matches!(
        long.write(&path),
        Err(DumpError::Rows { found: 3, .. })
    ));
}

/// llama.cpp in f32 gives 65.096 for these chunks.
#[test]
fn perplexity_of_the_bundled_model() {
    let Some(text) = common::shared("text/eval.txt") else {
        return;
    };
    let text = std::fs::read_to_string(text).unwrap();
    let data = carat_converter::hf_tokenizer::HfTokenizer::load(&common::facet())
        .unwrap()
        .data;
    let tokenizer = carat_text::tokenizer::Tokenizer::new(&data).unwrap();
    let tokens = tokenizer.encode_prompt(&text, false);
    let c = carat_converter::source::Checkpoint::open(common::facet()).unwrap();
    let r = carat_converter::reference::Reference::open(&c, 1 << 30).unwrap();
    let options = Options {
        ctx: 256,
        chunks: Some(128),
        bos: data.bos,
    };
    let start = std::time::Instant::now();
    let q = eval::evaluate(
        &mut ReferenceLogits::new(&r),
        None,
        &tokens,
        &options,
        &Silent,
    )
    .unwrap();
    let speed = 128.0 * 256.0 / start.elapsed().as_secs_f64();
    eprintln!(
        "perplexity {:.4} over {} predictions, {speed:.0} tokens/s",
        q.ppl, q.tokens
    );
    assert_eq!(q.tokens, 128 * 127);
    assert!((q.ppl - 65.096).abs() <= 0.01, "{}", q.ppl);
}
