//! What the suite shares: synthetic Carat files of any shape, seeded numbers, the drivers that are here.
#![forbid(unsafe_code)]

pub mod rng;
pub mod synth;
