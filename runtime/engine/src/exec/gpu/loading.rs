//! How far an executor is that is being made, for another thread to see, and that thread's wish to end it.

use crate::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters of an executor that is being made.
#[derive(Debug, Default)]
pub struct Loading {
    bytes: AtomicU64,
    uploaded: AtomicU64,
    pipelines: AtomicU64,
    ready: AtomicU64,
    cancelled: AtomicBool,
}

impl Loading {
    /// (bytes of weights on the device, all of them).
    pub fn bytes(&self) -> (u64, u64) {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (of(&self.uploaded), of(&self.bytes))
    }

    /// (pipelines that are compiled and have run once, all of them).
    pub fn pipelines(&self) -> (u64, u64) {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (of(&self.ready), of(&self.pipelines))
    }

    /// Ends it: it fails with [`Error::Cancelled`] at its next step.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Errors: cancelled.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.cancelled.load(Ordering::Relaxed) {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    pub(super) fn start(&self, bytes: u64, pipelines: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.pipelines.store(pipelines, Ordering::Relaxed);
    }

    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn pipeline_ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }
}
