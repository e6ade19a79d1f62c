//! Seeded numbers for tests.

pub use carat::internals::selftest::Rng;
