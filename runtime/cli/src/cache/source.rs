//! What a checkpoint's files hold, as one hash, so that a changed checkpoint is another one.
//!
//! The hash is of all bytes. So that they are read only once, the cache remembers it under the files' state:
//! device, inode, length, and the times of the last change of contents and of anything else. The last one,
//! which the system alone sets, tells every change, except one in the same tick of the file system's clock:
//! a file that changed just now is not remembered. Where the system keeps no such time nothing is.

use super::store::Store;
use crate::failure::Interrupted;
use crate::term::Bar;
use anyhow::{Context, Result};
use blake3::Hash;
use carat_converter::progress::Progress;
use carat_converter::source::{Checkpoint, Kind};
use rayon::prelude::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes hashed together by one thread.
const BLOCK: u64 = 64 << 20;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Seconds after which a file system's clock has surely moved on; the coarsest counts in steps of two.
#[cfg(unix)]
const SETTLED: i64 = 3;

/// The hash of everything that the checkpoint's conversion may read.
///
/// Errors: a file that cannot be read; Ctrl-C.
pub fn content(checkpoint: &Checkpoint, store: &Store) -> Result<Hash> {
    let files = files(checkpoint)?;
    let state = state(&files)?;
    if let Some(known) = state.as_ref().and_then(|s| store.recall(s)) {
        return Ok(known);
    }
    let content = hash(&files)?;
    if let Some(state) = state {
        store.remember(&state, &content);
    }
    Ok(content)
}

/// The weights' files, and in a directory everything beside them that could describe the model.
fn files(checkpoint: &Checkpoint) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = checkpoint
        .places()
        .filter(|p| !p.is_dir())
        .map(Path::to_path_buf)
        .collect();
    if checkpoint.kind() == Kind::HuggingFace {
        describing(checkpoint.path(), 0, &mut files)?;
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn describing(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<()> {
    let shown = || directory.display().to_string();
    for entry in std::fs::read_dir(directory).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let describes = path
            .extension()
            .is_some_and(|e| ["json", "jinja", "txt", "model"].iter().any(|d| e == *d));
        if describes && path.is_file() {
            files.push(path);
        } else if depth == 0 && path.is_dir() {
            describing(&path, 1, files)?;
        }
    }
    Ok(())
}

/// Names the state of the files as the system keeps it; `None` where it does not tell every change.
#[cfg(unix)]
fn state(files: &[PathBuf]) -> Result<Option<Hash>> {
    use std::os::unix::fs::MetadataExt;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64);
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let shown = || file.display().to_string();
        let meta = std::fs::metadata(file).with_context(shown)?;
        if meta.ctime().max(meta.mtime()) > now - SETTLED {
            return Ok(None);
        }
        let name = file.canonicalize().with_context(shown)?;
        part(&mut hasher, name.as_os_str().as_encoded_bytes());
        for n in [
            meta.dev() as i64,
            meta.ino() as i64,
            meta.len() as i64,
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ] {
            hasher.update(&n.to_le_bytes());
        }
    }
    Ok(Some(hasher.finalize()))
}

#[cfg(not(unix))]
fn state(_files: &[PathBuf]) -> Result<Option<Hash>> {
    Ok(None)
}

/// Takes in bytes with their length, so that no two sequences of parts look the same.
pub fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Names and contents.
fn hash(files: &[PathBuf]) -> Result<Hash> {
    let mut blocks = Vec::new();
    let mut total = 0u64;
    for file in files {
        let meta = std::fs::metadata(file).with_context(|| file.display().to_string())?;
        let len = meta.len();
        total = total.saturating_add(len);
        blocks.extend((0..len.div_ceil(BLOCK)).map(|i| (file, i * BLOCK, BLOCK)));
        // A file that grows meanwhile is another one.
        blocks.push((file, len, u64::MAX));
    }
    let bar = Bar::new("reading the checkpoint");
    let done = AtomicU64::new(0);
    let hashed: Vec<Result<Hash>> = blocks
        .par_iter()
        .map(|(file, from, len)| {
            let mut taken = |n: u64| {
                let before = done.fetch_add(n, Ordering::Relaxed);
                bar.step(before + n, total);
                !bar.cancelled()
            };
            match block(file, *from, *len, &mut taken)
                .with_context(|| file.display().to_string())?
            {
                Some(hash) => Ok(hash),
                None => Err(Interrupted("; nothing was written".into()).into()),
            }
        })
        .collect();
    bar.clear();
    let mut hasher = blake3::Hasher::new();
    for ((file, from, _), hash) in blocks.iter().zip(hashed) {
        let name = file.file_name().unwrap_or_default();
        part(&mut hasher, name.as_encoded_bytes());
        hasher.update(&from.to_le_bytes());
        hasher.update(hash?.as_bytes());
    }
    Ok(hasher.finalize())
}

/// Hashes at most `len` bytes; `None` once `taken` says stop.
fn block(
    file: &Path,
    from: u64,
    len: u64,
    taken: &mut dyn FnMut(u64) -> bool,
) -> std::io::Result<Option<Hash>> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    let mut file = file.take(len);
    let mut buffer = vec![0; CHUNK];
    let mut hasher = blake3::Hasher::new();
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some(hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
        if !taken(n as u64) {
            return Ok(None);
        }
    }
}
