//! `--metrics` and `--logprobs`: what the model thought of each token.

use crate::failure::Usage;
use anyhow::{Context, Result};
use carat::internals::sample::TokenMetrics;
use carat_text::tokenizer::Tokenizer;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Alternatives in a file where `--logprobs` does not say.
pub const DEFAULT_TOP: usize = 5;

/// One token: a line of the file, an element of `logprobs`.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    position: u32,
    #[serde(flatten)]
    piece: Piece,
    logprob: f64,
    entropy: f64,
    rank: u32,
    top: Vec<Alternative>,
}

#[derive(Clone, Debug, Serialize)]
struct Alternative {
    #[serde(flatten)]
    piece: Piece,
    logprob: f64,
}

/// A token and its text.
#[derive(Clone, Debug, Serialize)]
struct Piece {
    id: u32,
    text: String,
    /// Where the token is no whole characters, which the text then only hints at.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
}

impl Piece {
    fn new(tokenizer: &Tokenizer, id: u32) -> Self {
        let bytes = tokenizer.decode_bytes(id, true);
        let whole = std::str::from_utf8(bytes).is_ok();
        Self {
            id,
            text: String::from_utf8_lossy(bytes).into_owned(),
            bytes: (!whole).then(|| bytes.to_vec()),
        }
    }
}

impl Entry {
    /// The metrics with the tokens' texts.
    pub fn new(tokenizer: &Tokenizer, m: &TokenMetrics) -> Self {
        Self {
            position: m.position,
            piece: Piece::new(tokenizer, m.id),
            logprob: m.logprob,
            entropy: m.entropy,
            rank: m.rank,
            top: m
                .top
                .iter()
                .map(|a| Alternative {
                    piece: Piece::new(tokenizer, a.id),
                    logprob: a.logprob,
                })
                .collect(),
        }
    }
}

/// A file that gets a line a token, as soon as the token is chosen.
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Creates the file, or empties it.
    ///
    /// Errors: it is one of the files that the command reads (a [`Usage`] error), or cannot be written.
    pub fn create(path: &Path, reads: &[&Path]) -> Result<Self> {
        let full = |p: &Path| std::fs::canonicalize(p).ok();
        if let Some(target) = full(path)
            && reads.iter().any(|r| full(r).is_some_and(|r| r == target))
        {
            let text = format!(
                "--metrics {}: this file is read by the command; name another",
                path.display()
            );
            return Err(Usage(text).into());
        }
        let file = File::create(path)
            .with_context(|| format!("--metrics {}: cannot be written", path.display()))?;
        Ok(Self {
            path: path.into(),
            file,
        })
    }

    /// Writes a line.
    ///
    /// Errors: the disk is full, or the like.
    pub fn write(&mut self, entry: &Entry) -> Result<()> {
        let shown = || format!("--metrics {}: cannot be written", self.path.display());
        let mut line = serde_json::to_vec(entry).with_context(shown)?;
        line.push(b'\n');
        self.file.write_all(&line).with_context(shown)
    }
}
