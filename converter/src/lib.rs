//! Offline converter: checkpoints to Carat files, reference pass, quality.

pub mod eval;
pub mod hf_tokenizer;
pub mod progress;
pub mod reference;
pub mod source;
