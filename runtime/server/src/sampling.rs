//! How tokens are chosen: fields that every API of texts has, under the names that clients use.

use crate::hosted::Hosted;
use crate::ids;
use crate::native::adapters::{AdapterScale, strengths};
use crate::refusal::Refusal;
use carat::internals::GenerateOptions;
use carat::internals::adapter::Strength;
use carat::internals::sample::LogitBias;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Most choices of a request.
const MOST_CHOICES: u32 = 128;
/// Most likeliest tokens that are told of one.
pub const MOST_TOP: u32 = 1000;
/// Most stop strings.
const MOST_STOPS: usize = 64;

/// Most tokens in advance.
const MOST_LOOKUP: u32 = 31;

/// One text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// A bias: a number, or `false` to forbid the token.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Bias {
    /// Nats.
    Nats(f64),
    /// `false`: never.
    Flag(bool),
}

/// Tokens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Biased {
    /// By its id.
    Id(u32),
    /// Each token of a text.
    Text(String),
}

/// Biases by tokens: a map as OpenAI has it, or pairs as llama.cpp does. Keys that are no ids are texts.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Biases {
    /// By ids or texts.
    Map(BTreeMap<String, Bias>),
    /// Pairs of tokens and a bias.
    Pairs(Vec<(Biased, Bias)>),
}

/// How tokens are chosen. What is not set is what the model's file recommends.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct SamplingFields {
    /// How strongly adapters act; those that are not listed do not act.
    pub lora: Option<Vec<AdapterScale>>,
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: Option<f32>,
    /// Choose among the likeliest tokens that together have this share.
    pub top_p: Option<f32>,
    /// Choose among as many of the likeliest tokens; 0 or -1 is all.
    pub top_k: Option<i64>,
    /// Choose among tokens at least as many times as likely as the likeliest.
    pub min_p: Option<f32>,
    /// Makes tokens of the last ones less likely by this factor.
    #[serde(alias = "repetition_penalty")]
    pub repeat_penalty: Option<f32>,
    /// Nats that a token loses which the answer has already.
    pub presence_penalty: Option<f32>,
    /// Nats that a token loses for each time that the answer has it.
    pub frequency_penalty: Option<f32>,
    /// Choose among tokens within so many standard deviations of the likeliest.
    #[serde(alias = "top_nsigma")]
    pub top_n_sigma: Option<f32>,
    /// Choose among tokens that are about as likely as the distribution has it; 1 is all.
    #[serde(alias = "typ_p")]
    pub typical_p: Option<f32>,
    /// How often XTC leaves the likeliest tokens out.
    pub xtc_probability: Option<f32>,
    /// What a token must have for XTC.
    pub xtc_threshold: Option<f32>,
    /// How far the temperature follows the entropy.
    pub dynatemp_range: Option<f32>,
    /// How it follows it.
    pub dynatemp_exponent: Option<f32>,
    /// 2: Mirostat.
    pub mirostat: Option<u32>,
    /// Its surprise.
    pub mirostat_tau: Option<f32>,
    /// How fast it learns.
    pub mirostat_eta: Option<f32>,
    /// Choose tokens that are about as likely as this.
    pub adaptive_target: Option<f32>,
    /// How long it remembers.
    pub adaptive_decay: Option<f32>,
    /// How many of the last ones.
    pub repeat_last_n: Option<i64>,
    /// Nats that DRY takes from what would go on with a loop.
    pub dry_multiplier: Option<f32>,
    /// The factor for each token that the loop goes on.
    pub dry_base: Option<f32>,
    /// Tokens that a loop may repeat without an effect.
    pub dry_allowed_length: Option<i64>,
    /// Nats that are added to the logits of tokens.
    pub logit_bias: Option<Biases>,
    /// Where the draws begin. The answer says which was taken.
    pub seed: Option<i64>,
    /// Texts or control tokens that end the answer.
    pub stop: Option<OneOrMany>,
    /// Most tokens of the answer.
    #[serde(
        alias = "max_completion_tokens",
        alias = "max_output_tokens",
        alias = "n_predict"
    )]
    pub max_tokens: Option<i64>,
    /// Go on after tokens that end the text.
    pub ignore_eos: Option<bool>,
    /// Most tokens that are computed in advance because the text said the same before. The answer does not depend on it.
    #[serde(alias = "speculative.n_max")]
    pub lookup: Option<u32>,
    /// The slot whose last text this one is, for `/slots/{id}`; 0 where nothing or -1 is said.
    pub id_slot: Option<i64>,
}

impl SamplingFields {
    /// How strongly each adapter acts, where the request says.
    ///
    /// Errors: an adapter that is not there, a strength outside its range.
    pub fn strengths(&self, hosted: &Hosted) -> Result<Option<Vec<Strength>>, Refusal> {
        let given = self.lora.as_deref();
        given.map(|scales| strengths(hosted, scales)).transpose()
    }

    /// The slot that is named.
    ///
    /// Errors: there are fewer.
    pub fn slot(&self, hosted: &Hosted) -> Result<u32, Refusal> {
        let slot = self.id_slot.filter(|id| *id != -1).unwrap_or(0);
        let known = u32::try_from(slot).ok().filter(|id| *id < hosted.parallel);
        known.ok_or_else(|| {
            let text = format!("'id_slot' is {slot}; expected 0 to {}", hosted.parallel - 1);
            Refusal::invalid(text).at("id_slot")
        })
    }

