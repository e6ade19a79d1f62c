//! Text in and out of a model: tokenizer, streamed UTF-8, stop strings, why a generation ended.

mod data;
mod error;
mod gguf;
pub mod keys;
mod mask;
mod matcher;
mod normal;
mod pieces;
mod stop;
mod tokenizer;
mod utf8;
mod validate;

pub use data::{Model, SpacePrefix, TokenType, TokenizerData};
pub use error::TokenizerError;
pub use mask::free_mark;
pub use normal::{KNOWN_PRE, canonical_pre, pre_of_pattern};
pub use stop::{StopError, StopReason, StopStrings};
pub use tokenizer::Tokenizer;
pub use utf8::Utf8Stream;
pub use validate::{MAX_TOKEN_BYTES, MAX_TOKENS};
