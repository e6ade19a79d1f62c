//! A processor that stays awake while a rasteriser works.
//!
//! A rasteriser's threads hand every dispatch to one another. A processor that has nothing to do meanwhile falls asleep,
//! and waking it takes as long as a small dispatch itself: on two processors of a virtual machine llvmpipe decodes 1.1
//! to 1.2 times as fast while one is kept from it. The thread here has the lowest priority, so that it takes nobody's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, Thread};

/// Nobody waits for the device.
const IDLE: u32 = 0;
/// Somebody does.
const BUSY: u32 = 1;
/// The device is closed.
const CLOSED: u32 = 2;

/// The thread, which ends with this.
pub(super) struct Awake {
    state: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Awake {
    /// Starts it. Without it all works the same.
    pub fn new() -> Self {
        let state = Arc::new(AtomicU32::new(IDLE));
        let seen = state.clone();
        let started = std::thread::Builder::new()
            .name("carat-awake".into())
            .spawn(move || watch(&seen));
        if let Err(e) = &started {
            tracing::debug!("no processor is kept awake: {e}");
        }
        Self {
            state,
            thread: started.ok(),
        }
    }

    /// Keeps a processor awake while `wait` waits for the device.
    pub fn during<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.set(BUSY);
        let waited = wait();
        self.set(IDLE);
        waited
    }

    fn set(&self, state: u32) {
        self.state.store(state, Ordering::Release);
        let thread = self.thread.as_ref().map(JoinHandle::thread);
        if state != IDLE {
            thread.map(Thread::unpark);
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.set(CLOSED);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::debug!("the thread that keeps a processor awake panicked");
        }
    }
}

fn watch(state: &AtomicU32) {
    // Of this thread: on Linux each has its own.
    let lowest = rustix::process::setpriority_process(None, 19);
    if let Err(e) = lowest {
        tracing::debug!("no processor is kept awake: {e}");
        return;
    }
    loop {
        match state.load(Ordering::Acquire) {
            CLOSED => return,
            BUSY => std::thread::yield_now(),
            _ => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_while_idle_and_while_busy() {
        let awake = Awake::new();
        assert_eq!(awake.during(|| 7), 7);
        assert_eq!(awake.state.load(Ordering::Acquire), IDLE);
        drop(awake);
        let awake = Awake::new();
        awake.set(BUSY);
        drop(awake);
    }

    #[test]
    fn its_priority_is_its_own() {
        let of = || rustix::process::getpriority_process(None).unwrap();
        let before = of();
        let awake = Awake::new();
        awake.during(|| std::thread::sleep(std::time::Duration::from_millis(20)));
        assert_eq!(of(), before);
    }
}
