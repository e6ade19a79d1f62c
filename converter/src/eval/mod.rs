//! Quality of a model on a text: perplexity, and the divergence from a reference's distributions.
//!
//! The protocol is that of llama.cpp's `llama-perplexity`: the tokens are cut into chunks of `ctx`, the
//! first token of each replaced by the BOS if the model adds one, and the predictions at positions
//! `ctx/2 ..= ctx−2` of each chunk are scored; a last, shorter chunk is dropped. From the same logits the figures are
//! the same on every machine.

mod card;
mod dump;
mod integer;
mod logits;

pub use card::card;
pub use dump::{Dump, DumpError, DumpWriter};
pub use integer::IntegerLogits;
pub use logits::{Logits, ModelError, ReferenceLogits};

use crate::progress::Progress;
use rayon::prelude::*;

/// Logits read at a time from each model, in bytes, unless one position has more.
const LOGITS: usize = 64 << 20;
/// Units of progress of a chunk.
const UNITS: u64 = 1000;

/// Why an evaluation ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum EvalError {
    #[error("chunks of {ctx} tokens, expected at least 4")]
    Context { ctx: usize },
    #[error(
        "the text has {found} tokens, expected at least one chunk of {ctx}; give a longer text or a smaller ctx"
    )]
    Short { found: usize, ctx: usize },
    #[error(
        "the {which} has {model} logits a position and the reference {reference}; they are not of one vocabulary"
    )]
    Vocabulary {
        which: String,
        model: u32,
        reference: u32,
    },
    #[error("the {which} gave {found} logits for {positions} positions, expected {expected}")]
    Count {
        which: String,
        positions: usize,
        expected: usize,
        found: usize,
    },
    #[error("chunk {chunk}, position {position}: token {found} is beyond the {vocab_size} logits")]
    Token {
        chunk: usize,
        position: usize,
        found: u32,
        vocab_size: u32,
    },
    #[error("chunk {chunk}, position {position}: the logits of the {which} are not finite")]
    NotFinite {
        chunk: usize,
        position: usize,
        which: String,
    },
    #[error("the {which}: {error}")]
    Model { which: String, error: ModelError },
    #[error("cancelled")]
    Cancelled,
}

/// How a text is scored.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Tokens of a chunk, at least 4.
    pub ctx: usize,
    /// Most chunks to score; all where `None`.
    pub chunks: Option<usize>,
    /// The token that replaces the first of every chunk, for models that begin texts with one.
    pub bos: Option<u32>,
}

/// The quality of a model on a text.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Quality {
    /// Perplexity: exp of the mean negative log-likelihood.
    pub ppl: f64,
    /// Predictions scored.
    pub tokens: u64,
    /// Against the reference, if there is one.
    #[serde(flatten)]
    pub divergence: Option<Divergence>,
}

/// How far a model's distributions are from a reference's, in nats: KL(reference ‖ model) of each
/// prediction.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Divergence {
    /// Perplexity of the reference.
    pub reference_ppl: f64,
    /// Mean.
    pub kl_mean: f64,
    /// Median.
    pub kl_median: f64,
    /// 99th percentile (nearest rank).
    pub kl_p99: f64,
    /// Largest.
    pub kl_max: f64,
    /// Share of predictions with the same likeliest token.
    pub top1: f64,
}

/// The chunks that are scored. `tokens` is the whole text, tokenized once, BOS in front if the model
/// adds one.
///
/// # Errors
/// A text shorter than a chunk, chunks too short to score.
pub fn chunks(tokens: &[u32], options: &Options) -> Result<Vec<Vec<u32>>, EvalError> {
    let ctx = options.ctx;
    if ctx < 4 {
        return Err(EvalError::Context { ctx });
    }
    let most = options.chunks.unwrap_or(usize::MAX);
    let mut chunks: Vec<Vec<u32>> = tokens
        .chunks_exact(ctx)
        .take(most)
        .map(<[u32]>::to_vec)
        .collect();
    if chunks.is_empty() {
        return Err(EvalError::Short {
            found: tokens.len(),
            ctx,
        });
    }
    if let Some(bos) = options.bos {
        for chunk in &mut chunks {
            chunk[0] = bos;
        }
    }
    Ok(chunks)
}

/// A model under evaluation.
pub struct Candidate<'a> {
    /// What errors call it, like `model`.
    pub name: String,
    /// Its logits.
    pub logits: &'a mut dyn Logits,
}

/// What errors call the only model and the reference.
const MODEL: &str = "model";
const REFERENCE: &str = "reference";

/// Scores `model` on a text, against `reference` if there is one.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate(
    model: &mut dyn Logits,
    reference: Option<&mut dyn Logits>,
    tokens: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Quality, EvalError> {
    let mut models = [Candidate {
        name: MODEL.into(),
        logits: model,
    }];
    let mut scores = score_all(&mut models, reference, tokens, options, progress)?;
    Ok(scores.pop().unwrap_or_default().quality())
}

