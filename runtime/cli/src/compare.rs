//! `carat compare`: the size and quality of several files on one text.

use crate::args::CompareArgs;
use crate::eval::{scored, tokenize};
use crate::failure::Usage;
use crate::input::{self, Input};
use crate::inspect;
use crate::logits::{WEIGHTS, interrupted, use_threads};
use crate::svg::{Point, Scatter};
use crate::table;
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::{Model, Session, SessionOptions, Verify};
use carat_converter::eval::{
    self, Candidate, IntegerLogits, Logits, Options, Quality, ReferenceLogits,
};
use carat_converter::progress::Progress;
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;
use carat_text::tokenizer::Tokenizer;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Positions that the integer engine computes together.
const BATCH: u32 = 64;

/// The JSON object.
#[derive(Serialize)]
struct Report {
    ctx: usize,
    chunks: u64,
    reference: Option<String>,
    /// By size, the smallest first.
    files: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    path: String,
    /// `carat`, `gguf` or `huggingface`.
    format: &'static str,
    /// Bytes of all tensors.
    bytes: u64,
    /// Of those, bits per weight.
    bpw: f64,
    #[serde(flatten)]
    quality: Quality,
    /// Where the model ran.
    device: String,
    /// Whether no other file is smaller and closer to the reference (or of less perplexity where there is none).
    best: bool,
}

impl Row {
    /// What is drawn against the size.
    fn distance(&self) -> f64 {
        let d = self.quality.divergence.as_ref();
        d.map_or(self.quality.ppl, |d| d.kl_mean)
    }
}

/// A file that opened.
enum Opened {
    Carat(Arc<Model>),
    Checkpoint(Box<Checkpoint>),
}

/// Runs the command.
pub fn run(args: &CompareArgs) -> Result<()> {
    use_threads(args.place.threads)?;
    let text = input::read_text(&args.text)?;
    let options = Options {
        ctx: args.protocol.ctx as usize,
        chunks: args.protocol.chunks.map(|n| n as usize),
        bos: None,
    };
    // Whatever cannot be opened or written shows before the long work.
    for model in args.files.iter().chain(&args.reference) {
        input::check_head(model)?;
    }
    let reference = args.reference.as_deref();
    let reference = reference.map(input::open_checkpoint).transpose()?;
    let mut files = Vec::new();
    for path in &args.files {
        let shown = || path.display().to_string();
        let opened = match input::kind(path)? {
            Input::Carat => {
                let model = Model::open(path, Verify::Hashes).with_context(shown)?;
                if model.spec().context_length < args.protocol.ctx {
                    let most = model.spec().context_length;
                    bail!(
                        "{}: a context of {most} tokens, --ctx asks for {}",
                        shown(),
                        args.protocol.ctx
                    );
                }
                Opened::Carat(Arc::new(model))
            }
            Input::Gguf(_) | Input::Directory => {
                Opened::Checkpoint(Box::new(input::open_checkpoint(path)?))
            }
        };
        files.push((path, inspect::describe(path, false)?, opened));
    }
    let svg = args.svg.as_deref().map(|path| place(path, args.force));
    let svg = svg.transpose()?;
    let (tokens, options) = one_text(&files, &args.files, reference.as_ref(), &text, options)?;

    let bar = Bar::new("compare");
    let measured = measure(args, &files, reference.as_ref(), &tokens, &options, &bar);
    bar.clear();
    let measured = interrupted(measured)?;
    let mut rows: Vec<Row> = files
        .iter()
        .zip(measured)
        .map(|((path, about, _), (quality, device))| Row {
            path: path.display().to_string(),
            format: about.format,
            bytes: about.tensor_bytes(),
            bpw: about.tensor_bytes() as f64 * 8.0 / about.weights.max(1) as f64,
            quality,
            device,
            best: false,
        })
        .collect();
    rows.sort_by(|a, b| {
        a.bytes
            .cmp(&b.bytes)
            .then(a.distance().total_cmp(&b.distance()))
    });
    let mut least = f64::INFINITY;
    for row in &mut rows {
        row.best = row.distance() < least;
        least = least.min(row.distance());
    }
    let report = Report {
        ctx: options.ctx,
        chunks: rows
            .first()
            .map_or(0, |r| r.quality.tokens / scored(options.ctx)),
        reference: args.reference.as_ref().map(|p| p.display().to_string()),
        files: rows,
    };
    let plot = plot(&report);
    if let (Some(mut file), Some(path)) = (svg, &args.svg) {
        let shown = || path.display().to_string();
        file.write_all(plot.svg().as_bytes()).with_context(shown)?;
        file.persist(path)
            .map_err(|e| e.error)
            .with_context(shown)?;
    }
    if args.json {
        return term::print_json(&report);
    }
    term::print(&show(&report, &plot))
}

