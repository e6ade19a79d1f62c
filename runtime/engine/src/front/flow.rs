//! A text under way: what a generation and a reply share.

use super::format::Restriction;
use super::part::{Part, Parts};
use super::{Cancel, Error, Format, Model, Progress, Relay};
use crate::error::Error as Fault;
use crate::generate::{GenerateOptions, Generator, Step};
use crate::sample::TokenMetrics;
use carat_text::stop::StopReason;

/// What came of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) reason: Option<StopReason>,
    pub(super) complete: Option<bool>,
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<super::Call>,
    pub(super) prompt_tokens: usize,
    pub(super) cached_tokens: usize,
    pub(super) ids: Vec<u32>,
    /// What the model thought of the tokens that nobody has taken yet.
    pub(super) metrics: Vec<TokenMetrics>,
    pub(super) logits_hash: String,
    pub(super) device: String,
}

/// A text under way, or one that has ended.
pub(super) struct Flow {
    pub(super) model: Model,
    pub(super) format: Format,
    pub(super) cancel: Cancel,
    pub(super) metrics: Option<usize>,
    pub(super) outcome: Outcome,
    relay: Option<Relay>,
    running: Option<Running>,
    parts: Parts,
}

struct Running {
    generator: Generator,
    restriction: Option<Restriction>,
    /// The context ends it, not the number of tokens asked for.
    fills: bool,
}

impl Flow {
    pub(super) fn new(model: Model) -> Self {
        Self {
            model,
            format: Format::default(),
            cancel: Cancel::new(),
            metrics: None,
            outcome: Outcome::default(),
            relay: None,
            running: None,
            parts: Parts::default(),
        }
    }

    /// Begins a text after a prompt, where there is one on a session that may hold its start. `parts` tells its parts apart.
    ///
    /// Errors: a prompt that does not fit, options out of range, a format that cannot be used, no device.
    pub(super) async fn begin(
        &mut self,
        relay: Option<Relay>,
        ids: &[u32],
        mut options: GenerateOptions,
        parts: Parts,
    ) -> Result<(), Error> {
        // Whatever fails, the session is kept.
        self.relay = relay;
        self.parts = parts;
        options.metrics = self.metrics;
        let fills = options.within(self.model.context(), ids.len())?;
        let shared = &self.model.shared;
        let restriction = self.format.restriction(&shared.file, &shared.words)?;
        if self.relay.is_none() {
            self.relay = Some(self.model.take().await?);
        }
        let Some(relay) = &mut self.relay else {
            return Err(Fault::Cancelled.into());
        };
        let kept = relay.session().keep(ids);
        self.outcome.prompt_tokens = ids.len();
        self.outcome.cached_tokens = kept;
        let rest = ids.get(kept..).unwrap_or_default();
        let generator = Generator::new(relay.session(), rest, &options, restriction.is_some())?;
        relay.begin(&shared.verdict);
        self.running = Some(Running {
            generator,
            restriction,
            fills,
        });
        Ok(())
    }

    /// The next part of the text; `None` when it has ended, or never began.
    pub(super) async fn next(&mut self) -> Option<Result<Part, Error>> {
        loop {
            if let Some(part) = self.parts.pop() {
                let outcome = &mut self.outcome;
                match &part {
                    Part::Text(text) => outcome.text.push_str(text),
                    Part::Reasoning(text) => outcome.reasoning.push_str(text),
                    Part::Call(call) => outcome.calls.push(call.clone()),
                }
                return Some(Ok(part));
            }
            match self.step().await? {
                Ok(text) => self.parts.push(text),
                Err(e) => {
                    self.running = None;
                    // A session on a device that failed is worth nothing.
                    if let super::ErrorCode::Device | super::ErrorCode::DeviceLost = e.code() {
                        self.relay = None;
                    }
                    return Some(Err(e));
                }
            }
            if self.running.is_none() {
                self.parts.finish();
            }
        }
    }

    /// Text that became certain by a step, possibly none.
    async fn step(&mut self) -> Option<Result<String, Error>> {
        let (running, relay) = (self.running.as_mut()?, self.relay.as_mut()?);
        let shared = &self.model.shared;
        if self.cancel.is_cancelled() || shared.verdict.failed() {
            running.generator.cancel();
        }
        let restriction = running.restriction.as_deref_mut();
        let restriction = restriction.map(|r| r as &mut dyn carat_text::constraint::Constraint);
        // Until this step ends nobody takes the GPU away.
        let turn = shared.gate.turn();
        if let Err(e) = relay.follow(turn.place(), &shared.options).await {
            return Some(Err(e.into()));
        }
        let step = relay.step(&mut running.generator, restriction, &shared.verdict);
        let step = step.await;
        drop(turn);
        match step {
            Ok(Step::Prompt { done, total }) => {
                let (done, total) = (done as u64, total as u64);
                shared.watch.tell(Progress::Prompt { done, total });
                Some(Ok(String::new()))
            }
            Ok(Step::Token { id, text, metrics }) => {
                shared.verdict.resume();
                self.outcome.ids.push(id);
                self.outcome.metrics.extend(metrics);
                Some(Ok(text))
            }
            Ok(Step::End) => Some(self.finish()),
            Err(e) => Some(Err(e.into())),
        }
    }

    /// What was held back, once the file is known to be sound.
    fn finish(&mut self) -> Result<String, Error> {
        let Some(Running {
            generator,
            mut restriction,
            fills,
        }) = self.running.take()
        else {
            return Ok(String::new());
        };
        let restriction = restriction.as_deref_mut();
        let restriction = restriction.map(|r| r as &mut dyn carat_text::constraint::Constraint);
        let (generation, tail) = generator.finish(restriction);
        self.model.shared.verdict.wait()?;
        self.outcome.reason = Some(match generation.reason {
            StopReason::Length if fills => StopReason::Context,
            reason => reason,
        });
        self.outcome.complete = generation.complete;
        self.outcome.logits_hash = generation.logits_hash;
        Ok(tail)
    }

    /// The device that answers, or what would.
    pub(super) fn device(&self) -> String {
        match &self.relay {
            Some(relay) => relay.device(),
            None => self.outcome.device.clone(),
        }
    }

    /// Gives up the session.
    pub(super) fn release(&mut self) -> Option<Relay> {
        self.running = None;
        let relay = self.relay.take()?;
        self.outcome.device = relay.device();
        Some(relay)
    }
}
