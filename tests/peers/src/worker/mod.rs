//! A program under test, in a process of its own: it loads a model, says so, and answers each order on a line of
//! its standard input with the seconds that it took.

mod candle;
mod carat;
mod llama;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    Carat,
    /// Carat with the file read into memory instead of mapped.
    CaratNoMmap,
    Llama,
    /// llama.cpp without its repacked copies of the weights.
    LlamaNoRepack,
    Candle,
}

/// The processor as a device.
pub const CPU: &str = "cpu";

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[arg(long)]
    pub program: Program,
    #[arg(long)]
    pub model: PathBuf,
    #[arg(long)]
    pub threads: usize,
    /// Tokens that a text may have.
    #[arg(long)]
    pub context: u32,
    /// What it runs on: "cpu", or part of an adapter's name. llama.cpp takes the first adapter of those that the Vulkan loader
    /// offers it.
    #[arg(long, default_value = CPU)]
    pub device: String,
}

/// What a program does: tokens in, nothing out, since speed does not depend on which they are.
pub trait Contestant {
    /// Forgets all but the first `len` tokens.
    fn truncate(&mut self, len: usize) -> Result<()>;
    /// Takes tokens as a prompt and computes the logits of the last.
    fn prompt(&mut self, tokens: &[u32]) -> Result<()>;
    /// Bytes of weights that a token reads, where the program tells.
    fn bytes_per_token(&self) -> Option<u64> {
        None
    }
    /// The number of tokens.
    fn vocab(&self) -> u32;
}

/// An order: forget all but `from` tokens, take `prompt` more as one prompt, then `decode` one by one.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub struct Order {
    pub from: usize,
    pub prompt: usize,
    pub decode: usize,
}

/// Its answer: seconds of each part, seconds of processor that the process has used from the order on.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub struct Answer {
    pub prompt: f64,
    pub decode: f64,
    pub cpu: f64,
}

/// What a worker says first.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Ready {
    pub load: f64,
    pub bytes_per_token: Option<u64>,
}

/// Serves orders until its input ends.
pub fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let mut contestant: Box<dyn Contestant> = match args.program {
        Program::Carat => Box::new(carat::Carat::load(args, true)?),
        Program::CaratNoMmap => Box::new(carat::Carat::load(args, false)?),
        Program::Llama => Box::new(llama::Llama::load(args, true)?),
        Program::LlamaNoRepack => Box::new(llama::Llama::load(args, false)?),
        Program::Candle => Box::new(candle::Candle::load(args)?),
    };
    say(&Ready {
        load: start.elapsed().as_secs_f64(),
        bytes_per_token: contestant.bytes_per_token(),
    })?;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?).context("an order")?;
        say(&serve(&mut *contestant, order)?)?;
    }
    Ok(())
}

fn serve(contestant: &mut dyn Contestant, order: Order) -> Result<Answer> {
    let vocab = contestant.vocab().max(1);
    let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % vocab;
    let tokens: Vec<u32> = (0..order.prompt).map(|i| token(order.from + i)).collect();
    contestant.truncate(order.from)?;
    let (cpu, start) = (processor()?, Instant::now());
    if !tokens.is_empty() {
        contestant.prompt(&tokens)?;
    }
    let prompt = start.elapsed().as_secs_f64();
    let start = Instant::now();
    for i in 0..order.decode {
        contestant.prompt(&[token(order.from + order.prompt + i)])?;
    }
    Ok(Answer {
        prompt,
        decode: start.elapsed().as_secs_f64(),
        cpu: processor()? - cpu,
    })
}

fn say(what: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Seconds of processor that this process has used, all threads (proc(5), stat).
fn processor() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may hold spaces.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        bail!("/proc/self/stat has no name");
    };
    let field = |n: usize| {
        rest.split_whitespace()
            .nth(n - 3)
            .and_then(|f| f.parse::<f64>().ok())
    };
    let (user, system) = (field(14).context("utime")?, field(15).context("stime")?);
    Ok((user + system) / crate::load::TICKS)
}
