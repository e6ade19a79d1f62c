//! The comparison with the file's hashes beside other work, so that a first answer need not wait for it.

use super::{Model, Stated};
use crate::error::Error;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// [`Model::verify`] on threads of its own. Its verdict is the same: the first tensor in the file's order that differs.
pub struct Verification {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    model: Arc<Model>,
    tensors: Vec<Stated>,
    /// The tensor that the next free worker takes.
    next: AtomicUsize,
    /// Workers that may run: those of lower numbers.
    allowed: Mutex<usize>,
    changed: Condvar,
    cancelled: AtomicBool,
    failed: AtomicBool,
    /// By index among the tensors.
    damaged: Mutex<BTreeMap<usize, Error>>,
}

impl Verification {
    /// Starts `threads` workers, of which `allowed` run at first: see [`Verification::allow`].
    ///
    /// Errors: threads cannot be started.
    pub fn start(model: Arc<Model>, threads: usize, allowed: usize) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            tensors: model.tensors().collect(),
            model,
            next: AtomicUsize::new(0),
            allowed: Mutex::new(allowed),
            changed: Condvar::new(),
            cancelled: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            damaged: Mutex::default(),
        });
        let mut running = Self {
            shared,
            workers: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let shared = running.shared.clone();
            let worker = std::thread::Builder::new()
                .name("verification".into())
                .spawn(move || shared.work(number));
            running.workers.push(worker.map_err(|e| Error::Threads {
                threads,
                reason: e.to_string(),
            })?);
        }
        Ok(running)
    }

    /// Lets so many workers run; the others wait within a MiB, so that other work has their cores.
    pub fn allow(&self, workers: usize) {
        *lock(&self.shared.allowed) = workers;
        self.shared.changed.notify_all();
    }

    /// Whether a damaged tensor was found already.
    pub fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Waits for the verdict, with every worker. Errors: as [`Model::verify`].
    pub fn finish(mut self) -> Result<(), Error> {
        self.allow(usize::MAX);
        let workers = std::mem::take(&mut self.workers);
        let threads = workers.len();
        for worker in workers {
            worker.join().map_err(|_| Error::Threads {
                threads,
                reason: "one that compared hashes has panicked".into(),
            })?;
        }
        let first = lock(&self.shared.damaged).pop_first();
        first.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Drop for Verification {
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        self.allow(usize::MAX);
    }
}

impl Shared {
    fn work(&self, number: usize) {
        let go_on = || {
            let mut allowed = lock(&self.allowed);
            while number >= *allowed {
                let woken = self.changed.wait(allowed);
                allowed = woken.unwrap_or_else(PoisonError::into_inner);
            }
            !self.cancelled.load(Ordering::Relaxed)
        };
        while go_on() {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(tensor) = self.tensors.get(index) else {
                return;
            };
            if let Err(error) = self.model.check(tensor, go_on) {
                lock(&self.damaged).insert(index, error);
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// What a lock holds is whole after every statement: a panic elsewhere spoils none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Verify;
    use crate::selftest::Shape;

    fn verdict(bytes: &[u8], threads: usize, allowed: usize) -> Result<(), Error> {
        let model = Arc::new(Model::from_bytes(bytes, Verify::Structure).unwrap());
        let upfront = model.verify();
        let running = Verification::start(model, threads, allowed).unwrap();
        running.allow(0);
        running.allow(1);
        let found = running.finish();
        let text = |r: &Result<(), Error>| r.as_ref().map_err(ToString::to_string).copied();
        assert_eq!(text(&found), text(&upfront));
        found
    }

    #[test]
    fn the_verdict_is_that_of_verify() {
        let bytes = Shape::default().bytes();
        let model = Model::from_bytes(&bytes, Verify::Hashes).unwrap();
        let places: Vec<_> = model.tensors().map(|t| t.offset as usize).collect();
        for (threads, allowed) in [(1, 0), (1, 1), (3, 0), (3, 2)] {
            verdict(&bytes, threads, allowed).unwrap();
            // Of several the first of the file.
            let mut damaged = bytes.clone();
            for at in [places.len() - 1, places.len() / 2] {
                damaged[places[at]] ^= 1;
                let Err(Error::Hash { tensor, .. }) = verdict(&damaged, threads, allowed) else {
                    panic!("damage is not found");
                };
                assert_eq!(tensor, model.tensors().nth(at).unwrap().tensor);
            }
        }
    }

    #[test]
    fn damage_shows_before_the_verdict() {
        let mut bytes = Shape::default().bytes();
        let last = bytes.len() - 300;
        bytes[last] ^= 1;
        let model = Arc::new(Model::from_bytes(&bytes, Verify::Structure).unwrap());
        let running = Verification::start(model, 2, 2).unwrap();
        while !running.failed() {
            std::thread::yield_now();
        }
        assert!(running.finish().is_err());
    }

    /// Dropped while its workers wait, it ends them: each holds the model.
    #[test]
    fn dropping_ends_it() {
        let bytes = Shape::default().bytes();
        let model = Arc::new(Model::from_bytes(&bytes, Verify::Structure).unwrap());
        drop(Verification::start(model.clone(), 2, 0).unwrap());
        while Arc::strong_count(&model) > 1 {
            std::thread::yield_now();
        }
    }
}
