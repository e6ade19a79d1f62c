//! `carat inspect`: what a model file holds.

mod adapter;

use crate::args::InspectArgs;
use crate::card::QualityCard;
use crate::failure::Usage;
use crate::input::{self, Input, Start};
use crate::{chart, memory, term};
use anyhow::{Context, Result};
use carat::internals::{Model, Verify};
use carat_converter::source::{Checkpoint, Hyper};
use carat_format::model::Block;
use carat_format::{ModelSpec, Pooling, keys};
use carat_gguf::TensorType;
use serde::Serialize;
use std::path::Path;

/// The JSON object.
#[derive(Serialize)]
pub struct Report {
    path: String,
    /// `carat`, `gguf` or `huggingface`.
    pub format: &'static str,
    /// The model's name, where it has one.
    name: Option<String>,
    /// Every weight of every tensor.
    pub weights: u64,
    /// Bytes of the file, or of all files with weights.
    bytes: u64,
    /// Bits a weight of the matrices' payloads, padding included.
    payload_bpw: f64,
    /// Bits a weight of the whole file.
    file_bpw: f64,
    /// Hyper-parameters; null for an architecture that Carat does not know.
    model: Option<Hyperparameters>,
    /// The quality card; null where the file has none.
    card: Option<QualityCard>,
    /// Whether every tensor was compared with its hash.
    verified: bool,
    /// With --memory: what the model takes, by the length of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Vec<memory::Entry>>,
    tensors: Vec<Row>,
}

#[derive(Serialize)]
struct Hyperparameters {
    architecture: String,
    vocab_size: u32,
    context_length: u32,
    embedding_length: u32,
    block_count: u32,
    /// The distinct blocks.
    kinds: Vec<Kind>,
    tied: bool,
    /// The checkpoint is a bare backbone: it turns texts into vectors and generates none.
    headless: bool,
    /// How a text becomes a vector: `none`, `mean`, `cls` or `last`; null where the file does not say.
    pooling: Option<&'static str>,
    /// Unit of the residual stream is 2 to this; null for floats.
    residual_exponent: Option<i32>,
}

/// A kind of block.
#[derive(Serialize)]
struct Kind {
    /// Which blocks are of it.
    blocks: Vec<u32>,
    /// Null where nothing mixes positions.
    attention: Option<KindAttention>,
    /// Null where there is none.
    feed_forward: Option<KindFeedForward>,
}

#[derive(Serialize, PartialEq)]
struct KindAttention {
    head_count: u32,
    head_count_kv: u32,
    head_dim: u32,
    /// Positions that a position sees; null for all.
    window: Option<u32>,
}

#[derive(Serialize, PartialEq)]
struct KindFeedForward {
    length: u32,
    activation: &'static str,
}

impl Kind {
    fn of(block: &Block) -> Self {
        Self {
            blocks: Vec::new(),
            attention: block.attention().map(|a| KindAttention {
                head_count: a.heads,
                head_count_kv: a.kv_heads,
                head_dim: a.head_dim,
                window: a.window,
            }),
            feed_forward: block.gated().map(|g| KindFeedForward {
                length: g.width,
                activation: g.activation.name(),
            }),
        }
    }

    /// The kinds of a model's blocks, as far as they are told.
    fn all(blocks: &[Block]) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = Vec::new();
        for (b, block) in (0..).zip(blocks) {
            let own = Kind::of(block);
            let alike =
                |k: &&mut Kind| k.attention == own.attention && k.feed_forward == own.feed_forward;
            match kinds.iter_mut().find(alike) {
                Some(known) => known.blocks.push(b),
                None => kinds.push(Kind {
                    blocks: vec![b],
                    ..own
                }),
            }
        }
        kinds
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.attention {
            None => write!(f, "no attention")?,
            Some(a) => {
                let (heads, dim, kv) = (a.head_count, a.head_dim, a.head_count_kv);
                write!(f, "{heads} heads of {dim}, {kv} for keys and values")?;
                if let Some(window) = a.window {
                    write!(f, ", window {window}")?;
                }
            }
        }
        match &self.feed_forward {
            None => write!(f, ", no feed-forward"),
            Some(g) => write!(f, ", feed-forward {}", g.length),
        }
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// Rows and columns; the length of a vector.
    shape: Vec<u64>,
    encoding: String,
    /// Bits of a code; of an element where there are no codes. Null for an unknown type.
    bits: Option<f64>,
    /// Weights that share a scale; null where there are none.
    group: Option<u64>,
    /// The exponent p of the table's power function; null where there is none.
    exponent: Option<f32>,
    /// Root of the relative squared error against the source; null where it is not stated.
    error: Option<f32>,
    /// Bytes of the payload; null for an unknown type.
    bytes: Option<u64>,
}

