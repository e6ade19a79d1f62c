//! From a grammar's text to a matcher, with limits on what that may take.

use super::error::{GrammarError, hint, reason};
use super::schema::MAX_SCHEMA;
use llguidance::api::TopLevelGrammar;
use llguidance::{JsonCompileOptions, Matcher, ParserFactory};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a Lark grammar.
pub const MAX_GRAMMAR: usize = 128 << 10;
/// Most brackets open at once in a Lark grammar. serde_json allows 128 levels of JSON.
pub const MAX_DEPTH: usize = 200;
/// Longest time that compiling may take, in seconds.
pub const MAX_SECONDS: u64 = 20;

/// Stack for compiling, which descends along references; reserved, not used, in ordinary cases.
#[cfg(not(target_arch = "wasm32"))]
const STACK: usize = 512 << 20;

/// White space between the parts of a JSON text: none, one space, or line breaks and indentation, so that
/// a model cannot go on with white space for ever. llama.cpp's grammars have the same.
const WHITE_SPACE: &str = r" |\n{1,2}[ \t]{0,20}";

/// What a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON schema (draft 4 to 2020-12). Keywords that are not understood are refused, not ignored.
    /// White space between the parts is one space, or one or two line breaks with up to 20 blanks;
    /// `"x-guidance": {"whitespace_pattern": …}` in the schema sets another.
    JsonSchema,
    /// A grammar in llguidance's variant of Lark's syntax, from the rule `start`.
    Lark,
}

impl Kind {
    /// The kind in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonSchema => "JSON schema",
            Self::Lark => "grammar",
        }
    }
}

/// The compiled grammar.
pub(super) fn compile(
    factory: &Arc<ParserFactory>,
    kind: Kind,
    text: &str,
) -> Result<Matcher, GrammarError> {
    let what = kind.name();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let most = match kind {
        Kind::JsonSchema => MAX_SCHEMA,
        Kind::Lark => MAX_GRAMMAR,
    };
    if text.len() > most {
        return Err(GrammarError::TooLarge {
            what,
            bytes: text.len(),
            most,
        });
    }
    let grammar = match kind {
        Kind::JsonSchema => TopLevelGrammar::from_json_schema(schema(text)?),
        Kind::Lark if depth(text) > MAX_DEPTH => {
            return Err(GrammarError::TooDeep {
                what,
                most: MAX_DEPTH,
            });
        }
        Kind::Lark => TopLevelGrammar::from_lark(text.into()),
    };
    let factory = factory.clone();
    let work = move || {
        let mut matcher = Matcher::new(factory.create_parser(grammar));
        // The first mask finds what only shows at work.
        let first = match matcher.get_error() {
            None => matcher.compute_mask().err().map(|e| e.to_string()),
            some => some,
        };
        (matcher, first)
    };
    let (matcher, error) = bounded(what, Duration::from_secs(MAX_SECONDS), work)?;
    match error {
        None => Ok(matcher),
        Some(e) => {
            let reason = reason(e);
            let hint = hint(&reason);
            Err(GrammarError::Refused { what, reason, hint })
        }
    }
}

/// The schema as llguidance wants it: an object with our white space.
pub(crate) fn schema(text: &str) -> Result<Value, GrammarError> {
    let value = super::schema::read(text)?;
    let found = match value {
        Value::Object(_) => {
            let mut value = super::schema::rewritten(value)?;
            if value.get("x-guidance").is_none() {
                let options = JsonCompileOptions {
                    whitespace_pattern: Some(WHITE_SPACE.into()),
                    ..JsonCompileOptions::default()
                };
                options.apply_to(&mut value);
            }
            return Ok(value);
        }
        Value::Bool(any) => return schema(&json!({ "allOf": [any] }).to_string()),
        Value::Null => "null",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
    };
    Err(GrammarError::NotASchema { found })
}

/// Most brackets open at once, whatever they mean; a closing one too many counts as none.
fn depth(text: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Runs `work` on a thread with a deep stack and waits so long for it.
#[cfg(not(target_arch = "wasm32"))]
fn bounded<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GrammarError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("carat-grammar".into())
        .stack_size(STACK)
        .spawn(move || {
            // Nobody waits for a result that comes too late.
            let _ = sender.send(work());
        })
        .map_err(|e| GrammarError::Thread {
            what,
            reason: e.to_string(),
        })?;
    use std::sync::mpsc::RecvTimeoutError;
    receiver.recv_timeout(limit).map_err(|e| match e {
        RecvTimeoutError::Timeout => GrammarError::Time {
            what,
            seconds: limit.as_secs(),
        },
        RecvTimeoutError::Disconnected => GrammarError::Refused {
            what,
            reason: "compiling it fails".into(),
            hint: "simplify it",
        },
    })
}

#[cfg(target_arch = "wasm32")]
fn bounded<T>(_: &'static str, _: Duration, work: impl FnOnce() -> T) -> Result<T, GrammarError> {
    Ok(work())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_failure_are_errors() {
        let wait = || std::thread::sleep(Duration::from_secs(2));
        let late = bounded("grammar", Duration::from_millis(20), wait);
        assert!(matches!(late, Err(GrammarError::Time { .. })), "{late:?}");
        assert_eq!(bounded("grammar", Duration::from_secs(60), || 7), Ok(7));
    }

    #[test]
    fn depth_counts_what_is_open() {
        assert_eq!(depth("a: (b [c {d}] e) (f)"), 3);
        assert_eq!(depth(")))("), 1);
    }
}
