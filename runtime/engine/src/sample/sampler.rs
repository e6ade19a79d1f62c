//! The sampler: parameters, a random stream, reused buffers.

use super::dry::Loops;
use super::filters::{Candidates, MAX_EXPONENT};
use super::params::{LogitBias, ParamError, Params};
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
    shifts: Shifts,
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
            shifts: Shifts::new(&params),
            params,
            random: ChaCha12Rng::from_seed(key),
            candidates: Candidates::default(),
        })
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Whether DRY makes a token less likely after `text`, the tokens generated so far.
    pub fn avoids_one_after(&mut self, text: &[u32]) -> bool {
        self.loops.penalties(&self.params, text).next().is_some()
    }

    /// Chooses a token. `logits` holds one integer per token of the vocabulary (real logit =
    /// z · 2^exponent), `history` the tokens so far, oldest first, all of them generated. Takes 64 bits of the
    /// random stream, none at temperature 0.
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
        let greedy = self.params.temperature == 0.0;
        let text = &history[history.len().saturating_sub(generated)..];
        let loops = self.loops.penalties(&self.params, text);
        let shifts = self.shifts.fill(&self.params.logit_bias, loops, exponent);
        if greedy && !self.params.penalizes() && shifts.is_empty() && mask.is_none() {
            return argmax(logits).ok_or(SampleError::NoLogits);
        }
        let left = allowed(logits, mask, shifts);
        if greedy && !self.params.penalizes() {
            // The first of equals is the lowest id.
            let best = left.reduce(|a, b| if b.1 > a.1 { b } else { a });
            return best.map(|(id, _)| id).ok_or(SampleError::NoneAllowed);
        }
        let set = &mut self.candidates;
        set.load_some(left, exponent);
        if self.params.penalizes() {
            let start = history.len().saturating_sub(self.params.repeat_last_n);
            set.penalize(&history[start..], self.params.repeat_penalty);
        }
        if greedy {
            return set.best().map(|c| c.id).ok_or(SampleError::NoneAllowed);
        }
        set.top_k(self.params.top_k);
        set.top_p(self.params.top_p);
        set.min_p(self.params.min_p);
        let uniform = self.random.next_u64() >> 11;
        set.draw(self.params.temperature, uniform)
            .ok_or(SampleError::NoneAllowed)
    }
}

/// Largest magnitude of a bias, in units of the logits: with a logit it stays an exact `f64`.
const MAX_SHIFT: i64 = 1 << 50;

/// What is added to logits, by ascending id in units of 2^exponent, one a token; `None` forbids it.
#[derive(Clone, Debug)]
struct Shifts(Vec<(u32, Option<i64>)>);

impl Shifts {
    /// With room for what a few loops take.
    fn new(params: &Params) -> Self {
        let few = if params.avoids_loops() { 16 } else { 0 };
        Self(Vec::with_capacity(params.logit_bias.len() + few))
    }

    /// Those of biases and of what DRY takes. Keeps the allocation.
    fn fill(
        &mut self,
        biases: &[LogitBias],
        loops: impl Iterator<Item = (u32, f64)>,
        exponent: i32,
    ) -> &[(u32, Option<i64>)] {
        let per_nat = f64::from_bits(((1023 - i64::from(exponent)) as u64) << 52);
        let biases = biases.iter().map(|b| (b.id, b.bias));
        let all = biases.chain(loops.map(|(id, nats)| (id, -nats)));
        self.0.clear();
        self.0.extend(all.map(|(id, nats)| {
            // Saturates where the product leaves i64.
            let units = (nats * per_nat).round() as i64;
            let shift = units.clamp(-MAX_SHIFT, MAX_SHIFT);
            (id, (nats != f64::NEG_INFINITY).then_some(shift))
        }));
        self.0.sort_by_key(|s| s.0);
        self.0.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                let sum = kept.1.zip(later.1);
                kept.1 = sum.map(|(a, b)| (a + b).clamp(-MAX_SHIFT, MAX_SHIFT));
            }
            same
        });
        &self.0
    }
}

/// The tokens that may be chosen, by ascending id, with their biased logits.
fn allowed<'a>(
    logits: &'a [i32],
    mask: Option<&'a Mask>,
    shifts: &'a [(u32, Option<i64>)],
) -> impl Iterator<Item = (u32, i64)> + 'a {
    let mut shifts = shifts.iter().peekable();
    (0u32..).zip(logits).filter_map(move |(id, &z)| {
        let shift = match shifts.next_if(|s| s.0 == id) {
            Some((_, shift)) => (*shift)?,
            None => 0,
        };
        mask.is_none_or(|m| m.allows(id))
            .then(|| (id, i64::from(z) + shift))
    })
}