/// Scores several models of one vocabulary on a text side by side, so that the reference is computed once.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate_all(
    models: &mut [Candidate<'_>],
    reference: Option<&mut dyn Logits>,
    tokens: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Quality>, EvalError> {
    let scores = score_all(models, reference, tokens, options, progress)?;
    Ok(scores.iter().map(Scores::quality).collect())
}

fn score_all(
    models: &mut [Candidate<'_>],
    mut reference: Option<&mut dyn Logits>,
    tokens: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Scores>, EvalError> {
    let Some(first) = models.first() else {
        return Ok(Vec::new());
    };
    let vocab_size = reference
        .as_ref()
        .map_or(first.logits.vocab_size(), |r| r.vocab_size());
    for model in models.iter() {
        let found = model.logits.vocab_size();
        if found != vocab_size {
            return Err(EvalError::Vocabulary {
                which: model.name.clone(),
                model: found,
                reference: vocab_size,
            });
        }
    }
    let chunks = chunks(tokens, options)?;
    for (chunk, tokens) in chunks.iter().enumerate() {
        if let Some(position) = tokens.iter().position(|t| *t >= vocab_size) {
            return Err(EvalError::Token {
                chunk,
                position,
                found: tokens[position],
                vocab_size,
            });
        }
    }
    let at_once = |m: &dyn Logits| m.chunks_at_once(options.ctx).max(1);
    let group = models.iter().map(|m| at_once(m.logits)).max().unwrap_or(1);
    let group = group.max(reference.as_deref().map_or(1, at_once));
    let mut scores: Vec<Scores> = models.iter().map(|_| Scores::default()).collect();
    // A forward pass counts 9 of 10 units, reading its logits the last.
    let stages = models.len() as u64 + u64::from(reference.is_some());
    for (g, group_chunks) in chunks.chunks(group).enumerate() {
        let first = g * group;
        let stage = |index: u64| Stage {
            outer: progress,
            total: chunks.len() as u64 * UNITS,
            start: first as u64 * UNITS
                + index * group_chunks.len() as u64 * UNITS * 9 / (10 * stages),
            span: group_chunks.len() as u64 * UNITS * 9 / (10 * stages),
        };
        for (i, model) in models.iter_mut().enumerate() {
            start(&model.name, model.logits, group_chunks, &stage(i as u64))?;
        }
        if let Some(r) = &mut reference {
            start(REFERENCE, &mut **r, group_chunks, &stage(stages - 1))?;
        }
        for (i, tokens) in group_chunks.iter().enumerate() {
            if progress.cancelled() {
                return Err(EvalError::Cancelled);
            }
            let reference = reference.as_deref_mut();
            score_chunk(models, reference, (first + i, i), tokens, &mut scores)?;
        }
        progress.step(
            (first + group_chunks.len()) as u64 * UNITS,
            chunks.len() as u64 * UNITS,
        );
    }
    Ok(scores)
}

/// Scores a chunk: `index` is (in the text, in the group).
fn score_chunk<'l>(
    models: &mut [Candidate<'_>],
    mut reference: Option<&mut (dyn Logits + 'l)>,
    index: (usize, usize),
    tokens: &[u32],
    scores: &mut [Scores],
) -> Result<(), EvalError> {
    let Some(vocab) = models.first().map(|m| m.logits.vocab_size() as usize) else {
        return Ok(());
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (first, end) = (tokens.len() / 2, tokens.len() - 1);
    let step = (LOGITS / (4 * vocab)).max(1);
    let compared = reference.is_some();
    for start in (first..end).step_by(step) {
        let positions = start..end.min(start + step);
        if let Some(r) = &mut reference {
            let positions = positions.clone();
            read(REFERENCE, &mut **r, index.1, positions, &mut theirs)?;
        }
        for (model, scores) in models.iter_mut().zip(scores.iter_mut()) {
            let name = &model.name;
            read(name, model.logits, index.1, positions.clone(), &mut ours)?;
            let rows: Vec<Score> = positions
                .clone()
                .into_par_iter()
                .map(|p| {
                    // `read` has checked the lengths.
                    let row = (p - start) * vocab..(p - start + 1) * vocab;
                    let theirs = compared.then(|| &theirs[row.clone()]);
                    score(&ours[row], theirs, tokens[p + 1] as usize).map_err(|whose| {
                        EvalError::NotFinite {
                            chunk: index.0,
                            position: p,
                            which: match whose {
                                Whose::Model => name.clone(),
                                Whose::Reference => REFERENCE.into(),
                            },
                        }
                    })
                })
                .collect::<Result<_, EvalError>>()?;
            scores.0.extend(rows);
        }
    }
    Ok(())
}

/// A side of a comparison.
enum Whose {
    Model,
    Reference,
}

fn start(
    which: &str,
    model: &mut dyn Logits,
    chunks: &[Vec<u32>],
    progress: &Stage<'_>,
) -> Result<(), EvalError> {
    let result = model.start(chunks, progress);
    match result {
        Err(_) if progress.cancelled() => Err(EvalError::Cancelled),
        result => result.map_err(|error| EvalError::Model {
            which: which.into(),
            error,
        }),
    }
}

/// A part of a longer operation.
struct Stage<'a> {
    outer: &'a dyn Progress,
    start: u64,
    span: u64,
    total: u64,
}

impl Progress for Stage<'_> {
    fn step(&self, done: u64, total: u64) {
        let part = u128::from(self.span) * u128::from(done.min(total)) / u128::from(total.max(1));
        self.outer.step(self.start + part as u64, self.total);
    }

    fn cancelled(&self) -> bool {
        self.outer.cancelled()
    }
}

/// One prediction.
#[derive(Clone, Copy)]
struct Score {
    /// Negative log-likelihood of the token that follows, by the model and by the reference.
    loss: f64,
    reference: Option<ReferenceScore>,
}

#[derive(Clone, Copy)]
struct ReferenceScore {
    loss: f64,
    kl: f64,
    same_top: bool,
}

#[derive(Default)]
struct Scores(Vec<Score>);

impl Scores {
    fn quality(&self) -> Quality {
        let n = self.0.len() as f64;
        let ppl = libm::exp(self.0.iter().map(|s| s.loss).sum::<f64>() / n);
        let references: Vec<ReferenceScore> = self.0.iter().filter_map(|s| s.reference).collect();
        let mut kl: Vec<f64> = references.iter().map(|r| r.kl).collect();
        kl.sort_unstable_by(f64::total_cmp);
        let rank = |q: f64| kl[((q * n).ceil() as usize).clamp(1, kl.len()) - 1];
        let divergence = (!kl.is_empty()).then(|| Divergence {
            reference_ppl: libm::exp(references.iter().map(|r| r.loss).sum::<f64>() / n),
            kl_mean: kl.iter().sum::<f64>() / n,
            kl_median: rank(0.5),
            kl_p99: rank(0.99),
            kl_max: rank(1.0),
            top1: references.iter().filter(|r| r.same_top).count() as f64 / n,
        });
        Quality {
            ppl,
            tokens: self.0.len() as u64,
            divergence,
        }
    }
}

fn read(
    which: &str,
    model: &mut dyn Logits,
    chunk: usize,
    positions: std::ops::Range<usize>,
    out: &mut Vec<f32>,
) -> Result<(), EvalError> {
    let (positions, range) = (positions.len(), positions);
    model
        .read(chunk, range, out)
        .map_err(|error| EvalError::Model {
            which: which.into(),
            error,
        })?;
    let (expected, found) = (positions * model.vocab_size() as usize, out.len());
    if found != expected {
        return Err(EvalError::Count {
            which: which.into(),
            positions,
            expected,
            found,
        });
    }
    Ok(())
}

/// Scores a prediction; the error names whose logits are not finite.
fn score(ours: &[f32], theirs: Option<&[f32]>, next: usize) -> Result<Score, Whose> {
    let log_sum = log_sum_exp(ours).ok_or(Whose::Model)?;
    let loss = log_sum - f64::from(ours[next]);
    let Some(theirs) = theirs else {
        return Ok(Score {
            loss,
            reference: None,
        });
    };
    let their_sum = log_sum_exp(theirs).ok_or(Whose::Reference)?;
    // Σ p (log p − log q), with log p = z − log Σ exp z.
    let mut kl = 0.0;
    for (z, y) in theirs.iter().zip(ours) {
        let (log_p, log_q) = (f64::from(*z) - their_sum, f64::from(*y) - log_sum);
        kl += libm::exp(log_p) * (log_p - log_q);
    }
    let reference = ReferenceScore {
        loss: their_sum - f64::from(theirs[next]),
        kl,
        same_top: crate::reference::argmax(ours) == crate::reference::argmax(theirs),
    };
    Ok(Score {
        loss,
        reference: Some(reference),
    })
}

/// `log Σ exp z`; `None` where a logit is not finite.
fn log_sum_exp(logits: &[f32]) -> Option<f64> {
    if !logits.iter().all(|z| z.is_finite()) {
        return None;
    }
    let most = f64::from(logits.iter().fold(f32::MIN, |m, z| m.max(*z)));
    let sum: f64 = logits.iter().map(|z| libm::exp(f64::from(*z) - most)).sum();
    Some(most + libm::log(sum))
}
