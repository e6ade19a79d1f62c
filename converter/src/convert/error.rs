//! Why a checkpoint is not converted.

use crate::calibrate::CalibrationError;
use crate::eval::EvalError;
use crate::hf_tokenizer::HfTokenizerError;
use crate::reference::ReferenceError;
use crate::source::SourceError;
use crate::text::TextError;
use carat_format::Encoding;
use std::path::PathBuf;

/// A fault of the source, the target or the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum ConvertError {
    #[error(
        "{found} bits per weight are not supported, expected {}",
        Encoding::bits_of_all()
    )]
    Bits { found: f64 },
    #[error("the rule '{rule}' matches no matrix of the model; its matrices are {names}")]
    Rule { rule: String, names: String },
    #[error(
        "{found} bytes are too few for the tensors, whose least coding takes {least} ({least_bpw:.3} bits per weight); give a larger target"
    )]
    Target {
        found: u64,
        least: u64,
        least_bpw: f64,
    },
    #[error("a target size needs a calibration text, which shows what each matrix needs; give one")]
    TargetText,
    #[error(
        "the residual stream cannot be rotated: the embedding is the head, or norms stand before its additions; leave rotate-stream out"
    )]
    NoRotation,
    #[error("{}: already a Carat file; convert the checkpoint that it was made from", path.display())]
    AlreadyConverted { path: PathBuf },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Tokenizer(#[from] HfTokenizerError),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error("{0}")]
    Text(TextError),
    #[error("the quality card: {0}")]
    CardText(#[from] TextError),
    #[error("the quality card: {0}; try another text, or none")]
    Card(EvalError),
    #[error(
        "the file would be useless: KL {kl:.2} nats, perplexity {ppl:.2} where the checkpoint has {reference_ppl:.2}; nothing was written"
    )]
    Useless {
        kl: f64,
        ppl: f64,
        reference_ppl: f64,
    },
    #[error("the model does not fit the file format: {0}")]
    Format(#[from] carat_format::FormatError),
    #[error(
        "tensor '{tensor}' has values that integers of 32 bits cannot follow (magnitude {found:.3e}); is the checkpoint damaged?"
    )]
    TooLarge { tensor: String, found: f64 },
    #[error("the file's header cannot be written: {0}")]
    Header(#[from] carat_gguf::WriteError),
    #[error("the file's header does not read back: {fault}")]
    HeaderCheck { fault: String },

    #[error("{}: exists; give another name, or --force to replace it", path.display())]
    TargetExists { path: PathBuf },
    #[error("{}: a directory, expected the name of a file to write", path.display())]
    TargetIsDirectory { path: PathBuf },
    #[error("{}: the target lies in the source; give a name outside it", path.display())]
    TargetIsSource { path: PathBuf },
    #[error("{}: no file can be created in this directory: {error}", path.display())]
    TargetDirectory {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: the disk is full; the file needs {needed} bytes", path.display())]
    DiskFull { path: PathBuf, needed: u64 },
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        path: PathBuf,
        error: std::io::Error,
    },

    #[error("the written file does not run: {0}")]
    Engine(carat::internals::Error),
    #[error("the threads cannot be started: {fault}")]
    Threads { fault: String },
    #[error("{}: another conversion is writing this target; wait for it or give another name", path.display())]
    Busy { path: PathBuf },
    #[error("cancelled; nothing was written")]
    Cancelled,
    #[error("cancelled; the same command goes on from what is kept in {}", path.display())]
    Paused { path: PathBuf },
}

impl From<carat::internals::Error> for ConvertError {
    fn from(error: carat::internals::Error) -> Self {
        match error {
            carat::internals::Error::Cancelled => Self::Cancelled,
            other => Self::Engine(other),
        }
    }
}

impl From<ReferenceError> for ConvertError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Cancelled => Self::Cancelled,
            ReferenceError::Source(error) => Self::Source(error),
            other => Self::Calibration(CalibrationError::Reference(other)),
        }
    }
}
