//! `carat convert`: a checkpoint becomes a Carat file.

use crate::args::ConvertArgs;
use crate::failure::{Interrupted, Usage};
use crate::input;
use crate::page;
use crate::quality::{self, Asked, Measured};
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat_converter::budget::{Preset, Target};
use carat_converter::calibrate::{Calibration, Methods, Text};
use carat_converter::convert::{self, CardText, ConvertError, Options, Summary};
use carat_converter::progress::Part;
use carat_converter::source::Kind;
use carat_converter::text;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    output: String,
    #[serde(serialize_with = "carat_converter::report::whole")]
    bits: f64,
    group: u32,
    source_bytes: u64,
    #[serde(flatten)]
    summary: &'a Summary,
    /// None without a card.
    quality: Option<Measured>,
}

/// Runs the command.
pub fn run(args: ConvertArgs) -> Result<()> {
    let preset = args.preset.as_deref().and_then(Preset::named);
    let target = preset.map(Preset::target);
    let target = target.or(args.target_bpw).or(args.target_size);
    let calibration = calibration(&args, target.is_some())?;
    // One group for all, or no calibration: the same bits everywhere.
    let divided = calibration.is_some() && args.group.is_none();
    let target = target.or_else(|| Target::usual(args.bits).filter(|_| divided));
    let options = Options {
        source: args.source,
        output: args.output,
        bits: args.bits.unwrap_or(Options::default().bits),
        group: args.group.unwrap_or_default(),
        rules: args.tensor,
        target,
        calibration,
        card: (args.card_tokens > 0).then_some(CardText {
            path: args.card_text,
            tokens: args.card_tokens as usize,
        }),
        threads: args.threads,
        force: args.force,
        accept_useless: args.force,
        ..Options::default()
    };
    if let Some(report) = &args.report {
        if same_file(report, &options.output) {
            return Err(
                Usage("--report and --output name the same file; give two names".into()).into(),
            );
        }
        if same_file(report, &options.source) || report.starts_with(&options.source) {
            return Err(
                Usage("--report names a file of the source; give another name".into()).into(),
            );
        }
        check_report(report, options.force)?;
    }
    let summary = convert(&options).map_err(|e| quality::explain(e, &options, Asked::Convert))?;
    let found = summary.quality();
    let advice = found.and_then(|q| quality::advice(&q, &options, Asked::Convert));
    if let Some(report) = &args.report {
        write_report(report, &summary)?;
    }
    if args.json {
        return term::print_json(&Report {
            output: options.output.display().to_string(),
            bits: options.bits,
            group: summary.report.group,
            source_bytes: summary.report.source_bytes,
            summary: &summary,
            quality: found.map(|quality| Measured { quality, advice }),
        });
    }
    let (line, warning) = quality::said(found.as_ref(), advice.as_deref());
    term::print(&format!(
        "{}: {}\n{line}\n",
        options.output.display(),
        describe(&summary)
    ))?;
    if let Some(warning) = warning {
        term::warn(&warning);
    }
    Ok(())
}

/// How the options have it; on the built-in text where they say nothing.
fn calibration(args: &ConvertArgs, target: bool) -> Result<Option<Calibration>> {
    if args.method.iter().any(|m| m == "none") {
        let fault = if args.method.len() > 1 {
            "--method none leaves all methods out; leave out the others, or none"
        } else if args.calib.is_some() {
            "--method none takes no text; leave out --calib, or --method"
        } else if target {
            "--preset, --target-bpw and --target-size need a calibration; leave out --method none, or give --bits instead"
        } else {
            return Ok(None);
        };
        return Err(Usage(fault.into()).into());
    }
    let text = match &args.calib {
        Some(name) if name.as_os_str() == "self" => Text::Own,
        Some(path) => Text::File(path.clone()),
        None => Text::BuiltIn,
    };
    let asked = target || args.bits.is_some() || args.calib.is_some();
    let usual = if asked {
        Calibration::TOKENS
    } else {
        Calibration::FEW
    };
    Ok(Some(Calibration {
        text,
        tokens: args.calib_tokens.map_or(usual, |n| n as usize),
        seed: args.seed,
        methods: methods(&args.method),
    }))
}

/// The best combination where none is named.
fn methods(names: &[String]) -> Methods {
    if names.is_empty() {
        return Methods::default();
    }
    let has = |name: &str| names.iter().any(|n| n == name);
    Methods {
        scales: has("scales"),
        gptq: has("gptq"),
        descent: has("cd"),
        drift: has("drift"),
        exponent: has("exponent"),
        rotate_heads: has("rotate-heads"),
        rotate_stream: has("rotate-stream"),
        awq: has("awq"),
    }
}

