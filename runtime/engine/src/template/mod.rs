//! Chat templates: a conversation in, the prompt out as the model was trained to see it.
//!
//! Templates are Jinja as Hugging Face's `apply_chat_template` runs it: `trim_blocks`, `lstrip_blocks`,
//! Python's methods of strings and dicts, `tojson` as Python's `json.dumps`, `raise_exception`,
//! `strftime_now` and `{% generation %}`.
//!
//! A template is a program out of a model file, so it is untrusted: [`Limits`] bound its time, memory, depth
//! and output, each with an error of its own. Values nested without end are caught by a stack of their own;
//! WebAssembly has no such stack, there the runtime's trap ends them.

mod error;
mod json;
mod python;
mod render;

pub use error::TemplateError;
pub use minijinja::Value;

/// Longest source of a template, in bytes; real ones have up to 40 KB.
pub const MAX_SOURCE: usize = 1 << 20;

/// What a rendering may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions; 64 bytes of text that is made or worked on count as one.
    pub fuel: u64,
    /// Depth of macros, loops and conditions, in stack frames of the template; at most 500.
    pub recursion: usize,
    /// Bytes of the prompt.
    pub output: usize,
}

impl Default for Limits {
    /// 2 million instructions or 128 MB of work, 200 frames, a prompt of 16 MiB.
    fn default() -> Self {
        Self {
            fuel: 2_000_000,
            recursion: 200,
            output: 16 << 20,
        }
    }
}

/// What `strftime_now` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// This text, whatever the format.
    Text(String),
    /// This time in seconds since 1970-01-01 00:00 UTC, in the format that the template gives.
    Unix(i64),
}

impl Default for Clock {
    fn default() -> Self {
        Self::Unix(0)
    }
}

/// What a template sees.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// List of messages: maps with `role` and `content`, and what else a template reads.
    pub messages: Value,
    /// List of tools; `None` is Python's `None`.
    pub tools: Option<Value>,
    /// Whether the prompt ends where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Text of the token that begins a text.
    pub bos_token: String,
    /// Text of the token that ends a text.
    pub eos_token: String,
    /// What `strftime_now` tells.
    pub clock: Clock,
    /// Further variables of the template, as `enable_thinking`.
    pub variables: Vec<(String, Value)>,
}

/// Renders a template.
///
/// # Errors
/// The template is not Jinja, refuses the conversation, fails on it, or takes more than a limit.
pub fn render(source: &str, input: &Input, limits: &Limits) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::TooLong {
            found: source.len(),
        });
    }
    render::with_stack(|| render::render(source, input, limits))
}
