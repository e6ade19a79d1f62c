//! Programs in turn.

use crate::load;
use crate::worker::{Answer, Order, Program, Ready};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Share of the processors that others may use while a program is timed.
pub const OTHERS: f64 = 0.03;
/// How often a timing is repeated before it is taken as it is.
const REPEATS: usize = 4;
/// Between two programs: threads that wait for work by spinning go to sleep.
const PAUSE: Duration = Duration::from_millis(100);

/// A program with its model loaded, in a process of its own.
pub struct Contestant {
    child: Child,
    answers: BufReader<ChildStdout>,
    pub ready: Ready,
}

/// One timing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Tokens a second.
    pub prompt: f64,
    pub decode: f64,
    /// Share of the processors that others used meanwhile.
    pub others: f64,
}

impl Contestant {
    pub fn start(
        program: Program,
        model: &Path,
        threads: usize,
        context: u32,
        device: &str,
    ) -> Result<Self> {
        let name = clap::ValueEnum::to_possible_value(&program).context("a program's name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["worker", "--program", name.get_name()])
            .arg("--model")
            .arg(model)
            .args(["--threads", &threads.to_string()])
            .args(["--context", &context.to_string()])
            .args(["--device", device])
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("a worker's output")?;
        let mut contestant = Self {
            child,
            answers: BufReader::new(out),
            ready: Ready {
                load: 0.0,
                bytes_per_token: None,
            },
        };
        contestant.ready = contestant.answer()?;
        Ok(contestant)
    }

    /// Times an order, again while others use the processors.
    pub fn time(&mut self, order: Order) -> Result<Timing> {
        let mut best: Option<Timing> = None;
        for _ in 0..REPEATS {
            let timing = self.time_once(order)?;
            if best.is_none_or(|b| timing.others < b.others) {
                best = Some(timing);
            }
            if timing.others <= OTHERS {
                break;
            }
        }
        best.context("no timing")
    }

    /// Times an order once, whatever others do.
    pub fn time_once(&mut self, order: Order) -> Result<Timing> {
        std::thread::sleep(PAUSE);
        let ((before, processors), start) = (load::busy()?, Instant::now());
        let answer: Answer = self.order(order)?;
        let elapsed = start.elapsed().as_secs_f64();
        let others = (load::busy()?.0 - before - answer.cpu).max(0.0) / (elapsed * processors);
        Ok(Timing {
            prompt: order.prompt as f64 / answer.prompt,
            decode: order.decode as f64 / answer.decode,
            others,
        })
    }

    fn order(&mut self, order: Order) -> Result<Answer> {
        let input = self.child.stdin.as_mut().context("a worker's input")?;
        input.write_all(serde_json::to_string(&order)?.as_bytes())?;
        input.write_all(b"\n")?;
        input.flush()?;
        self.answer()
    }

    fn answer<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the program ended: {}", self.child.wait()?);
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Nothing is left to be told if it cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The middle value, of an even number the mean of the two in the middle; not a number of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0
}
