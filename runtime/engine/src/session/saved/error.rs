//! Why a saved session cannot be used.

use super::VERSION;

/// Why a saved session cannot be used, or written.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file is of another type.
    #[error("the file is no saved session: it does not begin with 'caratses'")]
    Magic,
    /// The file has another version.
    #[error(
        "the session was saved by version {0} of the format; this build reads version {VERSION}"
    )]
    Version(u32),
    /// The file ends within its header.
    #[error(
        "the session's header is cut: byte {expected} was expected, the file ends at byte {found}"
    )]
    Cut {
        /// Bytes that there should be.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The header does not have its hash, or contradicts itself.
    #[error("the session's header is damaged: {0}")]
    Header(String),
    /// A segment does not have its hash.
    #[error(
        "the session is damaged: the keys and values of its tokens {first} to {end} do not have their hash"
    )]
    Segment {
        /// Its first token.
        first: usize,
        /// The token after its last.
        end: usize,
    },
    /// There are bytes behind the last segment.
    #[error("the session is damaged: bytes follow its last segment")]
    Trailing,
    /// The session is of another model, or of other adapters.
    #[error(
        "the session is of another model or of other adapters: that file has the hash {expected}, this one {found}"
    )]
    Foreign {
        /// The hash of the model that it is of.
        expected: String,
        /// The hash of the model that is open.
        found: String,
    },
    /// The session's keys and values are not as this model keeps them.
    #[error("the session has keys and values of {expected}, the model is loaded with {found}")]
    Cache {
        /// As the session has them.
        expected: String,
        /// As the model is loaded.
        found: String,
    },
    /// The session has more tokens than the context.
    #[error("the session has {tokens} tokens, the context only {context} positions")]
    Context {
        /// Tokens of the session.
        tokens: usize,
        /// Positions of the context.
        context: u32,
    },
    /// The note is longer than a reader accepts.
    #[error("what is to be kept beside the session has {found} bytes; at most {most} can be")]
    Note {
        /// Its bytes.
        found: usize,
        /// Most bytes.
        most: usize,
    },
    /// The file cannot be read.
    #[error("the session cannot be read: {0}")]
    Read(std::io::Error),
    /// The file cannot be written.
    #[error("the session cannot be written: {0}")]
    Write(std::io::Error),
}
