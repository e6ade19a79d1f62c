//! `carat chat`: a conversation, answer by answer.

mod command;
mod conversation;
mod kept;
mod lines;

use crate::args::ChatArgs;
use crate::failure::{self, Interrupted};
use crate::logits::interrupted;
use crate::metrics::Entry;
use crate::prompt;
use crate::session::SessionFile;
use crate::stream::{self, Done, Timings};
use crate::values::{Length, Seed};
use crate::verdict::Verdict;
use crate::wrap::Wrap;
use crate::{cache, interrupt, lora, memory, relay, sampling, term};
use anyhow::{Context, Result, anyhow};
use carat::internals::{
    Error, Event, Fit, FitError, GenerateOptions, Generator, PLAIN_LENGTH, Prompter, Relay,
    SessionOptions, Talk, TalkNote, message,
};
use carat_text::stop::StopReason;
use carat_text::template::{ChatTemplate, Clock, Value};
use carat_text::tokenizer::Tokenizer;
use command::{HELP, Line};
use lines::Lines;
use serde::Serialize;
use std::collections::HashSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Positions of a context where the user asks for none.
const DEFAULT_CONTEXT: u32 = 4096;

/// A running chat.
struct Chat<'a> {
    relay: Relay,
    prompter: Prompter,
    tokenizer: &'a Tokenizer,
    options: GenerateOptions,
    /// Positions; the session's are whole pages.
    context: usize,
    talk: Talk,
    /// Answers given so far: each has a seed of its own.
    answers: u64,
    /// Where the conversation is kept, with its keys and values.
    session: Option<SessionFile>,
    /// What that file has.
    kept: Option<Vec<u8>>,
    /// Files that this chat wrote, and may replace.
    written: HashSet<PathBuf>,
    /// Of the model's file; known after the first answer.
    verdict: Verdict,
    /// Events as lines of JSON instead of text.
    json: bool,
    /// Whether each answer's speed is shown.
    stats: bool,
    /// Of the last answer.
    last: Option<Stats>,
}

/// How an answer came about.
struct Stats {
    timings: Timings,
    /// Of the prompt's tokens those that were computed before.
    cached: usize,
    device: String,
}

impl Stats {
    fn show(&self) -> String {
        let rate = |r: Option<f64>| r.map_or(String::new(), |r| format!(" at {r:.1}/s"));
        let t = &self.timings;
        format!(
            "[answer: {} tokens{}; prompt: {}{}, {} kept; {}]",
            t.generated_tokens,
            rate(t.generate_tps),
            t.prompt_tokens,
            rate(t.prompt_tps),
            self.cached,
            term::clip(&self.device, 24)
        )
    }
}

/// An answer, for those who read JSON.
#[derive(Serialize)]
struct End<'a> {
    text: &'a str,
    ids: &'a [u32],
    stop_reason: &'static str,
    logits_hash: &'a str,
    timings: &'a Timings,
    /// Tokens of the prompt that were computed before, and are not among those of the timings.
    cached_tokens: usize,
    device: &'a str,
    seed: u64,
}

