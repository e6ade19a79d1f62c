//! What the model thought of tokens.

use crate::hosted::Hosted;
use carat::internals::sample::TokenMetrics;
use serde::Serialize;
use utoipa::ToSchema;

/// What the model thought of the tokens of an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Logprobs {
    /// One a token.
    pub content: Vec<TokenLogprob>,
    /// There are none.
    #[schema(required)]
    pub refusal: Option<Vec<TokenLogprob>>,
}

/// What it thought of one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TokenLogprob {
    /// Its text; bytes that are no UTF-8 as U+FFFD.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// ln of its probability, before all settings of sampling.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The likeliest tokens.
    pub top_logprobs: Vec<TopLogprob>,
}

/// One of the likeliest tokens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// ln of its probability.
    pub logprob: f64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The text of a token, and its bytes.
pub fn token(hosted: &Hosted, id: u32) -> (String, Vec<u8>) {
    let bytes = hosted
        .tokenizer()
        .map(|t| t.decode_bytes(id, true).to_vec());
    let bytes = bytes.unwrap_or_default();
    (String::from_utf8_lossy(&bytes).into_owned(), bytes)
}

impl Logprobs {
    /// Of tokens.
    pub fn of<'a>(hosted: &Hosted, metrics: impl IntoIterator<Item = &'a TokenMetrics>) -> Self {
        let of = |m: &TokenMetrics| {
            let (text, bytes) = token(hosted, m.id);
            let top = m.top.iter().map(|t| {
                let (token, bytes) = token(hosted, t.id);
                TopLogprob {
                    token,
                    id: t.id,
                    logprob: t.logprob,
                    bytes,
                }
            });
            TokenLogprob {
                token: text,
                id: m.id,
                logprob: m.logprob,
                bytes,
                top_logprobs: top.collect(),
            }
        };
        Self {
            content: metrics.into_iter().map(of).collect(),
            refusal: None,
        }
    }
}
