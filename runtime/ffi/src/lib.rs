//! Carat inside apps.
//!
//! [`app`] is what every binding is made of. The module `c` is the C ABI of `include/carat.h`; with the feature `objects`, `objects` has what
//! uniffi turns into Kotlin, Swift and Python.
#![deny(unsafe_code)]
// Whether a table of models may be shared is asked of every type within wgpu.
#![recursion_limit = "256"]

pub mod app;
pub mod c;
#[cfg(feature = "objects")]
pub mod objects;

#[cfg(feature = "objects")]
uniffi::setup_scaffolding!("carat_native");
