//! How tokens are chosen, and how many.

use crate::error::Error as Fault;
use crate::generate::GenerateOptions;
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
        params.logit_bias = self.logit_bias.clone();
        params.seed = self.seed.wrapping_add(nth);
        Ok(GenerateOptions {
            max_tokens: self.max_tokens.unwrap_or(most),
            sampling: params,
            stops: self.stops.clone(),
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
    }
}
