//! The threads of llvmpipe's pool, each on a processor of its own.
//!
//! llvmpipe shares every dispatch out among its threads, which sleep between dispatches, and the second may start when the
//! first has done most of a small dispatch. Placed, a model of 135 million parameters decodes 1.1 times as fast on two
//! processors, and evenly; beside another program that takes a processor it makes no difference, because a thread that is
//! late leaves its part to the others.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use std::collections::BTreeMap;

/// Names of this process's threads.
#[derive(Debug, Default)]
pub struct Threads(BTreeMap<i32, String>);

impl Threads {
    /// Those of now; none where the system does not tell.
    pub fn now() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task");
        let ids = tasks.into_iter().flatten().flatten();
        let thread = |entry: std::fs::DirEntry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((id, name.trim_end().to_owned()))
        };
        Self(ids.filter_map(thread).collect())
    }

    /// Gives each of the pool's threads that have come since one of the processors that this thread may use. Returns
    /// how many: none where the driver has another pool. Without it all works the same.
    pub fn place_new(&self) -> usize {
        let mut now = Self::now().0;
        now.retain(|id, _| !self.0.contains_key(id));
        let Ok(allowed) = sched_getaffinity(None) else {
            return 0;
        };
        let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|c| allowed.is_set(*c))
            .collect();
        let placed = pool(&now).into_iter().zip(processors.iter().cycle());
        placed.filter(|(id, c)| place(*id, **c)).count()
    }
}

/// The threads of the pool for compute shaders, as Mesa 22.3 starts them: as many as there are for drawing, whose names are
/// `llvmpipe-0` and on, started right after those and without a name of their own.
fn pool(threads: &BTreeMap<i32, String>) -> Vec<i32> {
    let draws = |name: &str| name.starts_with("llvmpipe-");
    let mut rest = threads
        .iter()
        .skip_while(|(_, name)| !draws(name))
        .peekable();
    let mut count = 0;
    while rest.next_if(|(_, name)| draws(name)).is_some() {
        count += 1;
    }
    let found: Vec<(&i32, &String)> = rest.take(count).collect();
    let alike = found.iter().all(|(_, name)| *name == found[0].1);
    if found.len() < count || !alike {
        return Vec::new();
    }
    found.into_iter().map(|(id, _)| *id).collect()
}

fn place(thread: i32, processor: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(processor);
    let placed = sched_setaffinity(Pid::from_raw(thread), &set);
    if let Err(e) = placed {
        tracing::debug!("a thread of the driver is not placed: {e}");
    }
    placed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(names: &[&str]) -> BTreeMap<i32, String> {
        let numbered = names.iter().enumerate();
        numbered
            .map(|(i, n)| (10 + i as i32, (*n).to_owned()))
            .collect()
    }

    #[test]
    fn the_pool_is_what_follows_the_drawing_threads() {
        let mesa = [
            "carat",
            "llvmpipe-0",
            "llvmpipe-1",
            "carat",
            "carat",
            "carat:disk$0",
        ];
        assert_eq!(pool(&threads(&mesa)), [13, 14]);
        for other in [
            &["carat", "carat"][..],
            &["llvmpipe-0", "llvmpipe-1", "carat"],
            &["llvmpipe-0", "llvmpipe-1", "carat", "carat:disk$0"],
            &["llvmpipe-0", "llvmpipe-1"],
            &[],
        ] {
            assert!(pool(&threads(other)).is_empty(), "{other:?}");
        }
    }

    #[test]
    fn a_thread_is_placed() {
        let of_thread = |processor| {
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            assert!(place(id, processor));
            sched_getaffinity(None).unwrap()
        };
        std::thread::spawn(move || {
            let allowed = sched_getaffinity(None).unwrap();
            let last = (0..CpuSet::MAX_CPU).rfind(|c| allowed.is_set(*c)).unwrap();
            let now = of_thread(last);
            assert!(now.is_set(last) && now.count() == 1);
        })
        .join()
        .unwrap();
        assert!(!place(i32::MAX, 0));
    }
}