fn place(path: &Path, force: bool) -> Result<tempfile::NamedTempFile> {
    if path.exists() && !force {
        bail!(
            "{}: exists; give another name, or --force to replace it",
            path.display()
        );
    }
    term::beside(path)
}

/// The tokens of the text, which all the models cut alike.
fn one_text(
    files: &[(&PathBuf, inspect::Report, Opened)],
    paths: &[PathBuf],
    reference: Option<&Checkpoint>,
    text: &str,
    options: Options,
) -> Result<(Vec<u32>, Options)> {
    let cut = |t: &Tokenizer| {
        let (tokens, options) = tokenize(t, text, options);
        (tokens, options.bos)
    };
    let mut all = Vec::new();
    if let Some(c) = reference {
        all.push((c.path(), cut(&input::tokenizer(c)?)));
    }
    for (path, (_, _, opened)) in paths.iter().zip(files) {
        all.push((
            path,
            match opened {
                Opened::Carat(model) => cut(model.tokenizer()?),
                Opened::Checkpoint(c) => cut(&input::tokenizer(c)?),
            },
        ));
    }
    let Some((first, (tokens, bos))) = all.first() else {
        return Err(Usage("no files to compare".into()).into());
    };
    for (path, (other, other_bos)) in &all {
        let at = tokens.iter().zip(other).position(|(a, b)| a != b);
        let at = at.or((tokens.len() != other.len()).then_some(tokens.len().min(other.len())));
        if at.is_some() || bos != other_bos {
            let at = at.map_or("the token that begins a text".into(), |i| {
                format!("token {i}")
            });
            bail!(
                "{}: its tokenizer cuts the text in another way than the one of {}, from {at} on; compare files of one model",
                path.display(),
                first.display()
            );
        }
    }
    Ok((
        tokens.clone(),
        Options {
            bos: *bos,
            ..options
        },
    ))
}

