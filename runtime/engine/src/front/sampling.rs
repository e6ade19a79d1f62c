//! How tokens are chosen, and how many.

use crate::error::Error as Fault;
use crate::generate::{GenerateOptions, LOOKUP};
use crate::model::Model;
use crate::sample::{LogitBias, Params};

/// How the tokens of a text are chosen, and where the text ends. What is not set is what the model's file recommends, and
/// where that says nothing: temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, and no loops.
///
/// One model, prompt, `Sampling` and seed give one text, on every device. The seed is 0 where none is set; answers of a
/// [`Chat`](crate::Chat) have the seed and one more for each answer before.
///
/// ```
/// use carat::Sampling;
/// let steady = Sampling::greedy().max_tokens(40);
/// let lively = Sampling::new().temperature(1.1).top_p(0.9).seed(7).stop("\n\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    temperature: Option<f32>,
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repeat_penalty: Option<f32>,
    presence_penalty: f32,
    frequency_penalty: f32,
    top_n_sigma: f32,
    typical_p: Option<f32>,
    xtc: Option<(f32, f32)>,
    dynamic: Option<(f32, f32)>,
    mirostat: Option<(f32, f32)>,
    adaptive: Option<(f32, f32)>,
    logit_bias: Vec<LogitBias>,
    seed: u64,
    max_tokens: Option<usize>,
    stops: Vec<String>,
    greedy: bool,
}

impl Sampling {
    /// What the model's file recommends.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most probable token at every step, with nothing against repetition.
    pub fn greedy() -> Self {
        Self {
            greedy: true,
            ..Self::default()
        }
    }

    /// Divides the logits before the draw: below 1 the text is more predictable, above it more varied; 0 takes the most
    /// probable token. A finite number of at least 0.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Chooses among the `top_k` most probable tokens; 0 is all.
    pub fn top_k(mut self, top_k: u32) -> Self {
        self.top_k = Some(top_k);
        self
    }

    /// Chooses among the most probable tokens whose probabilities together reach `top_p`, 0 to 1; 1 is all.
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Chooses among tokens at least `min_p` times as probable as the most probable one, 0 to 1; 0 is all.
    pub fn min_p(mut self, min_p: f32) -> Self {
        self.min_p = Some(min_p);
        self
    }

    /// Makes tokens of the last 64 less probable by this factor, above 0; 1 changes nothing. Set, it is all that is done
    /// against repetition.
    pub fn repeat_penalty(mut self, factor: f32) -> Self {
        self.repeat_penalty = Some(factor);
        self
    }

    /// Takes `nats` from the logit of every token that the generated text has, once. A finite number; 0 changes nothing.
    pub fn presence_penalty(mut self, nats: f32) -> Self {
        self.presence_penalty = nats;
        self
    }

    /// Takes `nats` from the logit of a token as often as the generated text has it. A finite number; 0 changes nothing.
    pub fn frequency_penalty(mut self, nats: f32) -> Self {
        self.frequency_penalty = nats;
        self
    }

    /// Chooses among tokens whose logits are at most `n` standard deviations of all logits below the largest, a finite
    /// number; 0 is all.
    pub fn top_n_sigma(mut self, n: f32) -> Self {
        self.top_n_sigma = n;
        self
    }

    /// Chooses among the tokens whose surprise is nearest to what is expected, which together have the probability
    /// `typical_p`, 0 to 1; 1 is all.
    pub fn typical_p(mut self, typical_p: f32) -> Self {
        self.typical_p = Some(typical_p);
        self
    }

    /// XTC: as often as `probability` says, 0 to 1, leaves out all tokens of at least the probability `threshold`, 0 to 1,
    /// but the least probable of them.
    pub fn xtc(mut self, probability: f32, threshold: f32) -> Self {
        self.xtc = Some((probability, threshold));
        self
    }

    /// Lets the temperature of a token be up to `range` below or above the one that is set: the nearer all tokens are to
    /// equally probable, the higher. `exponent` is the power of that, 1 being plain. Finite numbers of at least 0.
    pub fn dynamic_temperature(mut self, range: f32, exponent: f32) -> Self {
        self.dynamic = Some((range, exponent));
        self
    }

    /// Mirostat 2.0, in place of every filter: keeps the surprise of tokens near `tau` bits, and follows it the faster the
    /// larger `eta` is; 5 and 0.1 are usual. Finite numbers of at least 0.
    pub fn mirostat(mut self, tau: f32, eta: f32) -> Self {
        self.mirostat = Some((tau, eta));
        self
    }

    /// Adaptive-p: prefers tokens with a probability near `target`, 0 to 1, such that this is the mean. `decay`, 0 to 0.99,
    /// is how much older tokens count in it; 0.9 is usual. Not together with Mirostat.
    pub fn adaptive_p(mut self, target: f32, decay: f32) -> Self {
        self.adaptive = Some((target, decay));
        self
    }

