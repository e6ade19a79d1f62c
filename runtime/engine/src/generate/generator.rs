//! A generation, one step at a time.

use super::{GenerateError, GenerateOptions, Generation};
use crate::error::Error;
use crate::sample::{Sampler, TokenMetrics};
use crate::session::{LogitsHash, Output, Session, Want};
use carat_text::constraint::Constraint;
use carat_text::stop::{StopReason, StopStrings};
use carat_text::utf8::Utf8Stream;

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// So many of the prompt's tokens are computed.
    Prompt {
        /// Tokens done.
        done: usize,
        /// Tokens of the prompt.
        total: usize,
    },
    /// A token was chosen; `text` is what became certain by it, possibly nothing.
    Token {
        /// Its id.
        id: u32,
        /// Text to show.
        text: String,
        /// What the model thought of it, if [`GenerateOptions::metrics`] asks.
        metrics: Option<TokenMetrics>,
    },
    /// The generation has ended: see [`Generator::finish`].
    End,
}

/// A generation between its steps. It holds no session: a step that fails by its device can be taken again with another
/// session that holds the same tokens, and the text goes on as if nothing had happened.
#[derive(Clone)]
pub struct Generator {
    options: GenerateOptions,
    sampler: Sampler,
    stops: StopStrings,
    /// Control tokens that stop strings name, which have no text, with the strings' indices.
    stop_ids: Vec<(u32, usize)>,
    utf8: Utf8Stream,
    hash: LogitsHash,
    exponent: i32,
    want: Want,
    /// Of the last position, where more than the arg-max is wanted.
    logits: Vec<i32>,
    /// Tokens of the prompt.
    total: usize,
    /// Tokens that the session does not hold yet.
    pending: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    reason: Option<StopReason>,
}

impl Generator {
    /// The start of a generation that continues the session with `prompt`; `constrained` if its steps get a constraint.
    ///
    /// Errors: a model without a head, an empty prompt, one longer than the context, a parameter outside its range.
    pub fn new(
        session: &Session,
        prompt: &[u32],
        options: &GenerateOptions,
        constrained: bool,
    ) -> Result<Self, GenerateError> {
        let exponent = session.logits_exponent();
        session.model().check_head()?;
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let used = session.tokens().len();
        let context = session.context();
        if prompt.len() > (context as usize).saturating_sub(used) {
            let asked = prompt.len();
            return Err(Error::ContextFull {
                asked,
                used,
                context,
            }
            .into());
        }
        let control_id = |(index, text): (usize, &String)| {
            let tokenizer = session.model().tokenizer().ok()?;
            Some((tokenizer.control_id(text)?, index))
        };
        let stop_ids = options.stops.iter().enumerate();
        let stop_ids = stop_ids.filter_map(control_id).collect();
        // Greedy choice among all tokens needs the arg-max alone, which the device finds.
        let argmax_only = options.sampling.temperature == 0.0
            && !options.sampling.penalizes()
            && options.sampling.logit_bias.is_empty()
            && options.metrics.is_none()
            && !constrained;
        Ok(Self {
            sampler: Sampler::new(options.sampling.clone())?,
            stops: StopStrings::new(options.stops.clone())?,
            stop_ids,
            options: options.clone(),
            utf8: Utf8Stream::new(),
            hash: LogitsHash::new(exponent),
            exponent,
            want: if argmax_only {
                Want::Greedy
            } else {
                Want::Last
            },
            logits: Vec::new(),
            total: prompt.len(),
            pending: prompt.to_vec(),
            ids: Vec::new(),
            text: String::new(),
            reason: None,
        })
    }

