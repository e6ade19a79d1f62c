//! Text to tokens and back.
//!
//! Special tokens are found here, before what is between them is taken apart by the model's algorithm, which gives none of them.

use super::bpe::{ByteLevel, Ranked, Scored};
use super::data::{Model, NEVER_MADE, SpacePrefix, TokenType, TokenizerData};
use super::error::TokenizerError;
use super::finder::{Finder, Part, Rules};
use super::matcher::Matcher;
use super::names::{OWN_PRE, adds_bos, ignores_merges};
use super::normal::Normal;
use super::pieces::Pieces;
use super::split::Split;
use super::validate::validate;
use super::wordpiece::WordPiece;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// A tokenizer. Immutable; share it between threads.
pub struct Tokenizer {
    algorithm: Algorithm,
    model: Model,
    /// Found in every text: the user-defined.
    ordinary: Finder,
    /// Found where special tokens are allowed: control tokens and the user-defined.
    all: Finder,
    /// Found where control tokens are, in a text in which a user's is masked: there what normalization makes of a text is no
    /// control token.
    pub(super) masked: Finder,
    /// Control tokens alone.
    pub(super) controls: Matcher,
    pub(super) control: Vec<Box<str>>,
    rules: Rules,
    pieces: Pieces,
    normal: Normal,
    space_prefix: SpacePrefix,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    /// What prompts begin with, BOS among it.
    front: Vec<u32>,
    suffix: Vec<u32>,
    ends: BTreeSet<u32>,
}

impl Tokenizer {
    /// Builds a tokenizer.
    ///
    /// # Errors
    /// The first fault of the definition; see [`TokenizerError`].
    pub fn new(data: &TokenizerData) -> Result<Self, TokenizerError> {
        validate(data)?;
        let ends = data.ends();
        let special = special_tokens(data, &ends);
        let normal = Normal::new(data);
        let user_defined =
            |id: usize| !special[id] && data.token_type(id) == TokenType::UserDefined;
        let late: HashSet<usize> = data.normalized.iter().map(|id| *id as usize).collect();
        let literal = |keep: &dyn Fn(usize) -> bool| {
            let kept = (0u32..).zip(&data.tokens);
            let kept = kept.filter(|(id, _)| keep(*id as usize));
            Matcher::new(kept.map(|(id, t)| (t.as_str().into(), id)))
        };
        let normalized = |keep: &dyn Fn(usize) -> bool| {
            let kept = data.normalized.iter().filter(|id| keep(**id as usize));
            Matcher::new(kept.map(|id| (normal.apply(&data.tokens[*id as usize]).into(), *id)))
        };
        let either = |id| special[id] || user_defined(id);
        let implied = match data.model {
            Model::Gpt2 => adds_bos(&data.pre),
            Model::Llama | Model::Bert | Model::Gemma4 => true,
        };
        let add_bos = data.bos.is_some() && data.add_bos.unwrap_or(implied);
        let bos = data.bos.filter(|_| add_bos);
        Ok(Self {
            algorithm: Algorithm::new(data, &special)?,
            model: data.model,
            ordinary: Finder {
                literal: literal(&|id| user_defined(id) && !late.contains(&id)),
                normalized: normalized(&user_defined),
            },
            all: Finder {
                literal: literal(&|id| either(id) && !late.contains(&id)),
                normalized: normalized(&either),
            },
            masked: Finder {
                literal: literal(&|id| special[id] || user_defined(id) && !late.contains(&id)),
                normalized: normalized(&user_defined),
            },
            controls: literal(&|id| special[id]),
            control: data
                .tokens
                .iter()
                .zip(&special)
                .filter(|(text, special)| **special && !text.is_empty())
                .map(|(text, _)| text.as_str().into())
                .collect(),
            rules: Rules {
                strip_left: data.strip_left.iter().copied().collect(),
                strip_right: data.strip_right.iter().copied().collect(),
                single_word: data.single_word.iter().copied().collect(),
            },
            pieces: Pieces::new(data, &special),
            normal,
            space_prefix: match data.model.marks_spaces() {
                true => data.space_prefix,
                false => SpacePrefix::Never,
            },
            bos: data.bos,
            eos: data.eos,
            add_bos,
            front: bos.into_iter().chain(data.prefix.iter().copied()).collect(),
            suffix: match data.suffix.is_empty() && data.add_eos == Some(true) {
                true => data.eos.into_iter().collect(),
                false => data.suffix.clone(),
            },
            ends,
        })
    }

