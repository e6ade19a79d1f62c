//! Seeded numbers for tests.

pub use carat::selftest::Rng;