    /// Computes a part of the prompt, or chooses a token.
    ///
    /// Errors: a device's failure, after which the step may be taken again; a limit of the constraint, no token that fits.
    pub async fn step(
        &mut self,
        session: &mut Session,
        mut constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> Result<Step, GenerateError> {
        if self.reason.is_some() {
            return Ok(Step::End);
        }
        let batch = session.plan().extent.batch as usize;
        if self.pending.len() > batch {
            let chunk = &self.pending[..batch];
            let none = Want::From(chunk.len());
            session.forward(chunk, none, &mut |_| ()).await?;
            self.pending.drain(..batch);
            return Ok(Step::Prompt {
                done: self.total - self.pending.len(),
                total: self.total,
            });
        }
        if self.ids.len() >= self.options.max_tokens {
            return Ok(self.end(StopReason::Length));
        }
        if self.pending.len() > session.context() as usize - session.tokens().len() {
            return Ok(self.end(StopReason::Context));
        }
        let model = session.model().clone();
        let tokenizer = model.tokenizer().map_err(GenerateError::from)?;
        let mut mask = None;
        if let Some(constraint) = constraint.as_deref_mut() {
            mask = constraint.mask()?;
            if let Some(mask) = mask.as_mut().filter(|_| self.options.ignore_end) {
                tokenizer.ends().for_each(|id| mask.remove(id));
            }
            if mask.as_ref().is_none_or(|m| m.is_empty()) {
                return Ok(self.end(StopReason::Complete));
            }
        }
        let mut output = None;
        let logits = &mut self.logits;
        let sink = &mut |o: Output<'_>| {
            logits.clear();
            logits.extend_from_slice(o.logits);
            output = Some((o.position, o.checksum, o.argmax));
        };
        let want = match self.want {
            // A loop can make another token than the likeliest the best one.
            Want::Greedy if self.sampler.avoids_one_after(&self.ids) => Want::Last,
            // After the last token no pass is needed.
            Want::Greedy if self.ids.len() + 1 >= self.options.max_tokens => Want::LastResult,
            want => want,
        };
        session.forward(&self.pending, want, sink).await?;
        let Some((position, checksum, argmax)) = output else {
            return Ok(self.end(StopReason::Cancelled));
        };
        self.hash.push(checksum);
        let id = if matches!(want, Want::Greedy | Want::LastResult) {
            argmax
        } else {
            // The history is the whole session, so a penalty sees the prompt too.
            let (logits, tokens) = (&self.logits, session.tokens());
            let generated = self.ids.len();
            self.sampler
                .sample_among(logits, self.exponent, tokens, generated, mask.as_ref())?
        };
        self.ids.push(id);
        self.pending.clear();
        self.pending.push(id);
        if let Some(constraint) = constraint {
            constraint.accept(id)?;
        }
        let metrics = self
            .options
            .metrics
            .and_then(|top| TokenMetrics::new(position + 1, id, &self.logits, self.exponent, top));
        let ends = !self.options.ignore_end && tokenizer.is_end(id);
        let text = if ends {
            String::new()
        } else {
            let bytes = tokenizer.decode_bytes(id, false);
            self.stops.push(&self.utf8.push(bytes))
        };
        self.text.push_str(&text);
        self.reason = if ends {
            Some(StopReason::End { id })
        } else {
            let named = self.stop_ids.iter().find(|stop| stop.0 == id);
            let hit = self.stops.hit().or(named.map(|stop| stop.1));
            hit.map(|index| StopReason::StopString { index })
        };
        Ok(Step::Token { id, text, metrics })
    }

    /// Whether no further token comes.
    pub fn has_ended(&self) -> bool {
        self.reason.is_some() || self.ids.len() >= self.options.max_tokens
    }

    fn end(&mut self, reason: StopReason) -> Step {
        self.reason = Some(reason);
        Step::End
    }

    /// Ends the generation, unless it has ended already.
    pub fn cancel(&mut self) {
        self.reason.get_or_insert(StopReason::Cancelled);
    }

    /// Goes on after a limit: of a generation that had all the tokens it was to have, or was cancelled, `max_tokens` is the
    /// new most. What comes is what would have come without the end. Whatever else ended it holds.
    pub fn extend(&mut self, max_tokens: usize) {
        if let Some(StopReason::Length | StopReason::Cancelled) = self.reason {
            self.reason = None;
        }
        self.options.max_tokens = max_tokens;
    }

    /// What it was asked for.
    pub fn options(&self) -> &GenerateOptions {
        &self.options
    }

    /// The text that is certain so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tokens chosen so far.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The hash over the logits so far: see [`LogitsHash`].
    pub fn logits_hash(&self) -> String {
        self.hash.hex()
    }

    /// The generation, and text that was held back and is certain now that it has ended.
    pub fn finish(
        mut self,
        constraint: Option<&mut (dyn Constraint + '_)>,
    ) -> (Generation, String) {
        let mut tail = self.stops.push(&self.utf8.flush());
        tail.push_str(&self.stops.flush());
        self.text.push_str(&tail);
        let reason = self.reason.unwrap_or(StopReason::Cancelled);
        let cut = matches!(reason, StopReason::StopString { .. });
        let generation = Generation {
            ids: self.ids,
            text: self.text,
            complete: constraint.map(|c| !cut && c.is_complete()),
            reason,
            logits_hash: self.hash.hex(),
        };
        (generation, tail)
    }
}