    /// What the generator is asked for, with a seed; at most `most` tokens where nothing is said.
    ///
    /// Errors: a value out of its range.
    pub fn options(self, hosted: &Hosted, most: usize) -> Result<GenerateOptions, Refusal> {
        let mut params = hosted.defaults.params.clone();
        let set = |field: &mut f32, value: Option<f32>| *field = value.unwrap_or(*field);
        set(&mut params.temperature, self.temperature);
        set(&mut params.top_p, self.top_p);
        set(&mut params.min_p, self.min_p);
        set(&mut params.dry_base, self.dry_base);
        set(&mut params.presence_penalty, self.presence_penalty);
        set(&mut params.frequency_penalty, self.frequency_penalty);
        set(&mut params.top_n_sigma, self.top_n_sigma);
        set(&mut params.typical_p, self.typical_p);
        set(&mut params.xtc_probability, self.xtc_probability);
        set(&mut params.xtc_threshold, self.xtc_threshold);
        set(&mut params.dynatemp_range, self.dynatemp_range);
        set(&mut params.dynatemp_exponent, self.dynatemp_exponent);
        set(&mut params.mirostat_tau, self.mirostat_tau);
        set(&mut params.mirostat_eta, self.mirostat_eta);
        set(&mut params.adaptive_target, self.adaptive_target);
        set(&mut params.adaptive_decay, self.adaptive_decay);
        params.mirostat = self.mirostat.unwrap_or(params.mirostat);
        if let Some(k) = self.top_k {
            params.top_k = u32::try_from(k.max(0)).unwrap_or(u32::MAX);
        }
        if let Some(factor) = self.repeat_penalty {
            params = params.with_repeat_penalty(factor);
        }
        if let Some(n) = self.repeat_last_n {
            params.repeat_last_n = usize::try_from(n).unwrap_or(usize::MAX);
        }
        set(&mut params.dry_multiplier, self.dry_multiplier);
        if let Some(n) = self.dry_allowed_length {
            params.dry_allowed_length = count("dry_allowed_length", n)? as u32;
        }
        params.logit_bias = biases(self.logit_bias, hosted)?;
        params.seed = match self.seed {
            Some(seed) if seed != -1 => seed as u64,
            _ => hosted.defaults.seed.unwrap_or_else(ids::seed),
        };
        params
            .validate()
            .map_err(|e| Refusal::invalid(e.to_string()))?;
        let stops: Vec<String> = self.stop.map(Into::into).unwrap_or_default();
        let stops: Vec<String> = stops.into_iter().filter(|s| !s.is_empty()).collect();
        if stops.len() > MOST_STOPS {
            return Err(Refusal::invalid(format!(
                "there are {} stop strings; expected at most {MOST_STOPS}",
                stops.len()
            ))
            .at("stop"));
        }
        Ok(GenerateOptions {
            max_tokens: match self.max_tokens {
                None | Some(-1) => hosted.defaults.max_tokens.unwrap_or(most),
                Some(n) => count("max_tokens", n)?,
            },
            sampling: params,
            stops,
            ignore_end: self.ignore_eos.unwrap_or(false),
            lookup: self
                .lookup
                .map_or(hosted.defaults.lookup, |n| n.min(MOST_LOOKUP) as usize),
            ..GenerateOptions::default()
        })
    }
}

/// A number of things.
fn count(field: &str, n: i64) -> Result<usize, Refusal> {
    usize::try_from(n).map_err(|_| {
        Refusal::invalid(format!("'{field}' is {n}; expected a number of at least 0")).at(field)
    })
}

/// How many choices a request has.
///
/// Errors: none, or too many.
pub fn choices(n: Option<i64>) -> Result<usize, Refusal> {
    match n.unwrap_or(1) {
        n if (1..=i64::from(MOST_CHOICES)).contains(&n) => Ok(n as usize),
        n => Err(Refusal::invalid(format!(
            "'n' is {n}; expected a number from 1 to {MOST_CHOICES}"
        ))
        .at("n")),
    }
}

fn biases(biases: Option<Biases>, hosted: &Hosted) -> Result<Vec<LogitBias>, Refusal> {
    let nats = |bias: Bias| match bias {
        Bias::Nats(nats) => Ok(nats),
        Bias::Flag(false) => Ok(f64::NEG_INFINITY),
        Bias::Flag(true) => Err(Refusal::invalid(
            "a logit bias is true; expected a number, or false to forbid the token",
        )
        .at("logit_bias")),
    };
    let pairs: Vec<(Biased, Bias)> = match biases {
        None => Vec::new(),
        Some(Biases::Pairs(pairs)) => pairs,
        Some(Biases::Map(map)) => {
            let of = |(key, bias): (String, Bias)| match key.parse() {
                Ok(id) => (Biased::Id(id), bias),
                Err(_) => (Biased::Text(key), bias),
            };
            map.into_iter().map(of).collect()
        }
    };
    let mut all = Vec::new();
    for (tokens, bias) in pairs {
        let bias = nats(bias)?;
        let ids = match tokens {
            Biased::Id(id) => vec![id],
            Biased::Text(text) => hosted.tokenizer()?.encode(&text, false),
        };
        all.extend(ids.into_iter().map(|id| LogitBias { id, bias }));
    }
    Ok(all)
}
