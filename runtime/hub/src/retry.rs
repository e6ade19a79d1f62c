//! How often a request is tried again, and after which pause.

use crate::{Error, Note, Observer};
use std::time::{Duration, Instant};

/// How long to wait, and how often to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries of a request without any progress between them; at least one is made.
    pub tries: u32,
    /// The pause after the first failure; each further one doubles it.
    pub pause: Duration,
    /// The longest pause that a server may ask for.
    pub longest: Duration,
    /// How long a server may be silent.
    pub silence: Duration,
    /// How long to wait for a connection.
    pub connect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 6,
            pause: Duration::from_secs(1),
            longest: Duration::from_secs(120),
            silence: Duration::from_secs(60),
            connect: Duration::from_secs(20),
        }
    }
}

/// Bytes that count as progress: less could go on for ever.
const PROGRESS: u64 = 1 << 20;
/// Between two looks whether to stop.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// Why a request has to be made again.
#[derive(Debug)]
pub(crate) struct Again {
    /// What to say if no more tries are made.
    pub error: Error,
    /// The pause that the server asks for.
    pub wait: Option<Duration>,
}

/// The tries of one request.
pub(crate) struct Tries {
    patience: Patience,
    failures: u32,
    /// Bytes there when failures were last counted from nothing.
    reached: u64,
    /// Whether someone waits for the first answer: a machine without a network is told so soon.
    first: bool,
}

/// Tries to reach a hub of which nothing was heard yet.
const FIRST: u32 = 3;

impl Tries {
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            failures: 0,
            reached: 0,
            first: false,
        }
    }

    /// Tries of a request before which nothing was heard of the hub.
    pub fn first(patience: Patience) -> Self {
        Self {
            first: true,
            ..Self::new(patience)
        }
    }

    /// Waits before the next try; `reached` bytes are there.
    ///
    /// Errors: there were enough tries, or the observer says stop.
    pub fn again(
        &mut self,
        why: Again,
        reached: u64,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        if reached >= self.reached.saturating_add(PROGRESS) {
            (self.failures, self.reached) = (0, reached);
        }
        self.failures += 1;
        // A server that asks for a long pause is not asked again before.
        let long = why.wait.is_some_and(|w| w > self.patience.longest);
        let few = self.first && matches!(why.error, Error::Network { .. });
        let tries = match few {
            true => self.patience.tries.min(FIRST),
            false => self.patience.tries,
        };
        if self.failures >= tries || long {
            return Err(why.error);
        }
        let doubled = 1u32 << (self.failures - 1).min(16);
        let wait = self.patience.pause.saturating_mul(doubled);
        let wait = why.wait.unwrap_or(wait.min(self.patience.longest));
        observer.note(&Note::Retry {
            cause: why.error.to_string(),
            wait,
        });
        sleep(wait, observer)
    }
}

/// Errors: the observer says stop.
pub(crate) fn sleep(wait: Duration, observer: &dyn Observer) -> Result<(), Error> {
    let end = Instant::now() + wait;
    loop {
        if observer.cancelled() {
            return Err(Error::Cancelled { kept: 0, total: 0 });
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}
