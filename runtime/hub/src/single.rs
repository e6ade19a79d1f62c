//! A file by its address, outside any hub: fetched once, gone on with where it was cut off.

use crate::http::{Client, Fault, Head};
use crate::retry::Tries;
use crate::{Error, Note, Observer, Settings};
use ring::digest::{SHA256, digest};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

/// The folder within the cache.
const FOLDER: &str = "addresses";
/// Longest name of a file that is kept.
const LONGEST: usize = 100;

/// A file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it came with this call. Nothing stated its hash: whoever can check it, should do so once.
    pub fresh: bool,
}

/// What the server said of a file of which a part is here.
struct Version {
    path: PathBuf,
    /// Its tag, or when it was changed last.
    text: String,
}

/// Fetches the file at an address into the cache of `settings`, whose endpoint and token have no part in it. One that is here is
/// given as it is, and asked for no more: remove it to have it anew.
///
/// A part that is here is gone on with where the server says that the file is the same, by its `ETag` or `Last-Modified`.
///
/// Errors: see [`Error`]; [`Error::Cancelled`] where the observer says stop.
pub fn fetch(settings: &Settings, url: &str, observer: &dyn Observer) -> Result<Fetched, Error> {
    let client = Client::new(&Settings {
        endpoint: origin(url),
        token: None,
        ..settings.clone()
    })?;
    let name = name(url);
    let key: String = digest(&SHA256, url.as_bytes()).as_ref()[..8]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let folder = settings.cache.join(FOLDER).join(key);
    let path = folder.join(&name);
    if path.is_file() {
        return Ok(Fetched { path, fresh: false });
    }
    if settings.offline {
        return Err(Error::Answer {
            url: url.into(),
            reason: "it is not on this machine, and the network is switched off".into(),
        });
    }
    fs::create_dir_all(&folder).map_err(Error::io(&folder, 0))?;
    let lock = folder.join("lock");
    let held = File::create(&lock).map_err(Error::io(&lock, 0))?;
    // Where a system has no locks, two of a kind would write the same bytes.
    let _ = held.lock();
    if path.is_file() {
        return Ok(Fetched { path, fresh: false });
    }
    let part = folder.join(format!("{name}.part"));
    let version = folder.join(format!("{name}.version"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let mut file = options.open(&part).map_err(Error::io(&part, 0))?;
    let mut work = Work {
        client: &client,
        url,
        name: &name,
        part: &part,
        version: Version {
            text: fs::read_to_string(&version).unwrap_or_default(),
            path: version,
        },
        observer,
        len: file.metadata().map_err(Error::io(&part, 0))?.len(),
        total: 0,
    };
    observer.file(&name);
    let mut tries = Tries::new(settings.patience);
    loop {
        match work.request(&mut file) {
            Ok(()) => break,
            Err(Fault::Final(Error::Cancelled { .. })) => {
                return Err(Error::Cancelled {
                    kept: work.len,
                    total: work.total,
                });
            }
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Again(why)) => tries.again(why, work.len, observer)?,
        }
    }
    file.sync_all().map_err(Error::io(&part, 0))?;
    drop(file);
    fs::rename(&part, &path).map_err(Error::io(&path, 0))?;
    let _ = fs::remove_file(&work.version.path);
    Ok(Fetched { path, fresh: true })
}

struct Work<'a> {
    client: &'a Client,
    url: &'a str,
    name: &'a str,
    part: &'a Path,
    version: Version,
    observer: &'a dyn Observer,
    /// Bytes that are here.
    len: u64,
    /// Bytes of the file, once they are known.
    total: u64,
}

impl Work<'_> {
    /// One request, as far as it goes. It is done when all is here.
    fn request(&mut self, file: &mut File) -> Result<(), Fault> {
        let mut answer = self.client.get(self.url, self.len, self.observer)?;
        let head = &answer.head;
        let coding = head.text("content-encoding").unwrap_or("identity");
        if !coding.eq_ignore_ascii_case("identity") {
            let odd = head.odd("its bytes are coded, which was not asked for");
            return Err(odd.into());
        }
        let version = head.text("etag").or(head.text("last-modified"));
        let version = version.unwrap_or_default().to_owned();
        let same = !version.is_empty() && version == self.version.text;
        match head.status {
            206 if self.len > 0 && same => self.total = end_of_range(head, self.len)?,
            // Another version, or a place where there is nothing: from the start.
            206 | 416 if self.len > 0 => {
                self.restart(file)?;
                return self.request(file);
            }
            200 => {
                if self.len > 0 {
                    self.restart(file)?;
                }
                let length = head.length()?;
                self.total = length.ok_or_else(|| head.odd("it does not state its length"))?;
            }
            429 | 500..=599 => {
                let wait = head.retry_after();
                let error = head.odd(format!("its status is {}", head.status));
                return Err(Fault::Again(crate::retry::Again { error, wait }));
            }
            status => return Err(head.odd(format!("its status is {status}")).into()),
        }
        if !same {
            let written = fs::write(&self.version.path, &version);
            written.map_err(Error::io(&self.version.path, 0))?;
            self.version.text = version;
        }
        file.seek(std::io::SeekFrom::Start(self.len))
            .map_err(Error::io(self.part, 0))?;
        self.observer.advance(self.len, self.total);
        while self.len < self.total {
            let Some(piece) = answer.piece(None, self.observer)? else {
                let reason = format!("{} ended at byte {} of {}", self.name, self.len, self.total);
                let host = answer.head.host.clone();
                return Err(Fault::again(Error::Network { host, reason }));
            };
            let rest = self.total - self.len;
            if piece.len() as u64 > rest {
                let _ = file.set_len(0);
                return Err(Error::Size {
                    file: self.name.into(),
                    expected: self.total,
                    found: "more than that".into(),
                }
                .into());
            }
            file.write_all(&piece).map_err(Error::io(self.part, rest))?;
            self.len += piece.len() as u64;
            self.observer.advance(self.len, self.total);
        }
        Ok(())
    }

    fn restart(&mut self, file: &mut File) -> Result<(), Error> {
        self.observer.note(&Note::Restart {
            file: self.name.into(),
        });
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        emptied.map_err(Error::io(self.part, self.total))?;
        self.len = 0;
        Ok(())
    }
}

