//! Text in and out of a model: tokenizer, streamed UTF-8, stop strings, why a generation ended.

mod bpe;
mod data;
mod ends;
mod error;
mod finder;
mod gguf;
pub mod keys;
mod mask;
mod matcher;
mod names;
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

pub use data::{Model, NEVER_MADE, Normalizer, SpacePrefix, TokenType, TokenizerData};
pub use error::TokenizerError;
pub use mask::free_mark;
pub use names::{DEFAULT as DEFAULT_PRE, OWN as OWN_PRE, is_known_pre, known_pre, pre_of_steps};
pub use split::{Behavior, Cut, Step, is_understood};
pub use stop::{StopError, StopReason, StopStrings};
pub use tokenizer::Tokenizer;
pub use utf8::{Utf8Stream, decode};
pub use validate::{MAX_TOKEN_BYTES, MAX_TOKENS};
pub use words::{MAX_WORD, NAME_MARK, Words};
