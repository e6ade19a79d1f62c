//! Whether a model may use a GPU: an app that goes into the background must leave it, and may come back.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whether GPUs are allowed, and how often that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// GPUs may be used.
    pub gpu: bool,
    /// Grows with each change.
    pub epoch: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            gpu: true,
            epoch: 0,
        }
    }
}

#[derive(Default)]
struct State {
    now: Allowance,
    /// Steps under way that may use a GPU.
    inside: usize,
}

/// Through it every step of a text goes.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

/// A step under way.
pub struct StepTurn<'a> {
    gate: &'a Gate,
    place: Allowance,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds now.
    pub fn now(&self) -> Allowance {
        self.lock().now
    }

    /// Begins a step, which ends when the result is dropped.
    pub fn turn(&self) -> StepTurn<'_> {
        let mut state = self.lock();
        state.inside += usize::from(state.now.gpu);
        StepTurn {
            gate: self,
            place: state.now,
        }
    }

    /// Allows GPUs or not. Where they are forbidden it waits for the steps under way, each at most one pass long.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "no page waits"))]
    pub fn set(&self, gpu: bool) {
        let mut state = self.lock();
        if state.now.gpu != gpu {
            state.now = Allowance {
                gpu,
                epoch: state.now.epoch + 1,
            };
        }
        while !gpu && state.inside > 0 {
            let waited = self.left.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl StepTurn<'_> {
    /// What held when the step began.
    pub fn place(&self) -> Allowance {
        self.place
    }
}

impl Drop for StepTurn<'_> {
    fn drop(&mut self) {
        if self.place.gpu {
            self.gate.lock().inside -= 1;
            self.gate.left.notify_all();
        }
    }
}
