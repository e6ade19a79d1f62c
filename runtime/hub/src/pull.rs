//! A model, from its name to its path.

use crate::api::{self, Entry};
use crate::cache::{self, Folder};
use crate::choose::{Choice, choose};
use crate::digest::Digest;
use crate::download::{Job, Meter, is_sound};
use crate::http::Client;
use crate::{Error, Note, Observer, Plan, Reference, Settings};
use std::fs;
use std::path::PathBuf;

/// A hub, and the cache of what comes from it.
pub struct Hub {
    client: Client,
    settings: Settings,
}

/// A file of a model that is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledFile {
    /// Its path in the repository.
    pub name: String,
    /// Its path here.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, or what git calls it if it is small; not known offline.
    pub hash: Option<String>,
}

/// A model that is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The repository's name.
    pub repository: String,
    /// The revision that was asked for.
    pub revision: String,
    /// Its commit, 40 hexadecimal digits.
    pub commit: String,
    /// What to give to a program: a GGUF file (the first of several parts), a checkpoint's directory, or the file that was
    /// named.
    pub path: PathBuf,
    /// The model's files, by name.
    pub files: Vec<PulledFile>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes that came over the network for it.
    pub fetched: u64,
}

impl Hub {
    /// Errors: an address or certificates that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let client = Client::new(&settings)?;
        Ok(Self { client, settings })
    }

    /// How it works.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Fetches what is not in the cache yet; offline, gives what is there.
    ///
    /// Files that are whole in the cache are not fetched again, interrupted ones are gone on with, and two processes that
    /// want the same file fetch it once.
    ///
    /// Errors: see [`Error`]; [`Error::Cancelled`] where the observer says stop.
    pub fn pull(&self, model: &Reference, observer: &dyn Observer) -> Result<Pulled, Error> {
        if self.settings.offline {
            return self.cached(model);
        }
        let listing = api::list(&self.client, self.settings.patience, model, observer)?;
        let repository = model.repository.as_str();
        let choice = choose(repository, &listing.files, model.wanted.as_deref())?;
        let folder = Folder::new(&self.settings.cache, &model.repository);
        folder.create()?;
        let work = Work {
            hub: self,
            model,
            folder: &folder,
            commit: &listing.commit,
        };
        let total = total(&choice)?;
        let present: u64 = choice.files.iter().map(|f| work.there(f)).sum();
        work.check_space(total - present)?;
        observer.plan(&Plan {
            repository: repository.into(),
            commit: listing.commit.clone(),
            files: choice.files.len(),
            bytes: total,
            present,
            chosen: choice.by_default.then(|| choice.give.clone()),
        });
        let mut meter = Meter {
            observer,
            done: 0,
            total,
            fetched: 0,
        };
        let mut files = Vec::new();
        for file in &choice.files {
            let path = work.obtain(file, &mut meter).map_err(|e| match e {
                Error::Cancelled { .. } => Error::Cancelled {
                    kept: choice.files.iter().map(|f| work.there(f)).sum(),
                    total,
                },
                e => e,
            })?;
            meter.done += file.bytes;
            observer.advance(meter.done, total);
            files.push(PulledFile {
                name: file.name.clone(),
                path,
                bytes: file.bytes,
                hash: file.digest.as_ref().map(|d| d.text().to_owned()),
            });
        }
        folder.remember(model.revision(), &listing.commit)?;
        Ok(Pulled {
            repository: repository.into(),
            revision: model.revision().into(),
            path: folder.pointer(&listing.commit, &choice.give),
            commit: listing.commit.clone(),
            files,
            bytes: total,
            fetched: meter.fetched,
        })
    }

    /// What the cache has of a model, without asking anybody.
    ///
    /// Errors: [`Error::Offline`] where it is not there, or not whole.
    pub fn cached(&self, model: &Reference) -> Result<Pulled, Error> {
        let repository = model.repository.to_string();
        let folder = Folder::new(&self.settings.cache, &model.repository);
        let missing = |reason: String| Error::Offline {
            repository: repository.clone(),
            cache: self.settings.cache.clone(),
            reason,
        };
        let revision = model.revision();
        let commit = folder.recall(revision);
        let commit =
            commit.ok_or_else(|| missing(format!("its revision {revision} was never fetched")))?;
        let there = folder.files(&commit);
        let choice = choose(&repository, &there, model.wanted.as_deref());
        let choice = choice.map_err(|e| match e {
            Error::FileNotFound { wanted, .. } => missing(format!("it has no {wanted} there")),
            Error::NoModel { .. } => missing("no model of it is there".into()),
            Error::PartsMissing { missing: parts, .. } => {
                missing(format!("{} is not there", parts.join(", ")))
            }
            e => e,
        })?;
        let file = |f: &&Entry| PulledFile {
            name: f.name.clone(),
            path: folder.pointer(&commit, &f.name),
            bytes: f.bytes,
            hash: None,
        };
        Ok(Pulled {
            revision: revision.into(),
            path: folder.pointer(&commit, &choice.give),
            bytes: total(&choice)?,
            files: choice.files.iter().map(file).collect(),
            fetched: 0,
            commit,
            repository,
        })
    }
}

