//! Checkpoints as they are found: a Hugging Face directory, a GGUF file, a Carat file. All of them give
//! the same hyper-parameters, the same tensors under the same names, and rows of f32 in Hugging Face's
//! order of query and key rows (the two dimensions of a rotated pair half a head apart).
//!
//! Rows are read by offset into bounded buffers, from any number of threads, so that resident memory
//! does not depend on the model's size.

mod architecture;
mod config;
mod container;
mod decode;
mod error;
mod generation;
mod gguf;
mod hf;
mod hyper;
mod io;
mod names;
mod normal;
mod packed;
mod rope;
mod stored;
mod transform;
mod unfit;

pub use carat_format::Hyper;
pub use error::SourceError;
pub use generation::Generation;
pub use transform::{Rotation, Step, Transform};
pub(crate) use unfit::refuse_pointer;

use carat_format::{Encoding, Tensor};
use carat_gguf::{Header, Parse};
use io::SourceFile;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use stored::Stored;

/// What a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory with `config.json` and safetensors.
    HuggingFace,
    /// A GGUF file of an unquantized or ggml-quantized model, or the parts of a split one.
    Gguf,
    /// A Carat file; its weights are decoded.
    Carat,
}

/// Where a checkpoint's tokenizer is described.
#[derive(Clone, Copy, Debug)]
pub enum TokenizerSource<'a> {
    /// `tokenizer.json`, `tokenizer_config.json` and their like in this directory.
    Directory(&'a Path),
    /// Metadata keys `tokenizer.*` of a GGUF file, see [`Checkpoint::header`].
    Metadata,
}

/// An opened checkpoint: checked hyper-parameters, and every tensor found, of the right shape and of a
/// type that is read. Weights themselves are read when asked for.
#[derive(Debug)]
pub struct Checkpoint {
    kind: Kind,
    path: PathBuf,
    hyper: Hyper,
    name: Option<String>,
    notes: Vec<String>,
    generation: Generation,
    files: Vec<SourceFile>,
    tensors: BTreeMap<Tensor, Stored>,
    /// A GGUF file's bytes before the tensor data; empty for a directory.
    header: Vec<u8>,
    /// What is changed on reading.
    transform: Transform,
}

impl Checkpoint {
    /// Opens a directory or a file; any part of a split GGUF opens all of them.
    ///
    /// # Errors
    /// Each way to be wrong has a variant of [`SourceError`], which names the file and the field or
    /// tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        if path.is_dir() {
            return hf::open(path);
        }
        if let Some(error) = unfit::elsewhere(path).filter(|_| !path.exists()) {
            return Err(error);
        }
        let file = SourceFile::open(path)?;
        let mut start = file.prefix(unfit::START)?;
        if start.starts_with(&carat_gguf::MAGIC) {
            return gguf::open(path);
        }
        if let Some(error) = unfit::file(path, &start) {
            return Err(error);
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            // The container's parser names older formats.
            Some("gguf" | "ggml") => gguf::open(path),
            _ => {
                start.truncate(8);
                Err(SourceError::UnknownKind {
                    path: path.into(),
                    found: start,
                })
            }
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The path it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hyper-parameters.
    pub fn hyper(&self) -> &Hyper {
        &self.hyper
    }

    /// `general.name` of a GGUF file, the name of a directory.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What a user should know of how the checkpoint is read, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Defaults for generation.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// Where the tokenizer is described.
    pub fn tokenizer(&self) -> TokenizerSource<'_> {
        match self.kind {
            Kind::HuggingFace => TokenizerSource::Directory(&self.path),
            Kind::Gguf | Kind::Carat => TokenizerSource::Metadata,
        }
    }

    /// The header of a GGUF or Carat file; `None` for a directory. Parsed anew at each call.
    pub fn header(&self) -> Option<Header<'_>> {
        match carat_gguf::parse(&self.header, self.files.first()?.len) {
            Ok(Parse::Complete(header)) => Some(header),
            _ => None,
        }
    }

    /// Files and directories whose contents the checkpoint is: what was opened, and every file of weights.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.files.iter().map(|f| f.path.as_path()))
    }

    /// Bytes of the checkpoint's weight files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.len).sum()
    }

    fn stored(&self, tensor: Tensor) -> Result<&Stored, SourceError> {
        self.tensors
            .get(&tensor)
            .ok_or_else(|| SourceError::NoTensor {
                tensor: tensor.name(),
            })
    }

    /// Element type or encoding of a tensor as it is stored, e.g. `BF16`.
    ///
    /// # Errors
    /// A tensor that the model does not have.
    pub fn type_name(&self, tensor: Tensor) -> Result<&'static str, SourceError> {
        Ok(self.stored(tensor)?.type_name())
    }

    /// Encoding of a matrix of a Carat file; `None` for everything else.
    pub fn encoding(&self, tensor: Tensor) -> Option<Encoding> {
        self.tensors.get(&tensor)?.encoding()
    }

    /// Replaces `out` by the weights of `rows` of a tensor `[rows, cols]`, row after row: `cols` weights
    /// each ([`Hyper::shape`]; a vector is one row). Reads and decodes at most about 1 MiB at a time.
    ///
    /// # Errors
    /// A tensor or rows that the model does not have, an I/O error, a weight that is not finite.
    pub fn read_rows(
        &self,
        tensor: Tensor,
        rows: Range<u64>,
        out: &mut Vec<f32>,
    ) -> Result<(), SourceError> {
        let stored = self.stored(tensor)?;
        if self.transform.is_empty() {
            return stored.read_rows(&self.files, rows, out);
        }
        let (count, cols) = self.hyper.shape(tensor);
        let needed = self.transform.needed(tensor, &rows, count);
        stored.read_rows(&self.files, needed.clone(), out)?;
        let cols = cols as usize;
        self.transform.apply(tensor, out, cols, needed.start);
        out.drain(..(rows.start - needed.start) as usize * cols);
        out.truncate((rows.end - rows.start) as usize * cols);
        Ok(())
    }

    /// The same model with its tensors changed as they are read.
    #[must_use]
    pub fn transformed(mut self, transform: Transform) -> Self {
        self.transform = transform;
        self
    }

    /// The gains of a norm.
    ///
    /// # Errors
    /// As of [`read_rows`](Self::read_rows).
    pub fn read_vector(&self, tensor: Tensor) -> Result<Vec<f32>, SourceError> {
        let mut out = Vec::new();
        self.read_rows(tensor, 0..1, &mut out)?;
        Ok(out)
    }
}

/// What a path is that is no GGUF, where its name or its first bytes tell; `None` too where it cannot be read.
pub fn no_gguf(path: &Path) -> Option<SourceError> {
    if !path.exists() {
        return unfit::elsewhere(path);
    }
    let start = SourceFile::open(path).ok()?.prefix(unfit::START).ok()?;
    match start.starts_with(&carat_gguf::MAGIC) {
        true => None,
        false => unfit::file(path, &start),
    }
}

/// The note on a context that is limited to the one of a model's first training.
fn shorter_context(found: u32, stated: u32) -> String {
    format!(
        "the context is limited to {found} of {stated} positions: beyond, the model rotates all positions by other factors"
    )
}
