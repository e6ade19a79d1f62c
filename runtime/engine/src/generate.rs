//! Tokens one after another: session → sampler → text, with stop strings, a constraint on the text and a
//! way to cancel.

mod draft;
mod generator;
mod lookup;
mod reasoning;
mod snapshot;
mod steps;

pub use draft::{Draft, Drafter};
pub use generator::Generator;
pub use reasoning::{Forcing, Reasoning};
pub use snapshot::Snapshot;
pub use steps::{Advance, Demand, Outputs, Place, Room, Step};

use crate::error::Error;
use crate::sample::{ParamError, Params, SampleError, StateError, TokenMetrics};
use crate::session::Session;
use carat_text::constraint::{Constraint, ConstraintError};
use carat_text::stop::{StopError, StopReason};
use std::ops::ControlFlow;

/// Most tokens that are computed in advance for a person or an app that says nothing: see [`GenerateOptions::lookup`].
pub const LOOKUP: usize = 8;

/// What to generate. By default the text goes on until it ends or the context is full, with the default sampling.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Params,
    /// Text, or a control token by its name, that ends the generation and is not part of it.
    pub stops: Vec<String>,
    /// Go on after end-of-text tokens.
    pub ignore_end: bool,
    /// Control tokens that have a text: see [`Syntax::shown_tokens`](carat_text::reply::Syntax::shown_tokens). Others have none.
    pub shown: Vec<u32>,
    /// Most tokens that are computed in advance because the text said the same before; 0: none. A text does not depend on it.
    pub lookup: usize,
    /// Report [`TokenMetrics`] of every token, with so many of the likeliest ones.
    pub metrics: Option<usize>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: usize::MAX,
            sampling: Params::default(),
            stops: Vec::new(),
            ignore_end: false,
            shown: Vec::new(),
            lookup: 0,
            metrics: None,
        }
    }
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
    /// Hash over the logits of every sampled row: see [`LogitsHash`](crate::internals::LogitsHash).
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
    /// A saved state that no sampler is ever in.
    #[error(transparent)]
    State(#[from] StateError),
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
    let mut generator = Generator::new(session, prompt, options, constraint.is_some())?;
    loop {
        let follow = constraint.as_deref_mut();
        let event = match generator.step(session, follow).await? {
            Step::Prompt { done, total } => watch(Event::Prompt { done, total }),
            Step::Token { id, text, metrics } => watch(Event::Token {
                id,
                text: &text,
                metrics: metrics.as_ref(),
            }),
            Step::End => break,
        };
        if event.is_break() {
            generator.cancel();
        }
    }
    let (generation, tail) = generator.finish(constraint);
    if !tail.is_empty() {
        // The generation has ended: there is nothing left to stop.
        let _ = watch(Event::Tail { text: &tail });
    }
    Ok(generation)
}
