//! Continuing a prompt.

use super::{CacheArgs, DeviceArgs, LoraArgs, MemoryArgs, SamplingArgs, SpeculationArgs};
use crate::values::{self, Chosen, Length};
use clap::Args;
use std::path::PathBuf;

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
#[command(group = clap::ArgGroup::new("input").args(["text", "prompt", "file", "messages"]))]
#[command(group = clap::ArgGroup::new("beginning").required(true).multiple(true).args(["text", "prompt", "file", "messages", "session"]))]
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
    /// Keep the text in this file, with its keys and values, at the end; if it exists go on with it, behind the prompt if one is
    /// given
    #[arg(long, value_name = "FILE", conflicts_with = "messages")]
    pub session: Option<PathBuf>,
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
    #[command(flatten)]
    pub speculation: SpeculationArgs,
    #[command(flatten)]
    pub adapters: LoraArgs,
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
