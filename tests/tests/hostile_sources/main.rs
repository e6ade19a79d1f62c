//! Damaged checkpoints of every kind: an error that names the file or a run to the end, never a panic, never
//! more than 64 MiB of memory over four times the files' size.
#![allow(clippy::unwrap_used)]

#[path = "../counting/mod.rs"]
mod counting;
mod directories;
mod ggufs;

use carat_tests::hostile::{End, drive};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// The counters are the process's: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Bytes of a file or of all files of a directory.
fn size(path: &Path) -> usize {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.map(|e| size(&e.unwrap().path())).sum();
    }
    fs::metadata(path).map_or(0, |m| m.len() as usize)
}

/// Drives a checkpoint; checks panics, memory, and that an error names the place.
fn check(path: &Path, whole: bool, what: &str) -> End {
    let (end, used, _) = counting::measured(|| std::panic::catch_unwind(|| drive(path, whole)));
    let Ok(end) = end else {
        panic!("{what}: panicked");
    };
    let most = 4 * size(path) + (64 << 20);
    assert!(used <= most, "{what}: {used} bytes, at most {most}");
    if let End::Refused(error) = &end {
        let directory = if path.is_dir() {
            path
        } else {
            path.parent().unwrap()
        };
        // Faults of the model as a whole are the conversion's.
        let named = error.contains(directory.to_str().unwrap()) || whole;
        assert!(named, "{what}: {error}");
        assert!(error.len() < 4096, "{what}: {} bytes", error.len());
    }
    end
}

/// The error of a checkpoint that must be refused.
fn refused(path: &Path, what: &str) -> String {
    match check(path, false, what) {
        End::Refused(error) => error,
        End::Read => panic!("{what}: was read"),
    }
}
