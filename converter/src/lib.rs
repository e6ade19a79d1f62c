//! Offline converter: checkpoints to Carat files, reference pass, quality.

pub mod budget;
pub mod calibrate;
pub mod convert;
pub mod eval;
pub mod hf_tokenizer;
pub mod intruders;
pub mod progress;
pub mod quantize;
pub mod reference;
pub mod report;
pub mod source;
pub mod text;
