//! The quality card of a file as JSON, and `carat eval --card`, which measures it again.

use crate::args::EvalArgs;
use crate::failure::Usage;
use crate::input::{self, Input};
use crate::logits::{interrupted, use_threads};
use crate::term::{self, Bar};
use anyhow::{Context, Result, bail};
use carat::internals::{Model, Session, SessionOptions, Verify};
use carat_converter::eval;
use carat_format::{Card, Figures};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Positions computed together.
const BATCH: u32 = 64;

/// The card as JSON.
#[derive(Serialize)]
pub struct QualityCard {
    /// What the text is called.
    pub text: String,
    pub ctx: u32,
    pub tokens: usize,
    pub predictions: u64,
    #[serde(flatten)]
    by_name: BTreeMap<&'static str, f64>,
    /// The same.
    #[serde(skip)]
    pub figures: Figures,
}

impl From<&Card> for QualityCard {
    fn from(card: &Card) -> Self {
        Self {
            text: card.text.clone(),
            ctx: card.ctx,
            tokens: card.tokens.len(),
            predictions: card.predictions(),
            by_name: by_name(&card.figures.fields()),
            figures: card.figures,
        }
    }
}

/// Figures by the last part of their keys.
fn by_name(figures: &[(&'static str, f64)]) -> BTreeMap<&'static str, f64> {
    figures.iter().map(|(key, x)| (name(key), *x)).collect()
}

fn name(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// The JSON object of `carat eval --card`.
#[derive(Serialize)]
struct Report {
    stated: QualityCard,
    /// The figures that were measured again.
    measured: BTreeMap<&'static str, f64>,
    equal: bool,
    device: String,
}

/// Measures the card of a Carat file again.
pub fn run(args: &EvalArgs) -> Result<()> {
    let shown = || args.model.display().to_string();
    if input::kind(&args.model)? != Input::Carat {
        return Err(Usage(format!("{}: --card needs a Carat file", shown())).into());
    }
    use_threads(args.place.threads)?;
    let model = Arc::new(Model::open(&args.model, Verify::Hashes).with_context(shown)?);
    let Some(card) = model.card().with_context(shown)? else {
        return Err(Usage(format!(
            "{}: the file has no quality card; convert with --card-tokens, or score a text with --text",
            shown()
        ))
        .into());
    };
    let reference = args.reference.as_deref();
    let reference = reference.map(input::open_checkpoint).transpose()?;
    let options = SessionOptions {
        device: args.place.device.clone(),
        context: card.ctx,
        batch: Some(BATCH.min(card.ctx)),
        outputs: BATCH.min(card.ctx),
        threads: args.place.threads,
        ..SessionOptions::default()
    };
    let session = pollster::block_on(Session::new(model.clone(), &options)).with_context(shown)?;
    let device = session.device();
    let bar = Bar::new("eval");
    let quality = eval::card(session, &card, reference.as_ref(), &bar);
    bar.clear();
    let quality = interrupted(quality.map_err(anyhow::Error::from)).with_context(shown)?;
    let measured = match quality.figures() {
        Some(figures) => figures.fields().to_vec(),
        None => vec![(carat_format::keys::CARD_PPL, quality.ppl)],
    };
    let stated = card.figures.fields();
    let stated = |key: &str| stated.iter().find(|f| f.0 == key).map(|f| f.1);
    let differs = |f: &&(&str, f64)| stated(f.0).map(f64::to_bits) != Some(f.1.to_bits());
    let different = measured.iter().find(differs).copied();
    if args.json {
        term::print_json(&Report {
            stated: QualityCard::from(&card),
            measured: by_name(&measured),
            equal: different.is_none(),
            device,
        })?;
    } else {
        term::print(&show(&card, &measured, &device))?;
    }
    match different {
        None => Ok(()),
        Some((key, found)) => bail!(
            "{}: {key} is {found}, the file states {}; is the reference the checkpoint that it was made from?",
            shown(),
            stated(key).unwrap_or_default()
        ),
    }
}

fn show(card: &Card, measured: &[(&str, f64)], device: &str) -> String {
    let mut out = format!(
        "{} predictions on {} tokens of '{}', {}\n{:<16}{:>24}{:>24}\n",
        term::thousands(card.predictions()),
        term::thousands(card.tokens.len() as u64),
        term::clip(&term::plain(&card.text), 20),
        term::clip(device, 20),
        "",
        "stated",
        "measured"
    );
    for (key, stated) in Figures::fields(&card.figures) {
        let again = measured.iter().find(|m| m.0 == key);
        out += &format!(
            "{:<16}{stated:>24}{:>24}\n",
            name(key),
            again.map_or("-".into(), |m| m.1.to_string())
        );
    }
    out
}
