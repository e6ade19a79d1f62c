//! `carat run`: prompt in, text out.

use crate::args::RunArgs;
use crate::failure::{Interrupted, Usage};
use crate::logits::interrupted;
use crate::metrics::{DEFAULT_TOP, Entry, Lines};
use crate::relay::{self, Share};
use crate::session::SessionFile;
use crate::stream::{self, Done, Timings};
use crate::values::{Length, Seed};
use crate::verdict::Verdict;
use crate::{cache, follow, input, interrupt, lora, memory, prompt, sampling, term};
use anyhow::{Context, Result, bail};
use carat::internals::{
    Event, GenerateOptions, Generator, Model, Place, Prompter, SessionOptions, Verify,
};
use carat_text::constraint::Constraint;
use carat_text::stop::StopReason;
use carat_text::template::{ChatTemplate, Clock, Conversation, Value};
use serde::Serialize;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Instant;

/// Positions of a context where neither the user nor the text asks for more.
const DEFAULT_CONTEXT: u32 = 4096;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    prompt_ids: &'a [u32],
    ids: &'a [u32],
    text: &'a str,
    stop_reason: &'static str,
    /// With a schema or grammar: whether the text meets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    /// With --logprobs: one a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [Entry]>,
    logits_hash: &'a str,
    timings: &'a Timings,
    /// The device that would choose the next token.
    device: String,
    /// How many tokens each chose, in order.
    devices: Vec<Share>,
    /// Why the last of them.
    device_reason: String,
    seed: u64,
    /// Elements of the residual stream that left its range; 0 for a sound model.
    saturations: u32,
}

