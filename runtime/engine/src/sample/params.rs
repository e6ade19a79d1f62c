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
    /// Nats taken from the logit of a token that the generated text has, once (OpenAI's interface); 0 changes nothing.
    /// Finite.
    pub presence_penalty: f32,
    /// Nats taken from the logit of a token as often as the generated text has it (OpenAI's interface); 0 changes nothing.
    /// Finite.
    pub frequency_penalty: f32,
    /// Nats that DRY takes from the logit of a token that would go on with a loop: a part of the generated text that came
    /// twice in a row. 0 switches it off. Finite, at least 0.
    pub dry_multiplier: f32,
    /// The factor for each token that the loop goes on. Finite, at least 1.
    pub dry_base: f32,
    /// Tokens that a loop may repeat without an effect, however short its part is. At least 1.
    pub dry_allowed_length: u32,
    /// How many of the last generated tokens are searched for loops; 0 switches DRY off.
    pub dry_penalty_last_n: usize,
    /// Tokens over which no loop goes.
    pub dry_breakers: Vec<u32>,
    /// Keep tokens whose logits lie within so many standard deviations of the best one (Tang et al. 2024); 0 keeps all.
    /// Finite, at least 0.
    pub top_n_sigma: f32,
    /// Keep the tokens nearest to the expected surprise whose probabilities reach `typical_p` (Meister et al. 2022); 1 keeps
    /// all. In 0..=1; at least one token stays.
    pub typical_p: f32,
    /// How often XTC leaves out the most probable tokens (p-e-w 2024); 0 is never. In 0..=1.
    pub xtc_probability: f32,
    /// XTC leaves out all tokens of at least this probability but the least probable of them. In 0..=1; above 0.5 it never
    /// does.
    pub xtc_threshold: f32,
    /// How far the temperature of a token may be from `temperature` (kalomaze 2023); 0 keeps it. Finite, at least 0.
    pub dynatemp_range: f32,
    /// The power of the relative entropy by which the temperature rises. Finite, at least 0.
    pub dynatemp_exponent: f32,
    /// 2 for Mirostat 2.0 (Basu et al. 2021) in place of the filters from top-n-sigma to XTC; 0 is off.
    pub mirostat: u32,
    /// The surprise of a token that Mirostat aims at, in bits. Finite, at least 0.
    pub mirostat_tau: f32,
    /// How fast Mirostat follows. Finite, at least 0.
    pub mirostat_eta: f32,
    /// The probability of tokens that adaptive-p aims at (pull request 17927 of llama.cpp). At most 1; below 0 it is off.
    pub adaptive_target: f32,
    /// The weight of a token in adaptive-p's mean, relative to that of the token after it. In 0..=0.99.
    pub adaptive_decay: f32,
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
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            dry_multiplier: 0.8,
            dry_base: 1.75,
            dry_allowed_length: 24,
            dry_penalty_last_n: 4096,
            dry_breakers: Vec::new(),
            top_n_sigma: 0.0,
            typical_p: 1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            adaptive_target: -1.0,
            adaptive_decay: 0.9,
            seed: 0,
            logit_bias: Vec::new(),
        }
    }
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

    /// Whether the repetition penalty does anything.
    pub fn penalizes(&self) -> bool {
        self.repeat_penalty != 1.0 && self.repeat_last_n > 0
    }

    /// Whether DRY does anything.
    pub fn avoids_loops(&self) -> bool {
        self.dry_multiplier > 0.0 && self.dry_penalty_last_n > 0
    }

    /// Whether the presence or frequency penalty does anything.
    pub fn counts(&self) -> bool {
        self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }

    /// Whether the token of the largest logit is the choice wherever DRY finds no loop and no mask is given.
    pub fn takes_likeliest(&self) -> bool {
        self.temperature == 0.0 && !self.penalizes() && !self.counts() && self.logit_bias.is_empty()
    }
}
