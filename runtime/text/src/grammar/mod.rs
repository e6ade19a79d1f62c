//! Text that follows a JSON schema or a Lark grammar: the tokens allowed next, by llguidance.
//!
//! [`Vocabulary`] holds a model's tokens as a trie, once; [`Guide`] is one text under one grammar, a
//! [`Constraint`](crate::constraint::Constraint). Masks depend on the grammar, the
//! vocabulary and the tokens accepted, on no device and no clock.
//!
//! Grammars are hostile: sizes and nesting are checked before, llguidance's limits bound the lexer, the
//! parser and every step, compiling runs on a thread with a deep stack and ends after [`MAX_SECONDS`]
//! (the thread may run on for a while; without threads, on wasm32, the size limits alone hold).
//! llguidance turns its own panics into errors with `catch_unwind`, whose hook it installs for the
//! process; where panics abort, as on wasm32, they do.

mod compile;
mod error;
mod formats;
mod guide;
mod schema;
mod vocabulary;

pub(crate) use compile::schema;
pub use compile::{Kind, MAX_DEPTH, MAX_GRAMMAR, MAX_SECONDS};
pub use error::GrammarError;
pub use guide::Guide;
pub use schema::MAX_SCHEMA;
pub use vocabulary::Vocabulary;
