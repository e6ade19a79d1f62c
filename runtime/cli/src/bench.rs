//! `carat bench`: how fast a model runs here, and how much of the memory's speed it uses.

#[cfg(feature = "gpu")]
mod autotune;
#[cfg(feature = "gpu")]
mod kernels;
mod memory;
mod predict;
mod speculation;

use crate::args::BenchArgs;
use crate::cache::{self, Prepared};
use crate::failure::Interrupted;
use crate::interrupt;
use crate::logits::interrupted;
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::selftest::Rng;
use carat::internals::{Session, SessionOptions, Verify, Want};
use carat_converter::progress::Progress;
use memory::ReadBandwidth;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// The JSON object. Rates and bandwidths are medians over the repetitions.
#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    /// Tokens of the prompt, and generated after it.
    pp: u32,
    tg: u32,
    repetitions: u32,
    /// Tokens a second of a prompt.
    pp_tps: f64,
    /// Tokens a second of a text.
    tg_tps: f64,
    /// Of each repetition.
    pp_runs: Vec<f64>,
    tg_runs: Vec<f64>,
    /// Bytes of weights that one generated token reads.
    bytes_per_token: u64,
    /// `bytes_per_token · tg_tps`, in 10^9 bytes a second.
    bandwidth_gbps: f64,
    /// What as many threads reach that only read memory, in the same unit; null on a GPU.
    read_bandwidth_gbps: Option<f64>,
    /// `bandwidth_gbps / read_bandwidth_gbps`; null on a GPU.
    bandwidth_share: Option<f64>,
    /// From the start to a session that is ready, the comparison with the file's hashes included.
    load_ms: f64,
    /// Most memory that the process had, the mapped file's pages included, before memory's speed was
    /// measured; null where the system does not tell.
    peak_rss_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(args: BenchArgs) -> Result<()> {
    let prepared = cache::prepare(&args.of.model, &args.of.cache, args.of.place.threads)?;
    if args.predict {
        return predict::run(&args, prepared);
    }
    #[cfg(feature = "gpu")]
    if args.autotune {
        return autotune::run(&args, prepared);
    }
    #[cfg(feature = "gpu")]
    if args.kernels {
        return kernels::run(&args, prepared);
    }
    if args.autotune || args.kernels {
        bail!(
            "--kernels and --autotune measure a GPU's kernels, and this build has no GPU support; leave them out, or take a build that has"
        );
    }
    if args.text.is_some() {
        return speculation::run(&args, prepared);
    }
    let bar = Bar::new("bench");
    let report = interrupted(measure(&args, prepared, &bar));
    bar.clear();
    let report = report?;
    if args.of.json {
        return term::print_json(&report);
    }
    term::print(&show(&report))
}

/// A session of as many rows a pass, in which a real token has run: buffers hold what kernels usually meet.
#[cfg(feature = "gpu")]
fn used_session(args: &BenchArgs, prepared: Prepared, batch: Option<u32>) -> Result<Session> {
    let shown = || args.of.model.display().to_string();
    let model = Arc::new(prepared.open(Verify::Hashes)?);
    let options = SessionOptions {
        device: args.of.place.device.clone(),
        context: args.pp,
        batch,
        cache: args.of.place.kv,
        ..SessionOptions::default()
    };
    let session = pollster::block_on(Session::new(model, &options));
    let mut session = session.with_context(shown)?;
    let forward = pollster::block_on(session.forward(&[0], Want::LastResult, &mut |_| ()));
    forward.with_context(shown)?;
    Ok(session)
}

fn measure(args: &BenchArgs, prepared: Prepared, bar: &Bar) -> Result<Report> {
    let start = Instant::now();
    let shown = || args.of.model.display().to_string();
    let model = Arc::new(
        prepared
            .in_memory(args.map.no_mmap, None)
            .open(Verify::Hashes)?,
    );
    let options = SessionOptions {
        device: args.of.place.device.clone(),
        context: args.pp.saturating_add(args.tg),
        threads: args.of.place.threads,
        cache: args.of.place.kv,
        ..SessionOptions::default()
    };
    let mut session =
        pollster::block_on(Session::new(model.clone(), &options)).with_context(shown)?;
    let load_ms = term::ms(start);

    // Which tokens does not matter to the speed; random ones, as other programs measure.
    let mut rng = Rng(1);
    let vocab = u64::from(model.spec().vocab_size.max(1));
    let prompt: Vec<u32> = (0..args.pp).map(|_| rng.below(vocab) as u32).collect();
    let batch = session.plan().extent.batch as usize;
    let total = (u64::from(args.pp) + u64::from(args.tg)) * u64::from(args.repetitions);
    let mut run = Run {
        session: &mut session,
        batch,
        bar,
        done: 0,
        total,
    };
    // Untimed: pages are touched, clocks and drivers wake up.
    run.pass(&prompt[..prompt.len().min(batch)], 1)
        .with_context(shown)?;
    run.done = 0;

    let on_cpu = run.session.dispatches() == 0;
    let (mut pp, mut tg, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let mut bandwidth = None;
    let mut peak_rss_bytes = None;
    for repetition in 0..args.repetitions {
        let (a, b) = run.pass(&prompt, args.tg).with_context(shown)?;
        pp.push(a);
        tg.push(b);
        if repetition == 0 {
            // Every repetition does the same, and the buffer below is not the model's.
            peak_rss_bytes = memory::peak();
            if on_cpu {
                bandwidth = Some(ReadBandwidth::new(args.of.place.threads)?);
            }
        }
        // Between the repetitions: whatever else the machine does, both meet it.
        read.extend(bandwidth.as_ref().map(ReadBandwidth::measure));
    }
    let bytes_per_token = session.plan().decode_weight_bytes();
    let tg_tps = median(&tg);
    let bandwidth_gbps = bytes_per_token as f64 * tg_tps / 1e9;
    let read_bandwidth_gbps = (!read.is_empty()).then(|| median(&read));
    Ok(Report {
        model: shown(),
        device: session.device(),
        pp: args.pp,
        tg: args.tg,
        repetitions: args.repetitions,
        pp_tps: median(&pp),
        tg_tps,
        pp_runs: pp,
        tg_runs: tg,
        bytes_per_token,
        bandwidth_gbps,
        read_bandwidth_gbps,
        bandwidth_share: read_bandwidth_gbps.map(|r| bandwidth_gbps / r),
        load_ms,
        peak_rss_bytes,
    })
}

/// A session with the progress of all repetitions.
struct Run<'a> {
    session: &'a mut Session,
    batch: usize,
    bar: &'a Bar,
    done: u64,
    total: u64,
}

