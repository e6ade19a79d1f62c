//! Metadata keys of a tokenizer, each declared once. `tokenizer.ggml.*` are llama.cpp's; the others say
//! what those cannot.
#![allow(missing_docs)]

pub const MODEL: &str = "tokenizer.ggml.model";
pub const PRE: &str = "tokenizer.ggml.pre";
pub const TOKENS: &str = "tokenizer.ggml.tokens";
pub const SCORES: &str = "tokenizer.ggml.scores";
pub const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
pub const MERGES: &str = "tokenizer.ggml.merges";
pub const BOS: &str = "tokenizer.ggml.bos_token_id";
pub const EOS: &str = "tokenizer.ggml.eos_token_id";
pub const EOT: &str = "tokenizer.ggml.eot_token_id";
/// Ends a message of a turn that goes on; read as one of [`EOS_IDS`].
pub const EOM: &str = "tokenizer.ggml.eom_token_id";
pub const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub const PADDING: &str = "tokenizer.ggml.padding_token_id";
/// Read as the token that begins a text where a WordPiece file has no [`BOS`].
pub const CLS: &str = "tokenizer.ggml.cls_token_id";
pub const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// Every id that ends a generation, array of u32.
pub const EOS_IDS: &str = carat_format::keys::EOS_TOKEN_IDS;
/// What is done to a text before it is split, names separated by commas: see [`super::Normalizer`].
pub const NORMALIZER: &str = "carat.tokenizer.normalizer";
/// The steps of a pre-tokenizer that has no name, array of string: see [`super::Step::text`].
pub const STEPS: &str = "carat.tokenizer.pre";
/// Which parts of a text get a space in front, see [`super::SpacePrefix`]; refines [`ADD_SPACE_PREFIX`].
pub const SPACE_PREFIX: &str = "carat.tokenizer.space_prefix";
/// Whether a word that is a token is never split, whatever the merges say.
pub const IGNORE_MERGES: &str = "carat.tokenizer.ignore_merges";
/// Ids of special tokens that swallow the white space before them, array of u32.
pub const STRIP_LEFT: &str = "carat.tokenizer.strip_left";
/// Ids of special tokens that swallow the white space behind them, array of u32.
pub const STRIP_RIGHT: &str = "carat.tokenizer.strip_right";
/// Ids of special tokens that are found where no letter or digit touches them, array of u32.
pub const SINGLE_WORD: &str = "carat.tokenizer.single_word";
/// Ids of special tokens that are found in the normalized text, array of u32.
pub const NORMALIZED: &str = "carat.tokenizer.normalized";
/// What prompts begin with behind BOS, or in its place, array of u32.
pub const PREFIX: &str = "carat.tokenizer.prefix";
/// What a whole text ends with where that is not EOS alone, array of u32.
pub const SUFFIX: &str = "carat.tokenizer.suffix";
