//! The forward pass of a checkpoint in f32: what the integer engine is measured against, and where the
//! converter reads the ranges of the residual stream.
//!
//! Weights beyond a budget are read from the checkpoint for each use, block by block, and activations
//! are bounded, so that memory does not grow with the model or the number of sequences.

mod attention;
mod backward;
mod gemm;
mod math;
mod pass;
mod stream;
mod weights;

pub(crate) use backward::{BranchGradients, HeadMoments};
pub use gemm::Arithmetic;
pub(crate) use gemm::{Columns, cross, gram, products};
pub(crate) use stream::Stream;

use crate::progress::{Progress, Silent};
use crate::source::{Checkpoint, Hyper, SourceError};
use pass::{Batch, BlockCache};
use weights::Weights;

/// Activations of sequences that run together, in bytes, unless one sequence has more.
const ACTIVATIONS: usize = 256 << 20;
/// Logits held at a time, in bytes, unless one position has more.
const LOGITS: usize = 64 << 20;

/// Why a forward pass ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum ReferenceError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "token {found} at position {position} of sequence {sequence}, expected one below {vocab_size}, the rows of the embedding"
    )]
    Token {
        sequence: usize,
        position: usize,
        found: u32,
        vocab_size: u32,
    },
    #[error("sequence {sequence} is empty, expected at least one token")]
    Empty { sequence: usize },
    #[error("cancelled")]
    Cancelled,
}

/// Sees `(block, name, values)` of a named intermediate, `[rows, width]`. Names, in order: `embedding`
/// (before block 0), then in each block `attention_norm`, `query`, `key` (both with the norm of heads, and
/// rotated), `value`, `attention`, `attention_residual`, `ffn_norm`, `ffn_gate`, `ffn_up`, `ffn_product`,
/// `ffn_residual`; last `output_norm`. Those named `embedding` and `…_residual` are the residual stream.
pub type Observer<'a> = &'a mut dyn FnMut(u32, &str, &[f32]);

/// What accompanies a forward pass.
pub struct Run<'a> {
    /// Told after each block, asked whether to stop there.
    pub progress: &'a dyn Progress,
    /// Sees the named intermediates.
    pub observe: Option<Observer<'a>>,
}

impl Default for Run<'_> {
    fn default() -> Self {
        Self {
            progress: &Silent,
            observe: None,
        }
    }
}

impl Run<'_> {
    fn see(&mut self, block: u32, name: &str, values: &[f32]) {
        if let Some(observe) = &mut self.observe {
            observe(block, name, values);
        }
    }
}

/// The forward pass of a checkpoint.
pub struct Reference<'c> {
    weights: Weights<'c>,
}

impl<'c> Reference<'c> {
    /// Reads the norms, and matrices in file order while they fit in `budget` bytes as f32; the rest is
    /// read at each use.
    ///
    /// # Errors
    /// What reading the checkpoint meets.
    pub fn open(checkpoint: &'c Checkpoint, budget: u64) -> Result<Self, SourceError> {
        Ok(Self {
            weights: Weights::open(checkpoint, budget)?,
        })
    }

