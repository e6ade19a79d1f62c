//! What a binding of any language is made of: owned objects that any thread may use, texts that are pulled, and errors with codes.
//!
//! A [`Model`] is open until [`Model::close`]. A [`Conversation`] answers one message at a time. An answer is a [`Stream`]: a
//! thread of its own computes it, at most [`AHEAD`] pieces ahead of whoever pulls. Every object may be closed at any time, from
//! any thread, as often as one likes: closing cancels what is under way and waits for its thread.

mod code;
mod conversation;
mod info;
mod model;
mod options;
mod outcome;
mod queue;
mod source;
mod stream;

pub use code::{Code, Failure};
pub use conversation::{Conversation, ConversationOptions};
pub use info::Info;
pub use model::{LoadStage, Model, OnLoad};
pub use options::{Adapter, LoadOptions, Sampling, StreamOptions};
pub use outcome::{Alternative, Call, Outcome, Piece, PieceKind, Token};
pub use stream::{AHEAD, Stream};
