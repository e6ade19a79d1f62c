//! Errors, with the codes that every binding has.

use carat::ErrorCode;
use serde::Serialize;
use std::fmt;

/// The kind of a [`Failure`]. The names are those of the npm package.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A model cannot be fetched.
    Network = 1,
    /// Bytes of a file do not have their hash.
    Hash = 2,
    /// A file is no Carat model, contradicts itself, or holds what this build cannot run.
    Format = 3,
    /// There is no such GPU, or it failed.
    Webgpu = 4,
    /// The GPU was lost: a model that is opened again may have it back.
    DeviceLost = 5,
    /// The work was cancelled, or the object is closed.
    Aborted = 6,
    /// The memory does not suffice, or the limit on it.
    Memory = 7,
    /// The tokens do not fit the context.
    Context = 8,
    /// A parameter is out of its range, a schema cannot be used, or an object is none.
    Parameter = 9,
    /// The chat template fails, or refuses the conversation.
    Template = 10,
    /// A file cannot be read or written.
    Storage = 11,
    /// All else.
    Internal = 12,
}

impl Code {
    /// Every code, in the order of their numbers, which begin with 1.
    pub const ALL: [Self; 12] = [
        Self::Network,
        Self::Hash,
        Self::Format,
        Self::Webgpu,
        Self::DeviceLost,
        Self::Aborted,
        Self::Memory,
        Self::Context,
        Self::Parameter,
        Self::Template,
        Self::Storage,
        Self::Internal,
    ];

    /// The code as one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Hash => "hash",
            Self::Format => "format",
            Self::Webgpu => "webgpu",
            Self::DeviceLost => "device-lost",
            Self::Aborted => "aborted",
            Self::Memory => "memory",
            Self::Context => "context",
            Self::Parameter => "parameter",
            Self::Template => "template",
            Self::Storage => "storage",
            Self::Internal => "internal",
        }
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NotFound | ErrorCode::Io => Self::Storage,
            ErrorCode::InvalidFile | ErrorCode::Unsupported => Self::Format,
            ErrorCode::Damaged => Self::Hash,
            ErrorCode::Memory => Self::Memory,
            ErrorCode::ContextFull => Self::Context,
            ErrorCode::Device => Self::Webgpu,
            ErrorCode::DeviceLost => Self::DeviceLost,
            ErrorCode::Cancelled => Self::Aborted,
            ErrorCode::Parameter | ErrorCode::Format => Self::Parameter,
            ErrorCode::Template => Self::Template,
            _ => Self::Internal,
        }
    }
}

/// What went wrong, as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// One line: the state, the cause and the remedy.
    pub message: String,
    /// What was found, where it is about a value.
    pub found: Option<String>,
    /// What was expected in its place.
    pub expected: Option<String>,
}

impl Failure {
    /// Of a code and a line.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            found: None,
            expected: None,
        }
    }

    /// A parameter that is out of its range.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(Code::Parameter, message)
    }

    /// Of an object that is closed.
    pub fn closed(what: &str) -> Self {
        Self::new(
            Code::Aborted,
            format!("the {what} is closed; make another one"),
        )
    }

    /// Of a conversation that answers already.
    pub fn busy() -> Self {
        Self::parameter(
            "the conversation answers already; take the answer to its end, or close its stream",
        )
    }

    /// Of a thread that ended by a panic.
    pub fn panicked() -> Self {
        Self::new(
            Code::Internal,
            "Carat failed within itself; close the model, open it again, and report this",
        )
    }
}

impl From<carat::Error> for Failure {
    fn from(error: carat::Error) -> Self {
        Self {
            code: error.code().into(),
            message: error.to_string(),
            found: error.found(),
            expected: error.expected(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_npm_package() {
        let types = include_str!("../../../web/npm/index.d.ts");
        let line = types.lines().find(|l| l.contains("type ErrorCode ="));
        let line = line.unwrap_or_default();
        let names: Vec<&str> = line.split('\'').skip(1).step_by(2).collect();
        let ours: Vec<&str> = Code::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names, ours);
        for (i, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, i + 1);
        }
    }
}
