//! The comparison of a model's file with its hashes beside the first answer.

use anyhow::{Context, Result};
use carat::internals::{Model, Verdict as OfEngine};
use std::path::Path;
use std::sync::Arc;

/// Whether the file is sound, which may not be known yet: the answer then goes on, and its end waits.
#[derive(Default)]
pub struct Verdict {
    running: OfEngine,
    shown: String,
}

impl Verdict {
    /// Starts the comparison on all but one core of `threads`: the rest of loading takes one.
    ///
    /// Errors: threads cannot be started.
    pub fn start(model: Arc<Model>, path: &Path, threads: Option<usize>) -> Result<Self> {
        Ok(Self {
            running: OfEngine::start(model, threads)?,
            shown: path.display().to_string(),
        })
    }

    /// For the engine, which pauses it.
    pub fn of_engine(&self) -> &OfEngine {
        &self.running
    }

    /// Whether damage was found already: what is generated is worth nothing.
    pub fn failed(&self) -> bool {
        self.running.failed()
    }

    /// Waits until it is known. Errors: the file is damaged.
    pub fn wait(&self) -> Result<()> {
        self.running.wait().with_context(|| self.shown.clone())
    }
}
