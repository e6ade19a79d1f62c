//! `carat embed`: texts become vectors.

use crate::args::EmbedArgs;
use crate::failure::Interrupted;
use crate::term::{self, Bar};
use crate::{cache, input, interrupt};
use anyhow::{Context, Result, bail};
use carat::internals::{Embedding, Session, SessionOptions, Verify};
use carat_converter::progress::Progress;
use carat_format::Pooling;
use serde::Serialize;
use std::io::Read;
use std::sync::Arc;

/// Positions computed together.
const BATCH: u32 = 128;

/// The JSON object.
#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    /// `none`, `mean`, `cls` or `last`.
    pooling: &'static str,
    /// Length of every vector.
    dimensions: u32,
    /// blake3 over the exponents and integers of all vectors in little endian, the same on every device.
    hash: String,
    /// One of each text; without pooling one of each token, text after text.
    embeddings: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    /// Tokens of the text.
    tokens: usize,
    /// Which of them the vector is of, where each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<usize>,
    /// The vector at length 1.
    embedding: Vec<f32>,
    /// The vector itself in units of 2 to `exponent`.
    integers: Vec<i64>,
    exponent: i32,
}

/// Runs the command.
pub fn run(args: EmbedArgs) -> Result<()> {
    let text = if args.text.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("standard input")?;
        input::utf8(bytes).context("standard input")?
    } else {
        input::read_text(&args.text)?
    };
    let texts: Vec<&str> = if args.lines {
        text.lines().collect()
    } else {
        vec![&text]
    };
    let prepared = cache::prepare(&args.of.model, &args.of.cache, args.of.place.threads)?;
    let model = Arc::new(prepared.open(Verify::Hashes)?);
    let shown = || args.of.model.display().to_string();
    let tokenizer = model.tokenizer().with_context(shown)?;
    let trained = model.spec().context_length;
    let mut tokenized = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let ids = tokenizer.encode_whole(text, false);
        let of = || match args.lines {
            true => format!("{}: line {}", args.text.display(), i + 1),
            false => args.text.display().to_string(),
        };
        if ids.is_empty() {
            bail!("{} has no tokens; give a text that is not empty", of());
        }
        if ids.len() > trained as usize {
            bail!(
                "{} has {} tokens, the model was trained for {trained}; give shorter texts, for instance one per line with --lines",
                of(),
                ids.len()
            );
        }
        tokenized.push(ids);
    }
    let longest = tokenized.iter().map(Vec::len).max().unwrap_or(1);
    let options = SessionOptions {
        device: args.of.place.device.clone(),
        context: u32::try_from(longest)?,
        batch: Some(BATCH),
        threads: args.of.place.threads,
        cache: args.of.place.kv,
        ..SessionOptions::default()
    };
    let mut session =
        pollster::block_on(Session::new(model.clone(), &options)).with_context(shown)?;
    let pooling = args.pooling.or(model.spec().pooling);
    let pooling = pooling.unwrap_or(Pooling::Mean);

    let bar = Bar::new("embed");
    // Of each text.
    let mut embeddings: Vec<Vec<Embedding>> = Vec::with_capacity(tokenized.len());
    for ids in &tokenized {
        if interrupt::requested() {
            return Err(Interrupted("".into()).into());
        }
        embeddings.push(pollster::block_on(session.embed(ids, pooling)).with_context(shown)?);
        bar.step(embeddings.len() as u64, tokenized.len() as u64);
    }
    bar.clear();
    if !args.of.json {
        for embedding in embeddings.iter().flatten() {
            term::print_json(&unit(embedding))?;
        }
        return Ok(());
    }
    let rows = tokenized.iter().zip(&embeddings);
    let rows = rows.flat_map(|(ids, vectors)| {
        vectors.iter().enumerate().map(|(i, e)| Row {
            tokens: ids.len(),
            token: (pooling == Pooling::None).then_some(i),
            embedding: unit(e),
            integers: e.integers.clone(),
            exponent: e.exponent,
        })
    });
    term::print_json(&Report {
        model: shown(),
        device: session.device(),
        pooling: pooling.name(),
        dimensions: model.spec().embedding_length,
        hash: hash(&embeddings),
        embeddings: rows.collect(),
    })
}

/// At length 1, rounded once more.
fn unit(embedding: &Embedding) -> Vec<f32> {
    embedding.unit().iter().map(|x| *x as f32).collect()
}

fn hash(embeddings: &[Vec<Embedding>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for e in embeddings.iter().flatten() {
        hasher.update(&e.exponent.to_le_bytes());
        for v in &e.integers {
            hasher.update(&v.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
