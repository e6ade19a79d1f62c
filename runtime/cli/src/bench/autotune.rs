//! `carat bench --autotune`: the kernels of products with each size of workgroup, and the fastest kept.

use super::{median, used_session};
use crate::args::BenchArgs;
use crate::cache::{self, Prepared};
use crate::failure::Interrupted;
use crate::interrupt;
use crate::logits::interrupted;
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::device::{ProductTuning, Tuned, Tuning};
use carat::internals::exec::Executor;
use carat::internals::exec::gpu::GpuExecutor;
use carat::internals::plan::{Plan, Rows};
use carat_converter::progress::Progress;
use carat_format::Encoding;
use pollster::block_on;
use serde::Serialize;
use std::time::Instant;

/// Rounds unless more repetitions are asked for.
const ROUNDS: u32 = 5;
/// Rows of the passes on which the numbers for several rows are measured.
const MANY: u32 = 16;

/// One candidate.
#[derive(Clone, Copy, Serialize)]
struct Row {
    /// Rows of the pass.
    batch: u32,
    slices: u32,
    tiles: u32,
    rows: u32,
    pairs: bool,
    /// Milliseconds of all products of a pass; the median.
    ms: f64,
    /// Whether it is kept.
    kept: bool,
    /// Whether it is what the adapter's class has.
    class: bool,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    candidates: Vec<Row>,
    /// Where the fastest are kept.
    file: Option<String>,
}

/// Runs it.
pub fn run(args: &BenchArgs, prepared: Prepared) -> Result<()> {
    let bar = Bar::new("autotune");
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
    let mut session = used_session(args, prepared, Some(MANY))?;
    let device = session.device();
    let (Executor::Gpu(gpu), plan) = session.executor() else {
        bail!("--autotune measures a GPU's kernels and this is {device}; give --device gpu:NAME");
    };
    let class = Tuning::of(gpu.adapter().kind);
    let mut best = class;
    let rounds = args.repetitions.max(ROUNDS);
    // Without a product of four bits, pairs of codes are the same kernels once more.
    let products = || plan.steps.iter().filter(|s| s.op.is_product());
    let pairs = products().any(|s| s.op.encoding() == Some(Encoding::Pow4));
    let [one, many] = [
        ProductTuning::candidates_for_one(),
        ProductTuning::candidates_for_many(),
    ]
    .map(|list| {
        list.into_iter()
            .filter(|c| pairs || !c.pairs)
            .collect::<Vec<_>>()
    });
    let total = (one.len() + many.len()) as u64;
    let mut candidates = Vec::new();
    for (batch, list) in [(1, one), (plan.extent.batch, many)] {
        let mut measured = Vec::new();
        for candidate in list {
            if interrupt::requested() {
                return Err(Interrupted("".into()).into());
            }
            let tuning = match batch {
                1 => Tuning {
                    one: candidate,
                    ..best
                },
                _ => Tuning {
                    many: candidate,
                    ..best
                },
            };
            let ms = time(gpu, plan, tuning, batch, rounds).with_context(shown)?;
            measured.push((candidate, ms));
            bar.step((candidates.len() + measured.len()) as u64, total);
        }
        let of_class = if batch == 1 { class.one } else { class.many };
        let fastest = measured.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let fastest = fastest.map_or(of_class, |f| f.0);
        match batch {
            1 => best.one = fastest,
            _ => best.many = fastest,
        }
        candidates.extend(measured.into_iter().map(|(c, ms)| Row {
            batch,
            slices: c.slices,
            tiles: c.tiles,
            rows: c.rows,
            pairs: c.pairs,
            ms,
            kept: c == fastest,
            class: c == of_class,
        }));
    }
    let tuned = Tuned::new(gpu.adapter(), best);
    let file = match cache::keep_tuning(&tuned) {
        Ok(path) => Some(path.display().to_string()),
        Err(e) => {
            term::warn(&format!(
                "the fastest numbers cannot be kept ({}); CARAT_CACHE=DIRECTORY names another cache",
                crate::failure::describe(&e)
            ));
            None
        }
    };
    Ok(Report {
        model: shown(),
        device,
        candidates,
        file,
    })
}

/// Milliseconds of all products of a pass of `batch` rows.
fn time(
    gpu: &mut GpuExecutor,
    plan: &Plan,
    tuning: Tuning,
    batch: u32,
    rounds: u32,
) -> Result<f64> {
    block_on(gpu.retune(plan, tuning))?;
    // A pass of several rows seldom wants logits.
    let counts = |rows: Rows| batch == 1 || rows == Rows::Batch;
    let steps = plan.steps.iter().enumerate();
    let steps = steps.filter(|(_, s)| s.op.is_product() && counts(s.rows));
    let steps: Vec<usize> = steps.map(|(i, _)| i).collect();
    let mut times = Vec::new();
    for round in 0..=rounds {
        let start = Instant::now();
        block_on(gpu.run_steps(plan, &steps, batch, 1))?;
        // At the first round drivers compile.
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(median(&times))
}

fn show(r: &Report) -> String {
    let mut out = format!(
        "device     {}\n\n{:>5} {:>7} {:>6} {:>5} {:>6} {:>10}\n",
        term::clip(&r.device, 66),
        "batch",
        "slices",
        "tiles",
        "rows",
        "pairs",
        "ms",
    );
    for c in &r.candidates {
        let note = match (c.kept, c.class) {
            (true, true) => "  fastest, as its class has",
            (true, false) => "  fastest",
            (false, true) => "  its class",
            (false, false) => "",
        };
        out += &format!(
            "{:>5} {:>7} {:>6} {:>5} {:>6} {:>10.3}{note}\n",
            c.batch,
            c.slices,
            c.tiles,
            c.rows,
            if c.pairs { "yes" } else { "" },
            c.ms
        );
    }
    if let Some(file) = &r.file {
        out += &format!("\nkept in {}\n", term::plain(file));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_80_columns() {
        let row = Row {
            batch: 65_535,
            slices: 32,
            tiles: 2,
            rows: 4,
            pairs: true,
            ms: 123_456.789,
            kept: true,
            class: true,
        };
        let text = show(&Report {
            model: "m".repeat(200),
            device: "d".repeat(200),
            candidates: vec![row; 3],
            file: None,
        });
        assert_eq!(text.lines().count(), 6);
        for line in text.lines() {
            assert!(line.chars().count() <= term::WIDTH, "{line}");
        }
    }
}
