//! Texts that a conversion runs, as the checkpoint's tokenizer cuts them.

use crate::hf_tokenizer::{self, HfTokenizer, HfTokenizerError};
use crate::source::{Checkpoint, TokenizerSource};
use carat_gguf::Header;
use carat_text::template::ChatTemplate;
use carat_text::tokenizer::{DEFAULT_PRE, Model, Tokenizer, TokenizerData, keys};
use std::path::{Path, PathBuf};

/// The text that quality is measured on where nobody gives another: English prose of this project's own, which shares no
/// passage with what conversions calibrate on.
pub const BUILT_IN: &str = include_str!("../texts/demo.txt");

/// Why a text cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum TextError {
    #[error("{}: the text cannot be read: {error}", path.display())]
    Read {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: the text is not UTF-8 at byte {at}; save it as UTF-8", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error(
        "the text has token {found}, expected one below {vocab_size}, the rows of the embedding"
    )]
    Token { found: u32, vocab_size: u32 },
    #[error("the tokenizer cannot be used: {fault}")]
    Tokenizer { fault: String },
    #[error("the tokenizer cannot be used: {0}")]
    Directory(Box<HfTokenizerError>),
}

/// Bytes without U+FEFF in UTF-8 in front.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// A whole file.
pub(crate) fn read(path: &Path) -> Result<String, TextError> {
    let bytes = std::fs::read(path).map_err(|error| TextError::Read {
        path: path.into(),
        error,
    })?;
    carat_text::utf8::decode(bytes).map_err(|e| TextError::NotUtf8 {
        path: path.into(),
        at: e.utf8_error().valid_up_to(),
    })
}

/// The tokens of a text, the token that begins a text in front where the model has one; that token.
pub(crate) fn tokens(
    source: &Checkpoint,
    text: &str,
) -> Result<(Vec<u32>, Option<u32>), TextError> {
    let tokenizer = tokenizer(source)?;
    let tokens = tokenizer.encode_prompt(text, false);
    check(source, &tokens)?;
    Ok((tokens, first(source, &tokenizer)))
}

/// Whether the embedding has a row for each of the tokens.
pub(crate) fn check(source: &Checkpoint, tokens: &[u32]) -> Result<(), TextError> {
    let vocab_size = source.hyper().vocab_size;
    match tokens.iter().find(|t| **t >= vocab_size) {
        None => Ok(()),
        Some(found) => Err(TextError::Token {
            found: *found,
            vocab_size,
        }),
    }
}

/// The token that begins a text, where the model has one.
pub(crate) fn first(source: &Checkpoint, tokenizer: &Tokenizer) -> Option<u32> {
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    bos.filter(|b| *b < source.hyper().vocab_size)
}

/// The checkpoint's chat template, where it has one that can be read.
pub(crate) fn template(source: &Checkpoint) -> Option<ChatTemplate> {
    match source.tokenizer() {
        TokenizerSource::Directory(directory) => hf_tokenizer::chat_template(directory).ok()?,
        TokenizerSource::Metadata => ChatTemplate::of_header(&source.header()?).ok()?,
    }
}

/// The checkpoint's tokenizer.
pub(crate) fn tokenizer(source: &Checkpoint) -> Result<Tokenizer, TextError> {
    read_tokenizer(source).map(|read| read.0)
}

/// What of the checkpoint's tokenizer is left out or assumed. A GGUF may have none.
///
/// # Errors
/// A tokenizer that cannot be used.
pub fn tokenizer_notes(source: &Checkpoint) -> Result<Vec<String>, TextError> {
    let has_none = |header: &Header<'_>| header.get(keys::MODEL).is_none();
    match source.tokenizer() {
        TokenizerSource::Metadata if source.header().as_ref().is_some_and(has_none) => {
            Ok(Vec::new())
        }
        _ => read_tokenizer(source).map(|read| read.1),
    }
}

fn read_tokenizer(source: &Checkpoint) -> Result<(Tokenizer, Vec<String>), TextError> {
    let fault = |e: &dyn std::fmt::Display| TextError::Tokenizer {
        fault: e.to_string(),
    };
    let (data, notes) = match source.tokenizer() {
        TokenizerSource::Directory(directory) => {
            let hf = HfTokenizer::load(directory).map_err(|e| TextError::Directory(Box::new(e)))?;
            (hf.data, hf.notes)
        }
        TokenizerSource::Metadata => {
            let header = source
                .header()
                .ok_or_else(|| fault(&"there is no header"))?;
            let data = TokenizerData::from_gguf(&header).map_err(|e| fault(&e))?;
            let notes = guessed(&data).into_iter().collect();
            (data, notes)
        }
    };
    let tokenizer = Tokenizer::new(&data).map_err(|e| fault(&e))?;
    Ok((tokenizer, notes))
}

/// The note on a pre-tokenizer that a file does not name.
fn guessed(data: &TokenizerData) -> Option<String> {
    (data.model == Model::Gpt2 && data.pre == DEFAULT_PRE).then(|| {
        format!(
            "the file does not name its pre-tokenizer ({}): texts are cut as llama.cpp does then, which may not be what the model was trained with",
            keys::PRE
        )
    })
}
