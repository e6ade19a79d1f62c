//! Tokens one after another: session → sampler → text, with stop strings and a way to cancel.

use crate::error::Error;
use crate::sample::{ParamError, Params, SampleError, Sampler};
use crate::session::{LogitsHash, Session, Want};
use crate::text::{StopError, StopReason, StopStrings, Utf8Stream};
use std::ops::ControlFlow;

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Params,
    /// Text that ends the generation and is not part of it.
    pub stops: Vec<String>,
    /// Go on after end-of-text tokens.
    pub ignore_end: bool,
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
    // Greedy choice without a penalty needs the arg-max alone, which the device finds.
    let argmax_only = options.sampling.temperature == 0.0 && !options.sampling.penalizes();
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
            sampler.sample(&output.logits, exponent, session.tokens())?
        };
        ids.push(id);
        let ends = !options.ignore_end && tokenizer.is_end(id);
        let piece = if ends {
            String::new()
        } else {
            stops.push(&utf8.push(tokenizer.decode_bytes(id, false)))
        };
        text.push_str(&piece);
        let watched = watch(Event::Token { id, text: &piece });
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
    Ok(Generation {
        ids,
        text,
        reason,
        logits_hash: hash.hex(),
    })
}