    /// The same with another arithmetic of matrix products; [`Arithmetic::Fast`] is the default.
    #[must_use]
    pub fn arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.weights.arithmetic = arithmetic;
        self
    }

    /// Hyper-parameters of the checkpoint.
    pub fn hyper(&self) -> &'c Hyper {
        self.weights.checkpoint().hyper()
    }

    /// Positions that run together within the bound on activations.
    pub fn positions_at_once(&self) -> usize {
        let h = self.hyper();
        let d = h.embedding_length as usize;
        // Of a block's attention and its gated network, whichever the blocks have.
        let widths = h.blocks.iter().map(|b| {
            let attention = b
                .attention()
                .map_or(0, |a| 3 * a.width() + 2 * a.kv_width());
            let gated = b.gated().map_or(0, |g| 2 * g.width);
            3 * d + attention as usize + gated as usize
        });
        let widths = widths.max().unwrap_or(3 * d);
        (ACTIVATIONS / (4 * widths)).clamp(1, 8192)
    }

    /// Positions whose logits are computed together within the bound on logits.
    pub fn logits_at_once(&self) -> usize {
        (LOGITS / (4 * self.hyper().vocab_size as usize)).max(1)
    }

    /// The residual stream after the last norm, `[tokens, D]`, of independent sequences, one result
    /// each. All of them run together: [`positions_at_once`](Self::positions_at_once) is how many
    /// tokens keep to the bound on memory.
    ///
    /// # Errors
    /// An empty sequence, a token beyond the vocabulary, a fault of the checkpoint, cancellation.
    pub fn hidden(
        &self,
        sequences: &[&[u32]],
        run: &mut Run<'_>,
    ) -> Result<Vec<Vec<f32>>, ReferenceError> {
        let mut x = Vec::new();
        for (i, tokens) in sequences.iter().enumerate() {
            self.check(i, 0, tokens)?;
            self.weights.embed(tokens.iter().copied(), &mut x)?;
        }
        let lengths: Vec<usize> = sequences.iter().map(|s| s.len()).collect();
        pass::run(&self.weights, Batch::Sequences(&lengths), &mut x, run)?;
        let width = self.hyper().embedding_length as usize;
        let mut rest = &x[..];
        let mut split = |n: &usize| {
            let (first, other) = rest.split_at(n * width);
            rest = other;
            first.to_vec()
        };
        Ok(lengths.iter().map(&mut split).collect())
    }

    fn check(&self, sequence: usize, start: usize, tokens: &[u32]) -> Result<(), ReferenceError> {
        let vocab_size = self.hyper().vocab_size;
        if tokens.is_empty() {
            return Err(ReferenceError::Empty { sequence });
        }
        match tokens.iter().position(|t| *t >= vocab_size) {
            None => Ok(()),
            Some(i) => {
                let (position, found) = (start + i, tokens[i]);
                Err(ReferenceError::Token {
                    sequence,
                    position,
                    found,
                    vocab_size,
                })
            }
        }
    }

    /// Logits `[rows, vocab]` of rows of [`hidden`](Self::hidden), replacing `out`.
    ///
    /// # Errors
    /// A fault of the checkpoint.
    pub fn logits(&self, hidden: &[f32], out: &mut Vec<f32>) -> Result<(), ReferenceError> {
        pass::logits(&self.weights, hidden, out)
    }

    /// Gives `sink` the logits of every position from `first` on of each sequence, as
    /// `(sequence, position, logits)` in order. Sequences run in groups that keep to the bound on
    /// memory.
    ///
    /// # Errors
    /// As of [`hidden`](Self::hidden).
    pub fn forward(
        &self,
        sequences: &[Vec<u32>],
        first: usize,
        run: &mut Run<'_>,
        sink: &mut dyn FnMut(usize, usize, &[f32]),
    ) -> Result<(), ReferenceError> {
        let (width, vocab) = (
            self.hyper().embedding_length as usize,
            self.hyper().vocab_size as usize,
        );
        let mut logits = Vec::new();
        let mut done = 0;
        while done < sequences.len() {
            let mut left = self.positions_at_once();
            let fits = |s: &&Vec<u32>| {
                let fits = s.len() <= left;
                left = left.saturating_sub(s.len());
                fits
            };
            let n = sequences[done..].iter().take_while(fits).count().max(1);
            let group: Vec<&[u32]> = sequences[done..done + n]
                .iter()
                .map(Vec::as_slice)
                .collect();
            for (i, hidden) in self.hidden(&group, run)?.iter().enumerate() {
                let mut position = first;
                for rows in hidden
                    .get(first * width..)
                    .unwrap_or(&[])
                    .chunks(self.logits_at_once() * width)
                {
                    self.logits(rows, &mut logits)?;
                    for row in logits.chunks_exact(vocab) {
                        sink(done + i, position, row);
                        position += 1;
                    }
                }
            }
            done += n;
        }
        Ok(())
    }

    /// The `n` likeliest tokens one after the other; of equals the lowest.
    ///
    /// # Errors
    /// As of [`hidden`](Self::hidden).
    pub fn greedy(&self, prompt: &[u32], n: usize) -> Result<Vec<u32>, ReferenceError> {
        let mut decoder = self.decoder();
        let mut ids = Vec::new();
        let mut logits = decoder.push(prompt)?;
        while ids.len() < n {
            let next = argmax(logits);
            ids.push(next);
            if ids.len() < n {
                logits = decoder.push(&[next])?;
            }
        }
        Ok(ids)
    }

    /// Starts a sequence that grows token by token.
    pub fn decoder(&self) -> Decoder<'_, 'c> {
        let caches = vec![BlockCache::default(); self.hyper().blocks.len()];
        Decoder {
            reference: self,
            caches,
            length: 0,
            logits: Vec::new(),
        }
    }
}

/// A sequence that grows, with a cache of its keys and values.
pub struct Decoder<'r, 'c> {
    reference: &'r Reference<'c>,
    caches: Vec<BlockCache>,
    length: usize,
    logits: Vec<f32>,
}

impl Decoder<'_, '_> {
    /// Appends tokens, returns the logits after the last.
    ///
    /// # Errors
    /// As of [`Reference::hidden`]; the sequence is then unusable.
    pub fn push(&mut self, tokens: &[u32]) -> Result<&[f32], ReferenceError> {
        let r = self.reference;
        r.check(0, self.length, tokens)?;
        let mut x = Vec::new();
        r.weights.embed(tokens.iter().copied(), &mut x)?;
        let batch = Batch::Next {
            past: self.length,
            caches: &mut self.caches,
        };
        pass::run(&r.weights, batch, &mut x, &mut Run::default())?;
        self.length += tokens.len();
        let last = x.len() - r.hyper().embedding_length as usize;
        r.logits(&x[last..], &mut self.logits)?;
        Ok(&self.logits)
    }
}

/// Index of the largest logit; of equals the lowest.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, z) in logits.iter().enumerate() {
        if *z > logits[best] {
            best = i;
        }
    }
    best as u32
}
