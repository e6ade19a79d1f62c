//! `carat serve`.

use super::{CacheArgs, DeviceArgs, LoraArgs, MemoryArgs, SpeculationArgs};
use crate::values::{self, Chosen, Length};
use clap::Args;
use std::path::PathBuf;

/// `carat serve`.
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("models").required(true).multiple(true).args(["model", "models_dir"]))]
pub struct ServeArgs {
    /// Carat files or checkpoints, which are converted once and kept; each has the name of its file or directory
    #[arg(value_name = "MODEL")]
    pub model: Vec<PathBuf>,
    /// Serve every model of this directory, too
    #[arg(long, value_name = "DIR")]
    pub models_dir: Option<PathBuf>,
    /// Another name of the only model
    #[arg(long, value_name = "NAME")]
    pub alias: Option<String>,
    /// Chat template (.jinja) instead of the models'
    #[arg(long, alias = "chat-template-file", value_name = "FILE.jinja")]
    pub template: Option<PathBuf>,
    /// Most models in memory at once; the one that was not asked for the longest time goes first
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::positive)]
    pub models_max: u32,
    /// Where to listen, or several addresses with commas; anything but this machine's own lets others in
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Network"
    )]
    pub host: String,
    /// Port; 0: any that is free
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "8080",
        help_heading = "Network"
    )]
    pub port: u16,
    /// Let in only requests with a key of this file, which has one in each line
    #[arg(long, value_name = "FILE", help_heading = "Network")]
    pub api_key_file: Option<PathBuf>,
    /// Let pages of this origin ask, as https://example.org; localhost: this machine's, *: all; may be given several times
    #[arg(long, value_name = "ORIGIN", help_heading = "Network")]
    pub cors: Vec<String>,
    /// Most bytes of a request's body
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = values::size, help_heading = "Network")]
    pub max_body: u64,
    /// Seconds that a client may take to send a request
    #[arg(long, value_name = "S", default_value = "30", value_parser = values::positive, help_heading = "Network")]
    pub read_timeout: u32,
    /// Seconds that answers may go on after Ctrl-C
    #[arg(long, value_name = "S", default_value = "30", help_heading = "Network")]
    pub grace: u32,
    /// No page to chat at /
    #[arg(long, help_heading = "Network")]
    pub no_page: bool,
    /// Answers that are computed at once; others wait for their turn
    #[arg(long, visible_alias = "np", value_name = "N", default_value = "4", value_parser = values::positive)]
    pub parallel: u32,
    /// Requests that may be under way or wait; more are told to come again (429)
    #[arg(long, value_name = "N", default_value = "256", value_parser = values::positive)]
    pub queue: u32,
    /// Let clients write texts with their keys and values to files of this folder, and read them again (/slots)
    #[arg(long, value_name = "DIR")]
    pub slot_save_path: Option<PathBuf>,
    /// Tokens that fit each context; 0: the default [default: 4096, or the model's if that is less]
    #[arg(short, long, visible_alias = "ctx-size", alias = "num-ctx", value_name = "N", default_value = "0", hide_default_value = true, allow_hyphen_values = true, value_parser = values::context)]
    pub ctx: Chosen<u32>,
    /// Temperature where a request does not say [default: the model's, else 0.8]
    #[arg(long, visible_alias = "temperature", value_name = "T", allow_hyphen_values = true, value_parser = values::temperature, help_heading = "Where a request does not say")]
    pub temp: Option<f32>,
    /// Seed where a request does not say [default: another one each time, which the answer tells]
    #[arg(
        short,
        long,
        value_name = "S",
        help_heading = "Where a request does not say"
    )]
    pub seed: Option<u64>,
    /// Most tokens of an answer where a request does not say [default: to the end of the turn; 128 without a template]
    #[arg(short = 'n', long = "max-tokens", visible_alias = "n-predict", aliases = ["predict", "num-predict"], value_name = "N", allow_hyphen_values = true, value_parser = values::length, help_heading = "Where a request does not say")]
    pub length: Option<Length>,
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
    /// Write the log as one line of JSON per request
    #[arg(long, help_heading = "Output")]
    pub log_json: bool,
    /// Print one JSON object with the address when the server listens
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
