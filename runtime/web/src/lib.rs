//! The engine in a browser. A worker of the npm package (`npm/`) fetches, stores and asks; this crate parses, checks,
//! uploads and computes. It makes two modules, by its features: `engine`, and `grammar`, which gives the other one masks. On
//! other targets it is empty.
#![cfg(target_arch = "wasm32")]
#![forbid(unsafe_code)]

#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "engine")]
mod engine;
mod error;
#[cfg(feature = "engine")]
mod file;
#[cfg(feature = "grammar")]
mod guide;
#[cfg(feature = "engine")]
mod options;

#[cfg(feature = "engine")]
pub use engine::Engine;
#[cfg(feature = "engine")]
pub use file::{File, Probe, Upload, Weights};
#[cfg(feature = "grammar")]
pub use guide::{Guide, Vocabulary};

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

#[cfg(feature = "engine")]
#[wasm_bindgen]
extern "C" {
    /// Milliseconds, finer than a date's.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn now() -> f64;
}

/// Shows where a bug ended the module, which cannot say so itself.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| console_error(&info.to_string())));
}