/// Whether two names, which need not exist yet, are one file's.
fn same_file(a: &Path, b: &Path) -> bool {
    let whole = |p: &Path| {
        let parent = p
            .parent()
            .filter(|d| !d.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(p.file_name()?))
    };
    a == b || whole(a).is_some_and(|a| whole(b) == Some(a))
}

/// Converts with a bar on stderr.
///
/// Errors: as [`convert::convert`]; Ctrl-C.
pub fn convert(options: &Options) -> Result<Summary> {
    let checkpoint = input::open_checkpoint(&options.source)?;
    for note in checkpoint.notes() {
        term::warn(note);
    }
    if checkpoint.kind() != Kind::Carat {
        for note in text::tokenizer_notes(&checkpoint)? {
            term::warn(&note);
        }
    }
    let hyper = checkpoint.hyper();
    let mut end = 0;
    let mut stages = Vec::new();
    if checkpoint.kind() != Kind::Carat {
        for tensor in hyper.tensors() {
            let (rows, cols) = hyper.shape(tensor);
            end += rows * cols;
            stages.push((end, tensor.name()));
        }
    }
    drop(checkpoint);
    let parts = convert::parts(options);
    let bar = if parts.len() > 1 {
        let whole: u64 = parts.iter().map(|p| p.1).sum();
        let mut end = 0;
        let named = parts.into_iter().map(|(name, share)| {
            end += share;
            (Part::STEPS * end / whole.max(1), name.to_string())
        });
        Bar::parts("convert", named.collect())
    } else {
        Bar::stages("convert", stages)
    };
    let result = convert::convert(options, &bar);
    bar.clear();
    match result {
        Err(ConvertError::Cancelled) => Err(Interrupted("; nothing was written".into()).into()),
        Err(ConvertError::Paused { path }) => Err(Interrupted(
            format!(
                "; the same command goes on from what is kept in {}",
                path.display()
            )
            .into(),
        )
        .into()),
        result => Ok(result?),
    }
}

/// Size, ratio; bits, time, memory.
fn describe(s: &Summary) -> String {
    let ratio = s.report.source_bytes as f64 / s.bytes.max(1) as f64;
    let memory = s
        .peak_resident_bytes
        .map_or(String::new(), |b| format!(", {} of memory", term::bytes(b)));
    let ternary = match s.ternary {
        0 => String::new(),
        n => format!(
            "\n{n} matrices have two or three values in the checkpoint; their codes lose nothing"
        ),
    };
    let resumed = s.resumed.map_or(String::new(), |n| {
        format!("\nwent on after block {n}, which an earlier run had reached")
    });
    format!(
        "{}, {ratio:.2}x smaller than {}\n{:.3} bits per weight, {:.1} s{memory}{ternary}{resumed}",
        term::bytes(s.bytes),
        term::bytes(s.report.source_bytes),
        s.payload_bpw,
        s.seconds
    )
}

/// Where a report goes: a file of JSON for a name that ends so, else a folder with that and a page of drawings.
fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"))
}

/// The files of a report's folder.
const JSON: &str = "report.json";
const PAGE: &str = "index.html";

/// A conversion takes long: a report that cannot be written must show before.
fn check_report(path: &Path, force: bool) -> Result<()> {
    if is_json(path) {
        return check_file(path, force);
    }
    if path.exists() && !path.is_dir() {
        bail!(
            "{}: not a directory; give the name of one, or of a file that ends in .json",
            path.display()
        );
    }
    if !path.exists() {
        return term::beside(path).map(drop);
    }
    check_file(&path.join(JSON), force)?;
    check_file(&path.join(PAGE), force)
}

fn check_file(path: &Path, force: bool) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if !meta.is_file() => bail!(
            "{}: not a regular file; give the name of a file to write",
            path.display()
        ),
        Ok(_) if !force => bail!(
            "{}: exists; give another name, or --force to replace it",
            path.display()
        ),
        _ => term::beside(path).map(drop),
    }
}

fn write_report(path: &Path, summary: &Summary) -> Result<()> {
    let json = summary.report.to_json();
    let json = json.with_context(|| path.display().to_string())? + "\n";
    if is_json(path) {
        return write_file(path, &json);
    }
    if !path.is_dir() {
        std::fs::create_dir(path).with_context(|| path.display().to_string())?;
    }
    write_file(&path.join(JSON), &json)?;
    write_file(&path.join(PAGE), &page::page(summary))
}

fn write_file(path: &Path, content: &str) -> Result<()> {
    let shown = || path.display().to_string();
    let mut temporary = term::beside(path)?;
    temporary
        .write_all(content.as_bytes())
        .with_context(shown)?;
    temporary
        .persist(path)
        .map_err(|e| e.error)
        .with_context(shown)?;
    Ok(())
}
