//! Synthetic Carat files.

pub use carat::internals::selftest::Shape;
