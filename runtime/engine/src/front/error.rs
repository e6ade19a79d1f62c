//! Errors as data.

use super::FitError;
use crate::error::Error as Fault;
use crate::generate::GenerateError;
use crate::session::SavedError;
#[cfg(feature = "grammar")]
use carat_text::grammar::GrammarError;
use carat_text::reply::ToolsError;
#[cfg(feature = "grammar")]
use carat_text::reply::grammar::CallsError;
use carat_text::template::ChatError;
use std::fmt;
use std::path::PathBuf;

/// What went wrong. It displays as one line: the state that was met, what was expected, and the cause.
///
/// ```
/// let error = carat::Model::open("no/such.gguf").map(|_| ()).unwrap_err();
/// assert_eq!(error.code(), carat::ErrorCode::NotFound);
/// ```
pub struct Error(Box<Cause>);

/// The kind of an [`Error`], for programs. [`ErrorCode::name`] is the word that the command line's JSON has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Nothing is at that path.
    NotFound,
    /// The system refuses the file for another reason.
    Io,
    /// The file is no Carat model, is cut, or contradicts itself.
    InvalidFile,
    /// Bytes of the file do not have their hash, or went while it is open.
    Damaged,
    /// The model, or this build, cannot do what is asked.
    Unsupported,
    /// The memory does not suffice, or the limit on it.
    Memory,
    /// The tokens do not fit the context.
    ContextFull,
    /// There is no such device, or it failed.
    Device,
    /// The device was lost: a model that is opened again may have it back.
    DeviceLost,
    /// A [`Cancel`](crate::Cancel) ended the work.
    Cancelled,
    /// A parameter is out of its range.
    Parameter,
    /// The chat template fails, or refuses the conversation.
    Template,
    /// The schema or grammar cannot be used, or cannot be met.
    Format,
    /// All else.
    Failed,
}

impl ErrorCode {
    /// The code as one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Io => "io",
            Self::InvalidFile => "invalid_file",
            Self::Damaged => "damaged",
            Self::Unsupported => "unsupported",
            Self::Memory => "memory",
            Self::ContextFull => "context_full",
            Self::Device => "device",
            Self::DeviceLost => "device_lost",
            Self::Cancelled => "cancelled",
            Self::Parameter => "parameter",
            Self::Template => "template",
            Self::Format => "format",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an [`Error`] comes from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] Fault),
    /// The engine, of the file at a path.
    #[error("{}: {fault}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What is wrong with the file.
        fault: Fault,
    },
    /// A generation, for another reason than the engine's.
    #[error(transparent)]
    Generate(GenerateError),
    /// A schema or grammar.
    #[cfg(feature = "grammar")]
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Calls that no grammar can be made for.
    #[cfg(feature = "grammar")]
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// Tools that are none.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// Text that is no JSON.
    #[error("the {what} is no JSON: {error}")]
    Json {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Results of other calls than those of the last answer.
    #[error("{found}; expected a result of each call of the last answer: {expected}")]
    Results {
        /// What is wrong.
        found: String,
        /// The calls.
        expected: String,
    },
    /// Calls that must come, and a format of the answer.
    #[error("calls of tools must come, and the answer has a format; leave one out")]
    CallsAndFormat,
    /// This build has no grammars.
    #[error("this build follows no schema or grammar: it lacks the feature 'grammar'")]
    NoGrammar,
    /// A conversation or its template.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A message that has no room in the context.
    #[error(
        "the message and the system message have {tokens} tokens, the context {context} positions; shorten them"
    )]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the context.
        context: usize,
    },
    /// Nothing to answer.
    #[error("there is no message to answer")]
    NoMessage,
    /// A reader failed.
    #[error("the model cannot be read: {0}")]
    Read(std::io::Error),
}

impl From<GenerateError> for Cause {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Engine(e) => e.into(),
            other => Self::Generate(other),
        }
    }
}

impl From<FitError> for Cause {
    fn from(error: FitError) -> Self {
        match error {
            FitError::Chat(e) => e.into(),
            FitError::TooLong { tokens, context } => Self::TooLong { tokens, context },
        }
    }
}

impl<T: Into<Cause>> From<T> for Error {
    fn from(cause: T) -> Self {
        Self(Box::new(cause.into()))
    }
}

impl Error {
    /// What kind it is.
    pub fn code(&self) -> ErrorCode {
        use ErrorCode as C;
        match &*self.0 {
            Cause::Engine(e) | Cause::File { fault: e, .. } => e.code(),
            Cause::Generate(GenerateError::Constraint(_)) => C::Format,
            Cause::Generate(_) => C::Parameter,
            #[cfg(feature = "grammar")]
            Cause::Grammar(_) => C::Format,
            #[cfg(feature = "grammar")]
            Cause::Calls(CallsError::NoTool { .. } | CallsError::NoTools) => C::Parameter,
            #[cfg(feature = "grammar")]
            Cause::Calls(_) => C::Format,
            Cause::Tools(_)
            | Cause::Json { .. }
            | Cause::Results { .. }
            | Cause::CallsAndFormat => C::Parameter,
            Cause::NoGrammar => C::Unsupported,
            Cause::Chat(_) => C::Template,
            Cause::TooLong { .. } => C::ContextFull,
            Cause::NoMessage => C::Parameter,
            Cause::Read(_) => C::Io,
        }
    }

