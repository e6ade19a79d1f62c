//! What to try on the command line, behind an error of the engine: the library knows no flags.

use carat::internals::{Error, GenerateError, SavedError};
use carat_converter::convert::ConvertError;

/// The advice on a cause whose words end the message.
pub fn of(cause: &(dyn std::error::Error + 'static), message: &str) -> Option<&'static str> {
    let error = engine(cause)?;
    let ends = message.ends_with(&error.to_string());
    known(error).filter(|_| ends)
}

/// The engine's error, which others show as it is.
pub fn engine<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    if let Some(GenerateError::Engine(e)) = cause.downcast_ref() {
        return Some(e);
    }
    if let Some(ConvertError::Engine(e)) = cause.downcast_ref() {
        return Some(e);
    }
    cause.downcast_ref()
}

fn known(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Saved(e) => return saved(e),
        Error::Context { .. } => "; ask for less with --ctx",
        Error::MemoryLimit { .. } => "; raise --memory-limit or take a file of fewer bits",
        Error::Memory { .. } => "; ask for a shorter context with --ctx",
        Error::ContextFull { .. } => "; raise --ctx or shorten the prompt",
        Error::Threads { .. } => "; take fewer with --threads",
        Error::Device { reason, .. } if reason.starts_with("the context needs a buffer") => {
            "; ask for less with --ctx or take --device cpu"
        }
        Error::Device { reason, .. } if reason.ends_with("out of memory") => {
            "; try a smaller --ctx or --device cpu"
        }
        _ => return None,
    })
}

fn saved(error: &SavedError) -> Option<&'static str> {
    Some(match error {
        SavedError::Magic | SavedError::Version(_) => {
            "; give --session another name, or the file that carat wrote"
        }
        SavedError::Foreign { .. } => "; open it with that model, or give --session another name",
        SavedError::Adapters => "; give --lora as it was when the session was saved",
        SavedError::Cache { .. } => "; give --kv as it was when the session was saved",
        SavedError::Context { .. } => "; raise --ctx",
        SavedError::Cut { .. }
        | SavedError::Header(_)
        | SavedError::Segment { .. }
        | SavedError::Trailing => "; restore the file from a copy, or give --session another name",
        SavedError::Note { .. } | SavedError::Read(_) | SavedError::Write(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::describe;
    use anyhow::Context;

    #[test]
    fn flags_are_behind_what_the_engine_says() {
        let full = || Error::ContextFull {
            asked: 2,
            used: 0,
            context: 1,
        };
        let plain = full().to_string();
        let expected = format!("m.gguf: {plain}; raise --ctx or shorten the prompt");
        let direct = Err::<(), _>(full()).context("m.gguf").unwrap_err();
        let generating = Err::<(), _>(GenerateError::Engine(full())).context("m.gguf");
        for error in [direct, generating.unwrap_err()] {
            assert_eq!(describe(&error), expected);
        }
    }
}
