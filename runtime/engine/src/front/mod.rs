//! What an app uses: a model that is open, chats, generations and embeddings, built over the session and the generator.

mod chat;
mod dialect;
mod embed;
mod error;
mod flow;
mod format;
mod gate;
mod generation;
#[cfg(all(unix, feature = "mmap"))]
mod guard;
mod load;
mod message;
mod model;
mod part;
#[cfg(not(target_arch = "wasm32"))]
mod pieces;
#[cfg(not(target_arch = "wasm32"))]
mod places;
mod prompter;
mod relay;
mod reply;
mod room;
mod sampling;
#[cfg(not(target_arch = "wasm32"))]
mod saved;
mod talk;
mod verdict;
mod watch;

pub use chat::Chat;
pub use dialect::{Dialect, Thought, ToolChoice, is_strict, text_of};
pub use error::{Cause, Error, ErrorCode};
pub use format::{Format, Restriction, Words};
pub use generation::Generation;
#[cfg(all(unix, feature = "mmap"))]
pub use guard::guard_maps;
pub use load::Load;
pub use message::Message;
pub use model::Model;
pub use part::{Call, Part};
pub use prompter::Prompter;
pub use relay::{Observer, Reason, Relay, Share};
pub use reply::Reply;
pub use sampling::Sampling;
#[cfg(not(target_arch = "wasm32"))]
pub use saved::TalkNote;
pub use talk::{Exchange, Fit, FitError, Talk, message, role};
pub use verdict::Verdict;
pub use watch::{Cancel, Progress};

/// Most tokens of a text that may see no end by itself, where nobody asks for another number: one that goes on with a prompt,
/// and an answer of a model without a chat template.
pub const PLAIN_LENGTH: usize = 128;
