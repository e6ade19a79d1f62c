//! An HTTP server over models that run in integers: the APIs of OpenAI and Anthropic, and what llama.cpp's clients ask for.
//!
//! The walk of a request: `http` (limits, keys, log) → `routes` → an API (`openai`, `anthropic`, `native`), which reads it → `ask`
//! (prompt, sampling, format: an `ask::Ask`) → `hosted` (a model on the engine's thread, where many texts share passes) →
//! `texts` (news of those texts) → `parts` (reasoning, content, calls) → the API, which writes the answer whole or as it
//! comes.
//!
//! Every text is the one that it would be alone, bit for bit: each answer has the hash of its logits.
#![forbid(unsafe_code)]

mod anthropic;
mod app;
mod ask;
mod describe;
mod events;
mod hosted;
mod http;
mod ids;
mod native;
mod openai;
mod page;
mod parts;
mod read;
mod refusal;
mod routes;
mod sampling;
mod shelf;
mod slots;
mod stats;
mod texts;
mod tools;
mod values;
mod wishes;

pub use app::{App, Config};
pub use hosted::{Hosted, HostedOptions};
pub use http::{ServeError, Server};
pub use shelf::{Opener, Shelf};
pub use slots::Folder;
