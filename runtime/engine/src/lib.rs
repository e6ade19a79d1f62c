//! Engine: load a Carat file, plan, execute in integers on CPU or GPU, sample.
//!
//! The walk: [`Model`] (the file) → [`plan::Plan`] (a forward pass as data) → [`exec::Executor`] (CPU twins
//! or wgpu) → [`Session`] (tokens in, integer logits out) → [`sample`] → [`text`]. No float touches a value
//! that decides a token, so one file, prompt and seed give the same text on every device.
#![deny(unsafe_code)]

#[cfg(feature = "gpu")]
pub mod device;
mod error;
pub mod exec;
mod generate;
pub mod golden;
mod model;
pub mod plan;
pub mod sample;
pub mod selftest;
mod session;

/// Tokenizer, chat templates, constraints: what a [`Model`] has, and what a generation takes and gives.
pub use carat_text as text;
pub use error::Error;
#[cfg(feature = "gpu")]
pub use exec::gpu::Loading;
pub use generate::{
    Event, GenerateError, GenerateOptions, Generation, Generator, Step, generate,
    generate_constrained,
};
#[cfg(feature = "threads")]
pub use model::Verification;
pub use model::{Head, Model, Segments, Verify};
#[cfg(feature = "gpu")]
pub use session::Delivery;
pub use session::{
    CPU_BATCH, Checksum, DeviceChoice, Embedding, GPU_BATCH, Loaded, LogitsHash, Output, Part,
    Probe, Sequence, Session, SessionOptions, Want,
};
