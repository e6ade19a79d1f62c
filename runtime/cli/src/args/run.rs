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
    /// Temperature; 0 takes the likeliest token [default: the model's, else 0.8]
    #[arg(long, visible_alias = "temperature", value_name = "T", allow_hyphen_values = true, value_parser = values::temperature)]
    pub temp: Option<f32>,
    /// Choose among the K likeliest tokens; 0 or -1 is all [default: the model's, else 40]
    #[arg(long, value_name = "K", allow_hyphen_values = true, value_parser = values::top_k)]
    pub top_k: Option<u32>,
    /// Choose among the likeliest tokens that reach this share; 1 is all [default: the model's, else 0.95]
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share)]
    pub top_p: Option<f32>,
    /// Choose among tokens this likely relative to the likeliest; 0 is all [default: the model's, else 0.05]
    #[arg(long, value_name = "P", allow_hyphen_values = true, value_parser = values::share)]
    pub min_p: Option<f32>,
    /// Factor against the last tokens, the prompt's too, in the place of DRY; 1 is none [default: the model's]
    #[arg(long, alias = "repetition-penalty", value_name = "R", allow_hyphen_values = true, value_parser = values::penalty)]
    pub repeat_penalty: Option<f32>,
    /// Tokens that --repeat-penalty looks back at; -1 is the whole context
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::look_back, default_value_t = Params::default().repeat_last_n as u32)]
    pub repeat_last_n: u32,
    /// DRY against loops: nats taken from a token that goes on with what the text said twice in a row; 0 is none
    /// [default: 0.8; none where the model or you give a --repeat-penalty]
    #[arg(long, value_name = "M", allow_hyphen_values = true, value_parser = values::multiplier)]
    pub dry_multiplier: Option<f32>,
    /// DRY: the factor for each token that the loop goes on
    #[arg(long, value_name = "B", allow_hyphen_values = true, value_parser = values::base, default_value_t = Params::default().dry_base)]
    pub dry_base: f32,
    /// DRY: tokens that a loop may repeat without an effect
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = values::positive, default_value_t = Params::default().dry_allowed_length)]
    pub dry_allowed_length: u32,
    /// Seed of the draws: one seed, one text; -1 takes a random one and shows it
    #[arg(short, long, value_name = "S", default_value = "0", allow_hyphen_values = true, value_parser = values::seed)]
    pub seed: Seed,
    /// End before this text or control token; may be given several times
    #[arg(long, value_name = "STR", allow_hyphen_values = true, value_parser = values::stop)]
    pub stop: Vec<String>,
    /// Add B nats to a token's logit: ID+B, ID-B, ID=B, or TEXT=B for the tokens that are exactly TEXT; B is a number, -inf or false (never); may be given several times
    #[arg(short = 'l', long, value_name = "ID=B", allow_hyphen_values = true, value_parser = sampling::bias)]
    pub logit_bias: Vec<sampling::Bias>,
}

/// What the text must follow; [`crate::follow`] reads it.
#[derive(Args, Clone, Debug)]
pub struct FollowArgs {
    /// Text that is JSON under this schema, of a file or as it stands; the prompt should ask for it too
    #[arg(long, value_name = "FILE|{…}", conflicts_with = "grammar")]
    pub json_schema: Option<PathBuf>,
    /// Text that follows this Lark grammar (llguidance's syntax), from its rule 'start'
    #[arg(long, value_name = "FILE")]
    pub grammar: Option<PathBuf>,
}

/// `carat run`.
#[derive(Args, Debug)]
#[command(override_usage = "carat run [OPTIONS] <MODEL> <PROMPT|-p TEXT|-f FILE|--messages FILE>")]
#[command(group = clap::ArgGroup::new("input").required(true).args(["text", "prompt", "file", "messages"]))]
pub struct RunArgs {
    /// Carat file, or a checkpoint: it is converted once and kept
    pub model: PathBuf,
    /// Prompt, or - for standard input; what it spells never becomes a control token
    #[arg(value_name = "PROMPT")]
    pub text: Option<String>,
    /// The prompt as an option, which may begin with a hyphen
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Read the prompt from a UTF-8 file, all of it, a last line break included
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Answer the last message of this conversation, through the model's chat template: a file as for 'carat
    /// template'; - reads standard input
    #[arg(long, value_name = "FILE.json")]
    pub messages: Option<PathBuf>,
    /// Most tokens to generate; -1 or 'unlimited' until the context is full
    #[arg(short = 'n', long = "max-tokens", visible_alias = "n-predict", aliases = ["predict", "num-predict"], value_name = "N", default_value = "128", allow_hyphen_values = true, value_parser = values::length)]
    pub length: Length,
    /// Positions of the context; 0 is the default [default: 4096 or the model's, and what prompt and -n need]
    #[arg(short, long, visible_alias = "ctx-size", alias = "num-ctx", value_name = "N", default_value = "0", hide_default_value = true, allow_hyphen_values = true, value_parser = values::context)]
    pub ctx: Chosen<u32>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub follow: FollowArgs,
    /// Write a line of JSON for each token, as it comes: log-probability, entropy, rank and --logprobs likeliest tokens [default: 5] of the model's own distribution, before all settings
    #[arg(long, value_name = "FILE.jsonl")]
    pub metrics: Option<PathBuf>,
    /// The same for --json, as 'logprobs', with K likeliest tokens
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=1000))]
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
    #[arg(long)]
    pub json: bool,
    /// Print a line of JSON for each event instead of the text: start, token, end, error (docs/json.md)
    #[arg(long, conflicts_with = "json")]
    pub stream_json: bool,
}