/// Quality of every file, and where it ran.
fn measure(
    args: &CompareArgs,
    files: &[(&PathBuf, inspect::Report, Opened)],
    reference: Option<&Checkpoint>,
    tokens: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<(Quality, String)>> {
    // What is held of all models in f32 together.
    let floats = files
        .iter()
        .filter(|f| matches!(f.2, Opened::Checkpoint(_)));
    let held = WEIGHTS / (floats.count() as u64 + u64::from(reference.is_some())).max(1);
    let reference = reference.map(|c| Reference::open(c, held)).transpose()?;
    let mut references = Vec::new();
    let mut sessions = Vec::new();
    for (path, _, opened) in files {
        let shown = || path.display().to_string();
        match opened {
            Opened::Checkpoint(c) => references.push(Reference::open(c, held).with_context(shown)?),
            Opened::Carat(model) => {
                let ctx = u32::try_from(options.ctx)?;
                let session_options = SessionOptions {
                    device: args.place.device.clone(),
                    context: ctx,
                    batch: Some(BATCH.min(ctx)),
                    outputs: BATCH.min(ctx),
                    threads: args.place.threads,
                    cache: args.place.kv,
                    ..SessionOptions::default()
                };
                let session = Session::new(model.clone(), &session_options);
                sessions.push(pollster::block_on(session).with_context(shown)?);
            }
        }
    }
    let mut devices = Vec::new();
    let (mut references, mut sessions) = (references.iter(), sessions.into_iter());
    let mut models: Vec<Box<dyn Logits + '_>> = Vec::new();
    for (_, _, opened) in files {
        match opened {
            Opened::Checkpoint(_) => {
                let Some(r) = references.next() else { continue };
                devices.push("cpu, f32".to_string());
                models.push(Box::new(ReferenceLogits::new(r)));
            }
            Opened::Carat(_) => {
                let Some(session) = sessions.next() else {
                    continue;
                };
                devices.push(session.device());
                models.push(Box::new(IntegerLogits::new(session, progress)));
            }
        }
    }
    let names = files.iter().map(|f| f.0.display().to_string());
    let mut models: Vec<Candidate<'_>> = models
        .iter_mut()
        .zip(names)
        .map(|(logits, name)| Candidate {
            name,
            logits: &mut **logits,
        })
        .collect();
    let mut theirs = reference.as_ref().map(ReferenceLogits::new);
    let theirs = theirs.as_mut().map(|r| r as &mut dyn Logits);
    let quality = eval::evaluate_all(&mut models, theirs, tokens, options, progress)?;
    Ok(quality.into_iter().zip(devices).collect())
}

fn plot(report: &Report) -> Scatter {
    let compared = report.reference.is_some();
    let points = report.files.iter().map(|r| Point {
        x: r.bytes as f64 / 1e6,
        y: r.distance(),
        label: short(&r.path),
    });
    Scatter {
        title: if compared {
            "Divergence by size"
        } else {
            "Perplexity by size"
        }
        .into(),
        x_label: "MB of tensors".into(),
        y_label: if compared {
            "mean KL, nats"
        } else {
            "perplexity"
        }
        .into(),
        log_y: compared,
        points: points.collect(),
    }
}

/// A path's last part without `.gguf`.
fn short(path: &str) -> String {
    let name = Path::new(path).file_name().map(|n| n.to_string_lossy());
    let name = name.unwrap_or(path.into());
    let name = name.strip_suffix(".gguf").unwrap_or(&name);
    term::clip(&term::plain(name), 30)
}

fn show(r: &Report, plot: &Scatter) -> String {
    let first = r.files.first();
    let mut out = format!(
        "{} predictions in {} of {} tokens\n\n",
        term::thousands(first.map_or(0, |f| f.quality.tokens)),
        match r.chunks {
            1 => "1 chunk".into(),
            n => format!("{n} chunks"),
        },
        r.ctx
    );
    let compared = r.reference.is_some();
    let names: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
    let titles = [
        "   file",
        "bytes",
        "bits",
        "perplexity",
        "KL mean",
        "KL 99 %",
    ];
    let shown = if compared { titles.len() } else { 4 };
    let mut rows = vec![titles[..shown].iter().map(|t| (*t).into()).collect()];
    for (i, f) in r.files.iter().enumerate() {
        let name = names.get(i).copied().unwrap_or('+');
        let best = if f.best { '*' } else { ' ' };
        let mut row = vec![
            format!("{name}{best} {}", short(&f.path)),
            term::thousands(f.bytes),
            format!("{:.3}", f.bpw),
            format!("{:.4}", f.quality.ppl),
        ];
        if let Some(d) = &f.quality.divergence {
            row.extend([format!("{:.6}", d.kl_mean), format!("{:.5}", d.kl_p99)]);
        }
        rows.push(row);
    }
    if let Some(d) = first.and_then(|f| f.quality.divergence.as_ref()) {
        let mut row = vec!["   the reference".into(), String::new(), String::new()];
        row.push(format!("{:.4}", d.reference_ppl));
        rows.push(row);
    }
    out += &(table::lines(&rows, term::WIDTH).join("\n") + "\n");
    out += if compared {
        "* no smaller file is closer to the reference\n"
    } else {
        "* no smaller file has less perplexity\n"
    };
    if r.files.len() > 1 {
        let names: Vec<char> = (0..r.files.len())
            .map(|i| names.get(i).copied().unwrap_or('+'))
            .collect();
        out += &format!("\n{}", plot.lines(&names));
    }
    out
}
