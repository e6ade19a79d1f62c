//! What goes in and out of a generation's steps.

use crate::model::Model;
use crate::sample::TokenMetrics;
use crate::session::{Checksum, Output, Session, Want};
use std::collections::VecDeque;

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
        /// What the model thought of it, if [`GenerateOptions::metrics`](super::GenerateOptions::metrics) asks.
        metrics: Option<TokenMetrics>,
    },
    /// The generation has ended: see [`Generator::finish`](super::Generator::finish).
    End,
}

/// Where a generation goes on.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The model.
    pub model: &'a Model,
    /// The unit of its logits.
    pub exponent: i32,
    /// Tokens of the sequence.
    pub used: usize,
    /// Most of them.
    pub context: u32,
}

/// What a pass has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Rows of a pass.
    pub rows: usize,
    /// Rows of it that give outputs.
    pub outputs: usize,
    /// Positions that the sequence has left.
    pub positions: usize,
}

impl<'a> Place<'a> {
    /// Where a session stands.
    pub fn of(session: &'a Session) -> Self {
        Self {
            model: session.model(),
            exponent: session.logits_exponent(),
            used: session.tokens().len(),
            context: session.context(),
        }
    }
}

impl Room {
    /// What a session has room for.
    pub fn of(session: &Session) -> Self {
        Self {
            rows: session.plan().extent.batch as usize,
            outputs: session.plan().extent.outputs as usize,
            positions: session.context() as usize - session.tokens().len(),
        }
    }
}

/// What a generation needs computed to go on: see [`Generator::demand`](super::Generator::demand).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand<'a> {
    /// The tokens behind those that are computed.
    pub tokens: &'a [u32],
    /// Which of their logits.
    pub want: Want,
    /// Of how many of the last ones outputs are wanted.
    pub outputs: usize,
}

/// What [`Generator::advance`](super::Generator::advance) did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advance {
    /// A step, if there was an output to choose from.
    pub step: Option<Step>,
    /// So many tokens at the end of the sequence are none of the text's, and must go.
    pub cut: usize,
}

/// What is known of a position, beside its logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub position: u32,
    pub checksum: Checksum,
    pub argmax: u32,
}

/// A position's output, until a token is chosen from it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub row: Row,
    pub logits: Vec<i32>,
}

/// Outputs of positions one after another, from which tokens are to be chosen.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub(super) queue: VecDeque<Held>,
    /// Memory for logits, kept.
    pub(super) free: Vec<Vec<i32>>,
}

impl Outputs {
    /// Takes the next one.
    pub fn push(&mut self, o: &Output<'_>) {
        let mut logits = self.free.pop().unwrap_or_default();
        logits.clear();
        logits.extend_from_slice(o.logits);
        self.queue.push_back(Held {
            row: Row {
                position: o.position,
                checksum: o.checksum,
                argmax: o.argmax,
            },
            logits,
        });
    }

    pub(super) fn clear(&mut self) {
        self.free
            .extend(self.queue.drain(..).map(|held| held.logits));
    }

    pub(super) fn have_logits(&self) -> bool {
        self.queue
            .front()
            .is_some_and(|held| !held.logits.is_empty())
    }
}
