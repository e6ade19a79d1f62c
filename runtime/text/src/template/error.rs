//! Why a template gives no prompt.

use super::limits::{MAX_NESTING, MAX_SOURCE, MAX_TOKENS};

/// A fault of a chat template or of what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages describe the fields.
pub enum TemplateError {
    #[error("the chat template has {found} bytes; expected at most {MAX_SOURCE}")]
    TooLong { found: usize },
    #[error("the chat template is not valid Jinja: line {line}: {detail}")]
    Syntax { line: usize, detail: String },
    #[error(
        "the chat template is too intricate: line {line}: a tag of more than {MAX_TOKENS} tokens, or \
         tags and brackets nested too deep; split it"
    )]
    Intricate { line: usize },
    /// The template called `raise_exception`.
    #[error("the chat template refuses this conversation: {message}")]
    Refused { message: String },
    #[error(
        "the chat template takes more than {fuel} steps at line {line}; it loops without end, or the conversation is \
         too long for it"
    )]
    OutOfFuel { fuel: u64, line: usize },
    #[error(
        "the chat template nests more than {limit} deep at line {line}; its macros call themselves without end"
    )]
    Recursion { limit: usize, line: usize },
    #[error(
        "values nested more than {MAX_NESTING} deep (line {line} of the chat template; 0: the conversation itself)"
    )]
    Nesting { line: usize },
    #[error("the chat template makes a text of more than {limit} bytes at line {line}")]
    OutputTooLong { limit: usize, line: usize },
    #[error("the chat template fails at line {line}: {detail}")]
    Failed { line: usize, detail: String },
    #[error("no thread can be started for the chat template: {0}; close other programs")]
    Thread(std::io::Error),
    /// A panic in the interpreter.
    #[error("the interpreter of the chat template broke down; give another template")]
    Broken,
}
