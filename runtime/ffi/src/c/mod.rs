//! The C ABI: see `include/carat.h`, which cbindgen makes of this module.
//!
//! Handles look like pointers to types that C knows nothing of. They are numbers that no two objects share, and are looked up:
//! one that is wrong, of another kind or freed already is an error, never undefined behaviour. Pointers to memory are what C has
//! them for: null is an error, everything else is trusted.
#![allow(unsafe_code)]

mod conversation;
mod error;
mod handles;
mod model;
mod read;
mod stream;
mod structs;
mod text;

pub use conversation::*;
pub use error::*;
pub use model::*;
pub use stream::*;
pub use structs::*;
pub use text::*;

/// The version of this interface. It grows with what is added; what is there stays. A program asks
/// `carat_abi_version() >= CARAT_ABI_VERSION`.
pub const CARAT_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has.
#[unsafe(no_mangle)]
pub extern "C" fn carat_abi_version() -> u32 {
    CARAT_ABI_VERSION
}

/// The version of Carat, `0.1.0` for instance. Never freed.
#[unsafe(no_mangle)]
pub extern "C" fn carat_version() -> *const std::ffi::c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// How many objects and texts are not freed yet: 0 in a program that frees all.
#[unsafe(no_mangle)]
pub extern "C" fn carat_live_objects() -> usize {
    handles::live() + text::live()
}
