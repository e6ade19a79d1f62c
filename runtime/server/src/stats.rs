//! What was done so far, for `/metrics`: counters in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counters of a server. All only grow, but for the open requests.
#[derive(Debug)]
pub struct Stats {
    begun: Instant,
    /// Requests that were answered, by the first digit of their status.
    statuses: [AtomicU64; 6],
    /// Requests under way.
    open: AtomicU64,
    /// Tokens of prompts, those that were kept of earlier texts included.
    pub prompt_tokens: AtomicU64,
    /// Of them, those that were kept.
    pub cached_tokens: AtomicU64,
    /// Tokens that were chosen.
    pub tokens: AtomicU64,
    /// Texts that their reader gave up.
    pub cancelled: AtomicU64,
    /// Microseconds from a text's beginning to its first token, and texts.
    pub first_token_us: AtomicU64,
    /// Texts that had a first token.
    pub first_tokens: AtomicU64,
    /// Microseconds from the first token to the last.
    pub decode_us: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            statuses: Default::default(),
            open: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            first_token_us: AtomicU64::new(0),
            first_tokens: AtomicU64::new(0),
            decode_us: AtomicU64::new(0),
        }
    }
}

/// A figure of a model, for [`Stats::text`].
pub struct Gauge {
    /// Its name without the prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The model.
    pub model: String,
    /// The value.
    pub value: u64,
}

impl Stats {
    /// A request begins.
    pub fn enter(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One has ended.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub fn answered(&self, status: u16) {
        if let Some(count) = self.statuses.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it.
    pub fn text(&self, gauges: &[Gauge]) -> String {
        let mut out = String::new();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
            let _ = writeln!(
                out,
                "# HELP carat_{name} {help}\n# TYPE carat_{name} {kind}\ncarat_{name} {value}"
            );
        };
        let seconds = |us: &AtomicU64| of(us) as f64 / 1e6;
        metric(
            "uptime_seconds",
            "gauge",
            "Seconds since the server began.",
            self.begun.elapsed().as_secs_f64(),
        );
        metric(
            "requests_open",
            "gauge",
            "Requests under way.",
            of(&self.open) as f64,
        );
        for (name, help, value) in [
            (
                "prompt_tokens_total",
                "Tokens of prompts.",
                of(&self.prompt_tokens) as f64,
            ),
            (
                "prompt_tokens_cached_total",
                "Tokens of prompts that were kept of earlier texts.",
                of(&self.cached_tokens) as f64,
            ),
            (
                "tokens_total",
                "Tokens that were chosen.",
                of(&self.tokens) as f64,
            ),
            (
                "texts_cancelled_total",
                "Texts that their reader gave up.",
                of(&self.cancelled) as f64,
            ),
            (
                "first_token_seconds_sum",
                "Seconds from the beginning of texts to their first tokens.",
                seconds(&self.first_token_us),
            ),
            (
                "first_token_seconds_count",
                "Texts that had a first token.",
                of(&self.first_tokens) as f64,
            ),
            (
                "decode_seconds_total",
                "Seconds from the first tokens of texts to their last.",
                seconds(&self.decode_us),
            ),
        ] {
            metric(name, "counter", help, value);
        }
        let _ = writeln!(
            out,
            "# HELP carat_requests_total Requests that were answered, by their status.\n# TYPE carat_requests_total counter"
        );
        for (class, count) in self.statuses.iter().enumerate().skip(2) {
            let _ = writeln!(
                out,
                "carat_requests_total{{status=\"{class}xx\"}} {}",
                of(count)
            );
        }
        let mut last = "";
        for gauge in gauges {
            let name = gauge.name;
            if name != last {
                let _ = writeln!(
                    out,
                    "# HELP carat_{name} {}\n# TYPE carat_{name} gauge",
                    gauge.help
                );
                last = name;
            }
            let model = gauge.model.replace(['\\', '"', '\n'], "_");
            let _ = writeln!(out, "carat_{name}{{model=\"{model}\"}} {}", gauge.value);
        }
        out
    }
}
