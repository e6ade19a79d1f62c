//! What a user may set about sampling.

/// Sampling parameters. [`Params::default`] is a mild nucleus sampling; [`Params::greedy`] takes the
/// most probable token.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Divides the logits before the draw; 0 takes the most probable token. Finite, at least 0.
    pub temperature: f32,
    /// Keep the `top_k` most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of most probable tokens whose probabilities reach `top_p`
    /// (Holtzman et al. 2020); 1 keeps all. In 0..=1; at least one token stays.
    pub top_p: f32,
    /// Keep tokens at least `min_p` times as probable as the most probable one
    /// (Nguyen et al. 2024); 0 keeps all. In 0..=1.
    pub min_p: f32,
    /// Divides the positive and multiplies the other logits of recent tokens (Keskar et al. 2019);
    /// 1 changes nothing. Finite, above 0.
    pub repeat_penalty: f32,
    /// How many of the last tokens the penalty looks at; 0 switches it off.
    pub repeat_last_n: usize,
    /// Nats that DRY takes from the logit of a token that would go on with a loop: a part of the generated text that came
    /// twice in a row. 0 switches it off. Finite, at least 0.
    pub dry_multiplier: f32,
    /// The factor for each token that the loop goes on. Finite, at least 1.
    pub dry_base: f32,
    /// Tokens that a loop may repeat without an effect, however short its part is. At least 1.
    pub dry_allowed_length: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// What is added to the logits of single tokens before everything else.
    pub logit_bias: Vec<LogitBias>,
}

/// What is added to a token's logit. Several for one token add up.
///
/// The sum is taken in integers: the bias is rounded to the unit of the model's logits, 2^exponent
/// (half away from zero), and limited to 2^50 such units, which no difference of logits reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitBias {
    /// The token. Ids outside the vocabulary are ignored.
    pub id: u32,
    /// In nats; −∞ forbids the token.
    pub bias: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            dry_multiplier: 0.8,
            dry_base: 1.75,
            dry_allowed_length: 24,
            seed: 0,
            logit_bias: Vec::new(),
        }
    }
}

/// A parameter outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamError {
    /// Not finite or below 0.
    #[error("temperature is {0}; expected a finite number of at least 0 (0 = most probable token)")]
    Temperature(f32),
    /// Outside 0..=1.
    #[error("top-p is {0}; expected a number from 0 to 1 (1 = off)")]
    TopP(f32),
    /// Outside 0..=1.
    #[error("min-p is {0}; expected a number from 0 to 1 (0 = off)")]
    MinP(f32),
    /// Not finite or not above 0.
    #[error("repeat penalty is {0}; expected a finite number above 0 (1 = off)")]
    RepeatPenalty(f32),
    /// Not finite or below 0.
    #[error("DRY multiplier is {0}; expected a finite number of at least 0 (0 = off)")]
    DryMultiplier(f32),
    /// Not finite or below 1.
    #[error("DRY base is {0}; expected a finite number of at least 1")]
    DryBase(f32),
    /// No token.
    #[error("DRY allowed length is 0; expected at least 1 token")]
    DryAllowedLength,
    /// Not a number, or +∞.
    #[error(
        "the logit bias of token {id} is {bias}; expected a finite number, or -inf to forbid the token"
    )]
    LogitBias {
        /// The token.
        id: u32,
        /// The bias.
        bias: f64,
    },
}

impl Params {
    /// The most probable token at every step, without a penalty.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default().repeating()
        }
    }

    /// The same without anything against repetition.
    #[must_use]
    pub fn repeating(self) -> Self {
        self.with_repeat_penalty(1.0)
    }

    /// The same with this penalty as all that is done against repetition.
    #[must_use]
    pub fn with_repeat_penalty(self, repeat_penalty: f32) -> Self {
        Self {
            repeat_penalty,
            dry_multiplier: 0.0,
            ..self
        }
    }

    /// What a file says about sampling, under llama.cpp's keys; the defaults where it is silent. Values that are
    /// out of range or of another type are advice that cannot be taken.
    pub fn of_header(header: &carat_gguf::Header<'_>) -> Self {
        let number = |key: &str| header.f64_opt(key).ok().flatten().map(|x| x as f32);
        let default = Self::default();
        let stated = |key: &str, default: f32, ok: fn(f32) -> bool| {
            number(key).filter(|x| ok(*x)).unwrap_or(default)
        };
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let penalty = number("general.sampling.penalty_repeat");
        let penalty = penalty.filter(|x| x.is_finite() && *x > 0.0);
        let params = Self {
            temperature: stated("general.sampling.temp", default.temperature, |x| {
                x.is_finite() && x >= 0.0
            }),
            top_k: header
                .u32_opt("general.sampling.top_k")
                .ok()
                .flatten()
                .unwrap_or(default.top_k),
            top_p: stated("general.sampling.top_p", default.top_p, share),
            min_p: stated("general.sampling.min_p", default.min_p, share),
            ..default
        };
        // Whoever made the file has thought of repetition: nothing is added.
        match penalty {
            Some(penalty) => params.with_repeat_penalty(penalty),
            None => params,
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first parameter that is outside its range.
    pub fn validate(&self) -> Result<(), ParamError> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(ParamError::Temperature(self.temperature));
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return Err(ParamError::TopP(self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return Err(ParamError::MinP(self.min_p));
        }
        if !(self.repeat_penalty.is_finite() && self.repeat_penalty > 0.0) {
            return Err(ParamError::RepeatPenalty(self.repeat_penalty));
        }
        if !(self.dry_multiplier.is_finite() && self.dry_multiplier >= 0.0) {
            return Err(ParamError::DryMultiplier(self.dry_multiplier));
        }
        if !(self.dry_base.is_finite() && self.dry_base >= 1.0) {
            return Err(ParamError::DryBase(self.dry_base));
        }
        if self.dry_allowed_length == 0 {
            return Err(ParamError::DryAllowedLength);
        }
        let wrong = |b: &&LogitBias| b.bias.is_nan() || b.bias == f64::INFINITY;
        if let Some(&LogitBias { id, bias }) = self.logit_bias.iter().find(wrong) {
            return Err(ParamError::LogitBias { id, bias });
        }
        Ok(())
    }

    /// Whether the repetition penalty does anything.
    pub fn penalizes(&self) -> bool {
        self.repeat_penalty != 1.0 && self.repeat_last_n > 0
    }

    /// Whether DRY does anything.
    pub fn avoids_loops(&self) -> bool {
        self.dry_multiplier > 0.0
    }
}
