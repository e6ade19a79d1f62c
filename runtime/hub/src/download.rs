//! One file: from where it ends to its stated length, checked by its hash.

use crate::api::{Entry, check_status, encode};
use crate::cache::Folder;
use crate::digest::{Digest, Hasher};
use crate::http::{Answer, Client, Fault};
use crate::retry::Tries;
use crate::{Error, Note, Observer, Patience, Reference};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes read together of what is there.
const CHUNK: usize = 1 << 20;
/// How long the end of a body is waited for when all bytes are there.
const END: Duration = Duration::from_secs(2);

/// Counts the bytes of all files.
pub(crate) struct Meter<'a> {
    pub observer: &'a dyn Observer,
    /// Bytes of the files that are done.
    pub done: u64,
    pub total: u64,
    /// Bytes that came over the network.
    pub fetched: u64,
}

impl Meter<'_> {
    /// `here` bytes of the present file are there.
    fn at(&self, here: u64) {
        self.observer.advance(self.done + here, self.total);
    }
}

/// Where a file comes from and goes to.
pub(crate) struct Job<'a> {
    pub client: &'a Client,
    pub patience: Patience,
    pub folder: &'a Folder,
    pub model: &'a Reference,
    pub commit: &'a str,
    pub file: &'a Entry,
    pub digest: &'a Digest,
}

/// What is there of a file, hashed.
struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    hasher: Hasher,
}

