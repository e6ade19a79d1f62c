//! `carat bench --text`: what tokens computed in advance gain, in turn with the same text without them.

use super::median;
use crate::args::BenchArgs;
use crate::cache::Prepared;
use crate::failure::Interrupted;
use crate::term::Bar;
use crate::{input, interrupt, term};
use anyhow::{Context, Result, bail};
use carat::internals::sample::Params;
use carat::internals::{
    Drafter, GenerateOptions, Generator, Room, Session, SessionOptions, Step, Verify,
};
use carat_converter::progress::Progress;
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// The JSON object.
#[derive(Serialize)]
struct Report {
    model: String,
    draft_model: Option<String>,
    device: String,
    /// Tokens of the prompt, and generated after it.
    pp: usize,
    tg: usize,
    repetitions: u32,
    /// Most tokens in advance: those that the text itself proposes, and the smaller model.
    lookup: u32,
    draft_max: u32,
    /// Tokens a second without, and with them; medians.
    plain_tps: f64,
    tps: f64,
    plain_runs: Vec<f64>,
    runs: Vec<f64>,
    /// The median of the repetitions' ratios.
    gain: f64,
    /// Tokens that were proposed, and right ones.
    proposed: u64,
    accepted: u64,
    /// `accepted / proposed`; null where none was proposed.
    acceptance: Option<f64>,
    /// Of both: one text has one hash.
    logits_hash: String,
}

/// Runs the measurement.
pub fn run(args: &BenchArgs, prepared: Prepared) -> Result<()> {
    let shown = || args.of.model.display().to_string();
    let Some(text) = &args.text else {
        return Ok(());
    };
    let text = input::read_text(text)?;
    let prepared = prepared.in_memory(args.map.no_mmap, None);
    let model = Arc::new(prepared.open(Verify::Hashes)?);
    let mut ids = model.encode_prompt(&text).with_context(shown)?;
    // The beginning of the text: where it is shorter than --pp, all of it.
    ids.truncate(args.pp as usize);
    if ids.is_empty() {
        bail!("--text: the text has no tokens; give one that is not empty");
    }
    let memory = crate::args::MemoryArgs {
        memory_limit: None,
        map: args.map.clone(),
    };
    let place = &args.of.place;
    let smaller = args
        .speculation
        .open(&args.of.cache, &memory, place.threads)?;
    let options = SessionOptions {
        device: place.device.clone(),
        context: args.pp.saturating_add(args.tg),
        threads: place.threads,
        cache: place.kv,
        outputs: args.speculation.outputs(),
        ..SessionOptions::default()
    };
    let session = Session::new(model.clone(), &options);
    let mut session = pollster::block_on(session).with_context(shown)?;
    let mut drafter = match &smaller {
        Some(smaller) => Some(smaller.drafter(&model, &options)?),
        None => None,
    };
    let bar = Bar::new("bench");
    let mut runs = [Vec::new(), Vec::new()];
    let mut last = None;
    let repetitions = u64::from(args.repetitions);
    for repetition in 0..=repetitions {
        for (which, lookup) in [(0, 0), (1, args.speculation.lookup())] {
            let drafter = drafter.as_mut().filter(|_| which == 1);
            let timed = time(&mut session, &ids, (args.tg as usize, lookup), drafter)?;
            // The first round wakes threads and brings in pages.
            if repetition > 0 {
                runs[which].push(timed.tps);
            }
            if let Some(Timed { hash, .. }) = &last
                && *hash != timed.hash
            {
                bail!("the text is another one with tokens in advance; report this as a bug");
            }
            last = Some(timed);
            bar.step(2 * repetition + which as u64, 2 * repetitions + 2);
        }
    }
    bar.clear();
    let Some(Timed {
        hash,
        counts,
        tokens,
        ..
    }) = last
    else {
        return Ok(());
    };
    let [plain_runs, runs] = runs;
    let gains: Vec<f64> = runs.iter().zip(&plain_runs).map(|(a, b)| a / b).collect();
    let (proposed, accepted) = counts;
    let report = Report {
        model: shown(),
        draft_model: (args.speculation.draft_model.as_ref()).map(|p| p.display().to_string()),
        device: session.device(),
        pp: ids.len(),
        tg: tokens,
        repetitions: args.repetitions,
        lookup: args.speculation.lookup,
        draft_max: smaller.map_or(0, |_| args.speculation.draft_max),
        plain_tps: median(&plain_runs),
        tps: median(&runs),
        gain: median(&gains),
        plain_runs,
        runs,
        proposed,
        accepted,
        acceptance: (proposed > 0).then(|| accepted as f64 / proposed as f64),
        logits_hash: hash,
    };
    if args.of.json {
        return term::print_json(&report);
    }
    term::print(&show(&report))
}

/// One run.
struct Timed {
    tps: f64,
    tokens: usize,
    counts: (u64, u64),
    hash: String,
}

/// The likeliest tokens after a prompt, from an empty cache: how fast they came.
fn time(
    session: &mut Session,
    ids: &[u32],
    (tokens, lookup): (usize, usize),
    mut drafter: Option<&mut Drafter>,
) -> Result<Timed> {
    session.truncate(0);
    let options = GenerateOptions {
        max_tokens: tokens,
        ignore_end: true,
        lookup,
        sampling: Params {
            temperature: 0.0,
            ..Params::of_header(&session.model().header()?)
        },
        ..GenerateOptions::default()
    };
    let mut generator = Generator::new(session, ids, &options, false)?;
    let mut draft = drafter.as_ref().map(|d| d.draft());
    let mut begun = None;
    loop {
        if interrupt::requested() {
            return Err(Interrupted("".into()).into());
        }
        if let (Some(drafter), Some(draft)) = (&mut drafter, &mut draft) {
            let (room, history) = (Room::of(session), session.tokens());
            pollster::block_on(drafter.propose(draft, &mut generator, history, room))?;
        }
        match pollster::block_on(generator.step(session, None))? {
            Step::End => break,
            Step::Token { .. } => {
                begun.get_or_insert_with(Instant::now);
            }
            Step::Prompt { .. } => {}
        }
    }
    let seconds = begun.map_or(f64::NAN, |b| b.elapsed().as_secs_f64());
    let counts = generator.drafted();
    let (generation, _) = generator.finish(None);
    Ok(Timed {
        tps: generation.ids.len().saturating_sub(1) as f64 / seconds,
        tokens: generation.ids.len(),
        counts,
        hash: generation.logits_hash,
    })
}

fn show(r: &Report) -> String {
    let share = r
        .acceptance
        .map_or("-".into(), |a| format!("{:.1} %", a * 100.0));
    format!(
        "device     {}\n\
         text       {} tokens after a prompt of {}, the likeliest ones\n\
         plain      {:.2} tokens/s\n\
         advance    {:.2} tokens/s: {:.2} times as fast, the same text and hash\n\
         proposed   {} tokens, {} of them right ({share})\n",
        term::clip(&r.device, 66),
        r.tg,
        r.pp,
        r.plain_tps,
        r.tps,
        r.gain,
        r.proposed,
        r.accepted,
    )
}
