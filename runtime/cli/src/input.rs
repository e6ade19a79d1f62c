//! Models as the command line names them, with errors that say what to do.

use anyhow::{Context, Result, anyhow, bail};
use carat::internals::sample::Params;
use carat::internals::{Error, Model};
use carat_converter::hf_tokenizer::HfTokenizer;
use carat_converter::source::{self, Checkpoint, TokenizerSource};
use carat_format::{ModelSpec, keys};
use carat_text::tokenizer::{Tokenizer, TokenizerData};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Largest header of a GGUF that is read, in bytes; real ones have some 10 MB.
const MAX_HEADER: u64 = 256 << 20;

/// What a path holds, as far as its first bytes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file whose architecture is Carat's.
    Carat,
    /// Any other GGUF, with its architecture.
    Gguf(String),
    /// A directory.
    Directory,
}

/// The start of a GGUF file: all before the tensor data.
pub struct Start {
    bytes: Vec<u8>,
    /// Length of the whole file.
    pub len: u64,
}

impl Start {
    /// Reads as much as the header has.
    ///
    /// Errors: the file cannot be read or is no GGUF.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let mut file = File::open(path).with_context(shown)?;
        let meta = file.metadata().with_context(shown)?;
        if !meta.is_file() {
            bail!(
                "{}: not a regular file; expected a .gguf file or a Hugging Face directory",
                path.display()
            );
        }
        let len = meta.len();
        let mut needed = 1 << 16;
        loop {
            if needed > MAX_HEADER {
                bail!(
                    "{}: the header takes over {MAX_HEADER} bytes; the file is damaged",
                    path.display()
                );
            }
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0)).with_context(shown)?;
            (&file)
                .take(needed.min(len))
                .read_to_end(&mut bytes)
                .with_context(shown)?;
            match carat_gguf::parse(&bytes, len).with_context(shown)? {
                carat_gguf::Parse::Complete(_) => return Ok(Self { bytes, len }),
                carat_gguf::Parse::NeedMore(n) if n > bytes.len() as u64 => needed = n,
                carat_gguf::Parse::NeedMore(_) => {
                    bail!("{}: the file was cut while it was read", path.display())
                }
            }
        }
    }

    /// The header. Errors: none for a start that was read.
    pub fn header(&self) -> Result<carat_gguf::Header<'_>> {
        match carat_gguf::parse(&self.bytes, self.len)? {
            carat_gguf::Parse::Complete(header) => Ok(header),
            carat_gguf::Parse::NeedMore(n) => bail!("the header needs {n} bytes"),
        }
    }
}

/// What `path` holds. Errors: nothing there, or neither a directory nor a GGUF.
pub fn kind(path: &Path) -> Result<Input> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) => match source::no_gguf(path) {
            Some(error) => return Err(error.into()),
            None => return Err(e).with_context(|| path.display().to_string()),
        },
    };
    if meta.is_dir() {
        return Ok(Input::Directory);
    }
    let start = Start::read(path);
    // What the path holds instead says more than that it is no GGUF.
    let start = start.map_err(|e| source::no_gguf(path).map_or(e, Into::into))?;
    let header = start.header()?;
    let architecture = header
        .str_opt(keys::ARCHITECTURE)
        .with_context(|| path.display().to_string())?
        .unwrap_or_default();
    Ok(match architecture {
        keys::CARAT => Input::Carat,
        other => Input::Gguf(other.into()),
    })
}

/// What the file says about sampling, under llama.cpp's keys; the engine's defaults where it is silent.
/// Values that are out of range or of another type are advice that cannot be taken.
pub fn sampling(model: &Model) -> Result<Params> {
    Ok(Params::of_header(&model.header()?))
}

/// Opens a checkpoint of whatever kind.
pub fn open_checkpoint(path: &Path) -> Result<Checkpoint> {
    Ok(Checkpoint::open(path)?)
}

/// Refuses a model that predicts no tokens, its checkpoint being a bare backbone. Errors: also what cannot be opened.
pub fn check_head(path: &Path) -> Result<()> {
    let headless = match kind(path)? {
        Input::Carat => {
            let start = Start::read(path)?;
            let spec = ModelSpec::from_header(&start.header()?);
            spec.with_context(|| path.display().to_string())?.headless
        }
        Input::Gguf(_) | Input::Directory => open_checkpoint(path)?.hyper().headless,
    };
    match headless {
        true => Err(Error::NoHead).with_context(|| path.display().to_string()),
        false => Ok(()),
    }
}

/// The tokenizer of a checkpoint.
pub fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer> {
    let shown = || checkpoint.path().display().to_string();
    let data = match checkpoint.tokenizer() {
        TokenizerSource::Directory(directory) => {
            HfTokenizer::load(directory).with_context(shown)?.data
        }
        TokenizerSource::Metadata => {
            let header = checkpoint.header().with_context(shown)?;
            TokenizerData::from_gguf(&header).with_context(shown)?
        }
    };
    Tokenizer::new(&data).with_context(shown)
}

/// A whole text file.
///
/// Errors: it cannot be read, or is not UTF-8: then at which byte.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    utf8(bytes).with_context(|| path.display().to_string())
}

/// Text of bytes without the byte-order mark that some editors put in front. Errors: at which byte it stops being UTF-8.
pub fn utf8(bytes: Vec<u8>) -> Result<String> {
    carat_text::utf8::decode(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let found = e.as_bytes().get(at).copied().unwrap_or_default();
        anyhow!("not UTF-8 text: byte {at} is 0x{found:02x}; save the text as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf8_says_where() {
        let error = utf8(b"ab\xff".to_vec()).unwrap_err().to_string();
        assert!(
            error.contains("byte 2") && error.contains("0xff"),
            "{error}"
        );
        let error = utf8(b"\xef\xbb\xbfab\xff".to_vec()).unwrap_err();
        assert!(error.to_string().contains("byte 5"), "{error}");
        assert_eq!(utf8(b"\xef\xbb\xbfab".to_vec()).unwrap(), "ab");
    }
}