/// Runs the command.
pub fn run(args: ChatArgs) -> Result<()> {
    let given = args.template.as_deref().map(prompt::template).transpose()?;
    let (model, verdict) =
        cache::prepare_to_generate(&args.model, &args.cache, args.place.threads)?
            .in_memory(args.memory.map.no_mmap, args.memory.memory_limit)
            .open_with_verdict(args.place.threads)?;
    let shown = || args.model.display().to_string();
    let tokenizer = model.tokenizer().with_context(shown)?;
    let own = ChatTemplate::of_header(&model.header()?).with_context(shown)?;
    let template = match (given, own) {
        (Some(given), Some(own)) => Some(ChatTemplate {
            tokens: own.tokens,
            ..given
        }),
        (given, own) => given.or(own),
    };
    let prompter = Prompter::new(model.clone(), template, Clock::now());
    let trained = model.spec().context_length;
    let context = args.ctx.unwrap_or(DEFAULT_CONTEXT.min(trained));
    if context > trained {
        term::warn(&format!(
            "--ctx {context} is more than the {trained} positions that the model was trained for; answers beyond \
             them get worse"
        ));
    }
    let saved = args.session.as_deref().map(SessionFile::new).transpose()?;
    let options = GenerateOptions {
        max_tokens: match args.length {
            Some(Length::Tokens(n)) => n,
            Some(Length::Unlimited) => usize::MAX,
            None if prompter.template().is_some() => usize::MAX,
            None => PLAIN_LENGTH,
        },
        sampling: sampling::params(&args.sampling, &model)?,
        stops: args.sampling.stop.clone(),
        lookup: args.speculation.lookup(),
        ..GenerateOptions::default()
    };
    let smaller = args
        .speculation
        .open(&args.cache, &args.memory, args.place.threads)?;
    let mut session_options = SessionOptions {
        device: args.place.device.clone(),
        outputs: args.speculation.outputs(),
        context,
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
    let mut relay =
        interrupted(relay::open(model.clone(), &session_options, &verdict)).with_context(shown)?;
    if let Some(smaller) = &smaller {
        relay.draft_with(smaller.drafter(&model, &session_options)?);
    }
    let mut lines = match args.json {
        true => Lines::Pipe,
        false => Lines::new()?,
    };
    let seed = options.sampling.seed;
    if args.json {
        stream::start(&shown(), &relay, context, seed)?;
    }
    if prompter.template().is_none() {
        note(
            args.json,
            "[the model has no chat template: it goes on with your text, up to 128 tokens at a time; \
             --template FILE.jinja gives it one]",
        )?;
    }
    if lines.interactive() {
        term::note(&format!(
            "[{}, {context} positions{}; /help lists commands, Ctrl-C stops an answer]",
            term::clip(&relay.device(), 60),
            match args.sampling.seed {
                Some(Seed::Random) => format!(", seed {seed}"),
                _ => String::new(),
            }
        ));
    }
    let (answers, talk) = match &saved {
        Some((file, Some(head))) => {
            let read = TalkNote::of_bytes(&head.beside.note)
                .and_then(|note| Ok((note.answers, note.talk()?)));
            read.map_err(|e| anyhow!("{e}"))
                .with_context(|| file.shown())?
        }
        _ => (0, Talk::new(None)),
    };
    let mut chat = Chat {
        relay,
        prompter,
        tokenizer,
        options,
        context: context as usize,
        talk,
        answers,
        session: None,
        kept: None,
        written: HashSet::new(),
        verdict,
        json: args.json,
        stats: false,
        last: None,
    };
    if let Some((file, head)) = saved {
        chat.resume(file, head.is_some())?;
    }
    if let Some(text) = &args.system {
        chat.talk.set_system(text);
    }
    interrupt::install();
    let ended = chat.lines(&mut lines);
    // Whatever ended it, what was said is kept.
    let kept = chat.keep();
    ended.and(kept)
}

impl Chat<'_> {
    fn lines(&mut self, lines: &mut Lines) -> Result<()> {
        while let Some(line) = lines.next()? {
            match self.line(&line) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                // What went wrong with one line does not end a person's chat, a damaged model does; a script's both do.
                Err(e) if lines.interactive() && !ends(&e) => {
                    term::problem("error", &failure::describe(&e));
                }
                Err(e) => return Err(e),
            }
            if interrupt::terminated() {
                return Err(Interrupted("".into()).into());
            }
        }
        Ok(())
    }
}

/// Whether nothing can follow.
fn ends(error: &anyhow::Error) -> bool {
    let mut faults = error.chain().filter_map(failure::engine);
    let damaged = |e: &Error| matches!(e, Error::Hash { .. } | Error::Lost { .. });
    error.is::<failure::OutputClosed>() || faults.any(damaged)
}

/// A note, on stderr or as an event.
fn note(json: bool, text: &str) -> Result<()> {
    #[derive(Serialize)]
    struct Note<'a> {
        text: &'a str,
    }
    if json {
        return term::print_event("note", &Note { text });
    }
    term::note(text);
    Ok(())
}

