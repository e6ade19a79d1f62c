//! What all requests share.

use crate::refusal::{Kind, Refusal};
use crate::shelf::Shelf;
use crate::slots::Folder;
use crate::stats::Stats;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When it may be worth asking again.
const RETRY_SECONDS: u32 = 2;

/// How a server treats requests.
#[derive(Clone, Debug)]
pub struct Config {
    /// Keys, one of which every request must have; without any all requests may pass.
    pub keys: Vec<String>,
    /// Most bytes of a body.
    pub body: usize,
    /// Most requests that wait for a text's beginning, beside those that are computed.
    pub queue: usize,
    /// Most connections.
    pub connections: usize,
    /// How long a client may take for the head of a request, and for its body.
    pub patience: Duration,
    /// How long texts under way may go on when the server ends.
    pub grace: Duration,
    /// Origins of pages in browsers that may ask; `*` is all.
    pub origins: Vec<String>,
    /// Whether `/` is a page to chat.
    pub page: bool,
    /// Whether `/metrics` is there.
    pub metrics: bool,
    /// Where texts are written to, and read from.
    pub slots: Option<Folder>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            body: 16 << 20,
            queue: 256,
            connections: 1024,
            patience: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            origins: Vec::new(),
            page: true,
            metrics: true,
            slots: None,
        }
    }
}

/// A server's models, counters and rules.
pub struct App {
    /// Its models.
    pub(crate) shelf: Arc<Shelf>,
    /// Its counters.
    pub(crate) stats: Arc<Stats>,
    /// Its rules.
    pub(crate) config: Config,
    /// Hashes of its keys: comparing them takes the same time wherever they differ.
    pub(crate) keys: Vec<blake3::Hash>,
    /// What there is, as JSON, once it was asked for.
    pub(crate) description: OnceLock<String>,
    /// Requests for texts that are under way.
    places: Arc<Semaphore>,
}

impl App {
    /// Of models, with those rules.
    pub fn new(shelf: Shelf, config: Config) -> Arc<Self> {
        Arc::new(Self {
            shelf: Arc::new(shelf),
            stats: Arc::default(),
            description: OnceLock::new(),
            keys: config
                .keys
                .iter()
                .map(|k| blake3::hash(k.as_bytes()))
                .collect(),
            places: Arc::new(Semaphore::new(config.queue.max(1))),
            config,
        })
    }

    /// A place among the requests that compute or wait; held until the answer is there.
    ///
    /// Errors: all are taken.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let queue = self.config.queue;
            let text = format!("{queue} requests are under way or wait; ask again later");
            let mut refusal = Refusal::new(Kind::Busy, text);
            refusal.retry_after = Some(RETRY_SECONDS);
            refusal
        })
    }

    /// Loads the first model, so that the first request need not wait for it.
    ///
    /// Errors: a sentence.
    pub async fn warm(&self) -> Result<(), String> {
        let first = self.shelf.get(None).await;
        first.map(|_| ()).map_err(|e| e.to_string())
    }
}
