//! Carat beside the other programs.

use crate::contest::{Contestant, Timing, median};
use crate::files;
use crate::memory::ReadBandwidth;
use crate::shape::Shape;
use crate::worker::{CPU, Order, Program};
use anyhow::{Context, Result};
use carat_gguf::TensorType;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Who is timed together: what is of about one size.
struct Group {
    title: &'static str,
    carat: &'static [(f64, u32)],
    /// Types, and whether llama.cpp has repacked copies of them.
    llama: &'static [(TensorType, bool)],
    candle: Option<TensorType>,
}

const GROUPS: &[Group] = &[
    Group {
        title: "4 bits",
        carat: &[(4.0, 32), (4.0, 128)],
        llama: &[
            (TensorType::Q4_K, true),
            (TensorType::Q4_0, true),
            (TensorType::IQ4_XS, false),
        ],
        candle: Some(TensorType::Q4_K),
    },
    Group {
        title: "3 bits",
        carat: &[(3.0, 32)],
        llama: &[(TensorType::Q3_K, false), (TensorType::IQ3_XXS, false)],
        candle: None,
    },
    Group {
        title: "2 bits",
        carat: &[(2.0, 32)],
        llama: &[(TensorType::Q2_K, true), (TensorType::IQ2_XXS, false)],
        candle: None,
    },
    Group {
        title: "8 bits",
        carat: &[(8.0, 32)],
        llama: &[(TensorType::Q8_0, true)],
        candle: None,
    },
];

/// Tokens of the prompts that are timed; the last is followed by decoding.
const PROMPTS: [usize; 2] = [512, 128];
/// Tokens decoded.
const DECODE: usize = 32;

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Comparison {
    pub shape: String,
    pub threads: usize,
    pub groups: Vec<Outcome>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Outcome {
    pub title: String,
    /// 10^9 bytes a second, before each round.
    pub read_bandwidth: Vec<f64>,
    pub entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Entry {
    pub program: Program,
    pub label: String,
    pub file_bytes: u64,
    pub bytes_per_token: Option<u64>,
    /// Seconds until the program was ready, pages of the file cached.
    pub load: f64,
    /// Of each round: the timing of each prompt of [`PROMPTS`].
    pub rounds: Vec<[Timing; 2]>,
}

impl Entry {
    /// Tokens a second in each round: decoding, prompt of 128, prompt of 512.
    pub fn series(&self, what: What) -> Vec<f64> {
        let of = |r: &[Timing; 2]| match what {
            What::Decode => r[1].decode,
            What::Prompt128 => r[1].prompt,
            What::Prompt512 => r[0].prompt,
        };
        self.rounds.iter().map(of).collect()
    }

    /// The median over the rounds of this entry's speed by the other's in the same round.
    pub fn ratio(&self, other: &Self, what: What) -> f64 {
        let (a, b) = (self.series(what), other.series(what));
        median(a.iter().zip(&b).map(|(a, b)| a / b))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Decode,
    Prompt128,
    Prompt512,
}

/// Runs all groups whose title holds `only`.
pub fn run(
    folder: &Path,
    shape: Shape,
    threads: usize,
    rounds: usize,
    only: &str,
    device: &str,
) -> Result<Comparison> {
    let mut groups = Vec::new();
    for group in GROUPS.iter().filter(|g| g.title.contains(only)) {
        groups.push(run_group(folder, shape, threads, rounds, group, device)?);
    }
    Ok(Comparison {
        shape: shape.name.into(),
        threads,
        groups,
    })
}

fn run_group(
    folder: &Path,
    shape: Shape,
    threads: usize,
    rounds: usize,
    group: &Group,
    device: &str,
) -> Result<Outcome> {
    let gpu = device != CPU;
    let mut wanted = Vec::new();
    for &(bits, weights) in group.carat {
        let path = files::carat(folder, shape, bits, weights)?;
        let label = format!("Carat {bits} bits, groups of {weights}");
        wanted.push((Program::Carat, label.clone(), path.clone()));
        if !gpu {
            wanted.push((Program::CaratNoMmap, format!("{label}, not mapped"), path));
        }
    }
    for &(ty, repacked) in group.llama {
        let name = ty.name().context("a type's name")?;
        let path = files::ggml(folder, shape, ty)?;
        wanted.push((Program::Llama, format!("llama.cpp {name}"), path.clone()));
        if repacked && !gpu {
            let label = format!("llama.cpp {name}, not repacked");
            wanted.push((Program::LlamaNoRepack, label, path));
        }
    }
    if let Some(ty) = group.candle.filter(|_| !gpu) {
        let name = ty.name().context("a type's name")?;
        let path = files::ggml(folder, shape, ty)?;
        wanted.push((Program::Candle, format!("candle {name}"), path));
    }
    let context = (PROMPTS[0] + DECODE) as u32;
    let (mut running, mut entries) = (Vec::new(), Vec::new());
    for (program, label, path) in wanted {
        eprintln!("loading {label}");
        let contestant = Contestant::start(program, &path, threads, context, device)?;
        entries.push(Entry {
            program,
            label,
            file_bytes: std::fs::metadata(&path)?.len(),
            bytes_per_token: contestant.ready.bytes_per_token,
            load: contestant.ready.load,
            rounds: Vec::new(),
        });
        running.push(contestant);
    }
    let bandwidth = ReadBandwidth::new(Some(threads))?;
    let mut read_bandwidth = Vec::new();
    // The first round warms up.
    for round in 0..=rounds {
        read_bandwidth.push(bandwidth.measure());
        // Each round starts with another, so that none has always the same before it.
        for i in 0..running.len() {
            let i = (i + round) % running.len();
            let order = |prompt, decode| Order {
                from: 0,
                prompt,
                decode,
            };
            let timings = [
                running[i].time(order(PROMPTS[0], 0))?,
                running[i].time(order(PROMPTS[1], DECODE))?,
            ];
            if round > 0 {
                eprintln!(
                    "{} round {round}: {:<36} decode {:6.1}, prompt of 128 {:6.1}, of 512 {:6.1} tokens/s; others {:.1} %",
                    group.title,
                    entries[i].label,
                    timings[1].decode,
                    timings[1].prompt,
                    timings[0].prompt,
                    100.0 * timings[0].others.max(timings[1].others)
                );
                entries[i].rounds.push(timings);
            }
        }
    }
    Ok(Outcome {
        title: match gpu {
            true => format!("{} on {device}", group.title),
            false => group.title.into(),
        },
        read_bandwidth,
        entries,
    })
}
