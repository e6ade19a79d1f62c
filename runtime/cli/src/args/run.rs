//! Continuing a prompt, and how tokens are chosen.

use super::{CacheArgs, DeviceArgs, MemoryArgs};
use crate::sampling;
use crate::values::{self, Chosen, Length, Seed};
use carat::internals::sample::Params;
use clap::Args;
use std::path::PathBuf;

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
    /// DRY, against loops: take M nats from a token that would say a third time what the text said twice in a row; 0: off
    /// [default: 0.8; off if the model or you give a --repeat-penalty]
    #[arg(long, value_name = "M", allow_hyphen_values = true, value_parser = values::multiplier, help_heading = "Sampling")]
    pub dry_multiplier: Option<f32>,
    /// DRY: multiply M by B for each further token of the loop
    #[arg(long, value_name = "B", allow_hyphen_values = true, value_parser = values::base, default_value_t = Params::default().dry_base, help_heading = "Sampling")]
    pub dry_base: f32,
    /// DRY: let a loop repeat N tokens first
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::positive, default_value_t = Params::default().dry_allowed_length, help_heading = "Sampling")]
    pub dry_allowed_length: u32,
    /// Seed of the draws: the same seed gives the same text; -1: a random one, which is shown
    #[arg(short, long, value_name = "S", default_value = "0", allow_hyphen_values = true, value_parser = values::seed, help_heading = "Sampling")]
    pub seed: Seed,
    /// Stop before this text or control token; may be given several times
    #[arg(long, value_name = "STR", allow_hyphen_values = true, value_parser = values::stop, help_heading = "Sampling")]
    pub stop: Vec<String>,
    /// Add B nats to a token's logit: ID+B, ID-B, ID=B, or TEXT=B for tokens that are exactly TEXT; -inf or false: never take it; may be given several times
    #[arg(short = 'l', long, value_name = "ID=B", allow_hyphen_values = true, value_parser = sampling::bias, help_heading = "Sampling")]
    pub logit_bias: Vec<sampling::Bias>,
}

/// What the text must follow; [`crate::follow`] reads it.
#[derive(Args, Clone, Debug)]
pub struct FollowArgs {
    /// Write JSON that follows this schema, a file or the schema itself; ask for JSON in the prompt too
    #[arg(
        long,
        value_name = "FILE|{…}",
        conflicts_with = "grammar",
        help_heading = "Form of the text"
    )]
    pub json_schema: Option<PathBuf>,
    /// Write text that follows this Lark grammar (llguidance's syntax), from its rule 'start'
    #[arg(long, value_name = "FILE", help_heading = "Form of the text")]
    pub grammar: Option<PathBuf>,
}

/// `carat run`.
#[derive(Args, Debug)]
#[command(override_usage = "carat run [OPTIONS] <MODEL> <PROMPT|-p TEXT|-f FILE|--messages FILE>")]
#[command(group = clap::ArgGroup::new("input").required(true).args(["text", "prompt", "file", "messages"]))]
pub struct RunArgs {
    /// Carat file, or a checkpoint: it is converted once and kept
    pub model: PathBuf,
    /// Prompt, or - for standard input; its text never becomes a control token
    #[arg(value_name = "PROMPT")]
    pub text: Option<String>,
    /// The prompt as an option; it may begin with a hyphen
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Read the prompt from a UTF-8 file, with its last line break
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Answer the last message of this conversation, through the model's chat template (a file as for carat
    /// template); -: standard input
    #[arg(long, value_name = "FILE.json")]
    pub messages: Option<PathBuf>,
    /// Generate at most N tokens; -1 or 'unlimited': until the context is full
    #[arg(short = 'n', long = "max-tokens", visible_alias = "n-predict", aliases = ["predict", "num-predict"], value_name = "N", default_value = "128", allow_hyphen_values = true, value_parser = values::length)]
    pub length: Length,
    /// Tokens that fit the context; 0: the default [default: 4096 or the model's, and what prompt and -n need]
    #[arg(short, long, visible_alias = "ctx-size", alias = "num-ctx", value_name = "N", default_value = "0", hide_default_value = true, allow_hyphen_values = true, value_parser = values::context)]
    pub ctx: Chosen<u32>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub follow: FollowArgs,
    /// Write one line of JSON per token: log-probability, entropy, rank and the --logprobs likeliest tokens [default: 5], before all settings of sampling
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Output")]
    pub metrics: Option<PathBuf>,
    /// The same in --json, as 'logprobs', with the K likeliest tokens
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=1000), help_heading = "Output")]
    pub logprobs: Option<u32>,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub place: DeviceArgs,
    #[command(flatten)]
    pub memory: MemoryArgs,
    /// Go on after a token that ends the text
    #[arg(long)]
    pub ignore_eos: bool,
    /// Do not compare the file with its hashes
    #[arg(long)]
    pub no_verify: bool,
    /// Print one JSON object instead of the text
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Print one line of JSON per event instead of the text: start, token, end, error (docs/json.md)
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub stream_json: bool,
}
