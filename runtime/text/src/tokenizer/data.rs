//! What a tokenizer is made from, as plain data.

use super::step::Step;

/// Most tokens of a vocabulary.
pub const MAX_TOKENS: usize = 1 << 20;
/// Longest token in bytes.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// The algorithm, named as in `tokenizer.ggml.model`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// `llama`: SentencePiece BPE. The adjacent pair whose union has the highest score merges first.
    Llama,
    /// `gpt2`: BPE over bytes, with an ordered list of merges.
    Gpt2,
    /// `bert`: WordPiece, greedy longest match.
    Bert,
    /// `gemma4`: BPE over characters, with an ordered list of merges.
    Gemma4,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Gpt2, Self::Bert, Self::Gemma4];

    /// llama.cpp's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Gpt2 => "gpt2",
            Self::Bert => "bert",
            Self::Gemma4 => "gemma4",
        }
    }

    /// Whether an ordered list of merges defines it.
    pub fn has_merges(self) -> bool {
        matches!(self, Self::Gpt2 | Self::Gemma4)
    }

    /// Whether its tokens spell a space as U+2581.
    pub fn marks_spaces(self) -> bool {
        matches!(self, Self::Llama | Self::Gemma4)
    }
}

/// What a token is for, numbered as in `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    /// Text, in files that do not say.
    Undefined = 0,
    /// Text.
    Normal = 1,
    /// Stands for text that has no token.
    Unknown = 2,
    /// Marks structure; never comes from a user's text.
    Control = 3,
    /// Found verbatim in any text before it is split.
    UserDefined = 4,
    /// A row of the embedding without a token.
    Unused = 5,
    /// One byte, spelled `<0x0A>`.
    Byte = 6,
}

impl TokenType {
    /// The type of a number; `None` if it is not 0..=6.
    pub fn from_raw(raw: i32) -> Option<Self> {
        Some(match raw {
            0 => Self::Undefined,
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// Which parts of a text get a space in front before a SentencePiece model sees them. Special tokens
/// cut a text into parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpacePrefix {
    /// None.
    Never,
    /// Every part (llama.cpp; `Prepend` in a Hugging Face normalizer).
    #[default]
    Always,
    /// Every part that does not begin with a space (`Metaspace` with the scheme `always`).
    UnlessSpace,
    /// The part at the start of the text, if it does not begin with a space (`Metaspace`, `first`).
    StartUnlessSpace,
}

impl SpacePrefix {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Never, "never"),
        (Self::Always, "always"),
        (Self::UnlessSpace, "unless-space"),
        (Self::StartUnlessSpace, "start-unless-space"),
    ];

    /// The name in a file.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|n| n.0 == self).map_or("", |n| n.1)
    }

    /// The value of a name; `None` if it is none of them.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|n| n.1 == name).map(|n| n.0)
    }

    /// Whether a part gets a space where it is split; [`SpacePrefix::Always`] is a part of normalization.
    pub(super) fn follows(self, part: &str, at_start: bool) -> bool {
        let begins_with_space = part.starts_with([' ', '\u{2581}']);
        match self {
            Self::Never | Self::Always => false,
            Self::UnlessSpace => !begins_with_space,
            Self::StartUnlessSpace => at_start && !begins_with_space,
        }
    }
}

/// The score of a user-defined token that no merge makes.
pub const NEVER_MADE: f32 = f32::MIN;

/// What is done to a text before it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalizer {
    /// Unicode normalization form C.
    Nfc,
    /// Unicode normalization form D.
    Nfd,
    /// Unicode normalization form KC.
    Nfkc,
    /// Unicode normalization form KD.
    Nfkd,
    /// Small letters.
    Lowercase,
    /// No combining marks.
    StripAccents,
}

impl Normalizer {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Nfc, "nfc"),
        (Self::Nfd, "nfd"),
        (Self::Nfkc, "nfkc"),
        (Self::Nfkd, "nfkd"),
        (Self::Lowercase, "lowercase"),
        (Self::StripAccents, "strip-accents"),
    ];

    /// The name in a file.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|n| n.0 == self).map_or("", |n| n.1)
    }

    /// The value of a name; `None` if it is none of them.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|n| n.1 == name).map(|n| n.0)
    }
}

/// A tokenizer's definition: vocabulary, merges or scores, special ids. Index = token id throughout.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizerData {
    /// The algorithm.
    pub model: Model,
    /// Name of the pre-tokenizer; only models that have merges read it.
    pub pre: String,
    /// The pre-tokenizer that has no name; see [`super::OWN_PRE`].
    pub steps: Vec<Step>,
    /// Text of every token.
    pub tokens: Vec<String>,
    /// Merge priority of every token, higher first; only [`Model::Llama`] has it. No merge makes a user-defined token of
    /// [`NEVER_MADE`].
    pub scores: Vec<f32>,
    /// [`TokenType`] of every token; empty if the source does not say.
    pub token_types: Vec<i32>,
    /// `left right` pairs, first merges first; see [`Model::has_merges`].
    pub merges: Vec<String>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn of a conversation.
    pub eot: Option<u32>,
    /// Stands for text that has no token.
    pub unk: Option<u32>,
    /// Fills a batch.
    pub pad: Option<u32>,
    /// Further ids that end a generation.
    pub eos_ids: Vec<u32>,
    /// Whether prompts begin with [`TokenizerData::bos`]; `None`: what the model implies.
    pub add_bos: Option<bool>,
    /// Whether a whole text ends with [`TokenizerData::eos`]; prompts, which go on, never get one.
    pub add_eos: Option<bool>,
    /// What prompts begin with behind BOS, or in its place where that is not added.
    pub prefix: Vec<u32>,
    /// What a whole text ends with where that is not EOS alone.
    pub suffix: Vec<u32>,
    /// Spaces that a SentencePiece model wants in front.
    pub space_prefix: SpacePrefix,
    /// What is done to a text before it is split, in order.
    pub normalizers: Vec<Normalizer>,
    /// Whether a word that is a token stays whole; `None`: what the pre-tokenizer implies.
    pub ignore_merges: Option<bool>,
    /// Control and user-defined tokens that are found in the normalized text, behind the others.
    pub normalized: Vec<u32>,
    /// Control and user-defined tokens that are found where no letter or digit touches them.
    pub single_word: Vec<u32>,
    /// Special tokens that swallow the white space before them.
    pub strip_left: Vec<u32>,
    /// Special tokens that swallow the white space behind them.
    pub strip_right: Vec<u32>,
}

impl TokenizerData {
    /// Data with a vocabulary and nothing else.
    pub fn new(model: Model, tokens: Vec<String>) -> Self {
        Self {
            model,
            pre: String::new(),
            steps: Vec::new(),
            tokens,
            scores: Vec::new(),
            token_types: Vec::new(),
            merges: Vec::new(),
            bos: None,
            eos: None,
            eot: None,
            unk: None,
            pad: None,
            eos_ids: Vec::new(),
            add_bos: None,
            add_eos: None,
            prefix: Vec::new(),
            suffix: Vec::new(),
            space_prefix: SpacePrefix::default(),
            normalizers: Vec::new(),
            ignore_merges: None,
            normalized: Vec::new(),
            single_word: Vec::new(),
            strip_left: Vec::new(),
            strip_right: Vec::new(),
        }
    }

    /// Type of a token; [`TokenType::Undefined`] where the source does not say.
    pub fn token_type(&self, id: usize) -> TokenType {
        self.token_types
            .get(id)
            .and_then(|&raw| TokenType::from_raw(raw))
            .unwrap_or(TokenType::Undefined)
    }
}