impl Row {
    fn weights(&self) -> u64 {
        self.shape.iter().fold(1, |n, d| n.saturating_mul(*d))
    }
}

/// Runs the command.
pub fn run(args: InspectArgs) -> Result<()> {
    if adapter::is_one(&args.model) {
        return adapter::run(&args);
    }
    if args.base.is_some() {
        let text = "--base is for an adapter, and this is a model; leave it out";
        return Err(Usage(text.into()).into());
    }
    let mut report = describe(&args.model, args.verify)?;
    if args.memory {
        report.memory = Some(account(&args.model)?);
    }
    if args.json {
        return term::print_json(&report);
    }
    term::print(&overview(&report))?;
    if let Some(entries) = &report.memory {
        term::print(&memory::table(entries))?;
    }
    if args.tensors {
        term::print(&table(&report.tensors))?;
    }
    Ok(())
}

/// What a file holds; `verify` compares every tensor with its hash.
///
/// Errors: a file that cannot be read; `verify` of one that states no hashes.
pub fn describe(path: &Path, verify: bool) -> Result<Report> {
    match input::kind(path)? {
        Input::Carat => carat(path, verify),
        _ if verify => Err(Usage(format!(
            "{}: --verify needs a Carat file: only those state hashes",
            path.display()
        ))
        .into()),
        Input::Gguf(_) => gguf(path),
        Input::Directory => directory(path),
    }
}

