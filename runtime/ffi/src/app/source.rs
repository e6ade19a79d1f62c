//! Where a model's file comes from.

use super::{Code, Failure, LoadOptions, OnLoad};
use std::path::{Path, PathBuf};

/// The file on this machine.
///
/// Errors: the network, no such model; cancelled.
pub(super) fn local(
    from: &str,
    options: &LoadOptions,
    progress: &OnLoad,
) -> Result<PathBuf, Failure> {
    let fetched = ["hf:", "https://", "http://"];
    if !fetched.iter().any(|prefix| from.starts_with(prefix)) {
        return Ok(from.into());
    }
    fetch(from, options, progress)
}

#[cfg(not(feature = "hub"))]
fn fetch(from: &str, _: &LoadOptions, _: &OnLoad) -> Result<PathBuf, Failure> {
    Err(Failure::new(
        Code::Format,
        format!("{from}: this build fetches nothing; give it the path of a file"),
    ))
}

#[cfg(feature = "hub")]
fn fetch(from: &str, _: &LoadOptions, _: &OnLoad) -> Result<PathBuf, Failure> {
    Err(Failure::new(
        Code::Network,
        format!("{from}: cannot be fetched"),
    ))
}

/// A file that is shortened while it is mapped gives an error.
pub(super) fn guard() {}

/// Of a file that cannot be opened.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Storage,
        format!("{}: cannot be read: {error}", path.display()),
    )
}
