//! LoRA adapters: what a fine-tuning adds to the matrices of a model, `W + s·B·A` with `A` and `B` of a small rank.
//!
//! [`AdapterFile`] reads one, as PEFT saves it (`adapter_config.json` and `adapter_model.safetensors`) or as llama.cpp
//! converts it (GGUF). [`AdapterFile::fit`] makes an [`Adapter`] of it for one model: int8 matrices in the layout of a Carat
//! file, which the engine multiplies with as it does with the model's own. No file and no step is in between.
#![forbid(unsafe_code)]

mod adapter;
mod element;
mod error;
mod file;
mod fit;
mod gguf;
mod int8;
mod names;
mod peft;
mod strength;

pub use adapter::{Adapter, Applied, LowRank, Packed, Term};
pub use error::AdapterError;
pub use file::{AdapterFile, Container, Pair};
pub use names::Target;
pub use strength::Strength;

/// Largest rank of an adapter.
pub const MAX_RANK: u64 = 1024;
