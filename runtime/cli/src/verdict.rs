//! The comparison of a model's file with its hashes beside the first answer.

use anyhow::{Context, Result};
use carat::{Model, Verification};
use std::path::Path;
use std::sync::Arc;

/// Whether the file is sound, which may not be known yet: the answer then goes on, and its end waits.
#[derive(Default)]
pub struct Verdict {
    running: Option<Verification>,
    shown: String,
    threads: usize,
}

impl Verdict {
    /// Starts the comparison on all but one core of `threads`: the rest of loading takes one.
    ///
    /// Errors: threads cannot be started.
    pub fn start(model: Arc<Model>, path: &Path, threads: Option<usize>) -> Result<Self> {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.unwrap_or_else(all);
        Ok(Self {
            running: Some(Verification::start(
                model,
                threads,
                threads.saturating_sub(1),
            )?),
            shown: path.display().to_string(),
            threads,
        })
    }

    /// Leaves every core to the first token.
    pub fn pause(&self) {
        self.allow(0);
    }

    /// Goes on, on every core.
    pub fn resume(&self) {
        self.allow(self.threads);
    }

    fn allow(&self, workers: usize) {
        if let Some(running) = &self.running {
            running.allow(workers);
        }
    }

    /// Whether damage was found already: what is generated is worth nothing.
    pub fn failed(&self) -> bool {
        self.running.as_ref().is_some_and(Verification::failed)
    }

    /// Waits until it is known, once. Errors: the file is damaged.
    pub fn wait(&mut self) -> Result<()> {
        match self.running.take() {
            Some(running) => running.finish().with_context(|| self.shown.clone()),
            None => Ok(()),
        }
    }
}