impl Job<'_> {
    /// Fetches the file; the caller has its lock.
    ///
    /// Errors: see [`Error`]. What is there stays where the next try can go on with it.
    pub fn fetch(&self, meter: &mut Meter<'_>) -> Result<(), Error> {
        let path = self.folder.incomplete(self.digest);
        let mut partial = self.open(path, meter)?;
        let mut tries = Tries::new(self.patience);
        while partial.len < self.file.bytes {
            match self.request(&mut partial, meter) {
                Ok(()) => {}
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again(why)) => tries.again(why, partial.len, meter.observer)?,
            }
        }
        let found = partial.hasher.finish();
        if found != self.digest.text() {
            drop(partial.file);
            let _ = fs::remove_file(&partial.path);
            return Err(Error::Verification {
                file: self.file.name.clone(),
                algorithm: self.digest.algorithm(),
                expected: self.digest.text().into(),
                found,
            });
        }
        // Its name must not outlive its bytes in a crash.
        partial
            .file
            .sync_all()
            .map_err(Error::io(&partial.path, 0))?;
        let blob = self.folder.blob(self.digest);
        fs::rename(&partial.path, &blob).map_err(Error::io(blob, 0))
    }

    /// What is there, hashed; nothing where it is longer than the file.
    fn open(&self, path: PathBuf, meter: &Meter<'_>) -> Result<Partial, Error> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(Error::io(&path, 0))?;
        let there = file.metadata().map_err(Error::io(&path, 0))?.len();
        if there > self.file.bytes {
            file.set_len(0).map_err(Error::io(&path, 0))?;
        }
        let mut hasher = self.digest.start(self.file.bytes);
        let len = hash(&mut file, &path, &mut hasher, |len| {
            meter.at(len);
            meter.observer.cancelled()
        })?;
        Ok(Partial {
            path,
            file,
            len,
            hasher,
        })
    }

    /// One request, as far as it goes.
    fn request(&self, partial: &mut Partial, meter: &mut Meter<'_>) -> Result<(), Fault> {
        let url = format!(
            "{}/{}/resolve/{}/{}",
            self.client.endpoint(),
            self.model.repository,
            self.commit,
            encode(&self.file.name, true)
        );
        let mut answer = self.client.get(&url, partial.len, meter.observer)?;
        check_status(self.client, &answer, self.model, Some(&self.file.name))?;
        let head = &answer.head;
        if head.commit.as_deref().is_some_and(|c| c != self.commit) {
            return Err(head
                .odd("it is of another commit than was asked for")
                .into());
        }
        let coding = head.text("content-encoding").unwrap_or("identity");
        if !coding.eq_ignore_ascii_case("identity") {
            return Err(head
                .odd("its bytes are coded, which was not asked for")
                .into());
        }
        match (head.status, partial.len) {
            (206, 0) => {
                return Err(head
                    .odd("it is a part of the file, and the whole was asked for")
                    .into());
            }
            (206, from) => self.check_range(&answer, from)?,
            (416, 0) => return Err(head.odd("it refuses a range that was not asked for").into()),
            // What is there is of no use to the server.
            (416, _) => {
                self.restart(partial, meter)?;
                return Ok(());
            }
            (200, 0) => {}
            (200, _) => self.restart(partial, meter)?,
            (status, _) => {
                return Err(head
                    .odd(format!("its status is {status}, which has no file"))
                    .into());
            }
        }
        let rest = self.file.bytes - partial.len;
        if let Some(length) = answer.head.length()?.filter(|l| *l != rest) {
            let whole = partial.len.saturating_add(length);
            return Err(self.size(format!("{whole}")).into());
        }
        self.body(&mut answer, partial, meter)
    }

    fn check_range(&self, answer: &Answer, from: u64) -> Result<(), Error> {
        let stated = answer.head.text("content-range").unwrap_or_default();
        let range = || {
            let (range, total) = stated.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let number = |t: &str| t.trim().parse::<u64>().ok();
            let whole = total == "*" || number(total)? == self.file.bytes;
            Some(
                number(first)? == from && number(last)?.checked_add(1)? == self.file.bytes && whole,
            )
        };
        match range() {
            Some(true) => Ok(()),
            _ => Err(answer.head.odd(format!(
                "bytes {from} to {} were asked for, and it has {:?}",
                self.file.bytes - 1,
                stated.chars().take(80).collect::<String>()
            ))),
        }
    }

    /// Begins again with nothing.
    fn restart(&self, partial: &mut Partial, meter: &Meter<'_>) -> Result<(), Error> {
        meter.observer.note(&Note::Restart {
            file: self.file.name.clone(),
        });
        let emptied = partial.file.set_len(0).and_then(|()| partial.file.rewind());
        emptied.map_err(Error::io(&partial.path, self.file.bytes))?;
        partial.len = 0;
        partial.hasher = self.digest.start(self.file.bytes);
        meter.at(0);
        Ok(())
    }

    /// Takes what comes, and no more than the listing states.
    fn body(
        &self,
        answer: &mut Answer,
        partial: &mut Partial,
        meter: &mut Meter<'_>,
    ) -> Result<(), Fault> {
        loop {
            let rest = self.file.bytes - partial.len;
            // A body whose length is not stated may end late.
            let limit = (rest == 0).then_some(END.min(self.client.silence()));
            let Some(piece) = answer.piece(limit, meter.observer)? else {
                break;
            };
            if piece.len() as u64 > rest {
                let _ = partial.file.set_len(0);
                let _ = fs::remove_file(&partial.path);
                return Err(self.size("more than that".into()).into());
            }
            let written = partial.file.write_all(&piece);
            written.map_err(Error::io(&partial.path, rest))?;
            partial.hasher.update(&piece);
            partial.len += piece.len() as u64;
            meter.fetched += piece.len() as u64;
            meter.at(partial.len);
        }
        if partial.len < self.file.bytes {
            return Err(Fault::again(Error::Network {
                host: answer.head.host.clone(),
                reason: format!(
                    "{} ended at byte {} of {}",
                    self.file.name, partial.len, self.file.bytes
                ),
            }));
        }
        Ok(())
    }

    fn size(&self, found: String) -> Error {
        Error::Size {
            file: self.file.name.clone(),
            expected: self.file.bytes,
            found,
        }
    }
}

/// Hashes a file from its start to its end, which is its length. Errors: `stop` says so, or the system.
fn hash(
    file: &mut File,
    path: &Path,
    hasher: &mut Hasher,
    stop: impl Fn(u64) -> bool,
) -> Result<u64, Error> {
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(len),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io(path, 0)(e)),
        };
        hasher.update(&buffer[..n]);
        len += n as u64;
        if stop(len) {
            return Err(Error::Cancelled { kept: 0, total: 0 });
        }
    }
}

/// Whether a file has its hash. Errors: it cannot be read; the observer says stop.
pub(crate) fn is_sound(
    path: &Path,
    file: &Entry,
    digest: &Digest,
    meter: &Meter<'_>,
) -> Result<bool, Error> {
    let mut opened = File::open(path).map_err(Error::io(path, 0))?;
    let mut hasher = digest.start(file.bytes);
    hash(&mut opened, path, &mut hasher, |len| {
        meter.at(len);
        meter.observer.cancelled()
    })?;
    Ok(hasher.finish() == digest.text())
}
