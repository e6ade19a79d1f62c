//! Text in and out of a model: tokenizer, streamed UTF-8, stop strings, why a generation ended.

mod bpe;
mod data;
mod error;
mod gguf;
pub mod keys;
mod mask;
mod matcher;
mod normal;
mod pattern;
mod pieces;
mod split;
mod stop;
mod tokenizer;
mod utf8;
mod validate;
mod wordpiece;
mod words;

pub use data::{Model, SpacePrefix, TokenType, TokenizerData};
pub use error::TokenizerError;
pub use mask::free_mark;
pub use normal::{KNOWN_PRE, canonical_pre, pre_of_pattern};
pub use stop::{StopError, StopReason, StopStrings};
pub use tokenizer::Tokenizer;
pub use utf8::{Utf8Stream, decode};
pub use validate::{MAX_TOKEN_BYTES, MAX_TOKENS};
pub use words::{MAX_WORD, NAME_MARK, Words};
