//! The sampler: parameters, a random stream, reused buffers.

use super::counts::Counts;
use super::dry::Loops;
use super::filters::{Candidates, MAX_EXPONENT};
use super::mirostat;
use super::params::Params;
use super::ranges::ParamError;
use super::shifts::{Shifts, allowed};
use super::state::{SamplerState, StateError};
use carat_text::constraint::Mask;
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
    /// Mask and biases leave nothing.
    #[error(
        "no token may be chosen: what the schema or grammar allows, logit biases forbid; take a bias of -inf away"
    )]
    NoneAllowed,
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
    loops: Loops,
    counts: Counts,
    shifts: Shifts,
    state: SamplerState,
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
            loops: Loops::new(&params),
            counts: Counts::default(),
            shifts: Shifts::new(&params),
            state: SamplerState::new(&params),
            params,
            random: ChaCha12Rng::from_seed(key),
            candidates: Candidates::default(),
        })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What it carries from token to token.
    pub fn state(&self) -> SamplerState {
        self.state
    }

    /// Goes on where a sampler of the same parameters had that state.
    ///
    /// # Errors
    /// A state that no sampler is ever in.
    pub fn restore(&mut self, state: SamplerState) -> Result<(), StateError> {
        state.validate()?;
        // The position is in words of 32 bits.
        self.random.set_word_pos(2 * u128::from(state.drawn));
        self.state = state;
        Ok(())
    }

    /// Whether DRY makes a token less likely after `text`, the tokens generated so far.
    pub fn avoids_one_after(&mut self, text: &[u32]) -> bool {
        self.loops.penalties(&self.params, text).next().is_some()
    }

    /// Chooses a token. `logits` holds one integer per token of the vocabulary (real logit =
    /// z · 2^exponent), `history` the tokens so far, oldest first, all of them generated. Takes 64 bits of the
    /// random stream, twice as many where XTC is on, none at temperature 0.
    ///
    /// # Errors
    /// No logits, too many, an exponent out of range, or biases that forbid every token.
    pub fn sample(
        &mut self,
        logits: &[i32],
        exponent: i32,
        history: &[u32],
    ) -> Result<u32, SampleError> {
        self.sample_among(logits, exponent, history, history.len(), None)
    }

    /// [`Sampler::sample`] among the tokens of a mask alone, after a history of which the last `generated` tokens are no
    /// prompt's.
    ///
    /// # Errors
    /// As [`Sampler::sample`], and a mask without a token that is left.
    pub fn sample_among(
        &mut self,
        logits: &[i32],
        exponent: i32,
        history: &[u32],
        generated: usize,
        mask: Option<&Mask>,
    ) -> Result<u32, SampleError> {
        if logits.len() > MAX_LOGITS {
            return Err(SampleError::TooManyLogits(logits.len()));
        }
        if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
            return Err(SampleError::Exponent(exponent));
        }
        if logits.is_empty() {
            return Err(SampleError::NoLogits);
        }
        // This is the order of everything, which docs/sampling.md has for readers.
        let p = &self.params;
        let greedy = p.temperature == 0.0;
        let text = &history[history.len().saturating_sub(generated)..];
        // Logit biases, DRY, presence and frequency penalty: one sum of integers.
        let taken = self.loops.penalties(p, text);
        let taken = taken.chain(self.counts.penalties(p, text));
        let shifts = self.shifts.fill(&p.logit_bias, taken, exponent);
        if greedy && !p.penalizes() && shifts.is_empty() && mask.is_none() {
            return argmax(logits).ok_or(SampleError::NoLogits);
        }
        // Mask.
        let left = allowed(logits, mask, shifts);
        if greedy && !p.penalizes() {
            // The first of equals is the lowest id.
            let best = left.reduce(|a, b| if b.1 > a.1 { b } else { a });
            return best.map(|(id, _)| id).ok_or(SampleError::NoneAllowed);
        }
        let set = &mut self.candidates;
        set.load_some(left, exponent);
        // Repetition penalty.
        if p.penalizes() {
            let start = history.len().saturating_sub(p.repeat_last_n);
            set.penalize(&history[start..], p.repeat_penalty);
        }
        if greedy {
            return set.best().map(|c| c.id).ok_or(SampleError::NoneAllowed);
        }
        let (random, state) = (&mut self.random, &mut self.state);
        let mut uniform = || {
            state.drawn = state.drawn.wrapping_add(1);
            random.next_u64() >> 11
        };
        // Filters, in whose place Mirostat has a bound of its own.
        if p.mirostat == 0 {
            set.top_n_sigma(p.top_n_sigma);
            set.top_k(p.top_k);
            set.typical(p.typical_p);
            set.top_p(p.top_p);
            set.min_p(p.min_p);
            if p.xtc_probability > 0.0 && chance(p.xtc_probability, uniform()) {
                set.exclude_top(p.xtc_threshold);
            }
        }
        // Temperature.
        let temperature = set.temperature(p.temperature, p.dynatemp_range, p.dynatemp_exponent);
        // One draw.
        let uniform = uniform();
        let drawn = if p.mirostat != 0 {
            let drawn = set.mirostat(temperature, state.mirostat_mu, uniform);
            drawn.map(|(id, surprise)| {
                let mu = state.mirostat_mu;
                state.mirostat_mu = mirostat::follow(mu, surprise, p.mirostat_tau, p.mirostat_eta);
                id
            })
        } else if p.adaptive_target >= 0.0 {
            let drawn = set.near(temperature, state.adapted(p.adaptive_target), uniform);
            drawn.map(|(id, probability)| {
                state.adapt(probability, p.adaptive_decay);
                id
            })
        } else {
            set.draw(temperature, uniform)
        };
        drawn.ok_or(SampleError::NoneAllowed)
    }
}

/// Whether something of this probability happens, by a number below 2^53. Exact for every f32 of at least 2^-29.
fn chance(probability: f32, uniform: u64) -> bool {
    uniform < (f64::from(probability) * 9_007_199_254_740_992.0) as u64
}