/// Runs the command.
pub fn run(args: RunArgs) -> Result<()> {
    if args.logprobs.is_some() && !args.json && !args.stream_json && args.metrics.is_none() {
        let text = "--logprobs: nothing shows them; add --json, --stream-json or --metrics FILE";
        return Err(Usage(text.into()).into());
    }
    let saved = args.session.as_deref().map(SessionFile::new).transpose()?;
    let saved_head = saved.as_ref().and_then(|(_, head)| head.as_ref());
    if let (Some((file, _)), Some(head)) = (&saved, saved_head)
        && !head.beside.note.is_empty()
    {
        bail!(
            "{}: the session is a conversation; go on with it by 'carat chat --session', or give --session another name",
            file.shown()
        );
    }
    let goes_on = saved_head.is_some();
    let prompt = prompt(&args, goes_on)?;
    let prepared = cache::prepare_to_generate(&args.model, &args.cache, args.place.threads)?;
    let start = Instant::now();
    let prepared = prepared.in_memory(args.memory.map.no_mmap, args.memory.memory_limit);
    let (model, verdict) = if args.no_verify {
        (
            Arc::new(prepared.open(Verify::Structure)?),
            Verdict::default(),
        )
    } else {
        prepared.open_with_verdict(args.place.threads)?
    };
    let shown = || args.model.display().to_string();
    let prompt_ids = match &prompt {
        Prompt::Text(text) if goes_on => {
            let tokenizer = model.tokenizer().with_context(shown)?;
            tokenizer.encode(text, false)
        }
        Prompt::Text(text) => model.encode_prompt(text).with_context(shown)?,
        Prompt::None => Vec::new(),
        Prompt::Talk(talk) => {
            let prompter = Prompter::of_model(model.clone(), Clock::now()).with_context(shown)?;
            let ids = prompter
                .ids(talk)
                .map_err(prompt::advised)
                .with_context(shown)?;
            if let Some(template) = prompter.template() {
                prompt::note_unread(template, talk).with_context(shown)?;
            }
            ids
        }
    };
    // Positions of what was saved: tokens of the cache, and those that no pass has seen.
    let before = saved_head.map_or(0, |h| h.tokens.len() + h.beside.pending.len());
    let plain = matches!(prompt, Prompt::Text(_));
    let template = plain && matches!(ChatTemplate::of_header(&model.header()?), Ok(Some(_)));
    let smaller = args
        .speculation
        .open(&args.cache, &args.memory, args.place.threads)?;
    let mut session_options = SessionOptions {
        device: args.place.device.clone(),
        outputs: args.speculation.outputs(),
        context: context(&args, &model, before + prompt_ids.len()),
        threads: args.place.threads,
        cache: args.place.kv,
        memory_limit: args.memory.memory_limit,
        adapters: lora::load(&args.adapters, &model)?,
        ..SessionOptions::default()
    };
    if let Some(smaller) = &smaller {
        session_options.memory_limit = smaller.limit(&session_options)?;
    }
    let session_options = memory::fitted(session_options, &model).with_context(shown)?;
    let context = session_options.context;
    let mut options = options(&args, &model)?;
    // The session rounds its context up to whole pages: what was asked for is kept here.
    let fills = options.within(context, before + prompt_ids.len())?;
    let mut guide = follow::guide(&args.follow, &model)?;
    let mut lines = lines(&args)?;
    let mut relay =
        interrupted(relay::open(model.clone(), &session_options, &verdict)).with_context(shown)?;
    if let Some(smaller) = &smaller {
        relay.draft_with(smaller.drafter(&model, &session_options)?);
    }
    let load_ms = term::ms(start);

    interrupt::install();
    let tokenizer = model.tokenizer().with_context(shown)?;
    let snapshot = saved_head.and_then(|h| h.beside.snapshot.as_ref());
    let snapshot = snapshot.filter(|_| prompt_ids.is_empty());
    if let (Some(snapshot), None) = (snapshot, args.sampling.seed) {
        options.sampling.seed = snapshot.seed;
    }
    let seed = options.sampling.seed;
    if let (Some((file, _)), true) = (&saved, goes_on) {
        file.open(&mut relay)?;
    }
    if args.stream_json {
        stream::start(&shown(), &relay, context, seed)?;
    }
    let mut entries = Vec::new();
    let mut watch = |event: Event<'_>| {
        if let Event::Token {
            metrics: Some(metrics),
            ..
        } = event
        {
            let entry = Entry::new(tokenizer, metrics);
            if let Some(lines) = &mut lines {
                lines.write(&entry)?;
            }
            if args.json {
                entries.push(entry);
            }
        }
        match (args.json, args.stream_json) {
            (true, _) => Ok(()),
            (_, true) => {
                let shown = match event {
                    Event::Token { id, text, .. } if args.logprobs.is_none() => Event::Token {
                        id,
                        text,
                        metrics: None,
                    },
                    event => event,
                };
                stream::print_event(&shown, |m| Entry::new(tokenizer, m))
            }
            _ => stream::print(&event),
        }
    };
    let mut follow = guide.as_mut().map(|g| g as &mut dyn Constraint);
    let pending = saved_head.map_or(&[][..], |h| &h.beside.pending);
    let generator = match snapshot {
        Some(snapshot) => {
            options.max_tokens = options.max_tokens.saturating_add(snapshot.ids.len());
            let follow = follow.as_deref_mut().map(|c| c as &mut dyn Constraint);
            let from = (snapshot, pending);
            Generator::resume(
                Place::of(relay.session()),
                from,
                &options,
                tokenizer,
                follow,
            )
        }
        None => {
            let ids = [pending, &prompt_ids].concat();
            Generator::new(relay.session(), &ids, &options, follow.is_some())
        }
    };
    let generator = generator?;
    if let (Some((file, _)), Some(_), true) = (&saved, snapshot, generator.has_ended()) {
        term::warn(&format!(
            "{}: the text has ended; give a prompt to go on behind it, or --ignore-eos",
            file.shown()
        ));
    }
    let (ids_before, text_before) = (generator.ids().len(), generator.text().len());
    let streamed = stream::stream(&mut relay, generator, follow, &verdict, &mut watch);
    // Damage says more than whatever else went wrong. Whoever interrupts does not want to wait.
    if verdict.failed() || !interrupt::requested() {
        verdict.wait()?;
    }
    let Done {
        mut generation,
        mut timings,
        left,
    } = streamed?;
    if let Some((file, _)) = &saved {
        file.save(&mut relay, &left)?;
    }
    // What was there before was shown before.
    generation.ids.drain(..ids_before);
    generation.text.drain(..text_before);
    let is_text = !args.json && !args.stream_json;
    if is_text {
        stream::end_line(&generation)?;
    }
    if fills && generation.reason == StopReason::Length {
        generation.reason = StopReason::Context;
    }
    follow::warn_incomplete(&generation);
    timings.load_ms = Some(load_ms);
    let (saturations, _) = pollster::block_on(relay.session().residual_stats())?;
    if saturations > 0 {
        term::warn(&format!(
            "{saturations} sums left the range of the residual stream; the text may suffer"
        ));
    }
    if is_text {
        let unknown = args.sampling.seed == Some(Seed::Random);
        stream::summary(&timings, &generation, &mut relay, unknown.then_some(seed));
        if template && std::io::stderr().is_terminal() {
            term::note(
                "[the model has a chat template, which run uses only with --messages; to chat: carat chat MODEL]",
            );
        }
    } else {
        let devices = relay::take_shares(&mut relay);
        let report = Report {
            prompt_ids: &prompt_ids,
            ids: &generation.ids,
            text: &generation.text,
            stop_reason: generation.reason.name(),
            complete: generation.complete,
            // Of events each token has its own.
            logprobs: (args.json && args.logprobs.is_some()).then_some(&entries),
            logits_hash: &generation.logits_hash,
            timings: &timings,
            device: relay.session().device(),
            devices,
            device_reason: relay::shown(relay.reason()),
            seed,
            saturations,
        };
        match args.stream_json {
            true => term::print_last_event("end", &report)?,
            false => term::print_json(&report)?,
        }
    }
    if interrupt::requested() {
        return Err(Interrupted("; the text above is what there is".into()).into());
    }
    Ok(())
}

