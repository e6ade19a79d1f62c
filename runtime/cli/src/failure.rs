//! How a command ends when it does not succeed.

use std::process::ExitCode;

/// The command line asks for something that cannot be: exit code 2, like a flag that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Whoever read our output went away: nothing to say, nothing to do.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has gone")]
pub struct OutputClosed;

/// Ctrl-C, or a signal that asks the program to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted{0}")]
pub struct Interrupted(pub std::borrow::Cow<'static, str>);

/// Prints one line about a failure; its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    crate::term::problem("error", &describe(error));
    if error.is::<Usage>() {
        ExitCode::from(2)
    } else if error.is::<Interrupted>() {
        ExitCode::from(crate::interrupt::code())
    } else {
        ExitCode::FAILURE
    }
}

/// The chain of causes in one line, without causes that a message has already quoted.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    if let Some((_, hint)) = HINTS.iter().find(|(fault, _)| text.ends_with(fault)) {
        text.push_str(hint);
    }
    text.replace(['\n', '\r'], " ")
}

/// What to try where the system's own words end the message.
const HINTS: [(&str, &str); 5] = [
    ("(os error 2)", "; is the path right?"),
    (
        "(os error 13)",
        "; check the permissions, or choose another place",
    ),
    ("(os error 21)", "; give a file"),
    (
        "(os error 28)",
        "; free some space, or choose another place",
    ),
    ("(os error 30)", "; choose a place that can be written"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn one_line_and_no_echo() {
        let error = anyhow!("not found")
            .context("a.gguf: not found")
            .context("while\nopening");
        assert_eq!(describe(&error), "while opening: a.gguf: not found");
        assert_eq!(describe(&anyhow!("x").context("y")), "y: x");
    }
}
