//! The engine in a browser. A worker of the npm package (`npm/`) fetches, stores and asks; this crate parses, checks,
//! uploads and computes. On other targets it is empty.
#![cfg(target_arch = "wasm32")]
#![forbid(unsafe_code)]

mod engine;
mod error;
mod file;
mod options;

pub use engine::Engine;
pub use file::{File, Upload, Weights};

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// Shows where a bug ended the module, which cannot say so itself.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| console_error(&info.to_string())));
}
