//! The parts behind the front door, for the programs of this repository: the file, the plan, the executors, the session, the
//! sampler, and what a conversation is made of.
//!
//! **There is no promise between versions.** Names, signatures and behaviour here change whenever the engine does. An app
//! that uses only the names at the crate's root keeps compiling.
//!
//! The walk: [`Model`] (the file) → [`plan::Plan`] (a forward pass as data) → [`exec::Executor`] (CPU twins or wgpu) →
//! [`Session`] (tokens in, integer logits out) → [`sample`] → [`text`].

/// GPU adapters and opened devices.
#[cfg(feature = "gpu")]
pub mod device {
    pub use crate::device::*;
}
/// What runs a plan's steps: CPU twins or wgpu.
pub mod exec {
    pub use crate::exec::*;
}
/// Checksums that a file states of its own logits.
pub mod golden {
    pub use crate::golden::*;
}
/// A forward pass as data.
pub mod plan {
    pub use crate::plan::*;
}
/// From logits to a token.
pub mod sample {
    pub use crate::sample::*;
}
/// Comparisons of every kernel with its twin.
pub mod selftest {
    pub use crate::selftest::*;
}

/// Waits for what the engine does.
#[cfg(not(target_arch = "wasm32"))]
pub use pollster::block_on;

/// LoRA adapters: read from files, and fitted to a [`Model`].
pub use carat_adapter as adapter;
/// Tokenizer, chat templates, constraints: what a [`Model`] has, and what a generation takes and gives.
pub use carat_text as text;

pub use crate::batch::{Batcher, JobId, News, Request, Shares, Turn, turns};
#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
pub use crate::batch::{Host, Listener, Ticket};
pub use crate::error::Error;
#[cfg(feature = "gpu")]
pub use crate::exec::gpu::Loading;
#[cfg(not(target_arch = "wasm32"))]
pub use crate::front::TalkNote;
pub use crate::front::{
    Cause, Dialect, Exchange, Fit, FitError, Observer, PLAIN_LENGTH, Prompter, Reason, Relay,
    Restriction, Share, Talk, Thought, Verdict, Words, is_strict, message, role, text_of,
};
pub use crate::generate::{
    Advance, Demand, Draft, Drafter, Event, Forcing, GenerateError, GenerateOptions, Generation,
    Generator, LOOKUP, Outputs, Place, Reasoning, Room, Snapshot, Step, generate,
    generate_constrained,
};
#[cfg(feature = "threads")]
pub use crate::model::Verification;
pub use crate::model::{Head, Model, Segments, Verify};
#[cfg(feature = "gpu")]
pub use crate::session::Delivery;
pub use crate::session::{
    Beside, CPU_BATCH, CacheBits, Checksum, DeviceChoice, Embedding, GPU_BATCH, KvBits, Loaded,
    LogitsHash, Output, PagesInUse, Part, Probe, Saved, SavedError, SavedHead, Sequence, Session,
    SessionOptions, Want,
};
