//! `carat demo`: the whole way with the bundled model: convert, measure, write.

use crate::args::DemoArgs;
use crate::failure::Interrupted;
use crate::relay;
use crate::stream::{self, Done};
use crate::term::{self, Bar};
use crate::verdict::Verdict;
use crate::{chart, convert, eval, interrupt, logits};
use anyhow::{Context, Result, bail};
use carat::internals::sample::Params;
use carat::internals::{Event, GenerateOptions, Generator, Model, SessionOptions, Verify};
use carat_converter::convert::{Options, Summary};
use carat_converter::eval::Quality;
use carat_converter::source::Checkpoint;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The bundled checkpoint, from the root of the repository.
const MODEL: &str = "examples/models/facet-6m";
/// The same from the program's folder: in an archive of a release, and where a system installs.
const BESIDE: [&str; 2] = ["facet-6m", "../share/carat/facet-6m"];
/// What quality is measured on; no part of what the model was trained on.
const TEXT: &str = carat_converter::text::BUILT_IN;
const CTX: usize = 256;
const BITS: f64 = 4.0;
const PROMPT: &str = "It was late in the evening when the stranger came to the door of the inn.";
const TOKENS: usize = 160;
const SEED: u64 = 3;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    source_bytes: u64,
    #[serde(flatten)]
    summary: &'a Summary,
    #[serde(flatten)]
    quality: &'a Quality,
    prompt: &'static str,
    text: &'a str,
    logits_hash: &'a str,
    device: String,
    total_seconds: f64,
}

/// Runs the command.
pub fn run(args: DemoArgs) -> Result<()> {
    let start = Instant::now();
    logits::use_threads(args.place.threads)?;
    let source = find(args.source.as_deref())?;
    let show = |text: String| {
        if args.json {
            Ok(())
        } else {
            term::print(&text)
        }
    };
    let directory = tempfile::Builder::new()
        .prefix("carat-demo-")
        .tempdir()
        .context("no temporary directory")?;
    let output = directory.path().join("facet-6m-4bit.gguf");

    show(format!(
        "{} {} to {BITS} bits, without calibration\n",
        term::paint("1", "Converting"),
        source.display()
    ))?;
    let summary = convert::convert(&Options {
        source: source.clone(),
        output: output.clone(),
        bits: BITS,
        threads: args.place.threads,
        ..Default::default()
    })?;
    let whole = summary.report.source_bytes;
    show(format!(
        "in {:.1} s; {:.2} bits per weight\n\n",
        summary.seconds, summary.payload_bpw
    ))?;
    show(chart::chart(&[
        ("bf16", whole as f64, term::bytes(whole)),
        ("4 bits", summary.bytes as f64, term::bytes(summary.bytes)),
    ]))?;

    let model = Arc::new(Model::open(&output, Verify::Hashes)?);
    let quality = measure(&args, &source, &model)?;
    if let Some(d) = &quality.divergence {
        show(format!(
            "\n{} against the original in f32, {} predictions of {} bytes of text\n\n",
            term::paint("1", "Quality"),
            quality.tokens,
            TEXT.len()
        ))?;
        show(chart::chart(&[
            (
                "f32",
                d.reference_ppl,
                format!("perplexity {:.2}", d.reference_ppl),
            ),
            (
                "4 bits",
                quality.ppl,
                format!("perplexity {:.2}", quality.ppl),
            ),
        ]))?;
        show("\n".into())?;
        show(chart::chart(&[
            ("KL median", d.kl_median, format!("{:.4} nats", d.kl_median)),
            ("KL mean", d.kl_mean, format!("{:.4} nats", d.kl_mean)),
            ("KL 99 %", d.kl_p99, format!("{:.4} nats", d.kl_p99)),
        ]))?;
        show(format!(
            "\n  The same likeliest token in {:.1} % of them.\n",
            100.0 * d.top1
        ))?;
    }

    let ids = model.tokenizer()?.encode_prompt(PROMPT, false);
    let session_options = SessionOptions {
        device: args.place.device.clone(),
        context: 512,
        threads: args.place.threads,
        cache: args.place.kv,
        ..SessionOptions::default()
    };
    let mut relay = relay::open(model, &session_options, &Verdict::default())?;
    show(format!(
        "\n{} in integers, seed {SEED}\n\n{}",
        term::paint("1", "A story"),
        term::paint("2", PROMPT)
    ))?;
    let options = GenerateOptions {
        max_tokens: TOKENS,
        sampling: Params {
            seed: SEED,
            ..Params::default()
        },
        ..GenerateOptions::default()
    };
    let mut watch = |event: Event<'_>| match args.json {
        true => Ok(()),
        false => stream::print(&event),
    };
    let verdict = Verdict::default();
    let generator = Generator::new(relay.session(), &ids, &options, false)?;
    let Done {
        generation,
        timings,
        ..
    } = stream::stream(&mut relay, generator, None, &verdict, &mut watch)?;
    if args.json {
        term::print_json(&Report {
            source_bytes: whole,
            summary: &summary,
            quality: &quality,
            prompt: PROMPT,
            text: &generation.text,
            logits_hash: &generation.logits_hash,
            device: relay.session().device(),
            total_seconds: term::ms(start) / 1e3,
        })?;
    } else {
        stream::end_line(&generation)?;
        stream::summary(&timings, &generation, &mut relay, None);
        term::note(&format!(
            "[demo took {:.1} s] Now your own: carat convert CHECKPOINT -o model.gguf",
            term::ms(start) / 1e3
        ));
    }
    if interrupt::requested() {
        return Err(Interrupted("".into()).into());
    }
    Ok(())
}

fn measure(args: &DemoArgs, source: &Path, model: &Arc<Model>) -> Result<Quality> {
    let bar = Bar::new("measure");
    let reference = Checkpoint::open(source)?;
    let options = carat_converter::eval::Options {
        ctx: CTX,
        chunks: None,
        bos: None,
    };
    let measured = eval::integers(
        model,
        Some(&reference),
        TEXT,
        options,
        (&args.place, Vec::new()),
        &bar,
    );
    Ok(logits::interrupted(measured)?.quality)
}

/// The bundled checkpoint: below the current directory, where releases put it, or where the program was built.
fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    let mut places = vec![PathBuf::from(MODEL)];
    let program = std::env::current_exe().and_then(|p| p.canonicalize());
    if let Some(folder) = program.ok().as_deref().and_then(Path::parent) {
        places.extend(BESIDE.map(|b| folder.join(b)));
    }
    // A release names no folder of the machine that built it.
    if option_env!("CARAT_RELEASE").is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        places.push(root.join(MODEL));
    }
    match places.iter().find(|p| p.join("config.json").is_file()) {
        Some(path) => Ok(path.canonicalize().unwrap_or_else(|_| path.clone())),
        None => {
            let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            bail!(
                "the bundled model is nowhere where it may be ({}); run from the root of the repository, or give a checkpoint: carat demo DIRECTORY",
                tried.join(", ")
            )
        }
    }
}
