//! Logits of a text in a file: `u32 n_tokens, u32 n_vocab, i32 ids[n_tokens],
//! f32 logits[n_tokens][n_vocab]`, little endian. llama.cpp's tools and these tests exchange it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Why a dump cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum DumpError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {found} bytes, but {tokens} tokens of {vocab} logits take {expected}", path.display())]
    Length {
        path: PathBuf,
        tokens: u32,
        vocab: u32,
        expected: u64,
        found: u64,
    },
    #[error("{}: token {position} is {found}, expected 0 to {vocab} (exclusive)", path.display())]
    Token {
        path: PathBuf,
        position: usize,
        found: i64,
        vocab: u32,
    },
    #[error("{}: {found} rows of {vocab} logits are to be written for {tokens} tokens", path.display())]
    Rows {
        path: PathBuf,
        tokens: usize,
        vocab: u32,
        found: usize,
    },
}

/// The logits after each token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Logits of a position.
    pub vocab: u32,
    /// `[ids.len(), vocab]`.
    pub logits: Vec<f32>,
}

impl Dump {
    /// Logits after token `position`; `None` past the end.
    pub fn row(&self, position: usize) -> Option<&[f32]> {
        let vocab = self.vocab as usize;
        self.logits
            .get(position.checked_mul(vocab)?..)?
            .get(..vocab)
    }

    /// Reads a dump. Takes memory of the file's size.
    ///
    /// # Errors
    /// An I/O error, a length other than the counts give, an id outside the vocabulary.
    pub fn read(path: &Path) -> Result<Self, DumpError> {
        let io = |error| DumpError::Io {
            path: path.into(),
            error,
        };
        let file = File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?.len();
        let mut file = BufReader::new(file);
        let mut word = || -> Result<[u8; 4], DumpError> {
            let mut b = [0; 4];
            file.read_exact(&mut b).map_err(io)?;
            Ok(b)
        };
        let (tokens, vocab) = (u32::from_le_bytes(word()?), u32::from_le_bytes(word()?));
        // Below 2^3 + 2^34 + 2^66.
        let expected = 8 + 4 * u128::from(tokens) * (1 + u128::from(vocab));
        if u128::from(found) != expected {
            let expected = u64::try_from(expected).unwrap_or(u64::MAX);
            return Err(DumpError::Length {
                path: path.into(),
                tokens,
                vocab,
                expected,
                found,
            });
        }
        let mut ids = Vec::with_capacity(tokens as usize);
        for position in 0..tokens as usize {
            let id = i32::from_le_bytes(word()?);
            match u32::try_from(id) {
                Ok(id) if id < vocab => ids.push(id),
                _ => {
                    return Err(DumpError::Token {
                        path: path.into(),
                        position,
                        found: id.into(),
                        vocab,
                    });
                }
            }
        }
        let mut logits = Vec::with_capacity(tokens as usize * vocab as usize);
        for _ in 0..logits.capacity() {
            logits.push(f32::from_le_bytes(word()?));
        }
        Ok(Self { ids, vocab, logits })
    }

    /// Writes the dump.
    ///
    /// # Errors
    /// An I/O error, logits that are not one row a token.
    pub fn write(&self, path: &Path) -> Result<(), DumpError> {
        let mut writer = DumpWriter::create(path, &self.ids, self.vocab)?;
        for row in self.logits.chunks(self.vocab.max(1) as usize) {
            writer.row(row)?;
        }
        writer.finish()
    }
}

/// Writes a dump row by row, so that it need not be in memory.
pub struct DumpWriter {
    path: PathBuf,
    file: BufWriter<File>,
    tokens: usize,
    vocab: u32,
    rows: usize,
}

impl DumpWriter {
    /// Creates the file, replacing one that exists.
    ///
    /// # Errors
    /// An I/O error, an id outside the vocabulary or beyond 31 bits.
    pub fn create(path: &Path, ids: &[u32], vocab: u32) -> Result<Self, DumpError> {
        if let Some(position) = ids
            .iter()
            .position(|t| *t >= vocab || i32::try_from(*t).is_err())
        {
            let found = ids[position].into();
            return Err(DumpError::Token {
                path: path.into(),
                position,
                found,
                vocab,
            });
        }
        let io = |error| DumpError::Io {
            path: path.into(),
            error,
        };
        let mut file = BufWriter::new(File::create(path).map_err(io)?);
        let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        for word in [tokens, vocab].iter().chain(ids) {
            file.write_all(&word.to_le_bytes()).map_err(io)?;
        }
        Ok(Self {
            path: path.into(),
            file,
            tokens: ids.len(),
            vocab,
            rows: 0,
        })
    }

    /// Appends the logits after the next token.
    ///
    /// # Errors
    /// An I/O error, a row of another length than the vocabulary's.
    pub fn row(&mut self, logits: &[f32]) -> Result<(), DumpError> {
        if logits.len() != self.vocab as usize || self.rows == self.tokens {
            return Err(self.miscounted(self.rows + 1));
        }
        self.rows += 1;
        for z in logits {
            let written = self.file.write_all(&z.to_le_bytes());
            written.map_err(|error| DumpError::Io {
                path: self.path.clone(),
                error,
            })?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// An I/O error, fewer rows than tokens.
    pub fn finish(mut self) -> Result<(), DumpError> {
        if self.rows != self.tokens {
            return Err(self.miscounted(self.rows));
        }
        self.file.flush().map_err(|error| DumpError::Io {
            path: self.path,
            error,
        })
    }

    fn miscounted(&self, found: usize) -> DumpError {
        DumpError::Rows {
            path: self.path.clone(),
            tokens: self.tokens,
            vocab: self.vocab,
            found,
        }
    }
}
