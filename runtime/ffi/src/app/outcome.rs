//! What comes of a text: its pieces, and what is known of it at its end.

use serde::Serialize;

/// What a [`Piece`] is of.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "objects", derive(uniffi::Enum))]
pub enum PieceKind {
    /// Text that the user reads.
    Text = 1,
    /// The model's reasoning.
    Reasoning = 2,
    /// A call of a tool, whole.
    Call = 3,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Call {
    /// Names it in its conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, a JSON object.
    pub arguments: String,
}

/// What the model thought of a token: natural logarithms.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// ln of its probability.
    pub logprob: f64,
    /// Entropy of the distribution, in nats.
    pub entropy: f64,
    /// 1 for the likeliest token.
    pub rank: u32,
    /// The likeliest tokens, the likeliest first.
    pub top: Vec<Alternative>,
}

/// One of the likeliest tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Alternative {
    /// Its id.
    pub id: u32,
    /// ln of its probability.
    pub logprob: f64,
}

impl From<carat::TokenMetrics> for Token {
    fn from(m: carat::TokenMetrics) -> Self {
        Self {
            id: m.id,
            logprob: m.logprob,
            entropy: m.entropy,
            rank: m.rank,
            top: (m.top.iter())
                .map(|a| Alternative {
                    id: a.id,
                    logprob: a.logprob,
                })
                .collect(),
        }
    }
}

/// A piece of a text: whole characters, never empty.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Piece {
    /// What it is of.
    pub kind: PieceKind,
    /// The text; of a call its arguments.
    pub text: String,
    /// The call, if it is one.
    pub call: Option<Call>,
    /// The tokens that were chosen since the piece before.
    pub ids: Vec<u32>,
    /// What the model thought of tokens that were chosen since the piece before, where that was asked for.
    pub tokens: Vec<Token>,
}

/// What is known of a text at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Outcome {
    /// The tokens, the one that ended the text included.
    pub ids: Vec<u32>,
    /// The text that the user reads.
    pub text: String,
    /// The model's reasoning.
    pub reasoning: String,
    /// Calls of tools, which wait for their results.
    pub calls: Vec<Call>,
    /// `end`, `stop`, `complete`, `length`, `context` or `cancelled`.
    pub reason: String,
    /// With a schema or grammar: whether the text is whole.
    pub complete: Option<bool>,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of them, those that were computed before and not again.
    pub cached_tokens: u32,
    /// blake3 over everything that the tokens were chosen from, in hexadecimal.
    pub logits_hash: String,
    /// What computed it.
    pub device: String,
    /// Milliseconds from the start to the first token.
    pub ms_to_first_token: f64,
    /// Tokens per second after the first one.
    pub tokens_per_second: f64,
}