/// Bytes of all files.
fn total(choice: &Choice<'_>) -> Result<u64, Error> {
    let sum = choice
        .files
        .iter()
        .try_fold(0u64, |sum, f| sum.checked_add(f.bytes));
    sum.ok_or_else(|| Error::TooLarge {
        what: "the model".into(),
        bytes: u64::MAX,
        limit: u64::MAX - 1,
    })
}

/// A pull under way.
struct Work<'a> {
    hub: &'a Hub,
    model: &'a Reference,
    folder: &'a Folder,
    commit: &'a str,
}

impl Work<'_> {
    fn digest<'f>(&self, file: &'f Entry) -> Result<&'f Digest, Error> {
        file.digest.as_ref().ok_or_else(|| Error::Answer {
            url: self.hub.client.endpoint().into(),
            reason: format!("it states no hash of {}", file.name),
        })
    }

    /// Bytes of a file that are in the cache.
    fn there(&self, file: &Entry) -> u64 {
        let Some(digest) = &file.digest else {
            return 0;
        };
        if self.folder.present(self.commit, file, digest).is_some() {
            return file.bytes;
        }
        let incomplete = fs::metadata(self.folder.incomplete(digest));
        incomplete.map_or(0, |m| m.len()).min(file.bytes)
    }

    fn check_space(&self, needed: u64) -> Result<(), Error> {
        let path = self.folder.blobs();
        match cache::free(&path) {
            Some(free) if free < needed => Err(Error::DiskFull {
                path,
                needed,
                free: Some(free),
            }),
            _ => Ok(()),
        }
    }

    /// Sees to it that a file is there; its path in the snapshot.
    fn obtain(&self, file: &Entry, meter: &mut Meter<'_>) -> Result<PathBuf, Error> {
        let digest = self.digest(file)?;
        if let Some(path) = self.sound(file, digest, meter)? {
            return Ok(path);
        }
        let lock = self.folder.lock(file, digest, meter.observer)?;
        // Who had the lock before may have fetched it.
        if let Some(path) = self.sound(file, digest, meter)? {
            return Ok(path);
        }
        meter.observer.file(&file.name);
        let job = Job {
            client: &self.hub.client,
            patience: self.hub.settings.patience,
            folder: self.folder,
            model: self.model,
            commit: self.commit,
            file,
            digest,
        };
        job.fetch(meter)?;
        drop(lock);
        self.folder.link(self.commit, &file.name, digest)
    }

    /// The path of a file that is in the cache already. What is damaged is removed, where that is looked for.
    fn sound(
        &self,
        file: &Entry,
        digest: &Digest,
        meter: &Meter<'_>,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(path) = self.folder.present(self.commit, file, digest) else {
            return Ok(None);
        };
        if self.hub.settings.verify && !is_sound(&path, file, digest, meter)? {
            meter.observer.note(&Note::Damaged {
                file: file.name.clone(),
            });
            fs::remove_file(&path).map_err(Error::io(&path, 0))?;
            return Ok(None);
        }
        match path == self.folder.blob(digest) {
            true => self.folder.link(self.commit, &file.name, digest).map(Some),
            false => Ok(Some(path)),
        }
    }
}
