//! Commands about conversations.

use super::{CacheArgs, DeviceArgs, LoraArgs, MemoryArgs, SamplingArgs, SpeculationArgs};
use crate::values::{self, Chosen, Length};
use clap::Args;
use std::path::PathBuf;

/// `carat chat`.
#[derive(Args, Debug)]
pub struct ChatArgs {
    /// Carat file, or a checkpoint: it is converted once and kept
    pub model: PathBuf,
    /// System message
    #[arg(
        long,
        alias = "system-prompt",
        value_name = "TEXT",
        allow_hyphen_values = true
    )]
    pub system: Option<String>,
    /// Keep the conversation in this file, with its keys and values, after every answer; go on with it if it exists
    #[arg(long, value_name = "FILE")]
    pub session: Option<PathBuf>,
    /// Chat template (.jinja) instead of the model's
    #[arg(long, value_name = "FILE.jinja")]
    pub template: Option<PathBuf>,
    /// Generate at most N tokens per answer [default: to the end of the turn; 128 if the model has no chat template]
    #[arg(short = 'n', long = "max-tokens", visible_alias = "n-predict", aliases = ["predict", "num-predict"], value_name = "N", allow_hyphen_values = true, value_parser = values::length)]
    pub length: Option<Length>,
    /// Tokens that fit the context; 0: the default [default: 4096, or the model's if that is less]
    #[arg(short, long, visible_alias = "ctx-size", alias = "num-ctx", value_name = "N", default_value = "0", hide_default_value = true, allow_hyphen_values = true, value_parser = values::context)]
    pub ctx: Chosen<u32>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub cache: CacheArgs,
    #[command(flatten)]
    pub place: DeviceArgs,
    #[command(flatten)]
    pub memory: MemoryArgs,
    #[command(flatten)]
    pub adapters: LoraArgs,
    #[command(flatten)]
    pub speculation: SpeculationArgs,
    /// Print one line of JSON per event instead of the answers: start, token, end, note, error (docs/json.md)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat template`.
#[derive(Args, Debug)]
pub struct TemplateArgs {
    /// Carat file, GGUF or Hugging Face directory with a chat template, or a template (.jinja)
    #[arg(value_name = "MODEL|FILE.jinja")]
    pub model: PathBuf,
    /// The conversation; -: standard input
    #[arg(long, value_name = "FILE.json")]
    pub messages: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `carat tokenize`.
#[derive(Args, Debug)]
pub struct TokenizeArgs {
    /// Carat file, GGUF or Hugging Face directory
    pub model: PathBuf,
    /// Text, UTF-8; -: standard input
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Let the text spell control tokens
    #[arg(long)]
    pub special: bool,
    /// Put the token in front that begins a text, if the model wants one
    #[arg(long)]
    pub bos: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
