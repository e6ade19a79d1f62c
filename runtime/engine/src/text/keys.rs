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
pub const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub const PADDING: &str = "tokenizer.ggml.padding_token_id";
/// Read as the token that begins a text where a WordPiece file has no [`BOS`].
pub const CLS: &str = "tokenizer.ggml.cls_token_id";
pub const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// Every id that ends a generation, array of u32.
pub const EOS_IDS: &str = carat_format::keys::EOS_TOKEN_IDS;
/// Unicode normalization before splitting; the only value is [`NFC`].
pub const NORMALIZER: &str = "carat.tokenizer.normalizer";
pub const NFC: &str = "nfc";
/// Which parts of a text get a space in front, see [`super::SpacePrefix`]; refines [`ADD_SPACE_PREFIX`].
pub const SPACE_PREFIX: &str = "carat.tokenizer.space_prefix";
/// Whether a word that is a token is never split, whatever the merges say.
pub const IGNORE_MERGES: &str = "carat.tokenizer.ignore_merges";
/// Ids of special tokens that swallow the white space before them, array of u32.
pub const STRIP_LEFT: &str = "carat.tokenizer.strip_left";
/// Ids of special tokens that swallow the white space behind them, array of u32.
pub const STRIP_RIGHT: &str = "carat.tokenizer.strip_right";
