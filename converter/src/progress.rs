//! Progress of long operations, and the way to stop them.

/// Told how far a long operation is, asked whether to stop.
///
/// Called from one thread at a time or from several at once; implementations must not block.
pub trait Progress: Sync {
    /// `done` of `total` units of work are done. The unit is the operation's own.
    fn step(&self, done: u64, total: u64);

    /// True once the operation should stop; it then returns its error for being cancelled.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores progress and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: u64, _: u64) {}
}

/// A stretch of a longer operation: whatever its own units, it takes `span` of `of` equal stretches.
pub struct Part<'a> {
    outer: &'a dyn Progress,
    start: u64,
    span: u64,
    of: u64,
}

impl<'a> Part<'a> {
    /// Steps of a whole operation that is made of parts.
    pub const STEPS: u64 = 1 << 20;

    /// From stretch `start` on.
    pub fn new(outer: &'a dyn Progress, start: u64, span: u64, of: u64) -> Self {
        Self {
            outer,
            start,
            span,
            of: of.max(1),
        }
    }
}

impl Progress for Part<'_> {
    fn step(&self, done: u64, total: u64) {
        let part = u128::from(done.min(total)) * u128::from(Self::STEPS) / u128::from(total.max(1));
        let steps = u128::from(self.start) * u128::from(Self::STEPS) + u128::from(self.span) * part;
        self.outer
            .step((steps / u128::from(self.of)) as u64, Self::STEPS);
    }

    fn cancelled(&self) -> bool {
        self.outer.cancelled()
    }
}
