//! Why a template gives no prompt.

use super::MAX_SOURCE;

/// A fault of a chat template or of what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum TemplateError {
    #[error("the chat template has {found} bytes; expected at most {MAX_SOURCE}")]
    TooLong { found: usize },
    #[error("the chat template is not valid Jinja: line {line}: {detail}")]
    Syntax { line: usize, detail: String },
    /// The template called `raise_exception`.
    #[error("the chat template refuses this conversation: {message}")]
    Refused { message: String },
    #[error(
        "the chat template takes more than {fuel} steps; it loops without end, or the conversation is too long for it"
    )]
    OutOfFuel { fuel: u64 },
    #[error("the chat template nests more than {limit} deep; its macros call themselves without end")]
    Recursion { limit: usize },
    #[error("the chat template works with values nested more than {limit} deep")]
    Nesting { limit: usize },
    #[error("the prompt of the chat template has more than {limit} bytes")]
    OutputTooLong { limit: usize },
    #[error("the chat template fails at line {line}: {detail}")]
    Failed { line: usize, detail: String },
    #[error("no thread can be started for the chat template: {0}; close other programs")]
    Thread(std::io::Error),
    /// A panic in the interpreter.
    #[error("the interpreter of the chat template broke down; give another template")]
    Broken,
}