impl Run<'_> {
    /// Tokens a second of `prompt` from an empty cache, and of `tg` likeliest tokens after it.
    fn pass(&mut self, prompt: &[u32], tg: u32) -> Result<(f64, f64)> {
        self.session.truncate(0);
        let mut next = 0;
        let start = Instant::now();
        // A batch at a time, so that Ctrl-C waits for no more; only the last gives an output.
        let batches = prompt.len().div_ceil(self.batch);
        for (i, tokens) in prompt.chunks(self.batch).enumerate() {
            let want = if i + 1 == batches {
                Want::LastResult
            } else {
                Want::From(tokens.len())
            };
            self.forward(tokens, want, &mut next)?;
        }
        let pp = prompt.len() as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for i in 0..tg {
            let want = if i + 1 < tg {
                Want::Greedy
            } else {
                Want::LastResult
            };
            self.forward(&[next], want, &mut next)?;
        }
        Ok((pp, f64::from(tg) / start.elapsed().as_secs_f64()))
    }

    fn forward(&mut self, tokens: &[u32], want: Want, next: &mut u32) -> Result<()> {
        if interrupt::requested() {
            return Err(Interrupted("".into()).into());
        }
        let mut sink = |o: carat::internals::Output<'_>| *next = o.argmax;
        pollster::block_on(self.session.forward(tokens, want, &mut sink))?;
        self.done += tokens.len() as u64;
        self.bar.step(self.done, self.total);
        Ok(())
    }
}

/// The middle value, of an even number the mean of the two in the middle; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (n, at) = (sorted.len(), |i: usize| {
        sorted.get(i).copied().unwrap_or(0.0)
    });
    if n % 2 == 1 {
        at(n / 2)
    } else {
        (at((n / 2).saturating_sub(1)) + at(n / 2)) / 2.0
    }
}

fn show(r: &Report) -> String {
    let range = |runs: &[f64]| {
        let low = runs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = runs.iter().copied().fold(0.0, f64::max);
        if runs.len() > 1 {
            format!("   ({low:.2} to {high:.2})")
        } else {
            String::new()
        }
    };
    let mut out = format!(
        "device     {}\n\
         load       {:.0} ms\n\
         prompt     {:.2} tokens/s of {} tokens{}\n\
         text       {:.2} tokens/s of {} tokens{}\n\
         weights    {} per token, {:.2} GB/s\n",
        term::clip(&r.device, 66),
        r.load_ms,
        r.pp_tps,
        r.pp,
        range(&r.pp_runs),
        r.tg_tps,
        r.tg,
        range(&r.tg_runs),
        term::bytes(r.bytes_per_token),
        r.bandwidth_gbps,
    );
    if let Some((read, share)) = r.read_bandwidth_gbps.zip(r.bandwidth_share) {
        out += &format!(
            "memory     read at {read:.2} GB/s by the same threads: the text uses {:.1} %\n",
            share * 100.0
        );
    }
    if let Some(peak) = r.peak_rss_bytes {
        out += &format!("peak       {} resident\n", term::bytes(peak));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn a_report_fits_80_columns() {
        let report = Report {
            model: "m".repeat(200),
            device: "d".repeat(200),
            pp: 1_000_000,
            tg: 1_000_000,
            repetitions: 1000,
            pp_tps: 123_456.789,
            tg_tps: 12_345.678,
            pp_runs: vec![123_456.789; 1000],
            tg_runs: vec![12_345.678; 1000],
            bytes_per_token: 123_456_789_012,
            bandwidth_gbps: 1234.5,
            read_bandwidth_gbps: Some(1234.5),
            bandwidth_share: Some(1.0),
            load_ms: 1e7,
            peak_rss_bytes: Some(123_456_789_012),
        };
        let text = show(&report);
        assert_eq!(text.lines().count(), 7);
        for line in text.lines() {
            assert!(line.chars().count() <= term::WIDTH, "{line}");
        }
    }
}
