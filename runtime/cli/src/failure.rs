//! How a command ends when it does not succeed.

mod advice;
mod code;

pub use advice::engine;
use carat_converter::convert::ConvertError;
use carat_converter::source::SourceError;
use serde::Serialize;
use serde_json::json;
use std::process::ExitCode;
use std::sync::OnceLock;

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

/// How results are wanted where not as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object.
    Object,
    /// A line for each event.
    Events,
}

/// Asked for by the command line; never set where text is wanted.
static FORM: OnceLock<Form> = OnceLock::new();

/// From here on a failure is told on stdout too, in this form.
pub fn speak(form: Option<Form>) {
    if let Some(form) = form {
        let _ = FORM.set(form);
    }
}

/// A failure as JSON: see `docs/json.md`.
#[derive(Debug, Serialize)]
struct Failure {
    code: &'static str,
    /// What stderr says.
    message: String,
    /// What the system or a part of the program said first, where the message adds to it.
    cause: Option<String>,
    /// What to try, where the message says it.
    hint: Option<String>,
}

impl Failure {
    fn new(error: &anyhow::Error) -> Self {
        let message = describe(error);
        let cause = error
            .chain()
            .last()
            .map(|c| c.to_string().replace(['\n', '\r'], " "));
        Self {
            code: code::of(error),
            cause: cause.filter(|c| !message.starts_with(c.as_str())),
            hint: hint(error, &message),
            message,
        }
    }

    /// Prints it where JSON is wanted, and no result has been printed yet.
    fn print(self) {
        let written = match FORM.get() {
            _ if crate::term::has_printed_json() => return,
            None => return,
            Some(Form::Object) => crate::term::print_json(&json!({ "error": self })),
            Some(Form::Events) => crate::term::print_event("error", &json!({ "error": self })),
        };
        if let Err(e) = written {
            tracing::debug!("{e}");
        }
    }
}

/// Prints one line about a failure, and its object where JSON is wanted; its exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    crate::term::problem("error", &describe(error));
    Failure::new(error).print();
    if error.is::<Usage>() {
        ExitCode::from(2)
    } else if error.is::<Interrupted>() {
        ExitCode::from(crate::interrupt::code())
    } else {
        ExitCode::FAILURE
    }
}

/// The same of a command line that cannot be parsed; or the help that it asks for.
pub fn of_command_line(error: &clap::Error) -> ExitCode {
    // A closed stream is no reason to fail.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let message = first.trim_start_matches("error: ");
    let tips = text
        .lines()
        .filter_map(|l| l.trim_start().strip_prefix("tip: "));
    let tips: Vec<&str> = tips.collect();
    Failure {
        code: code::USAGE,
        message: message.split_whitespace().collect::<Vec<_>>().join(" "),
        cause: None,
        hint: (!tips.is_empty()).then(|| tips.join("; ")),
    }
    .print();
    ExitCode::from(2)
}

/// What to try: the remedy that an error states, else what is behind the message's last semicolon.
fn hint(error: &anyhow::Error, message: &str) -> Option<String> {
    let source = |cause: &'_ (dyn std::error::Error + 'static)| {
        let source = match cause.downcast_ref::<ConvertError>() {
            Some(ConvertError::Source(e)) => Some(e),
            _ => cause.downcast_ref::<SourceError>(),
        };
        source?.remedy().map(|r| r.replace(['\n', '\r'], " "))
    };
    let behind = || message.rsplit_once("; ").map(|(_, hint)| hint.to_owned());
    error.chain().find_map(source).or_else(behind)
}

/// The chain of causes in one line, without causes that a message has already quoted, and with a name once where a cause begins
/// with what was said last.
pub fn describe(error: &anyhow::Error) -> String {
    let (mut text, mut last) = (String::new(), String::new());
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        let rest = cause.strip_prefix(&last).and_then(|c| c.strip_prefix(": "));
        text.push_str(rest.unwrap_or(&cause));
        last = cause;
    }
    if let Some(advice) = error.chain().find_map(|c| advice::of(c, &text)) {
        text.push_str(advice);
    }
    if let Some((_, hint)) = HINTS.iter().find(|(fault, _)| text.ends_with(fault)) {
        text.push_str(hint);
    }
    text.replace(['\n', '\r'], " ")
}

/// What to try where the words of the system or of a library end the message.
const HINTS: [(&str, &str); 6] = [
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
    (
        "without a head (lm_head.weight)",
        "; carat embed makes vectors of texts with it",
    ),
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
        let lost = || carat::internals::Error::Lost {
            path: "a.gguf".into(),
        };
        let error = anyhow::Error::from(lost()).context("a.gguf");
        assert_eq!(describe(&error), lost().to_string());
    }

    #[test]
    fn a_hint_is_the_whole_remedy() {
        let hint = |error: &anyhow::Error| Failure::new(error).hint;
        let source = || SourceError::NoModel {
            path: "a; b".into(),
            what: "an adapter".into(),
            remedy: "merge it (one; other); then give it".into(),
        };
        let remedy = "merge it (one; other); then give it";
        let converting = anyhow::Error::from(ConvertError::Source(source()));
        for error in [source().into(), converting.context("while converting")] {
            assert_eq!(hint(&error).as_deref(), Some(remedy));
        }
        assert_eq!(hint(&anyhow!("a; b")).as_deref(), Some("b"));
        assert_eq!(hint(&anyhow!("a")), None);
    }
}
