//! How tokens are chosen.

use crate::sampling;
use crate::values::{self, Seed};
use carat::internals::sample::Params;
use clap::Args;

/// How tokens are chosen; [`crate::sampling`] turns it into the engine's parameters.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Temperature; 0: always the likeliest token [default: the model's, else 0.8]
    #[arg(long, visible_alias = "temperature", value_name = "T", allow_hyphen_values = true, value_parser = values::temperature, help_heading = "Sampling")]
    pub temp: Option<f32>,
    /// Choose among the K likeliest tokens; 0 or -1: all [default: the model's, else 40]
    #[arg(long, value_name = "K", allow_hyphen_values = true, value_parser = values::top_k, help_heading = "Sampling")]
    pub top_k: Option<u32>,
    /// Choose among the likeliest tokens that together have this share; 1: all [default: the model's, else 0.95]
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share, help_heading = "Sampling")]
    pub top_p: Option<f32>,
    /// Choose among tokens at least P times as likely as the likeliest; 0: all [default: the model's, else 0.05]
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share, help_heading = "Sampling")]
    pub min_p: Option<f32>,
    /// Make recent tokens less likely by this factor, the prompt's too, in place of DRY; 1: off [default: the model's]
    #[arg(long, alias = "repetition-penalty", value_name = "R", allow_hyphen_values = true, value_parser = values::penalty, help_heading = "Sampling")]
    pub repeat_penalty: Option<f32>,
    /// Tokens that --repeat-penalty looks back at; -1: the whole context
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::look_back, default_value_t = Params::default().repeat_last_n as u32, help_heading = "Sampling")]
    pub repeat_last_n: u32,
    /// Take A nats from every token that the text has, not the prompt, once; 0: off
    #[arg(long, value_name = "A", allow_hyphen_values = true, value_parser = values::nats, default_value_t = Params::default().presence_penalty, hide_default_value = true, help_heading = "Sampling")]
    pub presence_penalty: f32,
    /// Take A nats from a token as often as the text has it; 0: off
    #[arg(long, value_name = "A", allow_hyphen_values = true, value_parser = values::nats, default_value_t = Params::default().frequency_penalty, hide_default_value = true, help_heading = "Sampling")]
    pub frequency_penalty: f32,
    /// DRY, against loops: take M nats from a token that would say a third time what the text said twice in a row; 0: off
    /// [default: 0.8; off if the model or you give a --repeat-penalty]
    #[arg(long, value_name = "M", allow_hyphen_values = true, value_parser = values::amount, help_heading = "Sampling")]
    pub dry_multiplier: Option<f32>,
    /// DRY: multiply M by B for each further token of the loop
    #[arg(long, value_name = "B", allow_hyphen_values = true, value_parser = values::base, default_value_t = Params::default().dry_base, help_heading = "Sampling")]
    pub dry_base: f32,
    /// DRY: let a loop repeat N tokens first
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::positive, default_value_t = Params::default().dry_allowed_length, help_heading = "Sampling")]
    pub dry_allowed_length: u32,
    /// DRY: look for loops in the last N tokens of the text; -1: all; 0: off
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::look_back, default_value_t = Params::default().dry_penalty_last_n as u32, help_heading = "Sampling")]
    pub dry_penalty_last_n: u32,
    /// DRY: find no loop over a token with this text; may be given several times; none: leave it out
    #[arg(long, value_name = "STR", allow_hyphen_values = true, value_parser = values::stop, help_heading = "Sampling")]
    pub dry_sequence_breaker: Vec<String>,
    /// Choose among logits within N standard deviations of the largest; 0 or -1: all
    #[arg(long, visible_alias = "top-n-sigma", value_name = "N", allow_hyphen_values = true, value_parser = values::sigmas, default_value_t = Params::default().top_n_sigma, hide_default_value = true, help_heading = "Sampling")]
    pub top_nsigma: f32,
    /// Choose among tokens as surprising as expected that together have this share; 1: all
    #[arg(long, visible_alias = "typical-p", value_name = "P", allow_hyphen_values = true, value_parser = values::share, default_value_t = Params::default().typical_p, hide_default_value = true, help_heading = "Sampling")]
    pub typical: f32,
    /// XTC: leave out the likeliest tokens for this share of all choices; 0: never
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share, default_value_t = Params::default().xtc_probability, hide_default_value = true, help_heading = "Sampling")]
    pub xtc_probability: f32,
    /// XTC: those of at least this share, but for the least likely of them
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share, default_value_t = Params::default().xtc_threshold, help_heading = "Sampling")]
    pub xtc_threshold: f32,
    /// Temperature up to R lower where the model is sure, R higher where not; 0: off
    #[arg(long, value_name = "R", allow_hyphen_values = true, value_parser = values::amount, default_value_t = Params::default().dynatemp_range, hide_default_value = true, help_heading = "Sampling")]
    pub dynatemp_range: f32,
    /// Temperature: the power by which it rises between the two
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = values::amount, default_value_t = Params::default().dynatemp_exponent, help_heading = "Sampling")]
    pub dynatemp_exp: f32,
    /// 2: Mirostat 2.0 in place of top-k, top-p, min-p and the like; 0: off
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::mirostat, default_value_t = Params::default().mirostat, hide_default_value = true, help_heading = "Sampling")]
    pub mirostat: u32,
    /// Mirostat: bits of surprise that a token should have
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = values::amount, default_value_t = Params::default().mirostat_tau, help_heading = "Sampling")]
    pub mirostat_ent: f32,
    /// Mirostat: how fast it follows the surprise of the text
    #[arg(long, value_name = "E", allow_hyphen_values = true, value_parser = values::amount, default_value_t = Params::default().mirostat_eta, help_heading = "Sampling")]
    pub mirostat_lr: f32,
    /// Adaptive-p: prefer tokens near this share, on average; below 0: off
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::target, default_value_t = Params::default().adaptive_target, hide_default_value = true, help_heading = "Sampling")]
    pub adaptive_target: f32,
    /// Adaptive-p: how much older tokens count in that average, up to 0.99
    #[arg(long, value_name = "D", allow_hyphen_values = true, value_parser = values::decay, default_value_t = Params::default().adaptive_decay, help_heading = "Sampling")]
    pub adaptive_decay: f32,
    /// Seed of the draws: the same seed gives the same text; -1: a random one, which is shown [default: 0, or that of --session]
    #[arg(short, long, value_name = "S", allow_hyphen_values = true, value_parser = values::seed, help_heading = "Sampling")]
    pub seed: Option<Seed>,
    /// Stop before this text or control token; may be given several times
    #[arg(long, value_name = "STR", allow_hyphen_values = true, value_parser = values::stop, help_heading = "Sampling")]
    pub stop: Vec<String>,
    /// Add B nats to a token's logit: ID+B, ID-B, ID=B, or TEXT=B for tokens that are exactly TEXT; -inf or false: never take it; may be given several times
    #[arg(short = 'l', long, value_name = "ID=B", allow_hyphen_values = true, value_parser = sampling::bias, help_heading = "Sampling")]
    pub logit_bias: Vec<sampling::Bias>,
}
