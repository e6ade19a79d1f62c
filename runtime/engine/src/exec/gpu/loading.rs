//! How far an executor is that is being made, for another thread to see, and that thread's wish to end it.

use crate::error::Error;
use crate::plan::{Content, Op, Plan};
use carat_format::Encoding;
use std::collections::BTreeSet;
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

/// What tells one pipeline of a plan from another.
pub(super) fn pipeline_key(op: &Op) -> (&'static str, Option<Encoding>) {
    (op.kernel(), op.encoding())
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

    pub(super) fn start(&self, plan: &Plan) {
        let in_file = |b: &&crate::plan::Buffer| matches!(b.content, Content::File { .. });
        let bytes = plan.buffers.iter().filter(in_file).map(|b| b.words * 4);
        self.bytes.store(bytes.sum(), Ordering::Relaxed);
        let keys: BTreeSet<_> = plan.steps.iter().map(|s| pipeline_key(&s.op)).collect();
        self.pipelines.store(keys.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn pipeline_ready(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }
}
