//! Synthetic Carat files.

pub use carat::selftest::Shape;
