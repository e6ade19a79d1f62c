//! What the machine's memory does: how fast it is read, and how much of it the process has had.

use anyhow::{Context, Result, anyhow};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Words of 8 bytes that are read: 256 MiB, beyond any cache.
const WORDS: usize = 32 << 20;
/// Words that a thread takes at once: 1 MiB.
const CHUNK: usize = 1 << 17;
/// Times that they are read; the fastest counts.
const PASSES: usize = 4;

/// Threads that do nothing but read memory.
pub struct ReadBandwidth {
    pool: rayon::ThreadPool,
    words: Vec<u64>,
}

impl ReadBandwidth {
    /// `threads` of `None` takes every core, as the CPU executor does.
    ///
    /// Errors: threads cannot be started, or no memory is left.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .build()
            .context("cannot start threads")?;
        let mut words = Vec::new();
        words.try_reserve_exact(WORDS).map_err(|e| {
            anyhow!("256 MiB to measure the memory with cannot be had: {e}; close other programs")
        })?;
        // Written, since untouched pages all are one page of zeros.
        words.extend(0..WORDS as u64);
        Ok(Self { pool, words })
    }

    /// 10^9 bytes a second.
    pub fn measure(&self) -> f64 {
        let read = || {
            let start = Instant::now();
            let sum = self
                .words
                .par_chunks(CHUNK)
                .map(sum)
                .reduce(|| 0, u64::wrapping_add);
            black_box(sum);
            start.elapsed().as_secs_f64()
        };
        let seconds = self
            .pool
            .install(|| (0..PASSES).map(|_| read()).fold(f64::INFINITY, f64::min));
        (WORDS * 8) as f64 / seconds / 1e9
    }
}

/// The sum of all words, in lanes that the compiler makes vectors of.
fn sum(words: &[u64]) -> u64 {
    let mut lanes = [0u64; 16];
    let (blocks, rest) = words.as_chunks::<16>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block) {
            *lane = lane.wrapping_add(*word);
        }
    }
    lanes.iter().chain(rest).fold(0, |a, b| a.wrapping_add(*b))
}

/// Most bytes of memory that this process has had, pages of mapped files included. `None` where the system
/// does not tell without unsafe code: everywhere but on Linux and Android.
pub fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        for n in [0, 1, 15, 16, 17, 1000] {
            let words: Vec<u64> = (0..n).collect();
            assert_eq!(sum(&words), words.iter().sum::<u64>(), "{n}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_the_peak() {
        assert!(peak().is_some_and(|p| p > 1 << 20));
    }
}
