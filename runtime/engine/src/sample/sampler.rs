//! The sampler: parameters, a random stream, reused buffers.

use super::filters::{Candidates, MAX_EXPONENT};
use super::params::{ParamError, Params};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Logits a token cannot be chosen from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// There is no logit.
    #[error("no logits: expected one per token of the vocabulary")]
    NoLogits,
    /// More logits than fixed-point sums have room for.
    #[error("{0} logits: expected at most {max}", max = MAX_LOGITS)]
    TooManyLogits(usize),
    /// The exponent is outside the range in which logits are exact.
    #[error("logits have the binary exponent {0}: expected -{max}..={max}", max = MAX_EXPONENT)]
    Exponent(i32),
}

/// Most logits of one position.
const MAX_LOGITS: usize = 1 << 22;

/// Index of the largest logit, the lowest index among equals; `None` for no logits.
pub fn argmax(logits: &[i32]) -> Option<u32> {
    let mut best: Option<(u32, i32)> = None;
    for (id, &z) in (0u32..).zip(logits) {
        if best.is_none_or(|(_, top)| z > top) {
            best = Some((id, z));
        }
    }
    best.map(|(id, _)| id)
}

/// Chooses one token per call. Two samplers with equal parameters, called with equal logits and
/// histories, choose equal tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: Params,
    random: ChaCha12Rng,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler at the start of the random stream of `params.seed`.
    ///
    /// # Errors
    /// A parameter outside its range.
    pub fn new(params: Params) -> Result<Self, ParamError> {
        params.validate()?;
        // The seed's bytes are the first of the ChaCha key: defined here, so that it does not depend on
        // how a version of the generator's crate expands a u64.
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&params.seed.to_le_bytes());
        Ok(Self {
            params,
            random: ChaCha12Rng::from_seed(key),
            candidates: Candidates::default(),
        })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Chooses a token. `logits` holds one integer per token of the vocabulary (real logit =
    /// z · 2^exponent), `history` the tokens so far, prompt included, oldest first. Takes 64 bits of the
    /// random stream, none at temperature 0.
    ///
    /// # Errors
    /// No logits, too many, or an exponent out of range.
    pub fn sample(
        &mut self,
        logits: &[i32],
        exponent: i32,
        history: &[u32],
    ) -> Result<u32, SampleError> {
        if logits.len() > MAX_LOGITS {
            return Err(SampleError::TooManyLogits(logits.len()));
        }
        if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
            return Err(SampleError::Exponent(exponent));
        }
        let greedy = self.params.temperature == 0.0;
        if greedy && !self.params.penalizes() {
            return argmax(logits).ok_or(SampleError::NoLogits);
        }
        let set = &mut self.candidates;
        set.load(logits, exponent);
        if self.params.penalizes() {
            let start = history.len().saturating_sub(self.params.repeat_last_n);
            set.penalize(&history[start..], self.params.repeat_penalty);
        }
        if greedy {
            return set.best().map(|c| c.id).ok_or(SampleError::NoLogits);
        }
        set.top_k(self.params.top_k);
        set.top_p(self.params.top_p);
        set.min_p(self.params.min_p);
        let uniform = self.random.next_u64() >> 11;
        set.draw(self.params.temperature, uniform)
            .ok_or(SampleError::NoLogits)
    }
}
