//! A generation as it comes: watched event by event, timed, and told as lines of JSON.

use crate::metrics::Entry;
use crate::relay::{self, Share};
use crate::verdict::Verdict;
use crate::{interrupt, term};
use anyhow::Result;
use carat::internals::sample::TokenMetrics;
use carat::internals::{Beside, Event, Generation, Generator, Relay};
use carat_text::constraint::Constraint;
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// How long things took. Rates are null where nothing was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timings {
    /// Null where the model was open already.
    pub load_ms: Option<f64>,
    pub prompt_tokens: usize,
    pub prompt_ms: f64,
    pub prompt_tps: Option<f64>,
    pub generated_tokens: usize,
    pub generate_ms: f64,
    /// Of the tokens after the first, which comes with the prompt.
    pub generate_tps: Option<f64>,
}

/// A generation that has ended.
pub struct Done {
    pub generation: Generation,
    pub timings: Timings,
    /// What it needs to go on later.
    pub left: Beside,
}

/// Takes the steps of a generation under a constraint, if there is one. `watch` sees every event, and ends the generation by
/// failing, as Ctrl-C does. For `verdict` see [`Relay::run`].
pub fn stream(
    relay: &mut Relay,
    mut generator: Generator,
    mut constraint: Option<&mut dyn Constraint>,
    verdict: &Verdict,
    watch: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<Done> {
    let start = Instant::now();
    let (prompt, before) = (generator.pending(), generator.ids().len());
    let mut first = None;
    let mut failed = None;
    let mut each = |event: Event<'_>| {
        if let Event::Token { .. } = event {
            first.get_or_insert_with(Instant::now);
        }
        if let Err(e) = watch(event) {
            failed.get_or_insert(e);
        }
        if failed.is_some() || interrupt::requested() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let follow = constraint.as_deref_mut().map(|c| c as &mut dyn Constraint);
    let verdict = verdict.of_engine();
    pollster::block_on(relay.run(&mut generator, follow, verdict, &mut each))?;
    let (snapshot, pending) = generator.snapshot();
    let left = Beside {
        pending,
        snapshot: Some(snapshot),
        note: Vec::new(),
    };
    let follow = constraint.map(|c| c as &mut dyn Constraint);
    let (generation, tail) = generator.finish(follow);
    if !tail.is_empty() {
        // The generation has ended: there is nothing left to stop.
        let _ = each(Event::Tail { text: &tail });
    }
    if let Some(e) = failed {
        return Err(e);
    }
    let first = first.unwrap_or_else(Instant::now);
    let (prompt_s, generate_s) = ((first - start).as_secs_f64(), first.elapsed().as_secs_f64());
    let rate =
        |n: usize, s: f64| (n > 0 && s > 0.0).then(|| (n as f64 / s * 100.0).round() / 100.0);
    let generated = generation.ids.len() - before;
    let timings = Timings {
        load_ms: None,
        prompt_tokens: prompt,
        prompt_ms: (prompt_s * 1e6).round() / 1e3,
        // Without a token to choose the prompt's last part is never computed.
        prompt_tps: rate(prompt, prompt_s).filter(|_| generated > 0),
        generated_tokens: generated,
        generate_ms: (generate_s * 1e6).round() / 1e3,
        generate_tps: rate(generated.saturating_sub(1), generate_s),
    };
    Ok(Done {
        generation,
        timings,
        left,
    })
}

/// The text that became certain by an event.
pub fn text<'a>(event: &Event<'a>) -> &'a str {
    match event {
        Event::Token { text, .. } | Event::Tail { text } => text,
        Event::Prompt { .. } => "",
    }
}

/// Prints a text as it comes. Errors: stdout is closed.
pub fn print(event: &Event<'_>) -> Result<()> {
    match text(event) {
        "" => Ok(()),
        text => term::print(text),
    }
}

/// Ends a printed text with a line break.
pub fn end_line(generation: &Generation) -> Result<()> {
    match generation.text.is_empty() || generation.text.ends_with('\n') {
        true => Ok(()),
        false => term::print("\n"),
    }
}

/// A line of JSON for an event. `metrics` turns those of a token into an entry.
///
/// Errors: stdout is closed; those of `metrics`.
pub fn print_event(event: &Event<'_>, metrics: impl FnOnce(&TokenMetrics) -> Entry) -> Result<()> {
    #[derive(Serialize)]
    struct Prompt {
        done: usize,
        total: usize,
    }
    #[derive(Serialize)]
    struct Token<'a> {
        /// Null: text that was held back until the end.
        id: Option<u32>,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Entry>,
    }
    let token = |id, text, logprobs| term::print_event("token", &Token { id, text, logprobs });
    match event {
        Event::Prompt { done, total } => {
            let (done, total) = (*done, *total);
            term::print_event("prompt", &Prompt { done, total })
        }
        Event::Token {
            id,
            text,
            metrics: found,
        } => token(Some(*id), text, found.map(metrics)),
        Event::Tail { text } => token(None, text, None),
    }
}

/// The first event: what answers, in a context of so many positions.
pub fn start(model: &str, relay: &Relay, context: u32, seed: u64) -> Result<()> {
    #[derive(Serialize)]
    struct Start<'a> {
        model: &'a str,
        device: String,
        context: u32,
        seed: u64,
    }
    let start = Start {
        model,
        device: relay.device(),
        context,
        seed,
    };
    term::print_event("start", &start)
}

/// A line or two about what happened, on stderr. `seed` if the user does not know it.
pub fn summary(timings: &Timings, generation: &Generation, relay: &mut Relay, seed: Option<u64>) {
    let rate = |r: Option<f64>| r.map_or(String::new(), |r| format!(" at {r:.1}/s"));
    let shares = relay::take_shares(relay);
    let devices: Vec<String> = match &shares[..] {
        [] | [_] => vec![term::clip(&relay.session().device(), 32)],
        several => several.iter().map(Share::show).collect(),
    };
    term::note(&format!(
        "\n[{}] prompt {} tokens{}, text {} tokens{}, ended by {}{}",
        devices.join(", "),
        timings.prompt_tokens,
        rate(timings.prompt_tps),
        timings.generated_tokens,
        rate(timings.generate_tps),
        generation.reason.name(),
        seed.map_or(String::new(), |s| format!(", seed {s}")),
    ));
    if relay.had_a_choice() {
        term::note(&format!("[{}]", relay::shown(relay.reason())));
    }
}
