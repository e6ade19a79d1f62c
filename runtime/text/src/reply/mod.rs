//! What a model answers, in parts: reasoning, content and calls of tools, as the text streams.
//!
//! Models are trained to write calls and reasoning in the formats of their chat templates. [`Syntax`] finds the format in
//! a template's source; [`Parser`] takes the text in whatever pieces it arrives and gives [`Delta`]s. Arguments of
//! calls come out as JSON, whatever the model writes. [`Budget`] tells when reasoning has taken enough tokens. With the feature
//! `grammar`, the module of that name makes grammars with which a model cannot write calls that are none.
//!
//! Three rules hold for every format:
//!
//! * The parts do not depend on how the text is cut: deltas of one kind that follow each other, put together, are the same.
//! * No text is lost. What begins like a call and is none becomes content, with its markers. Only white space where a
//!   part begins or ends is left out, as described at [`Parser`].
//! * The work is linear in the length of the text, and JSON nests at most [`MAX_DEPTH`] levels.
//!
//! Markers are often control tokens, which a tokenizer decodes as nothing. [`Syntax::shown_tokens`] lists those whose
//! text a [`Parser`] has to see.

mod block;
mod body;
mod budget;
mod delta;
mod format;
#[cfg(feature = "grammar")]
pub mod grammar;
mod harmony;
mod json;
mod object;
mod parser;
mod seek;
mod syntax;
mod table;
mod tags;
mod thought;
mod tools;
mod words;

pub use budget::Budget;
pub use delta::Delta;
pub use json::MAX_DEPTH;
pub(crate) use json::decoded;
pub use parser::{Options, Parser};
pub use syntax::Syntax;
pub use tools::{Tool, Tools, ToolsError};
