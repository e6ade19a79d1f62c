//! What an app sees of work that takes long, and how it ends such work.

use super::{Observer, Reason};
#[cfg(feature = "gpu")]
use crate::exec::gpu::Loading;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A wish to end work early. Copies share it: give one to [`Load::cancel`](crate::Load::cancel) or
/// [`Generation::cancel`](crate::Generation::cancel), keep another, and call [`Cancel::cancel`] from any thread.
///
/// ```
/// let cancel = carat::Cancel::new();
/// let button = cancel.clone();
/// button.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A wish that nobody has uttered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the work at its next step: within a token of a generation, within a few dozen of a prompt.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes the wish back, so that the same `Cancel` serves the next piece of work.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// How far work is that takes long: what [`Load::on_progress`](crate::Load::on_progress) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Bytes of the file in memory ([`Load::open_reader`](crate::Load::open_reader); a path is mapped, and not read in advance).
    Reading {
        /// Bytes so far.
        done: u64,
        /// Bytes of the file.
        total: u64,
    },
    /// Bytes of weights on the GPU, while the CPU answers.
    Uploading {
        /// Bytes so far.
        done: u64,
        /// Bytes of all weights.
        total: u64,
    },
    /// Kernels compiled for the GPU, while the CPU answers.
    Compiling {
        /// Kernels so far.
        done: u64,
        /// Kernels of the model.
        total: u64,
    },
    /// Tokens of a prompt computed, without those that were computed for an earlier one.
    Prompt {
        /// Tokens so far.
        done: u64,
        /// Tokens to compute.
        total: u64,
    },
}

/// Takes progress.
pub(super) type Sink = Arc<dyn Fn(Progress) + Send + Sync>;

/// An app's view of loading.
#[derive(Clone, Default)]
pub(super) struct Watch {
    pub(super) cancel: Cancel,
    pub(super) progress: Option<Sink>,
}

impl Watch {
    pub(super) fn tell(&self, progress: Progress) {
        if let Some(sink) = &self.progress {
            sink(progress);
        }
    }
}

impl Observer for Watch {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    #[cfg(feature = "gpu")]
    fn tick(&self, loading: &Loading) {
        let ((uploaded, bytes), (ready, kernels)) = (loading.bytes(), loading.pipelines());
        if uploaded < bytes || ready == 0 {
            self.tell(Progress::Uploading {
                done: uploaded,
                total: bytes,
            });
        } else {
            self.tell(Progress::Compiling {
                done: ready,
                total: kernels,
            });
        }
    }

    fn left_aside(&self, reason: &Reason) {
        tracing::warn!("{reason}");
    }
}
