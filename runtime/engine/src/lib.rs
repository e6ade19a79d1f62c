//! Language models at 1 to 8 bits a weight, computed in integers: one model, prompt and seed give the same text on every CPU and
//! GPU.
//!
//! A model is a `.gguf` file that `carat convert` or `carat-converter` made of a checkpoint. A program that chats:
//!
//! ```
//! use carat::{Chat, Error, Model, Sampling};
//! use std::io::{Write, stdin, stdout};
//!
//! fn main() -> Result<(), Error> {
//!     let path = std::env::args().nth(1).unwrap_or("model.gguf".into());
//! #   let path = carat_examples::bundled().unwrap();
//!     let model = Model::open(path)?;
//!     let mut chat = Chat::new(&model)?
//!         .system("You are a friendly assistant.")
//!         .sampling(Sampling::new().temperature(0.7));
//!     for line in stdin().lines().map_while(Result::ok) {
//!         for piece in chat.ask(&line) {
//!             print!("{}", piece?);
//!             let _ = stdout().flush();
//!         }
//!         println!();
//!     }
//! #   assert!(!chat.ask("Hello!").text()?.is_empty());
//!     Ok(())
//! }
//! ```
//!
//! [`Model`] is a file that is open on a [`Device`]; [`Load`] says how to open it. [`Chat`] talks, [`Model::generate`] goes on with
//! a text, [`Model::embed`] makes vectors, and [`Model::tokenize`] shows how a model sees a text. Texts come piece by piece, in a
//! `for` loop or from an asynchronous `next()`. [`Sampling`] says how tokens are chosen, [`Format`] what they must add up to,
//! and an [`Error`] is data: a [code](Error::code), what was found, what was expected.
//!
//! More programs are in the repository's folder `examples`.
//!
//! # Features
//!
//! `gpu`, `grammar` (structured output), `mmap` (opening by path) and `threads` are on by default. A build without them suits
//! wasm.
#![deny(unsafe_code)]

mod batch;
#[cfg(feature = "gpu")]
mod device;
mod error;
mod exec;
mod front;
mod generate;
mod golden;
pub mod internals;
mod model;
mod plan;
mod sample;
mod selftest;
mod session;

pub use carat_text::stop::StopReason;
#[cfg(all(unix, feature = "mmap"))]
pub use front::guard_maps;
pub use front::{
    Call, Cancel, Chat, Error, ErrorCode, Format, Generation, Load, Message, Model, Part, Progress,
    Reply, Sampling, ToolChoice,
};
pub use model::ModelInfo;
pub use sample::{Alternative, TokenMetrics};
pub use session::{CacheBits, DeviceChoice as Device, Embedding, KvBits};
