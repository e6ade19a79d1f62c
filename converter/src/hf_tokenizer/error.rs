//! Why a Hugging Face tokenizer cannot be read.

use carat_text::tokenizer::TokenizerError;
use std::path::PathBuf;

/// A fault of a tokenizer directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum HfTokenizerError {
    #[error("{}: cannot be read: {error}", file.display())]
    Read {
        file: PathBuf,
        error: std::io::Error,
    },
    #[error(
        "{} is missing; a tokenizer that has only tokenizer.model must be saved again with a fast tokenizer",
        file.display()
    )]
    Missing { file: PathBuf },
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    #[error("{} has {found} bytes; expected at most {max}", file.display())]
    TooLarge { file: PathBuf, found: u64, max: u64 },
    #[error("{} has more than {max} templates; leave those that are needed", file.display())]
    Templates { file: PathBuf, max: usize },
    #[error("{} is not UTF-8", file.display())]
    NotUtf8 { file: PathBuf },
    #[error("{} is not JSON: {error}", file.display())]
    Json { file: PathBuf, error: String },
    #[error("{}: {field} is {found}; expected {expected}", file.display())]
    Field {
        file: PathBuf,
        field: String,
        found: String,
        expected: String,
    },
    #[error("{}: {part} {found} is not supported; known: {known}", file.display())]
    Structure {
        file: PathBuf,
        part: &'static str,
        found: String,
        known: &'static str,
    },
    #[error("{}: token {text:?} has the id {id}, and {other:?} has it as well", file.display())]
    SharedId {
        file: PathBuf,
        id: u32,
        text: String,
        other: String,
    },
    #[error("{}: the special token {text:?} is not in the vocabulary, as far as the embedding has rows", file.display())]
    NoSuchToken { file: PathBuf, text: String },
    #[error("{}: byte_fallback needs a token for every byte, and {text:?} is missing", file.display())]
    NoByteToken { file: PathBuf, text: String },
    #[error("{}: {error}", file.display())]
    Definition {
        file: PathBuf,
        error: TokenizerError,
    },
}
