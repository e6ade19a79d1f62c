//! Text to tokens and back.
//!
//! Special tokens are found here, before what is between them is taken apart by the model's algorithm, which gives none of them.

use super::bpe::{ByteLevel, Scored};
use super::data::{Model, SpacePrefix, TokenType, TokenizerData};
use super::error::TokenizerError;
use super::matcher::Matcher;
use super::normal::{adds_bos, canonical_pre, ignores_merges};
use super::pieces::Pieces;
use super::split::Split;
use super::validate::validate;
use super::wordpiece::WordPiece;
use std::borrow::Cow;
use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization;

/// A tokenizer. Immutable; share it between threads.
pub struct Tokenizer {
    algorithm: Algorithm,
    model: Model,
    /// Found in every text.
    user_defined: Matcher,
    /// Found where special tokens are allowed: control tokens and the user-defined.
    pub(super) all: Matcher,
    /// Control tokens alone.
    pub(super) controls: Matcher,
    pub(super) control: Vec<Box<str>>,
    pieces: Pieces,
    nfc: bool,
    space_prefix: SpacePrefix,
    strip_left: HashSet<u32>,
    strip_right: HashSet<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    ends: HashSet<u32>,
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// The first fault of the definition; see [`TokenizerError`].
    pub fn new(data: &TokenizerData) -> Result<Self, TokenizerError> {
        validate(data)?;
        let special = special_tokens(data);
        let named = |keep: &dyn Fn(usize) -> bool| {
            Matcher::new(
                (0u32..)
                    .zip(&data.tokens)
                    .filter(|(id, _)| keep(*id as usize))
                    .map(|(id, t)| (t.as_str().into(), id)),
            )
        };
        let user_defined =
            |id: usize| !special[id] && data.token_type(id) == TokenType::UserDefined;
        let pre = canonical_pre(&data.pre).unwrap_or_default();
        let implied = data.model != Model::Gpt2 || adds_bos(pre);
        Ok(Self {
            algorithm: Algorithm::new(data, &special)?,
            model: data.model,
            user_defined: named(&user_defined),
            all: named(&|id| special[id] || user_defined(id)),
            controls: named(&|id| special[id]),
            control: data
                .tokens
                .iter()
                .zip(&special)
                .filter(|(text, special)| **special && !text.is_empty())
                .map(|(text, _)| text.as_str().into())
                .collect(),
            pieces: Pieces::new(data, &special),
            nfc: data.nfc,
            space_prefix: match data.model {
                Model::Llama => data.space_prefix,
                Model::Gpt2 | Model::Bert => SpacePrefix::Never,
            },
            strip_left: data.strip_left.iter().copied().collect(),
            strip_right: data.strip_right.iter().copied().collect(),
            bos: data.bos,
            eos: data.eos,
            add_bos: data.bos.is_some() && data.add_bos.unwrap_or(implied),
            ends: data
                .eos
                .into_iter()
                .chain(data.eot)
                .chain(data.eos_ids.iter().copied())
                .collect(),
        })
    }

