//! Text of a language model: what becomes tokens, and what tokens become.
//!
//! A conversation becomes a prompt by the model's [`template`], the prompt becomes tokens by its [`tokenizer`]. Tokens become
//! bytes by the tokenizer, bytes become text by [`utf8`], and [`stop`] finds the strings that end the text. [`reply`] tells
//! reasoning, content and calls of tools in it apart. A [`Constraint`](constraint::Constraint) says which tokens may come next;
//! one is in `grammar`. Nothing here computes with a model or names a device: the same text gives the same tokens everywhere.
#![forbid(unsafe_code)]

pub mod constraint;
#[cfg(feature = "grammar")]
pub mod grammar;
pub mod reply;
pub mod stop;
pub mod template;
pub mod tokenizer;
pub mod utf8;