    /// Tokens of a text, without BOS or EOS. With `special` false no part of the text becomes a control
    /// token, whatever it spells: use that for what a user wrote, `true` for a rendered chat template.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let finder = match special {
            true => &self.all,
            false => &self.ordinary,
        };
        self.encode_with(text, finder, None)
    }

    /// Tokens of a text that is cut where the finder finds something; `mark` is taken out of the parts.
    pub(super) fn encode_with(&self, text: &str, finder: &Finder, mark: Option<char>) -> Vec<u32> {
        let mut out = Vec::new();
        self.rules
            .cut(text, &finder.literal, mark, &mut |part| match part {
                Part::Token(id) => out.push(id),
                Part::Text(text, start) => {
                    let text = unmarked(text, mark);
                    self.encode_part(&text, &finder.normalized, start == 0, &mut out);
                }
            });
        out
    }

    /// Tokens of a prompt: [`Tokenizer::encode`] with BOS, or whatever else the model wants in front, if the text does not
    /// already begin with it.
    pub fn encode_prompt(&self, text: &str, special: bool) -> Vec<u32> {
        self.with_front(self.encode(text, special))
    }

    /// Tokens of a text that is whole, as a model of embeddings reads it: as a prompt, with EOS or whatever else the file
    /// puts behind.
    pub fn encode_whole(&self, text: &str, special: bool) -> Vec<u32> {
        let mut ids = self.encode_prompt(text, special);
        ids.extend(&self.suffix);
        ids
    }

    /// What the model wants in front, if the tokens do not begin as it does.
    pub(super) fn with_front(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if !self.front.is_empty() && ids.first() != self.front.first() {
            ids.splice(0..0, self.front.iter().copied());
        }
        ids
    }

    fn encode_part(&self, part: &str, matcher: &Matcher, at_start: bool, out: &mut Vec<u32>) {
        let part = self.normal.apply(part);
        self.rules
            .cut(&part, matcher, None, &mut |part| match part {
                Part::Token(id) => out.push(id),
                Part::Text(text, start) => {
                    if self.space_prefix.follows(text, at_start && start == 0) {
                        self.algorithm.encode(&format!(" {text}"), out);
                    } else {
                        self.algorithm.encode(text, out);
                    }
                }
            });
    }

    /// The bytes a token stands for; not always whole characters, see [`crate::utf8::Utf8Stream`]. Empty for
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
        let finders = [
            &self.all.literal,
            &self.masked.literal,
            &self.all.normalized,
        ];
        finders.iter().find_map(|m| match m.find(text, 0) {
            Some((0, end, id)) if end == text.len() => Some(id),
            _ => None,
        })
    }

    /// The id of a control token by its whole text.
    pub fn control_id(&self, text: &str) -> Option<u32> {
        match self.controls.find(text, 0) {
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
fn special_tokens(data: &TokenizerData, ends: &BTreeSet<u32>) -> Vec<bool> {
    let mut special: Vec<bool> = (0..data.tokens.len())
        .map(|id| data.token_type(id) == TokenType::Control)
        .collect();
    // A file may call the markers themselves user-defined, or have no types at all.
    for id in ends.iter().copied().chain(data.bos) {
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
    Ranked(Box<Ranked>),
    WordPiece(Box<WordPiece>),
}

impl Algorithm {
    fn new(data: &TokenizerData, special: &[bool]) -> Result<Self, TokenizerError> {
        let unknown = |id: usize| {
            data.token_type(id) == TokenType::Unknown || data.unk == u32::try_from(id).ok()
        };
        let made = made(data);
        let hidden: Vec<bool> = special
            .iter()
            .enumerate()
            .map(|(id, &special)| {
                let kind = data.token_type(id);
                special
                    || data.tokens[id].is_empty()
                    || kind == TokenType::Unused
                    || kind == TokenType::UserDefined && !made(id)
                    || data.model.marks_spaces() && unknown(id)
            })
            .collect();
        Ok(match data.model {
            Model::Gpt2 => {
                let split = Split::new(&data.pre, &data.steps)?;
                let whole = data.ignore_merges.unwrap_or(ignores_merges(&data.pre));
                Self::ByteLevel(Box::new(ByteLevel::new(data, &hidden, split, whole)))
            }
            Model::Llama => Self::Scored(Scored::new(data, &hidden)),
            Model::Gemma4 => {
                // Any other name is llama.cpp's, whose cuts at line breaks no merge crosses.
                let split = (data.pre == OWN_PRE)
                    .then(|| Split::new(OWN_PRE, &data.steps))
                    .transpose()?;
                let whole = data.ignore_merges.unwrap_or(false);
                Self::Ranked(Box::new(Ranked::new(data, &hidden, split, whole)))
            }
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
            Self::Ranked(t) => t.encode(text, out),
            Self::WordPiece(t) => t.encode(text, out),
        }
    }
}

/// Whether merges make a user-defined token, so that it comes also of what only normalization spells like it.
fn made(data: &TokenizerData) -> impl Fn(usize) -> bool {
    let of_merges = |text: &String| text.replacen(' ', "", 1);
    let made: HashSet<String> = match data.model.has_merges() {
        true => data.merges.iter().map(of_merges).collect(),
        false => HashSet::new(),
    };
    move |id| match data.model {
        Model::Llama => data.scores.get(id).is_some_and(|s| *s != NEVER_MADE),
        Model::Gpt2 | Model::Gemma4 => {
            made.contains(&data.tokens[id]) || data.tokens[id].chars().nth(1).is_none()
        }
        Model::Bert => false,
    }
}
