//! Pieces on their way from the thread that computes to whoever pulls.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct State<T> {
    items: VecDeque<T>,
    /// Nothing more is put in.
    ended: bool,
    /// Nobody takes anything out any more.
    closed: bool,
    wakers: Vec<Waker>,
}

/// A queue of at most `room` things: whoever puts one more in waits.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: usize,
}

/// Nobody takes anything out any more.
pub(super) struct Closed;

impl<T> Queue<T> {
    pub(super) fn new(room: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::with_capacity(room),
                ended: false,
                closed: false,
                wakers: Vec::new(),
            }),
            changed: Condvar::new(),
            room,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, mut state: MutexGuard<'_, State<T>>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Puts something in, as soon as there is room.
    pub(super) fn put(&self, item: T) -> Result<(), Closed> {
        let mut state = self.lock();
        while state.items.len() >= self.room && !state.closed {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Closed);
        }
        state.items.push_back(item);
        self.change(state);
        Ok(())
    }

    /// Says that nothing follows.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.change(state);
    }

    /// Says that nobody takes anything out any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.items.clear();
        self.change(state);
    }

    /// The next thing, waited for; nothing at the end.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                self.change(state);
                return Some(item);
            }
            if state.ended || state.closed {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next thing, where a program is asynchronous.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            self.change(state);
            return Poll::Ready(Some(item));
        }
        if state.ended || state.closed {
            return Poll::Ready(None);
        }
        if !state.wakers.iter().any(|w| w.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn everything_arrives_in_order_and_the_end_too() {
        let queue = Arc::new(Queue::new(4));
        let from = queue.clone();
        let thread = std::thread::spawn(move || {
            for i in 0..1000 {
                assert!(from.put(i).is_ok());
            }
            from.end();
        });
        let all: Vec<i32> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert!(thread.join().is_ok());
    }

    #[test]
    fn closing_frees_whoever_waits() {
        let queue = Arc::new(Queue::new(1));
        let from = queue.clone();
        let thread = std::thread::spawn(move || while from.put(1).is_ok() {});
        assert_eq!(queue.take(), Some(1));
        queue.close();
        assert!(thread.join().is_ok());
        assert_eq!(queue.take(), None);
    }
}
