//! `carat logits`: what a model predicts after every one of some tokens.

use crate::args::LogitsArgs;
use crate::input::{self, Input};
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::{DeviceChoice, LogitsHash, Model, Session, SessionOptions, Verify, Want};
use carat_converter::eval::DumpWriter;
use carat_converter::reference::{Reference, Run};
use carat_text::tokenizer::Tokenizer;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Weights of a reference held in memory as f32, in bytes; the rest is read at each use.
pub const WEIGHTS: u64 = 2 << 30;
/// Likeliest tokens shown of a position.
const SHOWN: usize = 5;

/// The JSON object: `T` is i32 with an exponent and a hash, or f32 without.
#[derive(Serialize)]
struct Report<'a, T> {
    ids: &'a [u32],
    exponent: Option<i32>,
    logits: &'a [Vec<T>],
    hash: Option<String>,
    device: String,
}

/// Runs the command.
pub fn run(args: LogitsArgs) -> Result<()> {
    input::check_head(&args.model)?;
    match input::kind(&args.model)? {
        Input::Carat => integers(&args),
        Input::Gguf(_) | Input::Directory => floats(&args),
    }
}

fn integers(args: &LogitsArgs) -> Result<()> {
    let shown = || args.model.display().to_string();
    let ids = &args.tokens.0;
    let model = Arc::new(Model::open(&args.model, Verify::Hashes).with_context(shown)?);
    let vocab = model.spec().vocab_size;
    check(ids, vocab).with_context(shown)?;
    let options = SessionOptions {
        device: args.place.device.clone(),
        context: u32::try_from(ids.len())?,
        outputs: 64,
        threads: args.place.threads,
        cache: args.place.kv,
        ..SessionOptions::default()
    };
    let mut session =
        pollster::block_on(Session::new(model.clone(), &options)).with_context(shown)?;
    let exponent = session.logits_exponent();
    let unit = f64::from(exponent).exp2();
    let real = |z: i32| (f64::from(z) * unit) as f32;
    let mut hash = LogitsHash::new(exponent);
    let mut sink = Sink::new(args, ids, vocab, model.tokenizer().ok())?;
    let mut failed = None;
    pollster::block_on(session.forward(ids, Want::From(0), &mut |output| {
        hash.push(output.checksum);
        if failed.is_none() {
            failed = sink.row(output.logits, real).err();
        }
    }))
    .with_context(shown)?;
    if let Some(e) = failed {
        return Err(e);
    }
    sink.finish(Some((exponent, hash.hex())), session.device())
}

fn floats(args: &LogitsArgs) -> Result<()> {
    only_cpu(&args.place.device)?;
    use_threads(args.place.threads)?;
    let ids = &args.tokens.0;
    let checkpoint = input::open_checkpoint(&args.model)?;
    let shown = || args.model.display().to_string();
    let vocab = checkpoint.hyper().vocab_size;
    check(ids, vocab).with_context(shown)?;
    let tokenizer = input::tokenizer(&checkpoint).ok();
    let reference = Reference::open(&checkpoint, WEIGHTS)?;
    let mut sink = Sink::new(args, ids, vocab, tokenizer.as_ref())?;
    let bar = Bar::new("logits");
    let mut run = Run {
        progress: &bar,
        observe: None,
    };
    let mut failed = None;
    let done = reference.forward(std::slice::from_ref(ids), 0, &mut run, &mut |_, _, row| {
        if failed.is_none() {
            failed = sink.row(row, |z| z).err();
        }
    });
    bar.clear();
    interrupted(done)?;
    if let Some(e) = failed {
        return Err(e);
    }
    sink.finish(None, "cpu, f32".into())
}

/// The error of an operation, or that Ctrl-C ended it.
pub fn interrupted<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> Result<T> {
    match result {
        Err(_) if crate::interrupt::requested() => {
            Err(crate::failure::Interrupted("".into()).into())
        }
        result => result.map_err(Into::into),
    }
}

/// Refuses a device for what runs in f32.
pub fn only_cpu(device: &DeviceChoice) -> Result<()> {
    match device {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(()),
        _ => bail!(
            "the f32 reference runs on the CPU; leave out --device, or convert the model and give the Carat file"
        ),
    }
}

