//! The quality card of a file: its tokens before the file is laid out, its figures once the file is there.

use super::finalize::{open, patch};
use super::{ConvertError, Options};
use crate::eval::{self, EvalError};
use crate::progress::Progress;
use crate::source::Checkpoint;
use crate::text;
use carat_format::{Card, Figures, keys};
use carat_gguf::Layout;
use std::path::{Path, PathBuf};

/// Tokens of a chunk, or the model's context or the whole text where that is shorter.
const CHUNK: usize = 256;
/// Positions that the integer engine computes together.
const BATCH: u32 = 64;

/// What a file's quality is measured on.
#[derive(Clone, Debug)]
pub struct CardText {
    /// A text in UTF-8; the built-in one where absent.
    pub path: Option<PathBuf>,
    /// Most tokens of it, in whole chunks of 256; one chunk at least.
    pub tokens: usize,
}

impl CardText {
    /// Tokens of the card if nothing else is said.
    pub const TOKENS: usize = 512;
}

impl Default for CardText {
    fn default() -> Self {
        Self {
            path: None,
            tokens: Self::TOKENS,
        }
    }
}

/// The card with its figures still unset. None where the text or the model's context is too short for a prediction.
pub(super) fn plan(source: &Checkpoint, text: &CardText) -> Result<Option<Card>, ConvertError> {
    let (name, content) = match &text.path {
        None => ("built-in".into(), text::BUILT_IN.to_string()),
        Some(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), text::read(path)?)
        }
    };
    let (mut tokens, bos) = text::tokens(source, &content)?;
    let context = source.hyper().context_length as usize;
    let ctx = CHUNK.min(context).min(tokens.len());
    if ctx < keys::MIN_CARD_CTX as usize {
        return Ok(None);
    }
    let most = text.tokens.min(keys::MAX_CARD_TOKENS);
    tokens.truncate((most.min(tokens.len()) / ctx).max(1) * ctx);
    if let Some(bos) = bos {
        tokens.chunks_exact_mut(ctx).for_each(|c| c[0] = bos);
    }
    Ok(Some(Card {
        text: name,
        ctx: ctx as u32,
        tokens,
        figures: Figures::default(),
    }))
}

/// Measures the written file and enters the figures into its header.
pub(super) fn fill(
    path: &Path,
    layout: &Layout,
    card: &Card,
    (source, options): (&Checkpoint, &Options),
    progress: &dyn Progress,
) -> Result<Figures, ConvertError> {
    let session = open(path, options.threads, BATCH)?;
    let quality = eval::card(session, card, Some(source), progress).map_err(|e| match e {
        EvalError::Cancelled => ConvertError::Cancelled,
        other => ConvertError::Card(other),
    })?;
    let figures = quality.figures().unwrap_or_default();
    let values = figures.fields().map(|(k, x)| (k, x.to_le_bytes().into()));
    patch(path, layout, &values)?;
    Ok(figures)
}
