//! A Carat file under evaluation: logits of the integer engine.

use super::{Logits, ModelError};
use crate::progress::Progress;
use carat::internals::{Session, Want};
use std::ops::Range;

/// Runs chunks one after the other in one session.
pub struct IntegerLogits<'p> {
    session: Session,
    chunks: Vec<Vec<u32>>,
    /// The chunk whose tokens are in the session's cache.
    current: Option<usize>,
    /// What a logit of 1 stands for.
    unit: f64,
    progress: &'p dyn Progress,
}

impl<'p> IntegerLogits<'p> {
    /// Evaluates the model of a session whose context holds a chunk; asks `progress` between batches
    /// whether to stop.
    pub fn new(session: Session, progress: &'p dyn Progress) -> Self {
        let unit = libm::exp2(f64::from(session.logits_exponent()));
        Self {
            session,
            chunks: Vec::new(),
            current: None,
            unit,
            progress,
        }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Logits for IntegerLogits<'_> {
    fn vocab_size(&self) -> u32 {
        self.session.model().spec().vocab_size
    }

    fn start(&mut self, chunks: &[Vec<u32>], _: &dyn Progress) -> Result<(), ModelError> {
        self.chunks = chunks.to_vec();
        self.current = None;
        Ok(())
    }

    fn read(
        &mut self,
        chunk: usize,
        positions: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        out.clear();
        if self.current != Some(chunk) || self.session.tokens().len() > positions.start {
            self.session.truncate(0);
            self.current = Some(chunk);
        }
        let tokens = self.chunks.get(chunk).map_or(&[][..], Vec::as_slice);
        let batch = self.session.plan().extent.batch as usize;
        while self.session.tokens().len() < positions.end {
            if self.progress.cancelled() {
                return Err(carat::internals::Error::Cancelled.into());
            }
            let done = self.session.tokens().len();
            let end = positions.end.min(done + batch);
            let part = tokens.get(done..end).ok_or("positions beyond the chunk")?;
            let first = positions.start.saturating_sub(done).min(part.len());
            let unit = self.unit;
            pollster::block_on(self.session.forward(part, Want::From(first), &mut |o| {
                out.extend(o.logits.iter().map(|z| (f64::from(*z) * unit) as f32));
            }))?;
        }
        Ok(())
    }
}
