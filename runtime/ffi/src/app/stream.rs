//! A text under way on a thread of its own, pulled piece by piece.

use super::queue::Queue;
use super::{Code, Failure, Outcome, Piece, PieceKind};
use carat::{Cancel, Generation, Part, Reply, StopReason, TokenMetrics};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Pieces that are computed ahead of whoever pulls.
pub const AHEAD: usize = 4;

/// A text under way, or one that has ended.
pub struct Stream {
    inner: Arc<Inner>,
}

/// What a stream and its thread share.
pub(super) struct Inner {
    queue: Queue<Piece>,
    cancel: Cancel,
    ended: Mutex<Option<Result<Outcome, Failure>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Ends the text and waits for its thread. Called from that thread it does not wait.
    pub(super) fn close(&self) {
        self.cancel.cancel();
        self.queue.close();
        let Some(worker) = lock(&self.worker).take() else {
            return;
        };
        if worker.thread().id() == std::thread::current().id() {
            return;
        }
        // A panic of it is in `ended`.
        let _ = worker.join();
    }
}

/// What computes a text: the engine's two kinds of them.
pub(super) trait Source {
    async fn next_part(&mut self) -> Option<Result<Part, carat::Error>>;
    fn ids(&self) -> &[u32];
    fn take_metrics(&mut self) -> Vec<TokenMetrics>;
    fn outcome(&self) -> Outcome;
}

/// What both kinds have under the same names.
macro_rules! outcome {
    ($of:expr, $text:expr, $reasoning:expr, $calls:expr) => {
        Outcome {
            ids: $of.ids().to_vec(),
            text: $text,
            reasoning: $reasoning,
            calls: $calls,
            reason: $of.stop_reason().map_or("", StopReason::name).into(),
            complete: $of.is_complete(),
            prompt_tokens: $of.prompt_tokens() as u32,
            cached_tokens: $of.cached_tokens() as u32,
            logits_hash: $of.logits_hash().into(),
            device: $of.device(),
            ms_to_first_token: 0.0,
            tokens_per_second: 0.0,
        }
    };
}

impl Source for Generation {
    async fn next_part(&mut self) -> Option<Result<Part, carat::Error>> {
        Some(self.next().await?.map(Part::Text))
    }
    fn ids(&self) -> &[u32] {
        self.ids()
    }
    fn take_metrics(&mut self) -> Vec<TokenMetrics> {
        self.take_metrics()
    }
    fn outcome(&self) -> Outcome {
        outcome!(self, String::new(), String::new(), Vec::new())
    }
}

impl Source for Reply<'_> {
    async fn next_part(&mut self) -> Option<Result<Part, carat::Error>> {
        Reply::next_part(self).await
    }
    fn ids(&self) -> &[u32] {
        self.ids()
    }
    fn take_metrics(&mut self) -> Vec<TokenMetrics> {
        self.take_metrics()
    }
    fn outcome(&self) -> Outcome {
        let calls = self.calls().iter().cloned().map(call);
        outcome!(
            self,
            String::new(),
            self.reasoning().into(),
            calls.collect()
        )
    }
}

fn call(call: carat::Call) -> super::Call {
    super::Call {
        id: call.id,
        name: call.name,
        arguments: call.arguments,
    }
}

/// Where the thread of a stream puts what it computes.
pub(super) struct Sink<'a> {
    inner: &'a Inner,
    begun: Instant,
}

