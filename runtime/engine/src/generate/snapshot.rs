//! A generation between two tokens, as data.

use super::{GenerateError, GenerateOptions, Generator, Place};
use crate::sample::SamplerState;
use crate::session::Checksum;
use carat_text::constraint::Constraint;
use carat_text::tokenizer::Tokenizer;

/// What a generation needs to go on elsewhere, beside its options and the tokens of the sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Tokens chosen so far.
    pub ids: Vec<u32>,
    /// The checksum of the logits that each was chosen from: see [`LogitsHash`](crate::session::LogitsHash).
    pub checksums: Vec<Checksum>,
    /// The seed of the random stream.
    pub seed: u64,
    /// What the sampler carries from token to token.
    pub sampler: SamplerState,
}

impl Generator {
    /// The generation as data, and the tokens that no pass has seen: what [`Generator::resume`] takes.
    pub fn snapshot(&self) -> (Snapshot, Vec<u32>) {
        let snapshot = Snapshot {
            ids: self.ids.clone(),
            checksums: self.checksums.clone(),
            seed: self.options.sampling.seed,
            sampler: self.sampler.state(),
        };
        let drafts = self.drafts.len();
        let pending = &self.pending[..self.pending.len() - drafts];
        (snapshot, pending.to_vec())
    }

    /// Goes on where a generation of the same options was, in a sequence that holds the same tokens: text, tokens and hash are
    /// those that it would have had. Where the seed is another one the random stream begins anew. The `constraint` is one at its
    /// start; it is told the tokens.
    ///
    /// Errors: as of [`Generator::at`]; a state that no sampler is ever in, a limit of the constraint.
    pub fn resume(
        place: Place<'_>,
        (snapshot, pending): (&Snapshot, &[u32]),
        options: &GenerateOptions,
        tokenizer: &Tokenizer,
        mut constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Self, GenerateError> {
        let mut generator = Self::at(place, pending, options, constraint.is_some())?;
        if options.sampling.seed == snapshot.seed {
            generator.sampler.restore(snapshot.sampler)?;
        }
        for (id, checksum) in snapshot.ids.iter().zip(&snapshot.checksums) {
            generator.hash.push(*checksum);
            generator.checksums.push(*checksum);
            let follow = constraint.as_deref_mut();
            generator.take(tokenizer, *id, follow)?;
        }
        if !generator.ids.is_empty() {
            generator.pending.clear();
            generator.pending.extend_from_slice(pending);
        }
        Ok(generator)
    }
}
