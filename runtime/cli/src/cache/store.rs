//! The cache's directory.
//!
//! `models/NAME-4bit-KEY.gguf` is a converted file; it counts once `models/NAME-4bit-KEY.json` is beside it,
//! which is written last and says what it was made of. `sources/STATE` holds the hash of the contents of files
//! in that state. `tunings/KEY.json` says what was fastest on an adapter. Every file gets its name by a rename when it is whole, so any number of processes may work
//! here, and one that is killed leaves at most a file under a temporary name.

use super::source::part;
use crate::term;
use anyhow::{Context, Result, bail};
use blake3::Hash;
use carat_converter::convert::{Options, VERSION, is_busy};
use carat_converter::source::Checkpoint;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file under a temporary name that nobody wrote to for so long has no process any more.
const STALE: Duration = Duration::from_secs(3600);
/// A conversion that ended before its time and was not gone on with for so long will not be.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Hexadecimal digits of a key.
pub(super) const KEY: usize = 32;
/// Largest description that is read.
const MAX_DESCRIPTION: u64 = 1 << 16;

/// There is no cache.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoStore(pub String);

/// The cache's directory.
pub struct Store {
    root: PathBuf,
}

/// Where a converted file is or would be.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    models: PathBuf,
    name: String,
}

impl Entry {
    /// The Carat file.
    pub fn file(&self) -> PathBuf {
        self.models.join(format!("{}.gguf", self.name))
    }

    fn description(&self) -> PathBuf {
        self.models.join(format!("{}.json", self.name))
    }
}

/// The whole path of a checkpoint under the name that it was given: a hub's cache has links to contents without names.
fn named(source: &Path) -> Option<PathBuf> {
    let name = source.file_name().filter(|_| !source.is_dir());
    match (source.parent(), name) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Some(fs::canonicalize(parent).ok()?.join(name))
        }
        _ => fs::canonicalize(source).ok(),
    }
}

/// What is said about a converted file.
#[derive(Deserialize, Serialize)]
pub struct Description {
    /// The checkpoint's path.
    pub source: String,
    /// Bits per weight.
    #[serde(serialize_with = "carat_converter::report::whole")]
    pub bits: f64,
    /// Seconds since 1970.
    pub created: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes before the tensors, which have hashes of their own there.
    header_bytes: u64,
    /// Their blake3.
    header_blake3: String,
    /// The converter that made it.
    converter: String,
}

/// A converted file.
#[derive(Serialize)]
pub struct Listed {
    /// The Carat file.
    pub path: PathBuf,
    #[serde(flatten)]
    pub description: Description,
}

/// The directory that the user or the system names for caches.
fn place() -> Result<PathBuf, NoStore> {
    let var = |name: &str| std::env::var_os(name).filter(|v: &OsString| !v.is_empty());
    if let Some(own) = var("CARAT_CACHE") {
        return Ok(own.into());
    }
    // Relative ones are to be ignored (XDG Base Directory Specification).
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|p| p.is_absolute());
    if let Some(xdg) = absolute("XDG_CACHE_HOME") {
        return Ok(xdg.join("carat"));
    }
    let found = if cfg!(windows) {
        absolute("LOCALAPPDATA").map(|p| p.join("carat").join("cache"))
    } else if cfg!(target_os = "macos") {
        absolute("HOME").map(|p| p.join("Library/Caches/carat"))
    } else {
        absolute("HOME").map(|p| p.join(".cache/carat"))
    };
    found.ok_or_else(|| NoStore("the system names no home directory".into()))
}

impl Store {
    /// The cache without creating it.
    ///
    /// Errors: no place for it is known.
    pub fn locate() -> Result<Self, NoStore> {
        Ok(Self { root: place()? })
    }

    /// The cache, created where it is not there.
    ///
    /// Errors: no place for it is known, or nothing can be created there.
    pub fn open() -> Result<Self, NoStore> {
        let store = Self::locate()?;
        for directory in [store.models(), store.sources()] {
            fs::create_dir_all(&directory)
                .map_err(|e| NoStore(format!("{}: {e}", directory.display())))?;
        }
        Ok(store)
    }

    /// A cache in a directory of a test.
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Tunings of adapters.
    pub(super) fn tunings(&self) -> PathBuf {
        self.root.join("tunings")
    }

    fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// The place of a conversion: contents, name, options and converter decide the file's bytes.
    pub fn entry(&self, checkpoint: &Checkpoint, content: &Hash, options: &Options) -> Entry {
        let mut hasher = blake3::Hasher::new();
        part(&mut hasher, VERSION.as_bytes());
        part(&mut hasher, content.as_bytes());
        part(&mut hasher, checkpoint.name().unwrap_or("").as_bytes());
        // Places, threads and `force` change no byte. The calibration does; its built-in text belongs to the version.
        let deciding = Options {
            source: PathBuf::new(),
            output: PathBuf::new(),
            threads: None,
            force: false,
            accept_useless: false,
            save_every: Duration::ZERO,
            ..options.clone()
        };
        part(&mut hasher, format!("{deciding:?}").as_bytes());
        let key = hasher.finalize().to_hex();
        let full = fs::canonicalize(checkpoint.path()).unwrap_or_default();
        let stem = if full.is_dir() {
            full.file_name()
        } else {
            full.file_stem()
        };
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "._".contains(c) {
                c
            } else {
                '-'
            }
        };
        let stem: String = stem
            .unwrap_or_default()
            .to_string_lossy()
            .trim_start_matches('.')
            .chars()
            .map(plain)
            .take(48)
            .collect();
        Entry {
            models: self.models(),
            name: format!("{stem}-{}bit-{}", options.bits, &key[..KEY]),
        }
    }

    /// Bytes of the file if it is there. Tensors are compared with their hashes when the file is opened.
    ///
    /// Errors: the file is not the one that was written.
    pub fn find(&self, entry: &Entry) -> Result<Option<u64>> {
        let path = entry.description();
        if !path.exists() {
            return Ok(None);
        }
        let description = read_description(&path)?;
        let file = entry.file();
        let shown = || file.display().to_string();
        let mut opened = File::open(&file).with_context(shown)?;
        let found = opened.metadata().with_context(shown)?.len();
        if found != description.bytes {
            bail!(
                "{}: {found} bytes, expected {}",
                file.display(),
                description.bytes
            );
        }
        let hash = hash_start(&mut opened, description.header_bytes).with_context(shown)?;
        if hash.to_hex().as_str() != description.header_blake3 {
            bail!("{}: the header is not what was written", file.display());
        }
        Ok(Some(found))
    }

    /// Lets a file that was written count.
    ///
    /// Errors: it cannot be read or described.
    pub fn publish(&self, entry: &Entry, options: &Options) -> Result<()> {
        let file = entry.file();
        let shown = || file.display().to_string();
        let mut opened = File::open(&file).with_context(shown)?;
        let header_bytes = crate::input::Start::read(&file)?.header()?.data_start();
        let source = named(&options.source).unwrap_or_else(|| options.source.clone());
        let description = Description {
            source: source.display().to_string(),
            bits: options.bits,
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
            bytes: opened.metadata().with_context(shown)?.len(),
            header_bytes,
            header_blake3: hash_start(&mut opened, header_bytes)
                .with_context(shown)?
                .to_hex()
                .to_string(),
            converter: VERSION.into(),
        };
        write(
            &entry.description(),
            &serde_json::to_vec_pretty(&description)?,
        )
    }

    /// Removes a converted file, its description first.
    ///
    /// Errors: it is there and cannot be removed.
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        gone(&entry.description())?;
        gone(&entry.file())
    }

    /// The hash of the contents of files in this state, if it is known.
    pub fn recall(&self, state: &Hash) -> Option<Hash> {
        let mut text = String::new();
        let file = File::open(self.sources().join(state.to_hex().as_str())).ok()?;
        file.take(MAX_DESCRIPTION).read_to_string(&mut text).ok()?;
        Hash::from_hex(text.trim_end()).ok()
    }

    /// Remembers it. One that cannot be written is computed again.
    pub fn remember(&self, state: &Hash, content: &Hash) {
        let path = self.sources().join(state.to_hex().as_str());
        if let Err(e) = write(&path, format!("{content}\n").as_bytes()) {
            tracing::debug!("{e:#}");
        }
    }

    /// Every converted file, by name.
    ///
    /// Errors: the directory is there and cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        for path in names(&self.models())? {
            if !is_own(&path, "json") {
                continue;
            }
            match read_description(&path) {
                Ok(description) => found.push(Listed {
                    path: path.with_extension("gguf"),
                    description,
                }),
                Err(e) => term::warn(&format!("{e:#}")),
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes everything that the cache made; how many converted files that was, and the bytes of all.
    ///
    /// Errors: a directory that cannot be read, a file that cannot be removed.
    pub fn clear(&self) -> Result<(u64, u64)> {
        self.remove_stale();
        let (mut files, mut bytes) = (0, 0);
        let mut all = names(&self.models())?;
        all.extend(names(&self.sources())?);
        all.extend(names(&self.tunings())?);
        // Descriptions first, so that no file counts without its contents.
        all.sort_by_key(|p| p.extension().is_some_and(|e| e == "gguf"));
        for path in all {
            if is_partial(&path) {
                if !is_busy(&path) {
                    let parts = names(&path)?.into_iter();
                    bytes += parts
                        .filter_map(|p| Some(fs::metadata(p).ok()?.len()))
                        .sum::<u64>();
                    fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
                }
                continue;
            }
            let model = is_own(&path, "gguf");
            if !(model || is_own(&path, "json") || is_state(&path) || is_tuning(&path)) {
                continue;
            }
            bytes += fs::metadata(&path).map_or(0, |m| m.len());
            files += u64::from(model);
            gone(&path)?;
        }
        for directory in [
            self.models(),
            self.sources(),
            self.tunings(),
            self.root.clone(),
        ] {
            // Stays where something else is in it.
            let _ = fs::remove_dir(directory);
        }
        Ok((files, bytes))
    }

    /// Removes files under temporary names whose process is gone.
    pub fn remove_stale(&self) {
        for directory in [self.models(), self.sources(), self.tunings()] {
            for path in names(&directory).unwrap_or_default() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let temporary = name.starts_with(".carat-")
                    && (name.ends_with(".part") || name.ends_with(".tmp"));
                let age = fs::metadata(&path)
                    .and_then(|m| m.modified())
                    .ok()
                    .and_then(|t| t.elapsed().ok());
                if temporary && age.is_some_and(|a| a > STALE) {
                    let _ = fs::remove_file(&path);
                }
                if is_partial(&path) && age.is_some_and(|a| a > FORGOTTEN) && !is_busy(&path) {
                    let _ = fs::remove_dir_all(&path);
                }
            }
        }
    }
}

