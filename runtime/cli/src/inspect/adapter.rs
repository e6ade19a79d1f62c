//! What an adapter holds, and what it does to a model.

use super::{entry, heading};
use crate::args::InspectArgs;
use crate::failure::{Interrupted, Usage};
use crate::input::{self, Input, Start};
use crate::logits::use_threads;
use crate::{interrupt, table, term};
use anyhow::{Context, Result};
use carat::internals::adapter::{AdapterFile, Term};
use carat::internals::{Error, Model, Verify};
use carat_converter::intruders::{self, Measured, TOP};
use carat_converter::progress::Progress;
use carat_converter::source::Checkpoint;
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The JSON object.
#[derive(Serialize)]
struct Report {
    path: String,
    /// `adapter`.
    format: &'static str,
    /// `peft` or `gguf`.
    container: &'static str,
    name: String,
    /// Largest rank.
    rank: u64,
    alpha: f64,
    /// The model that it says it was made for; null where it does not.
    base: Option<String>,
    /// Bytes of its matrices.
    bytes: u64,
    matrices: Vec<Row>,
    /// With --base: intruder dimensions of all matrices.
    #[serde(skip_serializing_if = "Option::is_none")]
    intruders: Option<usize>,
}

#[derive(Serialize)]
struct Row {
    /// What it is added to, by ggml's name.
    name: String,
    rank: u64,
    /// Rows and columns of what it is added to.
    shape: [u64; 2],
    /// Of B·A: alpha over the rank, or over its root.
    factor: f64,
    #[serde(flatten)]
    effect: Option<Effect>,
}

/// With --base.
#[derive(Serialize)]
struct Effect {
    /// Norm of what is added, over that of the matrix.
    size: f64,
    /// Intruder dimensions among the largest left singular vectors of the sum.
    intruders: usize,
    /// Of each of these the largest |cosine| to one of the matrix's own.
    cosines: Vec<f64>,
}

impl From<Measured> for Effect {
    fn from(m: Measured) -> Self {
        Self {
            size: m.size,
            intruders: m.intruders(),
            cosines: m.cosines,
        }
    }
}

/// Whether a path holds an adapter and no model, as far as names and a file's beginning tell.
pub fn is_one(path: &Path) -> bool {
    if path.is_dir() {
        return path.join("adapter_config.json").is_file() && !path.join("config.json").is_file();
    }
    if path
        .file_name()
        .is_some_and(|n| n == "adapter_model.safetensors")
    {
        return true;
    }
    let start = Start::read(path).ok();
    let header = start.as_ref().and_then(|s| s.header().ok());
    header.is_some_and(|h| h.str_opt("general.type").ok().flatten() == Some("adapter"))
}

/// Runs the command on an adapter.
pub fn run(args: &InspectArgs) -> Result<()> {
    if args.verify || args.memory {
        let text =
            "--verify and --memory are for Carat files, and this is an adapter; leave them out";
        return Err(Usage(text.into()).into());
    }
    let file = AdapterFile::open(&args.model).map_err(Error::from)?;
    let rows = file.pairs().iter().map(|p| Row {
        name: p.target.name(),
        rank: p.rank(),
        shape: p.shape().into(),
        factor: p.factor,
        effect: None,
    });
    let mut report = Report {
        path: args.model.display().to_string(),
        format: "adapter",
        container: file.container().name(),
        name: file.name(),
        rank: file.pairs().iter().map(|p| p.rank()).max().unwrap_or(0),
        alpha: file.alpha(),
        base: file.base().map(String::from),
        bytes: file.len(),
        matrices: rows.collect(),
        intruders: None,
    };
    if let Some(base) = &args.base {
        report.matrices = effects(&file, base)?;
        let all = report.matrices.iter().filter_map(|r| r.effect.as_ref());
        report.intruders = Some(all.map(|e| e.intruders).sum());
    }
    match args.json {
        true => term::print_json(&report),
        false => term::print(&shown(&report, args.tensors)),
    }
}

/// What each matrix of a model becomes.
fn effects(file: &AdapterFile, base: &Path) -> Result<Vec<Row>> {
    let shown = || base.display().to_string();
    if input::kind(base)? == Input::Carat {
        // Where the matrices were changed the adapter is for others.
        let model = Model::open(base, Verify::Structure).with_context(shown)?;
        model.adapter(file).with_context(shown)?;
    }
    let checkpoint = input::open_checkpoint(base)?;
    let spec = checkpoint.hyper().spec(0);
    let mut terms: Vec<(Term, f64)> = Vec::new();
    let terms_of = file.terms(&spec, &mut |pair, term| {
        terms.push((term, pair.factor));
        Ok(())
    });
    terms_of.map_err(Error::from).with_context(shown)?;
    use_threads(None)?;
    let bar = term::Bar::new("intruders");
    let rows = measure(&checkpoint, &terms, &bar);
    bar.clear();
    rows
}

fn measure(base: &Checkpoint, terms: &[(Term, f64)], progress: &dyn Progress) -> Result<Vec<Row>> {
    let done = AtomicU64::new(0);
    let rows = terms.par_iter().map(|(term, factor)| {
        if progress.cancelled() || interrupt::requested() {
            return Err(Interrupted("".into()).into());
        }
        let measured = intruders::measure(base, term)?;
        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress.step(count, terms.len() as u64);
        let name = term.tensor.name();
        Ok(Row {
            name: name.trim_end_matches(".weight").into(),
            rank: term.rank as u64,
            shape: base.hyper().shape(term.tensor).into(),
            factor: *factor,
            effect: Some(measured.into()),
        })
    });
    rows.collect()
}

fn shown(r: &Report, all: bool) -> String {
    let mut out = heading(&r.path);
    let mut line = |label: &str, text: String| out += &entry(label, &text);
    line("format", format!("LoRA adapter ({})", r.container));
    if let Some(base) = &r.base {
        line("made for", base.clone());
    }
    line("rank", format!("{}, alpha {}", r.rank, r.alpha));
    line("targets", targets(&r.matrices));
    line(
        "size",
        format!("{}, {} matrices", term::bytes(r.bytes), r.matrices.len()),
    );
    if let Some(intruders) = r.intruders {
        let vectors = r.matrices.len() * TOP;
        line(
            "intruders",
            format!("{intruders} of the {vectors} largest singular vectors ({TOP} a matrix)"),
        );
    }
    if !all && r.intruders.is_none() {
        return out;
    }
    let mut rows = vec![
        [
            "matrix",
            "rank",
            "factor",
            "size",
            "intruders",
            "least cosine",
        ]
        .map(String::from)
        .to_vec(),
    ];
    rows.extend(r.matrices.iter().map(|m| {
        let effect = m.effect.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let least = effect.and_then(|e| e.cosines.iter().copied().reduce(f64::min));
        vec![
            term::plain(&m.name).into_owned(),
            m.rank.to_string(),
            format!("{}", (m.factor * 1e4).round() / 1e4),
            or_dash(effect.map(|e| format!("{:.4}", e.size))),
            or_dash(effect.map(|e| e.intruders.to_string())),
            or_dash(least.map(|c| format!("{c:.3}"))),
        ]
    }));
    out += "\n";
    for line in table::lines(&rows, term::WIDTH) {
        out += &line;
        out += "\n";
    }
    out
}

/// The distinct matrices within a block.
fn targets(rows: &[Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let name = row.name.splitn(3, '.').nth(2).unwrap_or(&row.name);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}
