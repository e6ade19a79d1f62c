//! The cache on disk, as huggingface_hub lays it out:
//!
//! ```text
//! models--OWNER--NAME/blobs/HASH            contents, `HASH.incomplete` while they come
//! models--OWNER--NAME/refs/main             the commit that a revision was
//! models--OWNER--NAME/snapshots/COMMIT/…    names, links to the contents
//! .locks/models--OWNER--NAME/HASH.lock      held by who writes a blob
//! ```

use crate::api::Entry;
use crate::digest::{Digest, hexadecimal};
use crate::name::check_path;
use crate::retry::sleep;
use crate::{Error, Note, Observer, Repository};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two tries to get a lock.
const WAIT: Duration = Duration::from_millis(200);
/// Most files and deepest folder of a snapshot that are looked at.
const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 8;

/// A repository's part of the cache.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    locks: PathBuf,
}

impl Folder {
    pub fn new(cache: &Path, repository: &Repository) -> Self {
        let name = format!("models--{}", repository.as_str().replace('/', "--"));
        Self {
            root: cache.join(&name),
            locks: cache.join(".locks").join(name),
        }
    }

    /// Where a file's contents are.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.text())
    }

    /// Where they are while they come.
    pub fn incomplete(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}.incomplete", digest.text());
        self.root.join("blobs").join(name)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// A file's name in a snapshot.
    pub fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        let mut path = self.snapshot(commit);
        path.extend(name.split('/'));
        path
    }

    /// Makes the directories of blobs and locks.
    pub fn create(&self) -> Result<(), Error> {
        for directory in [&self.root.join("blobs"), &self.locks] {
            fs::create_dir_all(directory).map_err(Error::io(directory, 0))?;
        }
        Ok(())
    }

    /// The directory of the blobs.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where a file's contents are already, whole: in a blob, or where links cannot be made under the file's own name.
    pub fn present(&self, commit: &str, file: &Entry, digest: &Digest) -> Option<PathBuf> {
        let whole = |path: &Path| {
            let meta = fs::metadata(path).ok();
            meta.is_some_and(|m| m.is_file() && m.len() == file.bytes)
        };
        let blob = self.blob(digest);
        if whole(&blob) {
            return Some(blob);
        }
        let pointer = self.pointer(commit, &file.name);
        let own = fs::symlink_metadata(&pointer).is_ok_and(|m| m.is_file());
        (own && whole(&pointer)).then_some(pointer)
    }

    /// Waits for the right to write a blob.
    ///
    /// Errors: no file can be made there; the observer says stop.
    pub fn lock(
        &self,
        file: &Entry,
        digest: &Digest,
        observer: &dyn Observer,
    ) -> Result<Lock, Error> {
        let path = self.locks.join(format!("{}.lock", digest.text()));
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let lock = options.open(&path).map_err(Error::io(&path, 0))?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Lock { _file: lock }),
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        observer.note(&Note::Busy {
                            file: file.name.clone(),
                        });
                    }
                    sleep(WAIT, observer)?;
                }
                // A file system without locks: whoever writes there alone needs none.
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Lock { _file: lock });
                }
                Err(TryLockError::Error(e)) => return Err(Error::Io { path, error: e }),
            }
        }
    }

    /// Gives a blob its name in the snapshot.
    pub fn link(&self, commit: &str, name: &str, digest: &Digest) -> Result<PathBuf, Error> {
        let pointer = self.pointer(commit, name);
        let up = "../".repeat(name.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{}", digest.text()));
        if fs::read_link(&pointer).is_ok_and(|t| t == target) {
            return Ok(pointer);
        }
        let directory = pointer.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).map_err(Error::io(directory, 0))?;
        let temporary = directory.join(format!(".carat-{}-{}", std::process::id(), digest.text()));
        let _ = fs::remove_file(&temporary);
        let blob = self.blob(digest);
        // Where no link can be made the name has the contents, as huggingface_hub does there.
        let made = link(&target, &temporary)
            .or_else(|_| fs::hard_link(&blob, &temporary))
            .or_else(|_| fs::copy(&blob, &temporary).map(drop))
            .and_then(|()| fs::rename(&temporary, &pointer));
        if let Err(error) = made {
            let _ = fs::remove_file(&temporary);
            return Err(Error::io(pointer, 0)(error));
        }
        Ok(pointer)
    }

    /// Remembers which commit a revision was.
    pub fn remember(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if revision == commit || self.recall(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let mut path = self.root.join("refs");
        path.extend(revision.split('/'));
        let directory = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(directory).map_err(Error::io(directory, 0))?;
        let temporary = directory.join(format!(".carat-{}", std::process::id()));
        let written = fs::write(&temporary, commit).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|e| {
            let _ = fs::remove_file(&temporary);
            Error::io(path, 0)(e)
        })
    }

    /// Which commit a revision was when it was fetched last.
    pub fn recall(&self, revision: &str) -> Option<String> {
        if let Some(commit) = hexadecimal(revision, 40) {
            return Some(commit);
        }
        let mut path = self.root.join("refs");
        path.extend(revision.split('/'));
        let mut text = String::new();
        let file = File::open(path).ok()?;
        file.take(64).read_to_string(&mut text).ok()?;
        hexadecimal(text.trim(), 40)
    }

    /// The files of a snapshot, by name.
    pub fn files(&self, commit: &str) -> Vec<Entry> {
        let mut files = Vec::new();
        walk(&self.snapshot(commit), "", 0, &mut files);
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }
}

fn walk(directory: &Path, front: &str, depth: usize, files: &mut Vec<Entry>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str().map(|n| format!("{front}{n}")) else {
            continue;
        };
        if files.len() >= MAX_FILES || check_path(&name).is_err() {
            continue;
        }
        let Ok(meta) = fs::metadata(&path) else {
            continue;
        };
        if meta.is_file() {
            files.push(Entry {
                name,
                bytes: meta.len(),
                digest: None,
            });
        } else if meta.is_dir() && depth < MAX_DEPTH && !path.is_symlink() {
            walk(&path, &format!("{name}/"), depth + 1, files);
        }
    }
}

/// The right to write a blob; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

#[cfg(unix)]
fn link(target: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

#[cfg(windows)]
fn link(target: &Path, name: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, name)
}

#[cfg(not(any(unix, windows)))]
fn link(_target: &Path, _name: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes that may still be written below a directory; `None` where the system does not say.
#[cfg(unix)]
pub(crate) fn free(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

#[cfg(not(unix))]
pub(crate) fn free(_directory: &Path) -> Option<u64> {
    None
}
