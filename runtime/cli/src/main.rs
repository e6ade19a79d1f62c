//! The `carat` command line: checkpoints in, low-bit files out, text out of the files.
//!
//! What scripts rely on: with `--json` one JSON object on stdout and nothing else there, logs and progress
//! on stderr; exit codes 0, 1 (failed), 2 (usage), 130 (interrupted), 143 (terminated).
#![forbid(unsafe_code)]

mod args;
mod bench;
mod cache;
mod card;
mod chart;
mod chat;
mod compare;
mod convert;
mod demo;
mod doctor;
mod embed;
mod eval;
mod failure;
mod follow;
mod input;
mod inspect;
mod interrupt;
mod logits;
mod memory;
mod metrics;
mod page;
mod prompt;
mod quality;
mod relay;
mod run;
mod sampling;
mod svg;
mod template;
mod term;
mod tokenize;
mod values;
mod verdict;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    term::start_log();
    cache::tune();
    let result = match cli.command {
        Command::Demo(a) => demo::run(a),
        Command::Convert(a) => convert::run(a),
        Command::Run(a) => run::run(*a),
        Command::Eval(a) => eval::run(a),
        Command::Compare(a) => compare::run(&a),
        Command::Logits(a) => logits::run(a),
        Command::Inspect(a) => inspect::run(a),
        Command::Bench(a) => bench::run(a),
        Command::Doctor(a) => doctor::run(a),
        Command::Embed(a) => embed::run(a),
        Command::Chat(a) => chat::run(*a),
        Command::Template(a) => template::run(a),
        Command::Tokenize(a) => tokenize::run(a),
        Command::Cache(a) => cache::run(a),
    };
    cache::clean_up();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
