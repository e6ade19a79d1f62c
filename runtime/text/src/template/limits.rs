//! What a template, and a rendering of one, may take.

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
