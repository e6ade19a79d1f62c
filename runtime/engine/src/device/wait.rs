//! Callbacks of the device as futures, for any executor: natively each poll also drives the device, in a
//! browser the browser does.

use super::Gpu;
use crate::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
#[cfg(not(target_arch = "wasm32"))]
use std::time::Duration;

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The callback's end.
pub(super) struct Sender<T>(Arc<Mutex<Slot<T>>>);

/// The future's end; fails if the device is lost.
pub(super) struct Wait<'a, T> {
    gpu: &'a Gpu,
    /// What it waits for; `None` for everything.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    submission: Option<wgpu::SubmissionIndex>,
    slot: Arc<Mutex<Slot<T>>>,
}

pub(super) fn signal<T>(
    gpu: &Gpu,
    submission: Option<wgpu::SubmissionIndex>,
) -> (Sender<T>, Wait<'_, T>) {
    let slot = Arc::new(Mutex::new(Slot {
        value: None,
        waker: None,
    }));
    let wait = Wait {
        gpu,
        submission,
        slot: slot.clone(),
    };
    (Sender(slot), wait)
}

impl<T> Sender<T> {
    pub(super) fn send(self, value: T) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.value = Some(value);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Wait<'_, T> {
    fn take(&self, waker: Option<&Waker>) -> Option<T> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.waker = waker.cloned();
        slot.value.take()
    }
}

impl<T> Future for Wait<'_, T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(value) = self.take(Some(context.waker())) {
            return Poll::Ready(Ok(value));
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            // Callbacks run inside the device's poll, which waits briefly so that the loop of polls
            // takes no processor time and yet yields to other tasks.
            self.gpu
                .wait(self.submission.clone(), Duration::from_millis(5));
            if let Some(value) = self.take(Some(context.waker())) {
                return Poll::Ready(Ok(value));
            }
            context.waker().wake_by_ref();
        }
        // A lost device may never call back.
        match self.gpu.check() {
            Err(e @ Error::DeviceLost { .. }) => Poll::Ready(Err(e)),
            _ => Poll::Pending,
        }
    }
}
