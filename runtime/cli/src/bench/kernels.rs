//! `carat bench --kernels`: every kernel of a generated token alone, beside one that only reads.

use super::predict::key;
use super::{median, used_session};
use crate::args::BenchArgs;
use crate::cache::Prepared;
use crate::failure::Interrupted;
use crate::interrupt;
use crate::logits::interrupted;
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::exec::Executor;
use carat::internals::plan::{PAGE, Plan};
use carat_converter::progress::Progress;
use pollster::block_on;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// Rounds unless more repetitions are asked for: each measures every kernel once.
const ROUNDS: u32 = 7;

/// Steps of one kernel and shape. Times are medians.
#[derive(Serialize)]
struct Row {
    kernel: &'static str,
    /// Rows by columns and bits of a product; empty of other kernels.
    shape: String,
    /// Dispatches a token.
    dispatches: usize,
    /// Milliseconds of all of them.
    ms: f64,
    /// Bytes of weights that they read.
    weight_bytes: u64,
    /// 10^9 bytes of weights a second; null of a kernel that reads hardly any.
    gbps: Option<f64>,
    /// Of the plain read's bytes a second.
    share: Option<f64>,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    /// Positions that attention reads.
    context: u32,
    rounds: u32,
    /// What a kernel that only reads the same weights reaches, in 10^9 bytes a second.
    read_gbps: f64,
    /// Milliseconds of all steps of a token in one submission.
    token_ms: f64,
    kernels: Vec<Row>,
}

/// Runs it.
pub fn run(args: &BenchArgs, prepared: Prepared) -> Result<()> {
    let bar = Bar::new("bench");
    let report = interrupted(measure(args, prepared, &bar));
    bar.clear();
    let report = report?;
    if args.of.json {
        return term::print_json(&report);
    }
    term::print(&show(&report))
}

fn measure(args: &BenchArgs, prepared: Prepared, bar: &Bar) -> Result<Report> {
    let shown = || args.of.model.display().to_string();
    let mut session = used_session(args, prepared, None)?;
    let device = session.device();
    let (Executor::Gpu(gpu), plan) = session.executor() else {
        bail!("--kernels measures a GPU's kernels and this is {device}; give --device gpu:NAME");
    };
    let mut groups: BTreeMap<(&str, String), Vec<usize>> = BTreeMap::new();
    for (i, step) in plan.steps.iter().enumerate() {
        groups.entry(key(&step.op)).or_default().push(i);
    }
    let all: Vec<usize> = (0..plan.steps.len()).collect();
    let blocks = args.pp.div_ceil(PAGE);
    let rounds = args.repetitions.max(ROUNDS);
    let read = block_on(gpu.plain_read(plan)).with_context(shown)?;
    let (mut reads, mut tokens) = (Vec::new(), Vec::new());
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); groups.len()];
    // Round after round: whatever else the machine does, every kernel meets it.
    for round in 0..=rounds {
        if interrupt::requested() {
            return Err(Interrupted("".into()).into());
        }
        let mut timed = |steps: &[usize]| -> Result<f64> {
            let start = Instant::now();
            block_on(gpu.run_steps(plan, steps, 1, blocks)).with_context(shown)?;
            Ok(start.elapsed().as_secs_f64())
        };
        let mut row = Vec::with_capacity(groups.len());
        for steps in groups.values() {
            row.push(timed(steps)?);
        }
        let token = timed(&all)?;
        let start = Instant::now();
        block_on(gpu.read_weights(&read)).with_context(shown)?;
        let seconds = start.elapsed().as_secs_f64();
        // The first only warms up.
        if round > 0 {
            times.iter_mut().zip(row).for_each(|(t, s)| t.push(s));
            tokens.push(token);
            reads.push(seconds);
        }
        bar.step(u64::from(round), u64::from(rounds));
    }
    let read_gbps = read.bytes() as f64 / median(&reads) / 1e9;
    let mut kernels: Vec<Row> = groups
        .into_iter()
        .zip(&times)
        .map(|(((kernel, shape), steps), times)| row(plan, kernel, shape, &steps, times, read_gbps))
        .collect();
    kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(Report {
        model: shown(),
        device,
        context: args.pp,
        rounds,
        read_gbps,
        token_ms: median(&tokens) * 1e3,
        kernels,
    })
}

fn row(
    plan: &Plan,
    kernel: &'static str,
    shape: String,
    steps: &[usize],
    times: &[f64],
    read_gbps: f64,
) -> Row {
    let seconds = median(times);
    let weight_bytes = steps
        .iter()
        .filter_map(|i| plan.steps.get(*i))
        .map(|s| plan.weight_bytes(s))
        .sum();
    let gbps = (!shape.is_empty()).then(|| weight_bytes as f64 / seconds / 1e9);
    Row {
        kernel,
        shape,
        dispatches: steps.len(),
        ms: seconds * 1e3,
        weight_bytes,
        gbps,
        share: gbps.map(|g| g / read_gbps),
    }
}

fn show(r: &Report) -> String {
    let mut out = format!(
        "device     {}\n\
         token      {:.2} ms of {} dispatches, {} positions\n\
         read       {:.2} GB/s by a kernel that only reads the weights\n\n\
         {:<20} {:<23} {:>6} {:>9} {:>8} {:>7}\n",
        term::clip(&r.device, 66),
        r.token_ms,
        r.kernels.iter().map(|k| k.dispatches).sum::<usize>(),
        r.context,
        r.read_gbps,
        "kernel",
        "shape",
        "times",
        "ms",
        "GB/s",
        "share"
    );
    for k in &r.kernels {
        let line = format!(
            "{:<20} {:<23} {:>6} {:>9.3} {:>8} {:>7}",
            k.kernel,
            k.shape,
            k.dispatches,
            k.ms,
            k.gbps.map_or(String::new(), |g| format!("{g:.2}")),
            k.share
                .map_or(String::new(), |s| format!("{:.1} %", s * 100.0)),
        );
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_80_columns() {
        let kernel = |kernel, shape: &str| Row {
            kernel,
            shape: shape.into(),
            dispatches: 10_000,
            ms: 12_345.678,
            weight_bytes: 1,
            gbps: Some(1234.5),
            share: Some(1.0),
        };
        let text = show(&Report {
            model: "m".repeat(200),
            device: "d".repeat(200),
            context: 1 << 20,
            rounds: 1,
            read_gbps: 1234.5,
            token_ms: 1e6,
            kernels: vec![
                kernel("rmsnorm_add_row_i32", ""),
                kernel("linear_gated_tile_q", "2·32768 x 32768, 16 codes"),
            ],
        });
        assert_eq!(text.lines().count(), 7);
        for line in text.lines() {
            assert!(line.chars().count() <= term::WIDTH, "{line}");
        }
    }
}
