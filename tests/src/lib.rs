//! What the suite shares: synthetic Carat files of any shape, seeded numbers, the drivers that are here.
#![forbid(unsafe_code)]

pub mod architectures;
pub mod divergence;
pub mod drivers;
pub mod facet;
pub mod hashes;
pub mod hostile;
pub mod rng;
pub mod synth;