/// Paths in a directory; none where it does not exist.
pub(super) fn names(directory: &Path) -> Result<Vec<PathBuf>> {
    let shown = || directory.display().to_string();
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(shown)?,
    };
    entries.map(|e| Ok(e.with_context(shown)?.path())).collect()
}

pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a path has a name that [`Store::entry`] gives.
fn is_own(path: &Path, extension: &str) -> bool {
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    let key = name.rsplit_once("bit-").map_or("", |(_, key)| key);
    path.extension().is_some_and(|e| e == extension) && key.len() == KEY && is_hex(key)
}

/// Whether a path has a name that a tuning of an adapter has.
pub(super) fn is_tuning(path: &Path) -> bool {
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    let parent = path.parent().and_then(Path::file_name);
    parent.is_some_and(|p| p == "tunings")
        && path.extension().is_some_and(|e| e == "json")
        && name.len() == KEY
        && is_hex(name)
}

/// Whether a path is the folder of a conversion into the cache that ended before its time.
fn is_partial(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "partial")
        && is_own(&path.with_extension(""), "gguf")
        && path.is_dir()
}

/// Whether a path has a name that [`Store::remember`] gives.
fn is_state(path: &Path) -> bool {
    let name = path.file_name().and_then(|s| s.to_str()).unwrap_or("");
    name.len() == 64 && is_hex(name)
}

fn gone(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| path.display().to_string()),
    }
}

fn read_description(path: &Path) -> Result<Description> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    let file = File::open(path).with_context(shown)?;
    file.take(MAX_DESCRIPTION)
        .read_to_string(&mut text)
        .with_context(shown)?;
    serde_json::from_str(&text).with_context(shown)
}

fn hash_start(file: &mut File, bytes: u64) -> std::io::Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let mut start = file.take(bytes);
    loop {
        match start.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            n => hasher.update(&buffer[..n]),
        };
    }
}

/// Writes a small file under a temporary name and renames it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let shown = || path.display().to_string();
    let mut temporary = term::beside(path)?;
    temporary.write_all(bytes).with_context(shown)?;
    temporary
        .persist(path)
        .map_err(|e| e.error)
        .with_context(shown)?;
    Ok(())
}