/// What the model goes on from.
enum Prompt {
    /// What was saved goes on.
    None,
    Text(String),
    Talk(Conversation),
}

fn prompt(args: &RunArgs, goes_on: bool) -> Result<Prompt> {
    if let Some(path) = &args.messages {
        let talk = prompt::conversation(path)?;
        asks(&talk).with_context(|| prompt::shown(path))?;
        return Ok(Prompt::Talk(talk));
    }
    if let Some(text) = &args.prompt {
        return Ok(Prompt::Text(text.clone()));
    }
    match (&args.file, &args.text) {
        (Some(path), _) if path.as_os_str() != "-" => input::read_text(path),
        (None, Some(text)) if text != "-" => Ok(text.clone()),
        (None, None) if goes_on => return Ok(Prompt::None),
        (None, None) => {
            let text = "there is no such session yet, and no prompt to begin one; give a prompt";
            return Err(Usage(text.into()).into());
        }
        _ => prompt::stdin(),
    }
    .map(Prompt::Text)
}

/// Errors: there is nothing to answer, nor a beginning of an answer to go on with.
fn asks(talk: &Conversation) -> Result<()> {
    let role = talk.messages.last().and_then(|m| m.get("role"));
    match role.and_then(Value::as_str) {
        None => {
            bail!("there are no messages, so there is nothing to answer; give one of role 'user'")
        }
        Some("assistant") if talk.add_generation_prompt != Some(false) => bail!(
            "the last message is the assistant's: there is nothing to answer; end with one of role 'user', or say \
             \"add_generation_prompt\": false to go on with it"
        ),
        Some(_) => Ok(()),
    }
}

/// What to generate.
fn options(args: &RunArgs, model: &Model) -> Result<GenerateOptions> {
    Ok(GenerateOptions {
        max_tokens: match args.length {
            Length::Tokens(n) => n,
            Length::Unlimited => usize::MAX,
        },
        sampling: sampling::params(&args.sampling, model)?,
        stops: args.sampling.stop.clone(),
        ignore_end: args.ignore_eos,
        metrics: match (args.logprobs, &args.metrics) {
            (Some(top), _) => Some(top as usize),
            (None, Some(_)) => Some(DEFAULT_TOP),
            (None, None) => None,
        },
        lookup: args.speculation.lookup(),
        ..GenerateOptions::default()
    })
}

/// The file of `--metrics`.
fn lines(args: &RunArgs) -> Result<Option<Lines>> {
    let Some(path) = &args.metrics else {
        return Ok(None);
    };
    let mut reads = vec![args.model.as_path()];
    reads.extend(args.file.as_deref());
    reads.extend(args.messages.as_deref().filter(|m| m.as_os_str() != "-"));
    reads.extend(follow::file(&args.follow).map(|f| f.1));
    Lines::create(path, &reads).map(Some)
}

/// Positions for the session.
fn context(args: &RunArgs, model: &Model, prompt: usize) -> u32 {
    let trained = model.spec().context_length;
    if let Some(asked) = args.ctx {
        if asked > trained {
            term::warn(&format!(
                "--ctx {asked} is more than the {trained} positions that the model was trained for; text beyond them gets worse"
            ));
        }
        return asked;
    }
    let generated = match args.length {
        Length::Tokens(n) => n,
        Length::Unlimited => 1,
    };
    let needed = u32::try_from(prompt.saturating_add(generated)).unwrap_or(u32::MAX);
    if needed > trained {
        term::warn(&format!(
            "the prompt's {prompt} tokens and -n {generated} exceed the {trained} positions that the model was trained for; the text ends there (--ctx goes beyond)"
        ));
    }
    needed.max(DEFAULT_CONTEXT).min(trained)
}
