//! What a pull tells while it works, and how it is asked to stop.

use std::time::Duration;

/// What a pull is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The repository's name.
    pub repository: String,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// Files of the model.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes that are in the cache already, those of interrupted downloads among them.
    pub present: u64,
    /// The file that was chosen among several models, where the caller named none.
    pub chosen: Option<String>,
}

/// What a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A request failed and is tried again.
    Retry {
        /// What happened.
        cause: String,
        /// The pause before the next try.
        wait: Duration,
    },
    /// Another process downloads this file; it is waited for.
    Busy {
        /// The file's name in the repository.
        file: String,
    },
    /// The server cannot go on where the file ends: it is fetched from its start.
    Restart {
        /// The file's name in the repository.
        file: String,
    },
    /// A file of the cache does not have its hash, and is fetched anew.
    Damaged {
        /// The file's name in the repository.
        file: String,
    },
}

/// Watches a pull. Every method has a default that does nothing.
pub trait Observer: Sync {
    /// The files are known; called once, before the first byte.
    fn plan(&self, _plan: &Plan) {}
    /// A file is begun, or gone on with.
    fn file(&self, _name: &str) {}
    /// `done` of `total` bytes are there. `done` falls where a file starts again.
    fn advance(&self, _done: u64, _total: u64) {}
    /// Something happened.
    fn note(&self, _note: &Note) {}
    /// Whether to stop; asked several times per second.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {}
