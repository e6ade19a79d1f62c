//! Engine: load a Carat file, plan, execute in integers on CPU or GPU, sample, text.

pub mod sample;
pub mod text;
