//! `carat eval`: quality on a text.

use crate::args::{DeviceArgs, EvalArgs};
use crate::failure::Usage;
use crate::input::{self, Input};
use crate::logits::{WEIGHTS, interrupted, only_cpu, use_threads};
use crate::lora;
use crate::term::{self, Bar};
use anyhow::{Context, Result};
use carat::internals::adapter::Applied;
use carat::internals::{Model, Session, SessionOptions, Verify};
use carat_converter::eval::{self, IntegerLogits, Logits, Options, Quality, ReferenceLogits};
use carat_converter::progress::Progress;
use carat_converter::reference::Reference;
use carat_converter::source::Checkpoint;
use carat_text::tokenizer::Tokenizer;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Positions that the integer engine computes together.
const BATCH: u32 = 128;

/// The JSON object.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    quality: Quality,
    ctx: usize,
    chunks: u64,
    device: String,
    /// Elements of the residual stream that left its range; null for a model in f32.
    saturations: Option<u32>,
    seconds: f64,
}

/// Runs the command.
pub fn run(args: EvalArgs) -> Result<()> {
    let start = Instant::now();
    let Some(text) = &args.text else {
        return crate::card::run(&args);
    };
    let text = input::read_text(text)?;
    let options = Options {
        ctx: args.protocol.ctx as usize,
        chunks: args.protocol.chunks.map(|n| n as usize),
        bos: None,
    };
    use_threads(args.place.threads)?;
    for model in std::iter::once(&args.model).chain(&args.reference) {
        input::check_head(model)?;
    }
    let bar = Bar::new("eval");
    let reference = args
        .reference
        .as_deref()
        .map(input::open_checkpoint)
        .transpose()?;
    let measured = match input::kind(&args.model)? {
        Input::Carat => {
            let shown = || args.model.display().to_string();
            let model = Arc::new(Model::open(&args.model, Verify::Hashes).with_context(shown)?);
            let adapters = lora::load(&args.adapters, &model)?;
            integers(
                &model,
                reference.as_ref(),
                &text,
                options,
                (&args.place, adapters),
                &bar,
            )
            .with_context(shown)
        }
        Input::Gguf(_) | Input::Directory => {
            only_cpu(&args.place.device)?;
            if !args.adapters.lora.is_empty() {
                let text =
                    "--lora: adapters are added to Carat files; convert the checkpoint first";
                return Err(Usage(text.into()).into());
            }
            floats(&args.model, reference.as_ref(), &text, options, &bar)
        }
    };
    bar.clear();
    let measured = interrupted(measured)?;
    let chunks = measured.quality.tokens / scored(options.ctx);
    let report = Report {
        quality: measured.quality,
        ctx: options.ctx,
        chunks,
        device: measured.device,
        saturations: measured.saturations,
        seconds: term::ms(start) / 1e3,
    };
    if args.json {
        return term::print_json(&report);
    }
    term::print(&show(&report))
}

/// Predictions scored in a chunk.
pub fn scored(ctx: usize) -> u64 {
    (ctx - 1 - ctx / 2) as u64
}

/// What an evaluation gave.
pub struct Measured {
    /// Perplexity and divergence.
    pub quality: Quality,
    /// Where the model ran.
    pub device: String,
    /// Elements that left the residual stream's range.
    pub saturations: Option<u32>,
}

/// Evaluates a Carat file by the integer engine. The BOS of `options` is the model's.
pub fn integers(
    model: &Arc<Model>,
    reference: Option<&Checkpoint>,
    text: &str,
    options: Options,
    (place, adapters): (&DeviceArgs, Vec<Applied>),
    progress: &dyn Progress,
) -> Result<Measured> {
    let (tokens, options) = tokenize(model.tokenizer()?, text, options);
    let session_options = SessionOptions {
        adapters,
        device: place.device.clone(),
        context: u32::try_from(options.ctx)?,
        batch: Some(BATCH),
        outputs: BATCH,
        threads: place.threads,
        cache: place.kv,
        ..SessionOptions::default()
    };
    let session = pollster::block_on(Session::new(model.clone(), &session_options))?;
    let mut logits = IntegerLogits::new(session, progress);
    let quality = against(&mut logits, reference, &tokens, &options, progress)?;
    let (saturations, _) = pollster::block_on(logits.session().residual_stats())?;
    Ok(Measured {
        quality,
        device: logits.session().device(),
        saturations: Some(saturations),
    })
}

fn floats(
    path: &Path,
    reference: Option<&Checkpoint>,
    text: &str,
    options: Options,
    progress: &dyn Progress,
) -> Result<Measured> {
    let checkpoint = input::open_checkpoint(path)?;
    let (tokens, options) = tokenize(&input::tokenizer(&checkpoint)?, text, options);
    let weights = Reference::open(&checkpoint, WEIGHTS)?;
    let mut logits = ReferenceLogits::new(&weights);
    let quality = against(&mut logits, reference, &tokens, &options, progress)?;
    Ok(Measured {
        quality,
        device: "cpu, f32".into(),
        saturations: None,
    })
}

/// Tokens of the whole text, BOS in front where the model begins texts with it.
pub fn tokenize(tokenizer: &Tokenizer, text: &str, options: Options) -> (Vec<u32>, Options) {
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    (
        tokenizer.encode_prompt(text, false),
        Options { bos, ..options },
    )
}

fn against(
    model: &mut dyn Logits,
    reference: Option<&Checkpoint>,
    tokens: &[u32],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Quality> {
    let weights = reference.map(|c| Reference::open(c, WEIGHTS)).transpose()?;
    let mut reference = weights.as_ref().map(ReferenceLogits::new);
    let reference = reference.as_mut().map(|r| r as &mut dyn Logits);
    Ok(eval::evaluate(model, reference, tokens, options, progress)?)
}

fn show(r: &Report) -> String {
    let q = &r.quality;
    let mut out = format!(
        "{} predictions in {} {} of {} tokens, {:.1} s on {}\nperplexity      {:.4}\n",
        term::thousands(q.tokens),
        r.chunks,
        if r.chunks == 1 { "chunk" } else { "chunks" },
        r.ctx,
        r.seconds,
        term::clip(&r.device, 20),
        q.ppl,
    );
    if let Some(d) = &q.divergence {
        out += &format!(
            "reference       {:.4}   (ratio {:.4})\n\
             KL mean         {:.6} nats\n\
             KL median       {:.6}\n\
             KL 99 %         {:.6}\n\
             same top token  {:.2} %\n",
            d.reference_ppl,
            q.ppl / d.reference_ppl,
            d.kl_mean,
            d.kl_median,
            d.kl_p99,
            d.top1 * 100.0
        );
    }
    if let Some(n) = r.saturations.filter(|n| *n > 0) {
        out += &format!("{n} sums left the range of the residual stream\n");
    }
    out
}