    /// What was found, where the error is about a value: `5000 tokens`.
    pub fn found(&self) -> Option<String> {
        Some(match &*self.0 {
            Cause::Engine(e) | Cause::File { fault: e, .. } => {
                return e.found_and_expected().map(|f| f.0);
            }
            Cause::TooLong { tokens, .. } => format!("{tokens} tokens"),
            Cause::Generate(GenerateError::EmptyPrompt) => "0 tokens".into(),
            _ => return None,
        })
    }

    /// What was expected in its place: `at most 4096 positions`.
    pub fn expected(&self) -> Option<String> {
        Some(match &*self.0 {
            Cause::Engine(e) | Cause::File { fault: e, .. } => {
                return e.found_and_expected().map(|f| f.1);
            }
            Cause::TooLong { context, .. } => format!("at most {context} positions"),
            Cause::Generate(GenerateError::EmptyPrompt) => "at least 1 token".into(),
            _ => return None,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    /// As a program shows it that returns it from `main`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.code())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Fault {
    /// What kind it is.
    pub fn code(&self) -> ErrorCode {
        use ErrorCode as C;
        match self {
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => C::NotFound,
                _ => C::Io,
            },
            Self::Hash { .. } | Self::Segment { .. } | Self::Lost { .. } => C::Damaged,
            Self::Container(_)
            | Self::Format(_)
            | Self::Tokenizer(_)
            | Self::MissingTensor(_)
            | Self::Bindings { .. }
            | Self::Alignment { .. } => C::InvalidFile,
            Self::Context { .. } | Self::MemoryLimit { .. } | Self::Memory { .. } => C::Memory,
            Self::ContextFull { .. } => C::ContextFull,
            Self::Saved(e) => match e {
                SavedError::Header(_) | SavedError::Segment { .. } | SavedError::Trailing => {
                    C::Damaged
                }
                SavedError::Magic | SavedError::Version(_) | SavedError::Cut { .. } => {
                    C::InvalidFile
                }
                SavedError::Foreign { .. } | SavedError::Cache { .. } | SavedError::Adapters => {
                    C::Unsupported
                }
                SavedError::Context { .. } => C::ContextFull,
                SavedError::Note { .. } => C::Parameter,
                SavedError::Read(_) | SavedError::Write(_) => C::Io,
            },
            Self::NoDevice { .. } | Self::Device { .. } => C::Device,
            Self::DeviceLost { .. } => C::DeviceLost,
            Self::Cancelled => C::Cancelled,
            Self::NoHead | Self::Vocabulary(_) | Self::Folded(_) | Self::Adapter(_) => {
                C::Unsupported
            }
            Self::AdapterFile(e) => adapter(e),
            Self::Strengths { .. } | Self::Strength(_) => C::Parameter,
            Self::Token { .. } | Self::NoTokens => C::Parameter,
            _ => C::Failed,
        }
    }

    /// What was found and what was expected, where it is about a value.
    fn found_and_expected(&self) -> Option<(String, String)> {
        let positions = |most: u64| format!("at most {most} positions");
        Some(match self {
            Self::Hash {
                expected, found, ..
            }
            | Self::Segment {
                expected, found, ..
            } => (found.clone(), expected.clone()),
            Self::Context { asked, most, .. } => {
                (format!("{asked} positions"), positions((*most).into()))
            }
            Self::MemoryLimit { limit, least, .. } => {
                (format!("{limit} bytes"), format!("at least {least} bytes"))
            }
            Self::ContextFull {
                asked,
                used,
                context,
            } => (
                format!("{} tokens", used.saturating_add(*asked)),
                positions((*context).into()),
            ),
            Self::Token { id, vocab } => (id.to_string(), format!("below {vocab}")),
            Self::NoDevice { asked, available } => (asked.clone(), available.clone()),
            Self::Alignment { offset, .. } => {
                (format!("byte {offset}"), "a multiple of 256".into())
            }
            Self::NoTokens => ("0 tokens".into(), "at least 1 token".into()),
            _ => return None,
        })
    }
}
/// What kind of fault an adapter has.
fn adapter(error: &carat_adapter::AdapterError) -> ErrorCode {
    use carat_adapter::AdapterError as A;
    match error {
        A::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::NotFound => ErrorCode::NotFound,
            _ => ErrorCode::Io,
        },
        A::NoAdapter { .. } => ErrorCode::NotFound,
        A::Unsupported { .. }
        | A::NotInModel { .. }
        | A::Architecture { .. }
        | A::Magnitude { .. }
        | A::Type { .. } => ErrorCode::Unsupported,
        _ => ErrorCode::InvalidFile,
    }
}
