//! Offline converter: checkpoints to Carat files, reference pass, quality.

pub mod progress;
pub mod source;
