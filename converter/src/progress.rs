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