/// Where a range that goes on from `from` ends, which is the file's end.
fn end_of_range(head: &Head, from: u64) -> Result<u64, Error> {
    let stated = head.text("content-range").unwrap_or_default();
    let range = || {
        let (range, total) = stated.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |t: &str| t.trim().parse::<u64>().ok();
        let end = number(last)?.checked_add(1)?;
        let whole = total == "*" || number(total)? == end;
        (number(first)? == from && whole).then_some(end)
    };
    range().ok_or_else(|| {
        let stated: String = stated.chars().take(80).collect();
        head.odd(format!(
            "the bytes from {from} on were asked for, and it has {stated:?}"
        ))
    })
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let host = url.find("://").map_or(0, |i| i + 3);
    let end = url[host..].find(['/', '?', '#']).map(|i| host + i);
    url[..end.unwrap_or(url.len())].into()
}

/// What a file is called here: the last part of its address, of characters that every system takes.
fn name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path[origin(url).len().min(path.len())..]
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain = |c: char| match c.is_ascii_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '_',
    };
    let name: String = last.chars().take(LONGEST).map(plain).collect();
    match name.trim_matches('.') {
        "" => "model.gguf".into(),
        name => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Patience, Quiet};
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::time::Duration;

    #[test]
    fn names_are_plain() {
        assert_eq!(name("https://a.b/c/d.gguf?x=/y"), "d.gguf");
        assert_eq!(name("https://a.b"), "model.gguf");
        assert_eq!(name("https://a.b/"), "model.gguf");
        assert_eq!(name("https://a.b/x/.."), "model.gguf");
        assert_eq!(name("https://a.b/x%2f/é:b"), "__b");
        assert_eq!(origin("http://a.b:8/c?d"), "http://a.b:8");
    }

    const LEN: usize = 300_000;

    fn bytes(version: u8) -> Vec<u8> {
        (0..LEN).map(|i| (i % 251) as u8 ^ version).collect()
    }

    /// Answers requests in turn: each is a version, how many bytes of the body come, and whether ranges are known.
    fn serve(answers: Vec<(u8, usize, bool)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/m.gguf", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (version, most, ranges) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut range = None;
                for line in BufReader::new(&stream).lines() {
                    let line = line.unwrap().to_lowercase();
                    if let Some(r) = line.strip_prefix("range: bytes=") {
                        range = r.trim_end_matches('-').parse::<usize>().ok();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                asked.push(format!("{range:?}"));
                let all = bytes(version);
                let from = range.filter(|_| ranges).unwrap_or(0);
                let status = match from {
                    0 => "200 OK".to_owned(),
                    _ => format!(
                        "206 Partial Content\r\nContent-Range: bytes {from}-{}/{LEN}",
                        LEN - 1
                    ),
                };
                let body = &all[from..];
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"{version}\"\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                let _ = stream.write_all(&body[..most.min(body.len())]);
            }
            asked
        });
        (address, thread)
    }

    fn settings(folder: &Path) -> Settings {
        let mut settings = Settings::new(folder);
        settings.patience = Patience {
            pause: Duration::from_millis(1),
            ..Patience::default()
        };
        settings
    }

    #[test]
    fn what_is_cut_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let (url, thread) = serve(vec![(1, 100_000, true), (1, LEN, true)]);
        let got = fetch(&settings(folder.path()), &url, &Quiet).unwrap();
        assert!(got.fresh);
        assert!(fs::read(&got.path).unwrap() == bytes(1));
        let asked = thread.join().unwrap();
        assert_eq!(asked[0], "None");
        assert!(asked[1].starts_with("Some("), "{asked:?}");
        // It is asked for no more.
        let again = fetch(&settings(folder.path()), &url, &Quiet).unwrap();
        assert_eq!((again.path, again.fresh), (got.path, false));
    }

    #[test]
    fn another_version_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (url, thread) = serve(vec![(1, 100_000, true), (2, LEN, true), (2, LEN, true)]);
        let got = fetch(&settings(folder.path()), &url, &Quiet).unwrap();
        assert!(fs::read(&got.path).unwrap() == bytes(2));
        assert_eq!(thread.join().unwrap().len(), 3);
    }

    #[test]
    fn a_server_without_ranges_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (url, thread) = serve(vec![(1, 100_000, false), (1, LEN, false)]);
        let got = fetch(&settings(folder.path()), &url, &Quiet).unwrap();
        assert!(fs::read(&got.path).unwrap() == bytes(1));
        assert_eq!(thread.join().unwrap().len(), 2);
    }

    #[test]
    fn whoever_watches_may_stop_it() {
        #[derive(Default)]
        struct Stop(Mutex<u64>);
        impl Observer for Stop {
            fn advance(&self, done: u64, _: u64) {
                *self.0.lock().unwrap() = done;
            }
            fn cancelled(&self) -> bool {
                *self.0.lock().unwrap() > 0
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (url, thread) = serve(vec![(1, LEN, true)]);
        let stopped = fetch(&settings(folder.path()), &url, &Stop::default()).unwrap_err();
        assert!(matches!(stopped, Error::Cancelled { kept, .. } if kept > 0));
        thread.join().unwrap();
    }
}
