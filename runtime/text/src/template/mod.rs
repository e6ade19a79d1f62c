//! Chat templates: a conversation in, the prompt out as the model was trained to see it.
//!
//! Templates are Jinja as Hugging Face's `apply_chat_template` runs it: Python's `jinja2` with `trim_blocks`,
//! `lstrip_blocks` and loop controls, `tojson` as Python's `json.dumps`, `raise_exception`, `strftime_now`
//! and `{% generation %}`; values are immutable, as in its sandbox.
//!
//! A template is a program out of a model file, so it is untrusted. It is parsed and evaluated here, over
//! values of this module's own, because a bound on time and memory must be charged by every operation, also
//! by those that walk shared structure. Four rules bound everything:
//!
//! * every operation pays one step for each element and for each [`STEP_BYTES`] bytes of text that it
//!   reads or makes, *before* it does so ([`Limits::fuel`]);
//! * no value is nested deeper than [`MAX_NESTING`], checked where a value is made, so that walking and
//!   dropping one cannot exhaust the stack; namespaces, macros and generators, which could form cycles, live
//!   in tables of the machine and are values without content;
//! * blocks, expressions and calls nest at most [`Limits::recursion`] deep; a tag has at most
//!   [`MAX_TOKENS`] tokens, since a tree of them could be as deep, and tags and brackets nest less;
//! * no text that is collected is longer than [`Limits::output`].

mod chat;
mod checks;
mod error;
mod eval;
mod expr;
mod filters;
mod format;
mod json;
mod lexer;
mod lists;
mod machine;
mod methods;
mod numbers;
mod parser;
mod percent;
mod python;
mod sequences;
mod strftime;
mod strings;
mod tree;
mod value;

pub use chat::{ChatError, ChatTemplate, Conversation, DEFAULT, TOKEN_VARIABLES, chat_ids};
pub use error::TemplateError;
pub use value::{Value, wide_int};

/// Longest source of a template, in bytes; real ones have up to 20 KB.
pub const MAX_SOURCE: usize = 256 << 10;
/// Most tokens of one expression or tag; real ones have up to 60.
pub const MAX_TOKENS: usize = 1000;
/// Deepest nesting of lists and dicts.
pub const MAX_NESTING: usize = 100;
/// Bytes of text that count as one step.
pub const STEP_BYTES: usize = 32;

/// What a rendering may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps: parts of the template that are evaluated, elements and [`STEP_BYTES`] of text that are touched.
    pub fuel: u64,
    /// Depth of blocks, expressions and calls together; at most 1000. 250 need less than 1 MiB of stack.
    pub recursion: usize,
    /// Bytes of the prompt, and of each text that a block collects.
    pub output: usize,
}

impl Default for Limits {
    /// 2 million steps, which is also 64 MB of text, 250 levels, a prompt of 16 MiB.
    fn default() -> Self {
        Self {
            fuel: 2_000_000,
            recursion: 250,
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

/// Renders a template.
///
/// # Errors
/// The template is not Jinja, refuses the conversation, fails on it, or takes more than a limit.
pub fn render(source: &str, input: &Input, limits: &Limits) -> Result<String, TemplateError> {
    with_stack(|| eval::render(source, input, limits))
}

/// Stack of a rendering in bytes, 16 KiB for each of the deepest thousand levels; the system commits only
/// pages that are touched.
#[cfg(not(target_arch = "wasm32"))]
const STACK: usize = 16 << 20;

/// Runs on a stack of known size, and turns a panic of the parser into an error.
#[cfg(not(target_arch = "wasm32"))]
fn with_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("chat template".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(TemplateError::Thread)?
            .join()
            .unwrap_or(Err(TemplateError::Broken))
    })
}

/// WebAssembly has one stack.
#[cfg(target_arch = "wasm32")]
fn with_stack<T>(work: impl FnOnce() -> Result<T, TemplateError>) -> Result<T, TemplateError> {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WebAssembly's usual stack holds whatever the checks let through.
    #[test]
    fn a_stack_of_one_mebibyte_is_enough() {
        let nested =
            |a: &str, b: &str, n: usize| format!("{{{{ {}1{} }}}}", a.repeat(n), b.repeat(n));
        let sources = [
            "{% macro m(x) %}{{ [[[m([x])]]]|map('first')|list }}{% endmacro %}{{ m(1) }}".to_owned(),
            "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}".into(),
            "{% for x in [[1]] recursive %}{% if x %}{{ loop([x])|upper }}{% endif %}{% endfor %}".into(),
            "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = [ns.x] %}{% endfor %}\
             {{ ns.x == [ns.x] }}{{ ns.x }}{{ ns.x|tojson }}"
                .into(),
            nested("not ", "", 990),
            nested("-", "", 990),
            nested("", ".a", 490),
            nested("", "+1", 490),
            nested("", "|list", 490),
            nested("", "[0]", 330),
            nested("", " if 1 else 1", 240),
            nested("[", "]", 490),
            nested("(", ")", 70),
            nested("x(", ")", 70),
            nested("{1:", "}", 70),
            format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(99)),
            format!("{}{}", "{% if 1 %}".repeat(140), "{% endif %}".repeat(140)),
            format!("{}{}", "{% for x in 'a' %}".repeat(140), "{% endfor %}".repeat(140)),
            format!("{}{}", "{% set a %}".repeat(140), "{% endset %}".repeat(140)),
        ];
        let work = move || {
            for source in sources {
                let _ = eval::render(&source, &Input::default(), &Limits::default());
            }
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        thread.spawn(work).unwrap().join().unwrap();
    }
}