    /// Tokens of a text, without BOS or EOS. With `special` false no part of the text becomes a control
    /// token, whatever it spells: use that for what a user wrote, `true` for a rendered chat template.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let matcher = if special {
            &self.all
        } else {
            &self.user_defined
        };
        self.encode_with(text, matcher, None)
    }

    /// Tokens of a text that is cut where the matcher finds something; `mark` is taken out of the parts.
    pub(super) fn encode_with(
        &self,
        text: &str,
        matcher: &Matcher,
        mark: Option<char>,
    ) -> Vec<u32> {
        let mut out = Vec::new();
        let mut from = 0;
        let mut search = 0;
        while let Some((start, end, id)) = matcher.find(text, search) {
            // A token of one character has no inside: behind it a mark stands for the same.
            if mark.is_some_and(|m| text[end..].starts_with(m))
                && text[start..end].chars().count() == 1
            {
                search = end;
                continue;
            }
            let mut part = &text[from..start];
            if self.strip_left.contains(&id) {
                part = part.trim_end();
            }
            self.encode_part(&unmarked(part, mark), from == 0, &mut out);
            out.push(id);
            from = end;
            if self.strip_right.contains(&id) {
                from = text.len() - text[end..].trim_start().len();
            }
            search = from;
        }
        self.encode_part(&unmarked(&text[from..], mark), from == 0, &mut out);
        out
    }

    /// Tokens of a prompt: [`Tokenizer::encode`] with BOS in front if the model wants one and the text
    /// does not already begin with it.
    pub fn encode_prompt(&self, text: &str, special: bool) -> Vec<u32> {
        self.with_bos(self.encode(text, special))
    }

    /// BOS in front if the model wants one and the tokens do not begin with it.
    pub(super) fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self.bos
            && self.add_bos
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }

    fn encode_part(&self, part: &str, at_start: bool, out: &mut Vec<u32>) {
        if part.is_empty() {
            return;
        }
        let mut part = if self.nfc && !part.is_ascii() {
            Cow::Owned(part.nfc().collect())
        } else {
            Cow::Borrowed(part)
        };
        if self.space_prefix.applies(&part, at_start) {
            part.to_mut().insert(0, ' ');
        }
        self.algorithm.encode(&part, out);
    }

    /// The bytes a token stands for; not always whole characters, see [`super::Utf8Stream`]. Empty for
    /// ids past the vocabulary, and for control, unknown and unused tokens unless `special`.
    pub fn decode_bytes(&self, id: u32, special: bool) -> &[u8] {
        self.pieces.get(id, special)
    }

    /// Whether a token ends a generation.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The tokens that end a generation, in no order.
    pub fn ends(&self) -> impl Iterator<Item = u32> {
        self.ends.iter().copied()
    }

    /// Number of tokens. The embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether [`Tokenizer::encode_prompt`] puts BOS in front.
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// The id of a control or user-defined token by its whole text.
    pub fn special_id(&self, text: &str) -> Option<u32> {
        match self.all.find(text, 0) {
            Some((0, end, id)) if end == text.len() => Some(id),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("model", &self.model)
            .field("vocab_size", &self.vocab_size())
            .field("bos", &self.bos)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

fn unmarked(part: &str, mark: Option<char>) -> Cow<'_, str> {
    match mark {
        Some(mark) if part.contains(mark) => part.replace(mark, "").into(),
        _ => part.into(),
    }
}

/// The tokens that ordinary text must not become.
fn special_tokens(data: &TokenizerData) -> Vec<bool> {
    let mut special: Vec<bool> = (0..data.tokens.len())
        .map(|id| data.token_type(id) == TokenType::Control)
        .collect();
    // A file may call the markers themselves user-defined, or have no types at all.
    let markers = [data.bos, data.eos, data.eot];
    for id in markers
        .into_iter()
        .flatten()
        .chain(data.eos_ids.iter().copied())
    {
        let id = id as usize;
        if data.token_type(id) == TokenType::UserDefined || data.token_types.is_empty() {
            special[id] = true;
        }
    }
    special
}

/// Takes ordinary text apart, by the model's algorithm.
enum Algorithm {
    ByteLevel(Box<ByteLevel>),
    Scored(Scored),
    WordPiece(Box<WordPiece>),
}

impl Algorithm {
    fn new(data: &TokenizerData, special: &[bool]) -> Result<Self, TokenizerError> {
        let unknown = |id: usize| {
            data.token_type(id) == TokenType::Unknown || data.unk == u32::try_from(id).ok()
        };
        let hidden: Vec<bool> = special
            .iter()
            .enumerate()
            .map(|(id, &special)| {
                let kind = data.token_type(id);
                special
                    || data.tokens[id].is_empty()
                    || matches!(kind, TokenType::UserDefined | TokenType::Unused)
                    || data.model == Model::Llama && unknown(id)
            })
            .collect();
        Ok(match data.model {
            Model::Gpt2 => {
                let pre = canonical_pre(&data.pre);
                let found = pre.and_then(|p| Some((Split::new(p)?, ignores_merges(p))));
                let missing = || TokenizerError::UnknownPre {
                    found: data.pre.clone(),
                };
                let (split, implied) = found.ok_or_else(missing)?;
                let whole = data.ignore_merges.unwrap_or(implied);
                Self::ByteLevel(Box::new(ByteLevel::new(data, &hidden, split, whole)))
            }
            Model::Llama => Self::Scored(Scored::new(data, &hidden)),
            Model::Bert => {
                let unknown = data.unk.ok_or(TokenizerError::NoUnknown)?;
                Self::WordPiece(Box::new(WordPiece::new(data, &hidden, unknown)))
            }
        })
    }

    fn encode(&self, text: &str, out: &mut Vec<u32>) {
        match self {
            Self::ByteLevel(t) => t.encode(text, out),
            Self::Scored(t) => t.encode(text, out),
            Self::WordPiece(t) => t.encode(text, out),
        }
    }
}
