//! Texts under way: their news, and an end where nobody waits for them any more.

use crate::app::App;
use crate::ask::Ask;
use crate::hosted::Hosted;
use crate::refusal::Refusal;
use crate::slots::Text;
use crate::stats::Stats;
use carat::internals::{News, Request, Ticket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The choices of one request. Dropped, those that have not ended end with the next pass, and their pages are free.
pub struct Texts {
    hosted: Arc<Hosted>,
    stats: Arc<Stats>,
    // As many news as the texts have tokens: what was asked for bounds it.
    news: UnboundedReceiver<(usize, News)>,
    tickets: Vec<Option<Ticket>>,
    left: usize,
    /// Held until all have ended.
    _place: OwnedSemaphorePermit,
}

/// When something of a text happened.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    begun: Instant,
    first: Option<Instant>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            first: None,
        }
    }
}

impl Times {
    /// A token came.
    pub fn token(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    /// Milliseconds from the beginning to the first token, and from there to now.
    pub fn ms(&self) -> (f64, f64) {
        let now = Instant::now();
        let first = self.first.unwrap_or(now);
        let ms = |a: Instant, b: Instant| (b - a).as_secs_f64() * 1e3;
        (ms(self.begun, first), ms(first, now))
    }
}

impl Texts {
    /// Sends the choices of a request to the engine.
    ///
    /// Errors: too many wait already; a format that cannot be used; the engine has ended.
    pub fn begin(app: &App, hosted: Arc<Hosted>, asks: Vec<Ask>) -> Result<Self, Refusal> {
        let place = app.place()?;
        let (sender, news) = unbounded_channel();
        let stats = app.stats.clone();
        let mut this = Self {
            _place: place,
            tickets: vec![None; asks.len()],
            left: asks.len(),
            hosted,
            stats,
            news,
        };
        for (i, ask) in asks.into_iter().enumerate() {
            let constraint = this.hosted.restriction(&ask.format)?;
            let forcing = ask.forcing(&this.hosted);
            let count =
                |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
            count(&this.stats.prompt_tokens, ask.ids.len());
            let (slots, slot) = (this.hosted.slots.clone(), ask.slot);
            // A text is kept for its slot where there is a folder for it alone.
            let mut kept = app.config.slots.is_some().then(|| Text {
                tokens: ask.ids.clone(),
                strengths: ask.strengths.clone(),
            });
            let request = Request {
                prompt: ask.ids,
                options: ask.options,
                constraint,
                forcing,
                strengths: ask.strengths,
            };
            let (sender, stats) = (sender.clone(), this.stats.clone());
            let mut times = Times::default();
            let listener = Box::new(move |news: News| {
                match &news {
                    News::Begun { cached } => {
                        count(&stats.cached_tokens, *cached);
                    }
                    News::Token { .. } => {
                        count(&stats.tokens, 1);
                        if times.first.is_none() {
                            times.token();
                            let (first, _) = times.ms();
                            count(&stats.first_token_us, (first * 1e3) as usize);
                            count(&stats.first_tokens, 1);
                        }
                    }
                    News::End { .. } if times.first.is_some() => {
                        count(&stats.decode_us, (times.ms().1 * 1e3) as usize);
                    }
                    _ => {}
                }
                if let News::End { generation, .. } = &news
                    && let Some(mut text) = kept.take()
                {
                    // The last token was computed by no pass.
                    let chosen = generation.ids.split_last();
                    text.tokens
                        .extend(chosen.map_or(&[][..], |(_, before)| before));
                    slots.put(slot, text);
                }
                sender.send((i, news)).is_ok()
            });
            this.tickets[i] = Some(this.hosted.host().generate(request, listener)?);
        }
        Ok(this)
    }

    /// The next news, and the index of its choice; `None` when all have ended.
    ///
    /// Errors: the engine's thread ended before they did.
    pub async fn next(&mut self) -> Result<Option<(usize, News)>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some((i, news)) = self.news.recv().await else {
            self.left = 0;
            return Err(Refusal::engine_gone());
        };
        if let News::End { .. } | News::Failed(_) = news {
            self.left -= 1;
            self.tickets[i] = None;
        }
        Ok(Some((i, news)))
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        for ticket in self.tickets.iter_mut().filter_map(Option::take) {
            self.stats.cancelled.fetch_add(1, Ordering::Relaxed);
            self.hosted.host().cancel(ticket);
        }
    }
}
