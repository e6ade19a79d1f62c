//! What can go wrong in the engine.

use crate::session::SavedError;
use carat_format::FormatError;
use carat_text::tokenizer::TokenizerError;
use std::path::PathBuf;

/// A failure of the engine, naming the file, tensor or field. What to try on a command line its program adds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A mapped file that lost bytes while it is open: it was shortened, or cannot be read any more.
    #[error(
        "{path}: the file was shortened, or cannot be read any more, while it is open; restore the file and open it again",
        path = .path.display()
    )]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// Maps cannot be guarded.
    #[error(
        "the loss of mapped files cannot be survived, as the system refuses a handler of SIGBUS: {0}"
    )]
    Guard(std::io::Error),
    /// The file is no valid GGUF container.
    #[error("not a readable GGUF file: {0}")]
    Container(#[from] carat_gguf::Error),
    /// The container holds no valid Carat model.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The tokenizer in the file cannot be used.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// A tensor of the model is missing.
    #[error("tensor '{0}' is missing; convert the checkpoint again")]
    MissingTensor(String),
    /// A plan names other buffers than its kernel binds.
    #[error(
        "step '{step}' names other buffers than the kernel '{kernel}' binds; report this as a bug"
    )]
    Bindings {
        /// Label of the step.
        step: String,
        /// Name of the kernel.
        kernel: &'static str,
    },
    /// A tensor's bytes do not have the hash that the file states.
    #[error(
        "tensor '{tensor}' is damaged: its blake3 is {found}, the file states {expected}; fetch or convert the file again"
    )]
    Hash {
        /// The tensor.
        tensor: String,
        /// Hash stated.
        expected: String,
        /// Hash found.
        found: String,
    },
    /// A segment's bytes do not have the hash that the file states.
    #[error(
        "bytes {start} to {end} (segment {index}) are damaged: their blake3 is {found}, the file states {expected}; \
         fetch them again"
    )]
    Segment {
        /// Its index.
        index: usize,
        /// Its first byte in the file.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// Hash stated.
        expected: String,
        /// Hash found.
        found: String,
    },
    /// Tensor data does not start at a multiple of 256 bytes.
    #[error(
        "tensor '{tensor}' starts at byte {offset}, which is no multiple of 256; convert the checkpoint again"
    )]
    Alignment {
        /// The tensor.
        tensor: String,
        /// Its offset.
        offset: u64,
    },
    /// The context asked for cannot be held.
    #[error(
        "a context of {asked} positions cannot be held: at most {most} of this model fit buffers of {binding} bytes"
    )]
    Context {
        /// Positions asked for.
        asked: u32,
        /// Most positions.
        most: u32,
        /// Most bytes of a buffer.
        binding: u64,
    },
    /// The limit on memory is below what the model needs.
    #[error(
        "a limit of {limit} bytes is too small: {least} are needed for {context} positions, {weights} of them the weights"
    )]
    MemoryLimit {
        /// Bytes allowed.
        limit: u64,
        /// Bytes needed.
        least: u64,
        /// Bytes of the weights.
        weights: u64,
        /// Positions that they would be needed for.
        context: u32,
    },
    /// The system does not give the memory.
    #[error("no memory for {bytes} bytes of '{buffer}'")]
    Memory {
        /// The buffer.
        buffer: String,
        /// Its size.
        bytes: u64,
    },
    /// The tokens do not fit what is left of the context.
    #[error("{asked} tokens do not fit: {used} of {context} positions are used")]
    ContextFull {
        /// Tokens given.
        asked: usize,
        /// Positions used.
        used: usize,
        /// Positions there are.
        context: u32,
    },
    /// The pages that all sequences share are used up.
    #[error(
        "{asked} tokens do not fit: {left} positions are left of what all sequences share; drop or cut a sequence, or load the \
         model with a larger pool"
    )]
    PoolFull {
        /// Tokens given.
        asked: usize,
        /// Positions that the sequence may still take.
        left: usize,
    },
    /// A batch that the plan cannot compute.
    #[error("the batch cannot be computed: {0}")]
    Batch(String),
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocab}")]
    Token {
        /// The id.
        id: u32,
        /// Rows of the embedding.
        vocab: u32,
    },
    /// An adapter of another model.
    #[error("the adapter '{0}' is of another model; load it for this one")]
    Adapter(String),
    /// An adapter cannot be used.
    #[error(transparent)]
    AdapterFile(Box<carat_adapter::AdapterError>),
    /// The model's matrices read and write other values than the checkpoint's.
    #[error(
        "adapters do not fit this file: its conversion folded '{0}' into the matrices; convert the checkpoint without that method"
    )]
    Folded(String),
    /// No strength of an adapter.
    #[error("the strength of an adapter is {0}, expected a number from -16 to 16")]
    Strength(f64),
    /// Other strengths than there are adapters.
    #[error(
        "there are {found} strengths of adapters, expected {expected}: one for each that is loaded"
    )]
    Strengths {
        /// Strengths given.
        found: usize,
        /// Adapters.
        expected: usize,
    },
    /// There is nothing to compute.
    #[error("the text has no tokens; give one that is not empty")]
    NoTokens,
    /// The model predicts no tokens.
    #[error(
        "the model generates no text: its checkpoint is a backbone without a head (lm_head.weight)"
    )]
    NoHead,
    /// No device of that name, or none at all.
    #[error("no device matches '{asked}'; there are: {available}")]
    NoDevice {
        /// What was asked for.
        asked: String,
        /// What there is.
        available: String,
    },
    /// The device refused or failed.
    #[error("device '{device}': {reason}")]
    Device {
        /// Its name.
        device: String,
        /// What it said.
        reason: String,
    },
    /// The device was lost.
    #[error("device '{device}' was lost: {reason}; open the session again")]
    DeviceLost {
        /// Its name.
        device: String,
        /// What it said.
        reason: String,
    },
    /// A model cannot propose tokens of another one.
    #[error(
        "the model that is to propose tokens has another vocabulary: {0}; take one of the same family"
    )]
    Vocabulary(String),
    /// A saved session cannot be used, or written.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The worker threads cannot be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// The same of a file that is worth nothing any more, for everybody who is to know; `None` of another kind.
    pub(crate) fn of_damage(&self) -> Option<Self> {
        match self {
            Self::Hash {
                tensor,
                expected,
                found,
            } => Some(Self::Hash {
                tensor: tensor.clone(),
                expected: expected.clone(),
                found: found.clone(),
            }),
            Self::Lost { path } => Some(Self::Lost { path: path.clone() }),
            _ => None,
        }
    }
}

impl From<carat_adapter::AdapterError> for Error {
    fn from(error: carat_adapter::AdapterError) -> Self {
        Self::AdapterFile(error.into())
    }
}
