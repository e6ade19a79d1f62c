//! The comparison of a model's file with its hashes beside the first answer.

use crate::error::Error;
use crate::model::Model;
#[cfg(feature = "threads")]
use crate::model::Verification;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Whether the file is sound, which may not be known yet: an answer then goes on, and its end waits. By default nothing is
/// compared.
#[derive(Default)]
pub struct Verdict {
    #[cfg(feature = "threads")]
    running: Mutex<Option<Verification>>,
    #[cfg(not(feature = "threads"))]
    running: Mutex<Option<Never>>,
    /// What was found, for those who ask again.
    damage: OnceLock<Error>,
    threads: usize,
}

/// Without threads nothing runs beside.
#[cfg(not(feature = "threads"))]
enum Never {}

#[cfg(not(feature = "threads"))]
impl Never {
    fn allow(&self, _: usize) {
        match *self {}
    }

    fn failed(&self) -> bool {
        match *self {}
    }

    fn finish(self) -> Result<(), Error> {
        match self {}
    }
}

impl Verdict {
    /// Starts the comparison on all but one core of `threads`: the rest of loading takes one. In a build without threads it is
    /// over when this returns.
    ///
    /// Errors: threads cannot be started; without threads, the file is damaged.
    pub fn start(model: Arc<Model>, threads: Option<usize>) -> Result<Self, Error> {
        #[cfg(feature = "threads")]
        {
            let all = || std::thread::available_parallelism().map_or(1, usize::from);
            let threads = threads.unwrap_or_else(all);
            let running = Verification::start(model, threads, threads.saturating_sub(1))?;
            Ok(Self {
                running: Mutex::new(Some(running)),
                damage: OnceLock::new(),
                threads,
            })
        }
        #[cfg(not(feature = "threads"))]
        {
            let _ = threads;
            model.verify()?;
            Ok(Self::default())
        }
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
        if let Some(running) = &*lock(&self.running) {
            running.allow(workers);
        }
    }

    /// Whether damage was found already: what is generated is worth nothing.
    pub fn failed(&self) -> bool {
        let running = lock(&self.running);
        self.damage.get().is_some() || running.as_ref().is_some_and(|r| r.failed())
    }

    /// Waits until it is known. Errors: the file is damaged, at every call.
    pub fn wait(&self) -> Result<(), Error> {
        // Whoever asks meanwhile waits too.
        let mut running = lock(&self.running);
        if let Some(running) = running.take() {
            let found = running.finish();
            if let Some(damage) = found.as_ref().err().and_then(Error::of_damage) {
                self.damage.get_or_init(|| damage);
            }
            return found;
        }
        match self.damage.get().and_then(Error::of_damage) {
            Some(damage) => Err(damage),
            None => Ok(()),
        }
    }
}

/// What the lock holds is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
