//! Tokens one after another: session → sampler → text, with stop strings, a constraint on the text and a
//! way to cancel.

use crate::error::Error;
use crate::sample::{
    Constraint, ConstraintError, ParamError, Params, SampleError, Sampler, TokenMetrics,
};
use crate::session::{LogitsHash, Session, Want};
use crate::text::{StopError, StopReason, StopStrings, Utf8Stream};
use std::ops::ControlFlow;

/// What to generate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Params,
    /// Text that ends the generation and is not part of it.
    pub stops: Vec<String>,
    /// Go on after end-of-text tokens.
    pub ignore_end: bool,
    /// Report [`TokenMetrics`] of every token, with so many of the likeliest ones.
    pub metrics: Option<usize>,
}

/// A finished generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Tokens chosen, the one that ended the text included.
    pub ids: Vec<u32>,
    /// Their text, up to a stop string.
    pub text: String,
    /// Why it ended.
    pub reason: StopReason,
    /// Under a constraint: whether it accepts the text as whole. A stop string cuts the text, which then
    /// counts as incomplete.
    pub complete: Option<bool>,
    /// Hash over the logits of every sampled row: see [`LogitsHash`].
    pub logits_hash: String,
}

/// Why a generation failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A sampling parameter outside its range.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// A stop string that cannot be used.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// Logits that cannot be sampled.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A constraint that cannot go on.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// No token to start from.
    #[error("the prompt has no tokens and the model adds none; give some text")]
    EmptyPrompt,
}

/// What happens during a generation, for streaming.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
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
        text: &'a str,
        /// What the model thought of it, if [`GenerateOptions::metrics`] asks.
        metrics: Option<&'a TokenMetrics>,
    },
    /// Text that was held back and is certain now that the generation has ended.
    Tail {
        /// Text to show.
        text: &'a str,
    },
}

/// Continues the session with `prompt` and then with chosen tokens. `watch` sees every event and stops
/// the generation by breaking.
///
/// Errors: an empty prompt in an empty session, a prompt longer than the context, a parameter outside
/// its range, a device's failure.
pub async fn generate(
    session: &mut Session,
    prompt: &[u32],
    options: &GenerateOptions,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    generate_constrained(session, prompt, options, None, watch).await
}

/// [`generate`] under a constraint, which sees the chosen tokens and not the prompt. It ends the text
/// where nothing can follow ([`StopReason::Complete`]). No token is forced: each is sampled among those
/// allowed, also where there is only one.
///
/// Errors: as [`generate`]; a limit of the constraint; no token of the vocabulary that fits.
pub async fn generate_constrained(
    session: &mut Session,
    prompt: &[u32],
    options: &GenerateOptions,
    mut constraint: Option<&mut dyn Constraint>,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    let model = session.model().clone();
    let tokenizer = model.tokenizer()?;
    let mut sampler = Sampler::new(options.sampling.clone())?;
    let mut stops = StopStrings::new(options.stops.clone())?;
    let exponent = session.logits_exponent();
    let mut hash = LogitsHash::new(exponent);
    let mut utf8 = Utf8Stream::new();
    let (mut ids, mut text) = (Vec::new(), String::new());
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    let free = session.context() as usize - session.tokens().len();
    if prompt.len() > free {
        let (used, context) = (session.tokens().len(), session.context());
        return Err(Error::ContextFull {
            asked: prompt.len(),
            used,
            context,
        }
        .into());
    }
    // Greedy choice among all tokens needs the arg-max alone, which the device finds.
    let argmax_only = options.sampling.temperature == 0.0
        && !options.sampling.penalizes()
        && options.sampling.logit_bias.is_empty()
        && options.metrics.is_none()
        && constraint.is_none();
    let want = if argmax_only {
        Want::LastResult
    } else {
        Want::Last
    };

    let mut reason = None;
    let batch = session.plan().extent.batch as usize;
    let (body, last) = prompt.split_at((prompt.len() - 1) / batch * batch);
    for (i, chunk) in body.chunks(batch).enumerate() {
        session
            .forward(chunk, Want::From(chunk.len()), &mut |_| ())
            .await?;
        let event = Event::Prompt {
            done: i * batch + chunk.len(),
            total: prompt.len(),
        };
        if watch(event).is_break() {
            reason = Some(StopReason::Cancelled);
            break;
        }
    }
    let mut next: Vec<u32> = last.to_vec();
    while reason.is_none() {
        if ids.len() >= options.max_tokens {
            reason = Some(StopReason::Length);
            break;
        }
        if next.len() > session.context() as usize - session.tokens().len() {
            reason = Some(StopReason::Context);
            break;
        }
        let mut mask = None;
        if let Some(constraint) = constraint.as_deref_mut() {
            mask = constraint.mask()?;
            if let Some(mask) = mask.as_mut().filter(|_| options.ignore_end) {
                tokenizer.ends().for_each(|id| mask.remove(id));
            }
            if mask.as_ref().is_none_or(|m| m.is_empty()) {
                reason = Some(StopReason::Complete);
                break;
            }
        }
        let mut output = None;
        session
            .forward(&next, want, &mut |o| output = Some(o))
            .await?;
        let Some(output) = output else { break };
        hash.push(output.checksum);
        let id = if argmax_only {
            output.argmax
        } else {
            // The history is the whole session, so a penalty sees the prompt too.
            sampler.sample_among(&output.logits, exponent, session.tokens(), mask.as_ref())?
        };
        ids.push(id);
        if let Some(constraint) = constraint.as_deref_mut() {
            constraint.accept(id)?;
        }
        let metrics = options.metrics.and_then(|top| {
            TokenMetrics::new(output.position + 1, id, &output.logits, exponent, top)
        });
        let ends = !options.ignore_end && tokenizer.is_end(id);
        let piece = if ends {
            String::new()
        } else {
            stops.push(&utf8.push(tokenizer.decode_bytes(id, false)))
        };
        text.push_str(&piece);
        let watched = watch(Event::Token {
            id,
            text: &piece,
            metrics: metrics.as_ref(),
        });
        reason = if ends {
            Some(StopReason::End { id })
        } else if let Some(index) = stops.hit() {
            Some(StopReason::StopString { index })
        } else if watched.is_break() {
            Some(StopReason::Cancelled)
        } else {
            None
        };
        next = vec![id];
    }
    let mut tail = stops.push(&utf8.flush());
    tail.push_str(&stops.flush());
    if !tail.is_empty() {
        text.push_str(&tail);
        // The generation has ended: there is nothing left to stop.
        let _ = watch(Event::Tail { text: &tail });
    }
    let reason = reason.unwrap_or(StopReason::Cancelled);
    let cut = matches!(reason, StopReason::StopString { .. });
    Ok(Generation {
        ids,
        text,
        complete: constraint.map(|c| !cut && c.is_complete()),
        reason,
        logits_hash: hash.hex(),
    })
}