impl Sink<'_> {
    /// Ends what it is given where the stream is cancelled.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.inner.cancel
    }

    /// Takes a text to its end.
    pub(super) fn pump(&self, mut source: impl Source) -> Result<Outcome, Failure> {
        let (mut told, mut text) = (0, String::new());
        let mut first = None;
        while let Some(part) = pollster(source.next_part()) {
            let part = part?;
            first.get_or_insert_with(Instant::now);
            let (kind, piece, call) = match part {
                Part::Text(t) => (PieceKind::Text, t, None),
                Part::Reasoning(t) => (PieceKind::Reasoning, t, None),
                Part::Call(c) => (PieceKind::Call, c.arguments.clone(), Some(call(c))),
                _ => continue,
            };
            if kind == PieceKind::Text {
                text.push_str(&piece);
            }
            let ids = source.ids().get(told..).unwrap_or_default().to_vec();
            told += ids.len();
            let tokens = source.take_metrics().into_iter().map(Into::into).collect();
            let piece = Piece {
                kind,
                text: piece,
                call,
                ids,
                tokens,
            };
            if self.inner.queue.put(piece).is_err() {
                // Nobody reads on: what comes is the end.
                self.inner.cancel.cancel();
            }
        }
        let mut outcome = source.outcome();
        outcome.text = text;
        let now = Instant::now();
        let first = first.unwrap_or(now);
        outcome.ms_to_first_token = (first - self.begun).as_secs_f64() * 1e3;
        let more = outcome.ids.len().saturating_sub(1) as f64;
        let seconds = (now - first).as_secs_f64();
        outcome.tokens_per_second = if seconds > 0.0 { more / seconds } else { 0.0 };
        Ok(outcome)
    }
}

/// Waits for a future on this thread.
fn pollster<T>(future: impl Future<Output = T>) -> T {
    carat::internals::block_on(future)
}

impl Stream {
    /// Starts a thread that runs `work`, which takes its text to its end; `done` follows before anybody sees the end.
    ///
    /// Errors: the system gives no thread.
    pub(super) fn start(
        work: impl FnOnce(&Sink<'_>) -> Result<Outcome, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let inner = Arc::new(Inner {
            queue: Queue::new(AHEAD),
            cancel: Cancel::new(),
            ended: Mutex::new(None),
            worker: Mutex::new(None),
        });
        let (told, begun) = (inner.clone(), Instant::now());
        let worker = std::thread::Builder::new()
            .name("carat".into())
            .spawn(move || {
                let inner = &*told;
                let run = || work(&Sink { inner, begun });
                // The conversation that it had is lost with it; everything else is whole.
                let ended = catch_unwind(AssertUnwindSafe(run));
                let ended = ended.unwrap_or_else(|_| Err(Failure::panicked()));
                *lock(&inner.ended) = Some(ended);
                inner.queue.end();
            })
            .map_err(|e| Failure::new(Code::Internal, format!("no thread can be started: {e}")))?;
        *lock(&inner.worker) = Some(worker);
        Ok(Self { inner })
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The next piece, waited for; `None` at the end, whatever ended it.
    ///
    /// Errors: of the text, once, at its end.
    pub fn next(&self) -> Result<Option<Piece>, Failure> {
        match self.inner.queue.take() {
            Some(piece) => Ok(Some(piece)),
            None => self.end(),
        }
    }

    /// [`Stream::next`] where a program is asynchronous.
    ///
    /// Errors: as there.
    pub async fn next_async(&self) -> Result<Option<Piece>, Failure> {
        match poll_fn(|context| self.inner.queue.poll_take(context)).await {
            Some(piece) => Ok(Some(piece)),
            None => self.end(),
        }
    }

    fn end(&self) -> Result<Option<Piece>, Failure> {
        match &*lock(&self.inner.ended) {
            Some(Err(failure)) => Err(failure.clone()),
            _ => Ok(None),
        }
    }

    /// What is known of the text at its end; `None` while it goes on.
    ///
    /// Errors: of the text.
    pub fn outcome(&self) -> Option<Result<Outcome, Failure>> {
        lock(&self.inner.ended).clone()
    }

    /// Ends the text at its next step. What is there can still be pulled, and then the end.
    pub fn cancel(&self) {
        self.inner.cancel.cancel();
    }

    /// Ends the text, waits for its thread and drops what nobody pulled. May be called again.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}
