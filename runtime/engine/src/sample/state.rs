//! What a sampler carries from token to token.

use super::params::Params;

/// All that a sampler with given parameters remembers beside the text. A sampler of the same parameters that gets it back
/// goes on as the one that it is from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerState {
    /// Numbers of 64 bits that were taken from the random stream of the seed.
    pub drawn: u64,
    /// The most surprise that Mirostat lets the next token have, in bits.
    pub mirostat_mu: f64,
    /// Adaptive-p: the probabilities of the tokens before, each weighted less by the decay than the one after it.
    pub adaptive_sum: f64,
    /// Sum of these weights.
    pub adaptive_weight: f64,
}

/// A state that no sampler is ever in.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StateError {
    /// Not finite.
    #[error("Mirostat's bound is {0}; expected a finite number; begin the text again")]
    MirostatMu(f64),
    /// Not finite, or below 0.
    #[error(
        "adaptive-p's sum is {0}; expected a finite number of at least 0; begin the text again"
    )]
    AdaptiveSum(f64),
    /// Not finite, or not above 0.
    #[error("adaptive-p's weight is {0}; expected a finite number above 0; begin the text again")]
    AdaptiveWeight(f64),
}

impl SamplerState {
    /// That of a text's first token.
    pub fn new(params: &Params) -> Self {
        // As if every token before had had the probability that is wanted.
        let weight = 1.0 / (1.0 - f64::from(params.adaptive_decay));
        Self {
            drawn: 0,
            mirostat_mu: 2.0 * f64::from(params.mirostat_tau),
            adaptive_sum: f64::from(params.adaptive_target).max(0.0) * weight,
            adaptive_weight: weight,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first number that is outside its range.
    pub fn validate(&self) -> Result<(), StateError> {
        if !self.mirostat_mu.is_finite() {
            return Err(StateError::MirostatMu(self.mirostat_mu));
        }
        if !(self.adaptive_sum.is_finite() && self.adaptive_sum >= 0.0) {
            return Err(StateError::AdaptiveSum(self.adaptive_sum));
        }
        if !(self.adaptive_weight.is_finite() && self.adaptive_weight > 0.0) {
            return Err(StateError::AdaptiveWeight(self.adaptive_weight));
        }
        Ok(())
    }

    /// The probability that adaptive-p looks for next: as far above the target as the mean of the tokens before is below it.
    pub(super) fn adapted(&self, target: f32) -> f64 {
        let mean = self.adaptive_sum / self.adaptive_weight;
        (2.0 * f64::from(target) - mean).clamp(0.0, 1.0)
    }

    /// After adaptive-p took a token of the probability `p`.
    pub(super) fn adapt(&mut self, p: f64, decay: f32) {
        let decay = f64::from(decay);
        self.adaptive_sum = p + decay * self.adaptive_sum;
        self.adaptive_weight = 1.0 + decay * self.adaptive_weight;
    }
}