impl Report {
    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> u64 {
        let bytes = self.tensors.iter().filter_map(|t| t.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    fn new(
        path: &Path,
        format: &'static str,
        name: Option<String>,
        bytes: u64,
        tensors: Vec<Row>,
    ) -> Self {
        let weights = tensors
            .iter()
            .map(Row::weights)
            .fold(0u64, u64::saturating_add);
        let matrices = || tensors.iter().filter(|t| t.shape.len() > 1);
        let of = |bytes: u64, weights: u64| bytes as f64 * 8.0 / weights.max(1) as f64;
        let payload = matrices()
            .filter_map(|t| t.bytes)
            .fold(0u64, u64::saturating_add);
        let matrix_weights = matrices().map(Row::weights).fold(0u64, u64::saturating_add);
        Self {
            path: path.display().to_string(),
            format,
            name,
            weights,
            bytes,
            payload_bpw: of(payload, matrix_weights),
            file_bpw: of(bytes, weights),
            model: None,
            card: None,
            verified: false,
            memory: None,
            tensors,
        }
    }
}

fn account(path: &Path) -> Result<Vec<memory::Entry>> {
    let shown = || path.display().to_string();
    if input::kind(path)? != Input::Carat {
        return Err(Usage(format!(
            "{}: --memory needs a Carat file: convert it first",
            path.display()
        ))
        .into());
    }
    memory::account(&Model::open(path, Verify::Structure).with_context(shown)?).with_context(shown)
}

fn carat(path: &Path, verify: bool) -> Result<Report> {
    let shown = || path.display().to_string();
    let verify_as = if verify {
        Verify::Hashes
    } else {
        Verify::Structure
    };
    let model = Model::open(path, verify_as).with_context(shown)?;
    let (spec, directory) = (model.spec(), model.directory());
    let mut rows = Vec::new();
    for tensor in spec.tensors() {
        if let Some(v) = directory.vector(tensor) {
            rows.push(Row {
                name: tensor.name(),
                shape: vec![v.len],
                encoding: keys::VECTOR.into(),
                bits: Some(32.0),
                group: None,
                exponent: None,
                error: None,
                bytes: Some(v.len * 4),
            });
        } else if let Some(e) = directory.matrix(tensor) {
            rows.push(Row {
                name: tensor.name(),
                shape: vec![e.layout.rows, e.layout.cols],
                encoding: e.layout.encoding.name().into(),
                bits: Some(e.layout.encoding.stored_bits()),
                group: Some(e.layout.group.weights() as u64),
                exponent: e.layout.encoding.has_power().then_some(e.power),
                error: Some(e.error),
                bytes: Some(e.layout.payload_bytes()),
            });
        }
    }
    let name = model
        .header()?
        .str_opt(keys::NAME)
        .ok()
        .flatten()
        .map(String::from);
    let mut report = Report::new(path, "carat", name, model.len(), rows);
    report.verified = verify;
    match model.card() {
        Ok(card) => report.card = card.as_ref().map(QualityCard::from),
        // Everything else can be told.
        Err(e) => term::warn(&format!("{}: no quality card: {e}", shown())),
    }
    report.model = Some(hyperparameters(spec, Some(spec.residual_exponent)));
    Ok(report)
}

fn gguf(path: &Path) -> Result<Report> {
    let start = Start::read(path)?;
    let header = start.header()?;
    let rows = header
        .tensors()
        .iter()
        .map(|t| {
            let block = t.ty.block_size().unwrap_or(1);
            Row {
                name: t.name.into(),
                // ggml counts dimensions from the contiguous one.
                shape: t.dims.iter().rev().copied().collect(),
                encoding: t.ty.to_string(),
                bits: t.ty.type_size().map(|s| s as f64 * 8.0 / block as f64),
                group: (block > 1).then_some(block),
                exponent: None,
                error: None,
                bytes: t.size,
            }
        })
        .collect();
    let name = header.str_opt(keys::NAME).ok().flatten().map(String::from);
    let mut report = Report::new(path, "gguf", name, start.len, rows);
    // Any GGUF can be listed; the hyper-parameters of those that convert are known.
    report.model = Checkpoint::open(path).ok().map(|c| of_hyper(c.hyper()));
    Ok(report)
}

fn directory(path: &Path) -> Result<Report> {
    let checkpoint = input::open_checkpoint(path)?;
    let hyper = checkpoint.hyper();
    let mut rows = Vec::new();
    for tensor in hyper.tensors() {
        let (r, c) = hyper.shape(tensor);
        let encoding = checkpoint.type_name(tensor)?;
        let size = TensorType::from_name(encoding).and_then(|t| t.type_size());
        rows.push(Row {
            name: tensor.name(),
            shape: if tensor.is_vector() {
                vec![c]
            } else {
                vec![r, c]
            },
            encoding: encoding.into(),
            bits: size.map(|s| s as f64 * 8.0),
            group: None,
            exponent: None,
            error: None,
            bytes: size.map(|s| s.saturating_mul(r).saturating_mul(c)),
        });
    }
    let name = checkpoint.name().map(String::from);
    let mut report = Report::new(path, "huggingface", name, checkpoint.bytes(), rows);
    report.model = Some(of_hyper(hyper));
    Ok(report)
}

fn of_hyper(hyper: &Hyper) -> Hyperparameters {
    hyperparameters(&hyper.spec(0), None)
}

fn hyperparameters(s: &ModelSpec, residual_exponent: Option<i32>) -> Hyperparameters {
    Hyperparameters {
        architecture: s.source_architecture.clone(),
        vocab_size: s.vocab_size,
        context_length: s.context_length,
        embedding_length: s.embedding_length,
        block_count: s.block_count(),
        kinds: Kind::all(&s.blocks),
        tied: s.tied,
        headless: s.headless,
        pooling: s.pooling.map(Pooling::name),
        residual_exponent,
    }
}

/// The first line of what is told of a file.
fn heading(path: &str) -> String {
    let path = term::clip(&term::plain(path), term::WIDTH);
    format!("{}\n", term::paint("1", &path))
}

/// A line of it.
fn entry(label: &str, text: &str) -> String {
    let text = term::clip(&term::plain(text), term::WIDTH - 14);
    format!("  {label:<11} {text}\n")
}

fn overview(r: &Report) -> String {
    let mut out = heading(&r.path);
    let mut line = |label: &str, text: String| out += &entry(label, &text);
    let name = r
        .name
        .as_ref()
        .map_or(String::new(), |n| format!(" \"{n}\""));
    line(
        "format",
        format!(
            "{}{name}{}",
            r.format,
            if r.verified {
                ", every hash is right"
            } else {
                ""
            }
        ),
    );
    if let Some(m) = &r.model {
        let head = match (m.headless, m.tied) {
            (true, _) => "no head: for vectors alone",
            (false, true) => "the embedding is the head",
            (false, false) => "own head",
        };
        line(
            "model",
            format!(
                "{}, {} blocks, width {}, {head}",
                m.architecture, m.block_count, m.embedding_length
            ),
        );
        for kind in &m.kinds {
            let all = kind.blocks.len() as u32 == m.block_count;
            let blocks = match all {
                true => String::new(),
                false => format!("{} of them: ", kind.blocks.len()),
            };
            line("blocks", blocks + &kind.to_string());
        }
        line(
            "other",
            format!("vocabulary {}, context {}", m.vocab_size, m.context_length),
        );
    }
    if let Some(pooling) = r.model.as_ref().and_then(|m| m.pooling) {
        line("pooling", pooling.into());
    }
    line("weights", term::thousands(r.weights));
    line(
        "size",
        format!(
            "{} ({} bytes)",
            term::bytes(r.bytes),
            term::thousands(r.bytes)
        ),
    );
    line(
        "bits/weight",
        format!("{:.3} payload, {:.3} file", r.payload_bpw, r.file_bpw),
    );
    if let Some(c) = &r.card {
        line(
            "quality",
            format!(
                "KL {:.6} nats, 99 % {:.4}, same top token {:.2} %",
                c.figures.kl_mean,
                c.figures.kl_p99,
                c.figures.top1 * 100.0
            ),
        );
        line(
            "",
            format!(
                "perplexity {:.4} (checkpoint {:.4}), {} tokens of '{}'",
                c.figures.ppl, c.figures.reference_ppl, c.tokens, c.text
            ),
        );
    }
    out += "\n";
    // How much each encoding takes.
    let mut kinds: Vec<(&str, u64, usize)> = Vec::new();
    for t in &r.tensors {
        let bytes = t.bytes.unwrap_or(0);
        match kinds.iter_mut().find(|k| k.0 == t.encoding) {
            Some(k) => (k.1, k.2) = (k.1.saturating_add(bytes), k.2 + 1),
            None => kinds.push((&t.encoding, bytes, 1)),
        }
    }
    let rows: Vec<_> = kinds
        .iter()
        .map(|(name, bytes, n)| {
            (
                *name,
                *bytes as f64,
                format!("{}, {n} tensors", term::bytes(*bytes)),
            )
        })
        .collect();
    out + &chart::chart(&rows)
}

/// One line a tensor.
fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "\n{:<26}{:>14} {:<6}{:>5}{:>6}{:>5}{:>7}{:>10}\n",
        "tensor", "shape", "type", "bits", "group", "p", "error", "size"
    );
    for r in rows {
        let shape = r
            .shape
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join("x");
        let or_dash = |x: Option<String>| x.unwrap_or_else(|| "-".into());
        out += &format!(
            "{:<26}{:>14} {:<6}{:>5}{:>6}{:>5}{:>7}{:>10}\n",
            term::clip(&term::plain(&r.name), 25),
            term::clip(&shape, 13),
            term::clip(&term::plain(&r.encoding), 6),
            or_dash(r.bits.map(|b| format!("{}", (b * 100.0).round() / 100.0))),
            or_dash(r.group.map(|g| g.to_string())),
            or_dash(r.exponent.map(|p| format!("{p:.2}"))),
            or_dash(r.error.map(|e| format!("{e:.4}"))),
            or_dash(r.bytes.map(term::bytes)),
        );
    }
    out
}
