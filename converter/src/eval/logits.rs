//! What an evaluation asks of a model.

use crate::progress::Progress;
use crate::reference::{Reference, ReferenceError, Run};
use std::ops::Range;

/// An error of a model under evaluation.
pub type ModelError = Box<dyn std::error::Error + Send + Sync>;

/// A model that gives logits for chunks of tokens. Logits are asked for in order: chunk by chunk,
/// ascending positions, so that a model may compute them when asked.
pub trait Logits {
    /// Logits of a position.
    fn vocab_size(&self) -> u32;

    /// Chunks of `ctx` tokens that the model would run together.
    fn chunks_at_once(&self, ctx: usize) -> usize {
        let _ = ctx;
        1
    }

    /// Takes the next chunks, independent of each other and of earlier ones.
    ///
    /// # Errors
    /// Whatever the model meets; an error once `progress` is cancelled.
    fn start(&mut self, chunks: &[Vec<u32>], progress: &dyn Progress) -> Result<(), ModelError>;

    /// Replaces `out` by the logits after each of `positions` of one of those chunks:
    /// `[positions.len(), vocab_size]`.
    ///
    /// # Errors
    /// Whatever the model meets.
    fn read(
        &mut self,
        chunk: usize,
        positions: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError>;
}

/// The f32 forward pass under evaluation.
pub struct ReferenceLogits<'r, 'c> {
    reference: &'r Reference<'c>,
    /// Of each chunk, `[ctx, D]`.
    hidden: Vec<Vec<f32>>,
}

impl<'r, 'c> ReferenceLogits<'r, 'c> {
    /// Evaluates this model.
    pub fn new(reference: &'r Reference<'c>) -> Self {
        Self {
            reference,
            hidden: Vec::new(),
        }
    }
}

impl Logits for ReferenceLogits<'_, '_> {
    fn vocab_size(&self) -> u32 {
        self.reference.hyper().vocab_size
    }

    fn chunks_at_once(&self, ctx: usize) -> usize {
        // More would not make products faster, and progress coarser.
        (self.reference.positions_at_once().min(4096) / ctx).max(1)
    }

    fn start(&mut self, chunks: &[Vec<u32>], progress: &dyn Progress) -> Result<(), ModelError> {
        let chunks: Vec<&[u32]> = chunks.iter().map(Vec::as_slice).collect();
        self.hidden = self.reference.hidden(
            &chunks,
            &mut Run {
                progress,
                observe: None,
            },
        )?;
        Ok(())
    }

    fn read(
        &mut self,
        chunk: usize,
        positions: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let width = self.reference.hyper().embedding_length as usize;
        let rows = self
            .hidden
            .get(chunk)
            .and_then(|h| h.get(positions.start * width..positions.end * width));
        Ok(self
            .reference
            .logits(rows.ok_or(ReferenceError::Empty { sequence: chunk })?, out)?)
    }
}
