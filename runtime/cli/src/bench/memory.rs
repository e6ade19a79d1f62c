//! What the machine's memory does: how fast it is read, and how much of it the process has had.

use anyhow::{Context, Result, anyhow};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Bytes that are read: beyond what a process usually has of any cache.
const BYTES: usize = 256 << 20;
/// Bytes that a thread takes at once.
const CHUNK: usize = 1 << 20;
/// Times that they are read; the fastest counts.
const PASSES: usize = 4;

/// Threads that do nothing but read memory.
pub struct ReadBandwidth {
    pool: rayon::ThreadPool,
    /// In huge pages where the system has them, as weights are.
    memory: memmap2::MmapMut,
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
        let mut memory = memmap2::MmapMut::map_anon(BYTES).map_err(|e| {
            anyhow!("256 MiB to measure the memory with cannot be had: {e}; close other programs")
        })?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        // Written, since untouched pages all are one page of zeros.
        memory.fill(1);
        Ok(Self { pool, memory })
    }

    /// 10^9 bytes a second.
    pub fn measure(&self) -> f64 {
        let read = || {
            let start = Instant::now();
            let sum = self
                .memory
                .par_chunks(CHUNK)
                .map(sum)
                .reduce(|| 0, u64::wrapping_add);
            black_box(sum);
            start.elapsed().as_secs_f64()
        };
        let seconds = self
            .pool
            .install(|| (0..PASSES).map(|_| read()).fold(f64::INFINITY, f64::min));
        BYTES as f64 / seconds / 1e9
    }
}

/// The sum of all words of 8 bytes, and of what bytes are left, in lanes that the compiler makes vectors of.
fn sum(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 16];
    let (blocks, rest) = bytes.as_chunks::<128>();
    for block in blocks {
        let words = block.as_chunks::<8>().0;
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = lane.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    let rest = rest.iter().map(|b| u64::from(*b));
    lanes.into_iter().chain(rest).fold(0, u64::wrapping_add)
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
    fn every_byte_is_read() {
        for n in [0, 1, 127, 128, 129, 1000] {
            let bytes: Vec<u8> = (0..n).map(|i| i as u8).collect();
            let all = sum(&bytes);
            for i in 0..n {
                let mut other = bytes.clone();
                other[i] ^= 1;
                assert_ne!(sum(&other), all, "byte {i} of {n}");
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_the_peak() {
        assert!(peak().is_some_and(|p| p > 1 << 20));
    }
}
