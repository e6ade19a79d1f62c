//! The figures of a quality card: the same digits on every machine.

use super::{EvalError, IntegerLogits, Options, Quality, ReferenceLogits, evaluate};
use crate::progress::Progress;
use crate::reference::{Arithmetic, Reference};
use crate::source::Checkpoint;
use carat::internals::Session;
use carat_format::{Card, Figures};

/// Weights of the checkpoint that are held while the card is measured, in bytes.
const HELD: u64 = 64 << 20;

/// Measures a session's model on the card's tokens, against the checkpoint where there is one. The session's context holds a
/// chunk. Its logits are integers and the checkpoint's are summed in a fixed order, so the figures depend on nothing else.
///
/// # Errors
/// See [`EvalError`].
pub fn card(
    session: Session,
    card: &Card,
    checkpoint: Option<&Checkpoint>,
    progress: &dyn Progress,
) -> Result<Quality, EvalError> {
    let options = Options {
        ctx: card.ctx as usize,
        chunks: None,
        // Every chunk has its own.
        bos: None,
    };
    let reference = checkpoint.map(|c| Reference::open(c, HELD)).transpose();
    let reference = reference.map_err(|e| EvalError::Model {
        which: "reference".into(),
        error: e.into(),
    })?;
    let reference = reference.map(|r| r.arithmetic(Arithmetic::Reproducible));
    let mut theirs = reference.as_ref().map(ReferenceLogits::new);
    let theirs = theirs.as_mut().map(|r| r as &mut dyn super::Logits);
    let mut ours = IntegerLogits::new(session, progress);
    evaluate(&mut ours, theirs, &card.tokens, &options, progress)
}

impl Quality {
    /// The figures of a card; none without a reference.
    pub fn figures(&self) -> Option<Figures> {
        let d = self.divergence.as_ref()?;
        Some(Figures {
            ppl: self.ppl,
            reference_ppl: d.reference_ppl,
            kl_mean: d.kl_mean,
            kl_median: d.kl_median,
            kl_p99: d.kl_p99,
            kl_max: d.kl_max,
            top1: d.top1,
        })
    }
}
