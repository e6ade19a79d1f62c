//! What a template is given.

use super::value::Value;

/// What `strftime_now` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// This text, whatever the format.
    Text(String),
    /// This time in seconds since 1970-01-01 00:00 UTC, in the format that the template gives.
    Unix(i64),
}

impl Clock {
    /// The time now. A browser's clock is not read here: there it is the start of 1970.
    pub fn now() -> Self {
        #[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
        {
            use std::time::{SystemTime, UNIX_EPOCH};
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            Self::Unix(now.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0)))
        }
        #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
        Self::Unix(0)
    }
}

/// The time now: see [`Clock::now`].
impl Default for Clock {
    fn default() -> Self {
        Self::now()
    }
}

/// What a template sees.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// List of messages: dicts with `role` and `content`, and what else a template reads.
    pub messages: Value,
    /// List of tools; `None` is Python's `None`.
    pub tools: Option<Value>,
    /// Whether the prompt ends where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Text of the token that begins a text; where it is none the name is undefined, as `transformers` leaves it.
    pub bos_token: Value,
    /// Text of the token that ends a text, likewise.
    pub eos_token: Value,
    /// What `strftime_now` tells.
    pub clock: Clock,
    /// Further variables of the template, as `enable_thinking`; they cannot hide those above.
    pub variables: Vec<(String, Value)>,
}
