//! Errors as the package throws them: a message and one of its codes.

#[cfg(feature = "engine")]
pub use engine::{chat, engine, generate};
use wasm_bindgen::JsValue;

/// An error with `code`.
pub fn coded(code: &str, message: impl std::fmt::Display) -> JsValue {
    let error = js_sys::Error::new(&message.to_string());
    // A fresh object takes any property.
    let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

#[cfg(feature = "engine")]
mod engine {
    use super::coded;
    use carat::internals::{Error, GenerateError, SavedError};
    use carat_text::template::ChatError;
    use wasm_bindgen::JsValue;

    fn code(error: &Error) -> &'static str {
        match error {
            Error::Container(_)
            | Error::Format(_)
            | Error::Tokenizer(_)
            | Error::MissingTensor(_)
            | Error::Alignment { .. }
            | Error::NoHead => "format",
            Error::Hash { .. } | Error::Segment { .. } => "hash",
            Error::Saved(e) => match e {
                SavedError::Header(_) | SavedError::Segment { .. } | SavedError::Trailing => "hash",
                SavedError::Context { .. } => "context",
                _ => "format",
            },
            Error::ContextFull { .. } => "context",
            Error::Memory { .. } | Error::MemoryLimit { .. } => "memory",
            Error::Token { .. } | Error::NoTokens | Error::Context { .. } => "parameter",
            Error::NoDevice { .. } | Error::Device { .. } => "webgpu",
            Error::DeviceLost { .. } => "device-lost",
            Error::Cancelled => "aborted",
            _ => "internal",
        }
    }

    /// Of the engine.
    pub fn engine(error: Error) -> JsValue {
        coded(code(&error), error)
    }

    /// Of a generation.
    pub fn generate(error: GenerateError) -> JsValue {
        let code = match &error {
            GenerateError::Engine(e) => code(e),
            GenerateError::Sample(_) => "internal",
            _ => "parameter",
        };
        coded(code, error)
    }

    /// Of a conversation.
    pub fn chat(error: ChatError) -> JsValue {
        let code = match &error {
            ChatError::Conversation(_) => "parameter",
            _ => "template",
        };
        coded(code, error)
    }
}
