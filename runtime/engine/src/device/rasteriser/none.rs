//! Where the feature `rasteriser` is off, or the system has no such help: a rasteriser gives the same, more slowly.

/// See `mod.rs`.
pub(super) struct Before;

impl Before {
    pub fn now() -> Self {
        Self
    }

    pub fn opened(self) -> Help {
        Help
    }
}

#[derive(Clone)]
pub(super) struct Help;

impl Help {
    pub fn allocated(&self) {}

    pub fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        wait()
    }
}
