//! Models of a hub.

use super::Command;
use carat_hub::Reference;
use clap::Args;
use std::path::PathBuf;

/// `carat pull`.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// Model on the hub, with a file, a folder or a quantization behind a colon where wanted
    #[arg(value_name = "OWNER/NAME[:FILE]", value_parser = str::parse::<Reference>)]
    pub model: Reference,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Hash files that are in the cache already, and fetch those again that are damaged
    #[arg(long)]
    pub verify: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The models that the command opens, as they were given.
    pub fn models(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Demo(a) => a.source.iter_mut().collect(),
            Self::Convert(a) => vec![&mut a.source],
            Self::Chat(a) => vec![&mut a.model],
            Self::Run(a) => vec![&mut a.model],
            Self::Serve(a) => a.model.iter_mut().collect(),
            Self::Embed(a) => vec![&mut a.of.model],
            Self::Inspect(a) => vec![&mut a.model],
            Self::Eval(a) => [&mut a.model].into_iter().chain(&mut a.reference).collect(),
            Self::Compare(a) => a.files.iter_mut().chain(&mut a.reference).collect(),
            Self::Bench(a) => vec![&mut a.of.model],
            Self::Doctor(a) => a.model.iter_mut().collect(),
            Self::Tokenize(a) => vec![&mut a.model],
            Self::Template(a) => vec![&mut a.model],
            Self::Logits(a) => vec![&mut a.model],
            Self::Pull(_) | Self::Cache(_) | Self::Completions { .. } | Self::Man { .. } => {
                Vec::new()
            }
        }
    }
}
