//! What can be wrong with a grammar.

use llguidance::api::StopReason;

/// A grammar that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// More text than is read.
    #[error("the {what} has {bytes} bytes, at most {most} are read; make it smaller")]
    TooLarge {
        /// Grammar or schema.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// Most bytes.
        most: usize,
    },
    /// Brackets in brackets in brackets.
    #[error("the {what} opens more than {most} brackets in one another; give inner parts names")]
    TooDeep {
        /// Grammar or schema.
        what: &'static str,
        /// Most levels.
        most: usize,
    },
    /// Not JSON.
    #[error("the JSON schema is no JSON: {reason}; correct it there (128 levels at most)")]
    Json {
        /// The parser's reason, with line and column.
        reason: String,
    },
    /// JSON, but neither an object nor a boolean.
    #[error("the JSON schema is {found}; expected an object, like {{\"type\": \"object\"}}")]
    NotASchema {
        /// What it is.
        found: &'static str,
    },
    /// llguidance refuses it.
    #[error("the {what} cannot be used: {reason}; {hint}")]
    Refused {
        /// Grammar or schema.
        what: &'static str,
        /// Its reason.
        reason: String,
        /// What to try.
        hint: &'static str,
    },
    /// Compiling takes too long.
    #[error(
        "the {what} was not compiled within {seconds} seconds; simplify it: large repeat counts, regular expressions and products of alternatives cost most"
    )]
    Time {
        /// Grammar or schema.
        what: &'static str,
        /// Time given.
        seconds: u64,
    },
    /// No thread to compile on.
    #[error("no thread to compile the {what} on: {reason}; close other programs and try again")]
    Thread {
        /// Grammar or schema.
        what: &'static str,
        /// The system's reason.
        reason: String,
    },
    /// The model's tokens make no trie.
    #[error("the model's vocabulary cannot be searched: {reason}; convert the checkpoint again")]
    Vocabulary {
        /// The reason.
        reason: String,
    },
}

/// Longest reason in characters.
const REASON: usize = 300;

/// llguidance's message in one line, without the dump it may append.
pub(super) fn reason(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.split("\n<").next().unwrap_or_default();
    if text == StopReason::NoExtensionBias.to_string() {
        return "there is no text that fits it".into();
    }
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| l.contains(|c| c != '^'))
        .collect();
    let all: Vec<char> = lines.join("; ").chars().collect();
    match all.len() {
        0 => "no reason is given".into(),
        n if n <= REASON => all.into_iter().collect(),
        // The place comes first, the fault last.
        n => {
            let part = |range: std::ops::Range<usize>| all[range].iter().collect::<String>();
            format!("{} … {}", part(0..REASON / 2), part(n - REASON / 2..n))
        }
    }
}

/// What to try, by what llguidance says.
pub(super) fn hint(reason: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|w| reason.contains(w));
    if says(&["no text that fits"]) {
        "look for a reference or rule that only leads to itself, and for bounds that exclude each other"
    } else if says(&["oneOf"]) {
        "use anyOf, or put \"x-guidance\": {\"coerce_one_of\": true} into the schema to read oneOf as anyOf"
    } else if says(&["Unimplemented", "Unknown format", "not supported"]) {
        "take that out, or say it in other words"
    } else if says(&["$ref", "Reference", "Definition"]) {
        "references must point into the schema itself, like \"#/$defs/name\""
    } else if says(&[
        "large", "fuel", "limit", "exceeded", "complex", "states", "panic",
    ]) {
        "simplify it"
    } else {
        "correct it there"
    }
}
