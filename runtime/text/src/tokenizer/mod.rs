//! Text to tokens and back, by the definition in a model's file.

mod bpe;
mod codec;
mod data;
mod ends;
mod error;
mod finder;
mod gguf;
pub mod keys;
mod matcher;
mod names;
mod normal;
mod pattern;
mod pieces;
mod split;
mod step;
mod user_text;
mod validate;
mod wordpiece;
mod words;

pub use codec::Tokenizer;
pub use data::{
    MAX_TOKEN_BYTES, MAX_TOKENS, Model, NEVER_MADE, Normalizer, SpacePrefix, TokenType,
    TokenizerData,
};
pub use error::TokenizerError;
pub use names::{DEFAULT_PRE, OWN_PRE, is_known_pre, known_pre, pre_of_steps};
pub use split::is_understood;
pub use step::{Behavior, Cut, Step};
pub use user_text::free_mark;
pub use words::{MAX_WORD, NAME_MARK, Words};
