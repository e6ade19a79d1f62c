//! Chat templates: a conversation in, the prompt out as the model was trained to see it.
//!
//! Templates are Jinja as Hugging Face's `apply_chat_template` runs it: Python's `jinja2` with `trim_blocks`,
//! `lstrip_blocks` and loop controls, `tojson` as Python's `json.dumps`, `raise_exception`, `strftime_now`
//! and `{% generation %}`; values are immutable, as in its sandbox.
//!
//! A template is a program out of a model file, so it is untrusted. It is parsed and evaluated here, over
//! values of this module's own, because a bound on time and memory must be charged by every operation, also
//! by those that walk shared structure. Four rules bound everything:
//!
//! * every operation pays one step for each element and for each [`STEP_BYTES`] bytes of text that it
//!   reads or makes, *before* it does so ([`Limits::fuel`]);
//! * no value is nested deeper than [`MAX_NESTING`], checked where a value is made, so that walking and
//!   dropping one cannot exhaust the stack; namespaces, macros and generators, which could form cycles, live
//!   in tables of the machine and are values without content;
//! * blocks, expressions and calls nest at most [`Limits::recursion`] deep; a tag has at most
//!   [`MAX_TOKENS`] tokens, since a tree of them could be as deep, and tags and brackets nest less;
//! * no text that is collected is longer than [`Limits::output`].

mod chat;
mod checks;
mod error;
mod eval;
mod expr;
mod filters;
mod fit;
mod format;
mod input;
mod json;
mod lexer;
mod limits;
mod lists;
mod machine;
mod methods;
mod numbers;
mod parser;
mod percent;
mod python;
mod read;
mod render;
mod sequences;
mod strftime;
mod strings;
mod tree;
mod value;

pub use chat::{ChatError, ChatTemplate, Conversation, DEFAULT, TOKEN_VARIABLES, chat_ids};
pub use error::TemplateError;
pub use fit::Fit;
pub use input::{Clock, Input};
pub use limits::{Limits, MAX_NESTING, MAX_SOURCE, MAX_TOKENS, STEP_BYTES};
pub use render::render;
pub use value::{Value, wide_int};
