//! How speed changes with the length of the text, of the prompt, the threads and the bits of a code.

use crate::contest::{Contestant, median};
use crate::files;
use crate::shape::Shape;
use crate::worker::{CPU, Order, Program};
use anyhow::Result;
use carat_gguf::TensorType;
use serde::{Deserialize, Serialize};
use std::path::Path;

const CONTEXTS: &[usize] = &[128, 256, 512, 1024, 2048, 4096, 8192];
const PROMPTS: &[usize] = &[16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
const WIDTHS: &[f64] = &[1.0, 1.6, 2.0, 3.0, 4.0, 8.0];
const DECODE: usize = 16;

/// Tokens a second over what changes.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Line {
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Scaling {
    pub shape: String,
    /// Decoding over tokens in the text.
    pub context: Vec<Line>,
    /// Prompt over its tokens.
    pub prompt: Vec<Line>,
    /// Decoding and a prompt of 128 over bits of a code, for 1 and 2 threads each.
    pub width: Vec<Line>,
}

/// Medians over `rounds`.
pub fn run(folder: &Path, shape: Shape, rounds: usize) -> Result<Scaling> {
    let of = |prompt, decode| Order {
        from: 0,
        prompt,
        decode,
    };
    let mut width = Vec::new();
    for threads in [1, 2] {
        let (mut decode, mut prompt) = (Vec::new(), Vec::new());
        for &bits in WIDTHS {
            let file = files::carat(folder, shape, bits, 32)?;
            let mut c = Contestant::start(Program::Carat, &file, threads, 256, CPU)?;
            c.time(of(16, 4))?;
            let timings = (0..rounds)
                .map(|_| c.time(of(128, DECODE)))
                .collect::<Result<Vec<_>>>()?;
            decode.push((bits, median(timings.iter().map(|t| t.decode))));
            prompt.push((bits, median(timings.iter().map(|t| t.prompt))));
            eprintln!(
                "{bits} bits, {threads} threads: {:?} {:?}",
                decode.last(),
                prompt.last()
            );
        }
        let s = if threads == 1 { "" } else { "s" };
        let line = |what, points| Line {
            label: format!("{what}, {threads} thread{s}"),
            points,
        };
        width.extend([line("decoding", decode), line("prompt of 128", prompt)]);
    }
    let four = files::carat(folder, shape, 4.0, 32)?;
    let q4 = files::ggml(folder, shape, TensorType::Q4_K)?;
    let entries = [
        (Program::Carat, "Carat 4 bits", &four),
        (Program::Llama, "llama.cpp Q4_K", &q4),
    ];
    let mut running = Vec::new();
    for (program, _, path) in entries {
        running.push(Contestant::start(
            program,
            path,
            2,
            8192 + DECODE as u32,
            CPU,
        )?);
    }
    let line = |(_, label, _): (_, &str, _)| Line {
        label: label.into(),
        points: Vec::new(),
    };
    let (mut prompt, mut context) = (entries.map(line), entries.map(line));
    for &tokens in PROMPTS {
        // Long ones take long and vary little.
        let rounds = rounds.min((4096 / tokens).max(1));
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (c, found) in running.iter_mut().zip(&mut found) {
                found.push(c.time(of(tokens, 0))?.prompt);
            }
        }
        for (found, line) in found.into_iter().zip(&mut prompt) {
            line.points.push((tokens as f64, median(found)));
            eprintln!("prompt {tokens}: {} {:?}", line.label, line.points.last());
        }
    }
    let mut before = 0;
    for &tokens in CONTEXTS {
        for c in &mut running {
            c.time_once(Order {
                from: before,
                prompt: tokens - before,
                decode: 0,
            })?;
        }
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (c, found) in running.iter_mut().zip(&mut found) {
                let order = Order {
                    from: tokens,
                    prompt: 0,
                    decode: DECODE,
                };
                found.push(c.time(order)?.decode);
            }
        }
        for (found, line) in found.into_iter().zip(&mut context) {
            line.points.push((tokens as f64, median(found)));
            eprintln!("context {tokens}: {} {:?}", line.label, line.points.last());
        }
        before = tokens;
    }
    Ok(Scaling {
        shape: shape.name.into(),
        context: context.into(),
        prompt: prompt.into(),
        width,
    })
}