/// Sets how many threads f32 works with: all cores where `threads` says nothing. Called once, before any.
pub fn use_threads(threads: Option<usize>) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0));
    pool.build_global().context("cannot start threads")
}

fn check(ids: &[u32], vocab: u32) -> Result<()> {
    match ids.iter().find(|id| **id >= vocab) {
        Some(id) => bail!(
            "--tokens: {id} is no token of this model; expected 0 to {}",
            vocab - 1
        ),
        None => Ok(()),
    }
}

/// Where rows of logits go.
struct Sink<'a, T> {
    ids: &'a [u32],
    /// Rows for the JSON object.
    rows: Option<Vec<Vec<T>>>,
    dump: Option<(DumpWriter, tempfile::TempPath, &'a Path)>,
    tokenizer: Option<&'a Tokenizer>,
    position: usize,
    text: bool,
}

impl<'a, T: Copy> Sink<'a, T> {
    fn new(
        args: &'a LogitsArgs,
        ids: &'a [u32],
        vocab: u32,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self> {
        let dump = match &args.output {
            None => None,
            Some(path) => {
                let temp = temporary(path)?;
                Some((DumpWriter::create(&temp, ids, vocab)?, temp, path.as_path()))
            }
        };
        let rows = args.json.then(Vec::new);
        Ok(Self {
            ids,
            rows,
            dump,
            tokenizer,
            position: 0,
            text: !args.json,
        })
    }

    /// The logits of the next position.
    fn row(&mut self, row: &[T], real: impl Fn(T) -> f32) -> Result<()> {
        let floats: Vec<f32> = row.iter().map(|z| real(*z)).collect();
        if let Some((dump, ..)) = &mut self.dump {
            dump.row(&floats)?;
        }
        if self.text {
            let id = self.ids.get(self.position).copied().unwrap_or(0);
            term::print(&top(self.position, id, &floats, self.tokenizer))?;
        }
        if let Some(rows) = &mut self.rows {
            rows.push(row.to_vec());
        }
        self.position += 1;
        Ok(())
    }

    fn finish(self, exact: Option<(i32, String)>, device: String) -> Result<()>
    where
        T: Serialize,
    {
        if let Some((dump, temp, path)) = self.dump {
            dump.finish()?;
            temp.persist(path)
                .map_err(|e| e.error)
                .with_context(|| path.display().to_string())?;
        }
        let (exponent, hash) = exact.unzip();
        if let Some(rows) = &self.rows {
            return term::print_json(&Report {
                ids: self.ids,
                exponent,
                logits: rows,
                hash,
                device,
            });
        }
        if let Some((hash, exponent)) = hash.zip(exponent) {
            term::print(&format!("\nunit 2^{exponent}\nhash {hash}\n"))?;
        }
        Ok(())
    }
}

/// A name beside `path` for what will be renamed to it.
///
/// Errors: the directory cannot be written, or `path` is there and is no file.
fn temporary(path: &Path) -> Result<tempfile::TempPath> {
    if let Ok(meta) = std::fs::metadata(path)
        && !meta.is_file()
    {
        bail!(
            "{}: not a regular file; give the name of a file to write",
            path.display()
        );
    }
    Ok(term::beside(path)?.into_temp_path())
}

/// The likeliest tokens after a position.
fn top(position: usize, id: u32, logits: &[f32], tokenizer: Option<&Tokenizer>) -> String {
    let text = |id: u32| {
        let bytes = tokenizer.map_or(&[][..], |t| t.decode_bytes(id, true));
        term::clip(&format!("{:?}", String::from_utf8_lossy(bytes)), 24)
    };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let shown = SHOWN.min(order.len());
    if shown < order.len() {
        order.select_nth_unstable_by(shown, by);
    }
    order.truncate(shown);
    order.sort_unstable_by(by);
    let mut out = format!(
        "{} after {id} {}\n",
        term::paint("1", &format!("position {position}")),
        text(id)
    );
    for i in order {
        let id = u32::try_from(i).unwrap_or(u32::MAX);
        out += &format!("  {:>9.4}  {id:>7}  {}\n", logits[i], text(id));
    }
    out
}
