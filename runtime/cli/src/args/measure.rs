//! Quality of models: perplexity, divergence, logits.

use super::{DeviceArgs, LoraArgs};
use crate::values::{self, Tokens};
use clap::Args;
use std::path::PathBuf;

/// Which predictions of a text are scored.
#[derive(Args, Clone, Debug)]
pub struct ProtocolArgs {
    /// Tokens per chunk
    #[arg(short, long, visible_alias = "ctx-size", value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(4..=1 << 20), help_heading = "Scoring")]
    pub ctx: u32,
    /// Score at most N chunks [default: the whole text]
    #[arg(long, value_name = "N", value_parser = values::positive, help_heading = "Scoring")]
    pub chunks: Option<u32>,
}

/// `carat eval`.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// Carat file, GGUF or Hugging Face directory
    pub model: PathBuf,
    /// Text to score, UTF-8
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "card",
        help_heading = "Scoring"
    )]
    pub text: Option<PathBuf>,
    /// Measure what the quality card of a Carat file states, and compare; without --reference the perplexity
    /// alone. The exit code is 1 if a digit differs
    #[arg(long, conflicts_with_all = ["text", "ctx", "chunks", "kv", "lora"], help_heading = "Scoring")]
    pub card: bool,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    /// Compare with this model in f32 (with the decoded weights of a Carat file)
    #[arg(long, value_name = "SRC", help_heading = "Scoring")]
    pub reference: Option<PathBuf>,
    #[command(flatten)]
    pub place: DeviceArgs,
    #[command(flatten)]
    pub adapters: LoraArgs,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Carat files, GGUFs or Hugging Face directories
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Text to score, UTF-8
    #[arg(long, value_name = "FILE", help_heading = "Scoring")]
    pub text: PathBuf,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    /// Compare with this model in f32
    #[arg(long, value_name = "SRC", help_heading = "Scoring")]
    pub reference: Option<PathBuf>,
    #[command(flatten)]
    pub place: DeviceArgs,
    /// Draw size against divergence, or perplexity, to this file
    #[arg(long, value_name = "FILE.svg", help_heading = "Output")]
    pub svg: Option<PathBuf>,
    /// Replace the drawing if it exists
    #[arg(long, requires = "svg", help_heading = "Output")]
    pub force: bool,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `carat logits`.
#[derive(Args, Debug)]
pub struct LogitsArgs {
    /// Carat file, GGUF or Hugging Face directory
    pub model: PathBuf,
    /// Token ids from position 0 on; nothing is put in front
    #[arg(long, value_name = "IDS", value_parser = values::tokens, allow_hyphen_values = true)]
    pub tokens: Tokens,
    #[command(flatten)]
    pub place: DeviceArgs,
    /// Write all logits as f32: u32 tokens, u32 vocabulary, i32 ids, rows; little endian
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print one JSON object with all logits
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