impl Chat<'_> {
    fn note(&self, text: &str) -> Result<()> {
        note(self.json, text)
    }

    fn line(&mut self, line: &str) -> Result<ControlFlow<()>> {
        match Line::parse(line) {
            Line::Nothing => {}
            Line::Message(text) => {
                self.talk.ask(&text);
                self.answer_or_take_back(None)?;
            }
            Line::Regenerate => match self.talk.exchanges.last_mut() {
                Some(last) => {
                    let before = last.answer.take();
                    self.answer_or_take_back(before)?;
                }
                None => self.note("[there is no message to answer]")?,
            },
            Line::Undo => match self.talk.undo() {
                Some(last) => {
                    self.note(&format!("[taken back: {}]", term::clip(last.text(), 60)))?;
                }
                None => self.note("[there is nothing to take back]")?,
            },
            Line::System(None) => match self.talk.system() {
                Some(text) => self.note(text)?,
                None => self.note("[no system message; /system TEXT sets one]")?,
            },
            Line::System(text) => {
                if let Some(text) = text {
                    self.talk.set_system(&text);
                }
                self.note("[the system message holds from the next answer on]")?;
            }
            Line::Save(path) => self.save(&path)?,
            Line::Load(path) => self.load(&path)?,
            Line::Stats => {
                self.stats = !self.stats;
                self.note(match self.stats {
                    true => "[the speed of every answer is shown; /stats hides it again]",
                    false => "[the speed of answers is hidden; /stats shows it again]",
                })?;
                if let Some(last) = self.last.as_ref().filter(|_| self.stats) {
                    self.note(&last.show())?;
                }
            }
            Line::Help => self.note(HELP)?,
            Line::Unknown(why) => return Err(anyhow!(why)),
            Line::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Answers the last message. One that gets no answer is taken back, or its former answer restored.
    fn answer_or_take_back(&mut self, before: Option<Value>) -> Result<()> {
        let result = self.answer();
        let failed = result.is_err();
        if let Some(last) = self.talk.exchanges.last_mut()
            && last.answer.is_none()
        {
            match before {
                Some(before) => last.answer = Some(before),
                None if failed || interrupt::requested() => {
                    self.talk.take_back();
                    if !failed {
                        self.note("[stopped before the answer began; the message is taken back]")?;
                    }
                }
                None => {}
            }
        }
        interrupt::clear();
        result.and_then(|()| self.keep())
    }

    fn answer(&mut self) -> Result<()> {
        let ids = self.prompt()?;
        // The cache holds what was computed already, as far as it is the same.
        let kept = self.relay.session().keep(&ids);
        let free = self.context.saturating_sub(ids.len());
        let mut options = self.options.clone();
        // The last token needs no position of its own.
        options.max_tokens = options.max_tokens.min(free.saturating_add(1));
        options.sampling.seed = options.sampling.seed.wrapping_add(self.answers);
        self.answers += 1;
        let seed = options.sampling.seed;
        let mut wrap = Wrap::of(&std::io::stdout());
        let json = self.json;
        let mut watch = |event: Event<'_>| match json {
            // Nobody asks for metrics here.
            true => stream::print_event(&event, |m| Entry::new(self.tokenizer, m)),
            false => term::print(&wrap.push(stream::text(&event))),
        };
        let generator = Generator::new(self.relay.session(), &ids[kept..], &options, false)?;
        let done = stream::stream(&mut self.relay, generator, None, &self.verdict, &mut watch);
        if let (Ok(Done { generation, .. }), false) = (&done, json)
            && !generation.text.ends_with('\n')
        {
            term::print("\n")?;
        }
        if self.verdict.failed() || !interrupt::requested() {
            self.verdict.wait()?;
        }
        let Done {
            generation: done,
            timings,
            ..
        } = done?;
        let stats = Stats {
            timings,
            cached: kept,
            device: self.relay.session().device(),
        };
        if json {
            term::print_event(
                "end",
                &End {
                    text: &done.text,
                    ids: &done.ids,
                    stop_reason: done.reason.name(),
                    logits_hash: &done.logits_hash,
                    timings: &stats.timings,
                    cached_tokens: kept,
                    device: &stats.device,
                    seed,
                },
            )?;
        } else if self.stats {
            self.note(&stats.show())?;
        }
        self.last = Some(stats);
        match done.reason {
            StopReason::Cancelled if !done.text.is_empty() => self.note("[stopped]")?,
            StopReason::Length | StopReason::Context if done.ids.len() > free => {
                self.note(&format!(
                    "[the context of {} positions is full: the answer ends here, and the oldest messages are left \
                     out of the next prompt; --ctx makes room]",
                    self.context
                ))?;
            }
            StopReason::Length if self.prompter.template().is_some() => {
                self.note(&format!(
                    "[the answer ends at -n {} tokens]",
                    self.options.max_tokens
                ))?;
            }
            _ => {}
        }
        if let Some(news) = self.relay.take_news().map(relay::shown) {
            self.note(&format!("[{news}]"))?;
        }
        if let Some(last) = self.talk.exchanges.last_mut() {
            let stopped = done.reason == StopReason::Cancelled && done.text.is_empty();
            last.answer = (!stopped).then(|| message("assistant", &done.text));
        }
        Ok(())
    }

    /// The prompt for the last message, without the oldest exchanges where they leave no room for an answer.
    fn prompt(&mut self) -> Result<Vec<u32>> {
        let most = self.options.max_tokens;
        let Fit { ids, gone } = match self.talk.fit(
            &|talk| self.prompter.ids(&talk),
            self.context,
            most,
        ) {
            Ok(fit) => fit,
            Err(FitError::Chat(e)) => return Err(prompt::advised(e)),
            Err(FitError::TooLong { tokens, context }) => {
                return Err(anyhow!(
                    "the message and the system message have {tokens} tokens, the context {context} positions; shorten \
                     them, or start with a larger --ctx"
                ));
            }
        };
        if gone > 0 {
            self.note(&format!(
                "[the context of {} positions is full: the {} no longer sent to the model]",
                self.context,
                match gone {
                    1 => "oldest message and its answer are".into(),
                    n => format!("{n} oldest messages and their answers are"),
                }
            ))?;
        }
        Ok(ids)
    }

    fn save(&mut self, path: &Path) -> Result<()> {
        if path.exists() && !self.written.contains(path) {
            return Err(anyhow!(
                "{}: exists already and is not of this chat; give another name",
                path.display()
            ));
        }
        let shown = || path.display().to_string();
        let mut file = term::beside(path)?;
        file.write_all(conversation::to_json(&self.talk)?.as_bytes())
            .with_context(shown)?;
        file.persist(path)
            .map_err(|e| e.error)
            .with_context(shown)?;
        self.written.insert(path.into());
        self.note(&format!(
            "[{} messages saved: {}]",
            self.talk.spoken(),
            path.display()
        ))?;
        Ok(())
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        let shown = || path.display().to_string();
        let talk = prompt::conversation(path)?;
        self.talk = conversation::read(talk).with_context(shown)?;
        self.note(&format!(
            "[{} messages loaded: {}]",
            self.talk.spoken(),
            path.display()
        ))?;
        Ok(())
    }
}