    /// Adds `nats` to the logit of a token of [`Model::tokenize`](crate::Model::tokenize); `f64::NEG_INFINITY` forbids the
    /// token. May be called several times.
    pub fn logit_bias(mut self, id: u32, nats: f64) -> Self {
        self.logit_bias.push(LogitBias { id, bias: nats });
        self
    }

    /// Where the draws begin.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Most tokens of the text. Where it is not set: an answer of a model with a chat template is as long as the model and the
    /// context make it, every other text has up to 128 tokens.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Ends the text before this string, or before the control token of this name. May be called several times.
    pub fn stop(mut self, text: impl Into<String>) -> Self {
        self.stops.push(text.into());
        self
    }

    /// For the generator: at most `most` tokens where nothing is set, with the seed of the text number `nth`.
    ///
    /// Errors: none for a file that is open.
    pub(super) fn options(
        &self,
        model: &Model,
        most: usize,
        nth: u64,
    ) -> Result<GenerateOptions, Fault> {
        let mut params = match self.greedy {
            true => Params::greedy(),
            false => Params::of_header(&model.header()?),
        };
        let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
        set(&mut params.temperature, self.temperature);
        set(&mut params.top_p, self.top_p);
        set(&mut params.min_p, self.min_p);
        params.top_k = self.top_k.unwrap_or(params.top_k);
        if let Some(factor) = self.repeat_penalty {
            params = params.with_repeat_penalty(factor);
        }
        params.presence_penalty = self.presence_penalty;
        params.frequency_penalty = self.frequency_penalty;
        params.top_n_sigma = self.top_n_sigma;
        set(&mut params.typical_p, self.typical_p);
        let pair = |a: &mut f32, b: &mut f32, value: Option<(f32, f32)>| {
            (*a, *b) = value.unwrap_or((*a, *b));
        };
        let p = &mut params;
        pair(&mut p.xtc_probability, &mut p.xtc_threshold, self.xtc);
        pair(
            &mut p.dynatemp_range,
            &mut p.dynatemp_exponent,
            self.dynamic,
        );
        pair(&mut p.mirostat_tau, &mut p.mirostat_eta, self.mirostat);
        pair(&mut p.adaptive_target, &mut p.adaptive_decay, self.adaptive);
        p.mirostat = if self.mirostat.is_some() { 2 } else { 0 };
        params.logit_bias = self.logit_bias.clone();
        params.seed = self.seed.wrapping_add(nth);
        Ok(GenerateOptions {
            max_tokens: self.max_tokens.unwrap_or(most),
            sampling: params,
            stops: self.stops.clone(),
            lookup: LOOKUP,
            ..GenerateOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internals::Verify;
    use crate::selftest::Shape;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn what_is_not_set_is_the_files() {
        let model = Model::from_bytes(&Shape::default().bytes(), Verify::Structure).unwrap();
        let of = |s: Sampling| s.options(&model, 9, 2).unwrap();
        let plain = of(Sampling::new());
        let file = Params::of_header(&model.header().unwrap());
        assert_eq!(plain.sampling, Params { seed: 2, ..file });
        assert_eq!(plain.max_tokens, 9);
        let set = of(Sampling::new().temperature(0.5).top_k(3).seed(5).stop("x"));
        assert_eq!((set.sampling.temperature, set.sampling.top_k), (0.5, 3));
        assert_eq!((set.sampling.seed, set.stops.len()), (7, 1));
        assert_eq!(of(Sampling::greedy()).sampling.temperature, 0.0);
        let penalized = of(Sampling::greedy().repeat_penalty(1.2)).sampling;
        assert!(penalized.penalizes() && !penalized.avoids_loops());
        let lively = Sampling::new()
            .presence_penalty(0.1)
            .frequency_penalty(0.2)
            .top_n_sigma(0.3)
            .typical_p(0.4)
            .xtc(0.5, 0.15)
            .dynamic_temperature(0.6, 1.5)
            .adaptive_p(0.7, 0.8);
        let expected = Params {
            presence_penalty: 0.1,
            frequency_penalty: 0.2,
            top_n_sigma: 0.3,
            typical_p: 0.4,
            xtc_probability: 0.5,
            xtc_threshold: 0.15,
            dynatemp_range: 0.6,
            dynatemp_exponent: 1.5,
            adaptive_target: 0.7,
            adaptive_decay: 0.8,
            ..plain.sampling.clone()
        };
        assert_eq!(of(lively).sampling, expected);
        let steered = of(Sampling::new().mirostat(3.0, 0.2)).sampling;
        let expected = Params {
            mirostat: 2,
            mirostat_tau: 3.0,
            mirostat_eta: 0.2,
            ..plain.sampling
        };
        assert_eq!(steered, expected);
    }
}
