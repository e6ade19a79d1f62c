//! Maps of files whose loss is survived: a table of them that a signal handler reads.
#![allow(unsafe_code)]

mod signal;

pub use signal::install;

use crate::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize, fence};

/// Most maps that are guarded at once.
pub const MAPS: usize = 256;

/// A multiple of every system's page.
pub(super) const PAGE: usize = 65_536;

/// The maps of this process.
static TABLE: [Slot; MAPS] = [const { Slot::new() }; MAPS];

/// A map's place in the table. The handler reads it while other threads change others, and waits for nobody.
struct Slot {
    taken: AtomicBool,
    /// Odd while the range changes.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Zeros stand for bytes of the file.
    lost: AtomicBool,
}

impl Slot {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    /// For the one who took it.
    fn set(&self, range: Range<usize>) {
        self.version.fetch_add(1, SeqCst);
        self.start.store(range.start, SeqCst);
        self.end.store(range.end, SeqCst);
        self.lost.store(false, SeqCst);
        self.version.fetch_add(1, SeqCst);
    }

    /// The end of its map, if an address is in that. Of a range that changes nobody reads: its map comes or goes.
    fn end_of(&self, address: usize) -> Option<usize> {
        let version = self.version.load(SeqCst);
        let range = self.start.load(SeqCst)..self.end.load(SeqCst);
        let whole = version.is_multiple_of(2) && self.version.load(SeqCst) == version;
        (whole && range.contains(&address)).then_some(range.end)
    }
}

/// A map in the table, until it is dropped: before its memory goes.
pub(super) struct Entry {
    slot: &'static Slot,
    path: PathBuf,
    /// The last byte that is not zero of those at the end, and its place. A file that is shortened within a page has zeros
    /// behind its new end, and no access to them fails.
    last: Option<(usize, u8)>,
}

impl Entry {
    /// Puts a map of a file into the table; `None` where that is full.
    pub fn new(map: &[u8], path: &Path) -> Option<Self> {
        let free = |s: &&Slot| {
            s.taken
                .compare_exchange(false, true, SeqCst, SeqCst)
                .is_ok()
        };
        let Some(slot) = TABLE.iter().find(free) else {
            if signal::is_installed() {
                let path = path.display();
                tracing::warn!("{path}: not guarded, as {MAPS} files are mapped already");
            }
            return None;
        };
        let start = map.as_ptr().expose_provenance();
        slot.set(start..start + map.len());
        let tail = &map[map.len().saturating_sub(PAGE)..];
        let at = tail.iter().rposition(|b| *b != 0);
        let at = at.or(tail.len().checked_sub(1));
        let last = at.map(|at| (map.len() - tail.len() + at, tail[at]));
        let path = path.into();
        Some(Self { slot, path, last })
    }

    /// Errors: a byte that was read of `map`, which is the one of this entry, may have been none of the file's.
    pub fn intact(&self, map: &[u8]) -> Result<(), Error> {
        // Without the handler this could be the access that ends the process.
        if !signal::is_installed() {
            return Ok(());
        }
        let differs = |(at, byte): (usize, u8)| {
            // SAFETY: a reference to a byte of the map, which is read as often as this is asked: another process changes it.
            map.get(at).map(|b| unsafe { std::ptr::read_volatile(b) }) != Some(byte)
        };
        let differs = self.last.is_some_and(differs);
        // Behind every access to the map.
        fence(Acquire);
        match differs || self.slot.lost.load(Relaxed) {
            true => Err(Error::Lost {
                path: self.path.clone(),
            }),
            false => Ok(()),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.slot.set(0..0);
        self.slot.taken.store(false, SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(address: usize) -> Option<usize> {
        TABLE.iter().find_map(|s| s.end_of(address))
    }

    /// One test, as it takes every place.
    #[test]
    fn a_map_is_found_while_it_is_there_and_the_table_ends() {
        let bytes = vec![0u8; 300];
        let start = bytes.as_ptr() as usize;
        assert_eq!(found(start), None);
        let entry = Entry::new(&bytes, Path::new("a")).unwrap();
        assert_eq!(entry.last, Some((299, 0)));
        for (address, end) in [
            (start - 1, None),
            (start, Some(start + 300)),
            (start + 299, Some(start + 300)),
            (start + 300, None),
        ] {
            assert_eq!(found(address), end);
        }
        drop(entry);
        assert_eq!(found(start), None);
        assert!(Entry::new(&[], Path::new("a")).unwrap().last.is_none());
        let bytes = [1u8, 2, 0];
        let entry = || Entry::new(&bytes, Path::new("a"));
        let all: Vec<_> = std::iter::from_fn(entry).collect();
        assert!(all.len() <= MAPS && all.len() + 8 > MAPS);
        assert!(all.iter().all(|e| e.last == Some((1, 2))));
        drop(all);
        assert!(entry().is_some());
    }

    /// A range that is read while others come and go is one of them.
    #[test]
    fn no_range_is_torn() {
        let slot = Slot::new();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    slot.set(10..20);
                    slot.set(30..40);
                }
            });
            for _ in 0..200_000 {
                assert!([None, Some(20)].contains(&slot.end_of(12)));
                assert!([None, Some(40)].contains(&slot.end_of(32)));
                assert_eq!(slot.end_of(25), None);
            }
            over.store(true, SeqCst);
        });
    }
}
