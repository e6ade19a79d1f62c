//! The `carat` command line: checkpoints in, low-bit files out, text out of the files.
//!
//! What scripts rely on: with `--json` one JSON object on stdout and nothing else there, also of a failure, logs and
//! progress on stderr; exit codes 0, 1 (failed), 2 (usage), 130 (interrupted), 143 (terminated).
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
mod display;
mod doctor;
mod embed;
mod eval;
mod failure;
mod follow;
mod habits;
mod hub;
mod input;
mod inspect;
mod interrupt;
mod logits;
mod lora;
mod memory;
mod metrics;
mod page;
mod prompt;
mod quality;
mod relay;
mod run;
mod sampling;
mod serve;
mod session;
mod speculation;
mod stream;
mod svg;
mod table;
mod template;
mod term;
mod tokenize;
mod values;
mod verdict;
mod wrap;

use anyhow::Context;
use args::Command;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    display::none();
    let args: Vec<OsString> = std::env::args_os().collect();
    failure::speak(habits::asks_for_json(&args));
    let mut cli = match habits::parse(&args) {
        Ok(cli) => cli,
        Err(error) => return failure::of_command_line(&error),
    };
    match &cli.command {
        Command::Serve(a) => term::start_log(serve::log_of(a)),
        _ => term::start_log(("warn", false)),
    }
    #[cfg(feature = "gpu")]
    cache::tune();
    let result = hub::fetch(&mut cli.command).and_then(|()| run(cli.command));
    cache::clean_up();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Pull(a) => hub::run(a),
        Command::Demo(a) => demo::run(a),
        Command::Convert(a) => convert::run(a),
        Command::Run(a) => run::run(*a),
        Command::Eval(a) => eval::run(a),
        Command::Compare(a) => compare::run(&a),
        Command::Logits(a) => logits::run(a),
        Command::Inspect(a) => inspect::run(a),
        Command::Bench(a) => bench::run(a),
        Command::Doctor(a) => doctor::run(a),
        Command::Serve(a) => serve::run(*a),
        Command::Embed(a) => embed::run(a),
        Command::Chat(a) => chat::run(*a),
        Command::Template(a) => template::run(a),
        Command::Tokenize(a) => tokenize::run(a),
        Command::Cache(a) => cache::run(a),
        Command::Completions { shell } => completions(shell),
        Command::Man { directory } => man(&directory),
    }
}

/// Prints the script of a shell.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut habits::command(), "carat", &mut script);
    term::print(&String::from_utf8_lossy(&script))
}

/// Writes a page of each command.
fn man(directory: &Path) -> anyhow::Result<()> {
    let shown = || directory.display().to_string();
    std::fs::create_dir_all(directory).with_context(shown)?;
    clap_mangen::generate_to(habits::command(), directory).with_context(shown)
}
