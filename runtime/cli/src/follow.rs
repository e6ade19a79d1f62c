//! `--json-schema` and `--grammar`: text that follows a file.

use crate::args::FollowArgs;
use crate::{input, term};
use anyhow::{Context, Result};
use carat::internals::{Generation, Model};
use carat_text::grammar::{Guide, Kind, MAX_GRAMMAR, MAX_SCHEMA, Vocabulary};
use carat_text::stop::StopReason;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The constraint that the flags ask for.
///
/// Errors, with the file's name: it cannot be read, is too large, no UTF-8, or what
/// [`Guide::new`] refuses.
pub fn guide(args: &FollowArgs, model: &Model) -> Result<Option<Guide>> {
    let Some((kind, path)) = file(args) else {
        return Ok(None);
    };
    let shown = || path.display().to_string();
    let most = match kind {
        Kind::JsonSchema => MAX_SCHEMA,
        Kind::Lark => MAX_GRAMMAR,
    };
    let mut bytes = Vec::new();
    match stated(kind, path) {
        Some(schema) => bytes.extend(schema.as_bytes()),
        None => {
            // One more than may be: the guide then says what is wrong.
            File::open(path)
                .with_context(shown)?
                .take(most as u64 + 1)
                .read_to_end(&mut bytes)
                .with_context(shown)?;
        }
    }
    if bytes.len() > most {
        // The cut may be inside a character.
        bytes.fill(b' ');
    }
    let text = input::utf8(bytes).with_context(shown)?;
    let vocabulary = Vocabulary::new(model.tokenizer()?)?;
    Guide::new(&vocabulary, kind, &text)
        .map(Some)
        .with_context(shown)
}

/// A schema that stands on the command line itself: an object, and no file's name.
fn stated(kind: Kind, path: &Path) -> Option<&str> {
    let text = path.to_str()?.trim_start();
    let is_object = kind == Kind::JsonSchema && text.starts_with('{');
    (is_object && !path.exists()).then_some(text)
}

/// The file and what it is.
pub fn file(args: &FollowArgs) -> Option<(Kind, &Path)> {
    match (&args.json_schema, &args.grammar) {
        (Some(path), _) => Some((Kind::JsonSchema, path)),
        (None, Some(path)) => Some((Kind::Lark, path)),
        (None, None) => None,
    }
}

/// Warns of a text that ended before it was complete.
pub fn warn_incomplete(generation: &Generation) {
    if generation.complete != Some(false) {
        return;
    }
    let why = match generation.reason {
        StopReason::Length => "-n ended it; raise -n",
        StopReason::Context => "the context is full; raise --ctx",
        StopReason::StopString { .. } => "a stop string cut it; leave --stop out",
        _ => "it was interrupted",
    };
    term::warn(&format!(
        "the text is incomplete, the schema or grammar is not met: {why}"
    ));
}
