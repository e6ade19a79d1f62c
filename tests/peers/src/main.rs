//! Carat, llama.cpp and candle in turn on one machine, with ratios.

mod compare;
mod contest;
mod files;
mod load;
#[path = "../../../runtime/cli/src/bench/memory.rs"]
#[allow(dead_code)]
mod memory;
mod page;
mod scaling;
mod shape;
mod worker;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use shape::Shape;
use std::path::PathBuf;

/// Times Carat beside llama.cpp and candle, and writes the performance page.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand)]
enum Do {
    /// Measure everything and write the page: compare, scaling, page.
    All(At),
    /// The programs in turn.
    Compare(At),
    /// How Carat's speed changes with context, prompt, threads and bits.
    Scaling(At),
    /// Write the page from what is measured.
    Page(At),
    /// A program under test; started by the others.
    #[command(hide = true)]
    Worker(worker::Args),
}

#[derive(clap::Args)]
struct At {
    /// Shape of the model: 1.2b, 135m, tiny.
    #[arg(long, default_value = "1.2b", value_parser = |s: &str| Shape::of(s).ok_or("no such shape"))]
    shape: Shape,
    /// Threads of each program.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Alternations that count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only groups whose title holds this, as "4 bits".
    #[arg(long, default_value = "")]
    only: String,
    /// What Carat and llama.cpp run on, of `compare`: "cpu", or part of an adapter's name (build with `--features vulkan`;
    /// VK_DRIVER_FILES names the only driver where there are several, and GGML_VK_VISIBLE_DEVICES=0 lets llama.cpp take one that
    /// computes on the processor).
    #[arg(long, default_value = worker::CPU)]
    device: String,
    /// Where models are kept: about 12 GB for 1.2b.
    #[arg(long, default_value = "models")]
    models: PathBuf,
    /// Where the page and its figures are.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Do::Worker(args) => worker::run(&args),
        Do::Compare(at) => at.compare(),
        Do::Scaling(at) => at.scaling(),
        Do::Page(at) => page::write(&at.out),
        Do::All(at) => {
            at.compare()?;
            at.scaling()?;
            page::write(&at.out)
        }
    }
}

impl At {
    fn compare(&self) -> Result<()> {
        std::fs::create_dir_all(&self.models)?;
        let found = compare::run(
            &self.models,
            self.shape,
            self.threads,
            self.rounds,
            &self.only,
            &self.device,
        )?;
        page::show(&found);
        page::keep(&self.out, |r| r.take(found))
    }

    fn scaling(&self) -> Result<()> {
        std::fs::create_dir_all(&self.models)?;
        let found = scaling::run(&self.models, self.shape, self.rounds)
            .context("measuring how speed scales")?;
        page::keep(&self.out, |r| r.scaling = Some(found))
    }
}
