//! Keeps a pool's threads awake during a pass.
//!
//! A pass has steps of a few microseconds that one thread computes, while the others find nothing to do. rayon sends them to
//! sleep after some 10 µs of that, and waking them takes as long as a small step: with two threads a model of 1.2 billion
//! weights decodes 1.02 (4 bits) to 1.08 times (1 bit) as fast where they stay awake.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest that a pass waits for the other threads to come.
const PATIENCE: Duration = Duration::from_micros(50);
/// A thread that comes after this was added stays away.
const CLOSED: u32 = 1 << 31;

struct Team {
    /// Threads that came, and whether more may.
    came: AtomicU32,
    over: AtomicBool,
}

/// Runs `pass` in the current pool, whose other threads look for its work without a pause. Allocates nothing.
pub(super) fn awake(pass: impl FnOnce() + Send) {
    let team = Team {
        came: AtomicU32::new(0),
        over: AtomicBool::new(false),
    };
    let others = rayon::current_num_threads().saturating_sub(1);
    team.gather(others as u32, 0, pass);
}

/// Ends the team, also where the pass panics.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

impl Team {
    /// Runs the pass once `wanted` more threads than the `offered` have been offered a place.
    fn gather(&self, wanted: u32, offered: u32, pass: impl FnOnce() + Send) {
        if wanted > 0 {
            let rest = || self.gather(wanted - 1, offered + 1, pass);
            rayon::join(rest, || self.stay());
            return;
        }
        let _over = Over(self);
        self.wait_for(offered);
        pass();
    }

    /// Waits until `offered` threads came, not for long, and closes the team. A thread that came later could do so while it
    /// waits for a part of the pass, on which the pass waits, whose end it would stay for.
    fn wait_for(&self, offered: u32) {
        let start = Instant::now();
        while self.came.load(Ordering::Acquire) < offered && start.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        self.came.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Does what work there is until the pass is over.
    fn stay(&self) {
        if self.came.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            return;
        }
        while !self.over.load(Ordering::Acquire) {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    /// Many passes of steps too short to wake a thread for, in more threads than there are processors.
    #[test]
    fn passes_end() {
        for threads in [1, 2, 7] {
            let pool = pool(threads);
            for n in 0..300 {
                let mut sum = 0;
                pool.install(|| {
                    awake(|| {
                        for _ in 0..20 {
                            sum += (0..n).into_par_iter().sum::<u64>();
                        }
                    });
                });
                assert_eq!(sum, 20 * (n * n.saturating_sub(1) / 2));
            }
        }
    }

    #[test]
    fn a_panic_passes_through() {
        let pool = pool(3);
        let panics = || pool.install(|| awake(|| panic!("of a pass")));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        pool.install(|| awake(|| {}));
    }
}
