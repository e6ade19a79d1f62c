//! Why a tokenizer cannot be built.

use super::data::{MAX_TOKEN_BYTES, MAX_TOKENS, Model};
use super::names::known_pre;

/// A fault in a tokenizer's definition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum TokenizerError {
    /// A metadata key is missing or of another type.
    #[error("tokenizer: {0}")]
    Key(#[from] carat_gguf::KeyError),
    #[error("tokenizer: key {key:?} is {found:?}; expected {expected}")]
    Value {
        key: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("tokenizer model {found:?} is not supported; known: {}", Model::ALL.map(Model::name).join(", "))]
    UnknownModel { found: String },
    #[error(
        "pre-tokenizer {found:?} is not known, and a wrong one would give wrong tokens; known: {}",
        known_pre().collect::<Vec<_>>().join(", ")
    )]
    UnknownPre { found: String },
    #[error("the pre-tokenizer's expression {text:?} is not understood")]
    Pattern { text: String },
    #[error("the vocabulary is empty")]
    NoTokens,
    #[error("the vocabulary has {found} tokens; expected at most {MAX_TOKENS}")]
    TooManyTokens { found: usize },
    #[error("token {id} has {found} bytes; expected at most {MAX_TOKEN_BYTES}")]
    TokenTooLong { id: usize, found: usize },
    #[error(
        "the tokens are too long together to be indexed ({found} pairs of halves; expected at most {max})"
    )]
    TokensTooLong { found: u64, max: u64 },
    #[error("special token {id} is empty; it would be found everywhere")]
    EmptySpecialToken { id: usize },
    #[error("tokens {first} and {second} are both {text:?}; expected each text once")]
    DuplicateToken {
        text: String,
        first: usize,
        second: usize,
    },
    #[error("{key:?} has {found} elements; expected one for each of the {expected} tokens")]
    Length {
        key: &'static str,
        expected: usize,
        found: usize,
    },
    #[error("the score of token {id} is {found}; expected a finite number")]
    Score { id: usize, found: f32 },
    #[error("the type of token {id} is {found}; expected 0 to 6")]
    TokenType { id: usize, found: i32 },
    #[error("token {id} is of type byte and spelled {text:?}; expected <0x00> to <0xFF>")]
    ByteToken { id: usize, text: String },
    #[error("{key:?} is {found}; the vocabulary has {tokens} tokens")]
    IdOutOfRange {
        key: &'static str,
        found: u32,
        tokens: usize,
    },
    #[error("a {} tokenizer is defined by its merges, and there are none", model.name())]
    NoMerges { model: Model },
    #[error("merge {index} is {text:?}; expected two tokens separated by one space")]
    Merge { index: usize, text: String },
    #[error(
        "a bert tokenizer needs an unknown token ({}), and there is none",
        super::keys::UNKNOWN
    )]
    NoUnknown,
}
