//! What a rasteriser's speed depends on, which runs on this process's processors and in its memory: huge pages, threads
//! each on a processor of its own, and a processor that stays awake. No result depends on it.

mod awake;
mod pages;
mod place;

use std::sync::Arc;

/// Memory and threads before a rasteriser is opened.
pub(super) struct Before {
    maps: pages::Maps,
    threads: place::Threads,
}

impl Before {
    /// Those of now.
    pub fn now() -> Self {
        Self {
            maps: pages::Maps::now(),
            threads: place::Threads::now(),
        }
    }

    /// The rasteriser is open.
    pub fn opened(self) -> Help {
        Help(Arc::new((self, awake::Awake::new())))
    }
}

/// What an open rasteriser is helped by. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Help(Arc<(Before, awake::Awake)>);

impl Help {
    /// The buffers are allocated which will be read most, and not yet filled.
    pub fn allocated(&self) {
        let Before { maps, threads } = &self.0.0;
        let bytes = maps.advise_new();
        let placed = threads.place_new();
        tracing::debug!("huge pages asked for {bytes} bytes, {placed} threads placed");
    }

    /// Runs what waits for the device, while a processor is kept awake.
    pub fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.0.1.during(wait)
    }
}
