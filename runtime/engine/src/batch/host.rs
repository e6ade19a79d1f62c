//! A thread that computes, and the requests that others send it.

use super::{Batcher, JobId, News, Request};
use crate::error::Error;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Hears the news of a text on the thread that computes, and says whether it goes on: where it does not, nobody listens any more,
/// and the text ends with the next pass.
pub type Listener = Box<dyn FnMut(News) -> bool + Send>;

/// What has the thread to itself between two passes.
type Task = Box<dyn FnOnce(&mut Batcher) + Send>;

/// Names a request, from its sending on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

enum Command {
    Generate(Ticket, Box<Request>, Listener),
    Cancel(Ticket),
    Task(Task),
}

/// A [`Batcher`] on a thread of its own. Dropped, it ends every text, and waits for the pass under way.
pub struct Host {
    commands: Mutex<Option<Sender<Command>>>,
    thread: Option<JoinHandle<()>>,
    next: AtomicU64,
    gauge: Arc<Gauge>,
}

/// How much there is to do.
#[derive(Default)]
struct Gauge {
    running: AtomicU64,
    waiting: AtomicU64,
    /// Sent, and not yet seen by the thread.
    sent: AtomicU64,
}

impl Host {
    /// Begins.
    ///
    /// Errors: the system gives no thread.
    pub fn start(batcher: Batcher) -> Result<Self, Error> {
        let (commands, received) = channel();
        let gauge = Arc::new(Gauge::default());
        let shared = gauge.clone();
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || Worker::new(batcher, received, shared).run())
            .map_err(|e| Error::Threads {
                threads: 1,
                reason: e.to_string(),
            })?;
        Ok(Self {
            commands: Mutex::new(Some(commands)),
            thread: Some(thread),
            next: AtomicU64::new(0),
            gauge,
        })
    }

    /// Texts that are computed, and texts that wait for pages.
    pub fn load(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Gauge {
            running,
            waiting,
            sent,
        } = &*self.gauge;
        (of(running), of(waiting) + of(sent))
    }

    /// Sends a request, whose news `listener` hears.
    ///
    /// Errors: the thread has ended, which only a panic does.
    pub fn generate(&self, request: Request, listener: Listener) -> Result<Ticket, Error> {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        self.gauge.sent.fetch_add(1, Ordering::Relaxed);
        self.send(Command::Generate(ticket, Box::new(request), listener))?;
        Ok(ticket)
    }

    /// Ends a text that may have ended already: its last news comes with the next pass.
    pub fn cancel(&self, ticket: Ticket) {
        // Nothing is left to cancel where the thread has ended.
        let _ = self.send(Command::Cancel(ticket));
    }

    /// Does something between two passes, with the thread to itself.
    ///
    /// Errors: as [`Host::generate`].
    pub fn task(&self, task: impl FnOnce(&mut Batcher) + Send + 'static) -> Result<(), Error> {
        self.send(Command::Task(Box::new(task)))
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let commands = self.commands.lock();
        let commands = commands.unwrap_or_else(PoisonError::into_inner);
        let sent = commands.as_ref().map(|c| c.send(command));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::Device {
                device: "the engine's thread".into(),
                reason: "it ended by a panic".into(),
            }),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let commands = self.commands.get_mut();
        commands.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.take() {
            // Whatever became of it, nobody waits for its texts any more.
            let _ = thread.join();
        }
    }
}

struct Worker {
    batcher: Batcher,
    received: Receiver<Command>,
    texts: BTreeMap<JobId, (Ticket, Listener)>,
    gauge: Arc<Gauge>,
}

impl Worker {
    fn new(batcher: Batcher, received: Receiver<Command>, gauge: Arc<Gauge>) -> Self {
        Self {
            batcher,
            received,
            texts: BTreeMap::new(),
            gauge,
        }
    }

    fn run(&mut self) {
        loop {
            // With nothing to do it sleeps until something comes.
            if self.batcher.is_empty() {
                match self.received.recv() {
                    Ok(command) => self.take(command),
                    Err(_) => return,
                }
            }
            loop {
                match self.received.try_recv() {
                    Ok(command) => self.take(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.pass();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Generate(ticket, request, listener) => {
                let id = self.batcher.add(*request);
                self.texts.insert(id, (ticket, listener));
                self.gauge.sent.fetch_sub(1, Ordering::Relaxed);
            }
            Command::Cancel(ticket) => {
                let mut texts = self.texts.iter();
                if let Some((id, _)) = texts.find(|(_, text)| text.0 == ticket) {
                    self.batcher.cancel(*id);
                }
            }
            Command::Task(task) => task(&mut self.batcher),
        }
        self.show();
    }

    fn pass(&mut self) {
        let mut deaf = Vec::new();
        let texts = &mut self.texts;
        let mut tell = |id: JobId, news: News| {
            let last = matches!(news, News::End { .. } | News::Failed(_));
            let Some((_, listener)) = texts.get_mut(&id) else {
                return;
            };
            if !listener(news) {
                deaf.push(id);
            }
            if last {
                texts.remove(&id);
            }
        };
        // A failure is every text's own news.
        let _ = pollster::block_on(self.batcher.pass(&mut tell));
        deaf.into_iter().for_each(|id| self.batcher.cancel(id));
        self.show();
    }

    fn show(&self) {
        let (running, waiting) = self.batcher.len();
        self.gauge.running.store(running as u64, Ordering::Relaxed);
        self.gauge.waiting.store(waiting as u64, Ordering::Relaxed);
    }
}
