//! A hub on this machine that plays what a hub, its storage and what is between can do.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|h| h.0 == name);
        found.map(|h| h.1.as_str())
    }

    /// The first byte that is asked for, where a range is.
    pub fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Framing {
    Length,
    Chunked,
    Close,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// The connection ends behind so many bytes of the body.
    pub cut: Option<usize>,
    /// The body begins again at its end, without end.
    pub endless: bool,
    /// The pause before each 64 KiB.
    pub slow: Duration,
    /// The pause behind the body, with the connection open.
    pub linger: Duration,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            framing: Framing::Length,
            cut: None,
            endless: false,
            slow: Duration::ZERO,
            linger: Duration::ZERO,
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|h| h.0 != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends it over any connection.
    pub fn send(&self, stream: &mut dyn Write) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Played\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let stated = self.headers.iter().any(|h| h.0 == "Content-Length");
        match self.framing {
            Framing::Length if !stated => {
                head += &format!("Content-Length: {}\r\n", self.body.len())
            }
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            _ => {}
        }
        stream.write_all(head.as_bytes())?;
        stream.write_all(b"\r\n")?;
        let body = &self.body[..self.cut.unwrap_or(self.body.len()).min(self.body.len())];
        loop {
            for piece in body.chunks(64 << 10) {
                std::thread::sleep(self.slow);
                if self.framing == Framing::Chunked {
                    write!(stream, "{:x}\r\n", piece.len())?;
                }
                stream.write_all(piece)?;
                if self.framing == Framing::Chunked {
                    stream.write_all(b"\r\n")?;
                }
            }
            if !self.endless {
                break;
            }
        }
        stream.flush()?;
        std::thread::sleep(self.linger);
        if self.framing == Framing::Chunked && self.cut.is_none() {
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(())
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a port of its own. It ends when it is dropped.
pub struct Server {
    /// Its address.
    pub url: String,
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1", handler)
    }

    /// At another address of this machine.
    pub fn at(host: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, ended) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let handler: Arc<Handler> = Arc::new(handler);
        let (seen, stop): (Arc<Mutex<Vec<Request>>>, _) = (Arc::clone(&requests), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(mut stream), handler, seen) = (stream, handler.clone(), seen.clone())
                else {
                    continue;
                };
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else {
                        return;
                    };
                    seen.lock().unwrap().push(request.clone());
                    // Whoever asked may have gone.
                    let _ = handler(&request).send(&mut stream);
                });
            }
        });
        Self {
            url: format!("http://{address}"),
            address,
            requests,
            ended,
        }
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads a request's head.
pub fn read(stream: impl std::io::Read) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(Request { path, headers });
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    None
}

/// Hexadecimal digits.
fn digits(digest: &ring::digest::Digest) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    digits(&ring::digest::digest(&ring::digest::SHA256, bytes))
}

pub fn git(bytes: &[u8]) -> String {
    let mut all = format!("blob {}\0", bytes.len()).into_bytes();
    all.extend_from_slice(bytes);
    let sha1 = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    digits(&ring::digest::digest(sha1, &all))
}

/// Where a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The interface: revision and listing.
    Api,
    /// The address of a file.
    Resolve,
    /// The storage, on another port.
    Storage,
}

/// A file that the hub has; large ones are in the storage.
#[derive(Clone, Debug)]
pub struct Kept {
    pub name: String,
    pub bytes: Vec<u8>,
    pub large: bool,
}

pub fn small(name: &str, bytes: impl Into<Vec<u8>>) -> Kept {
    Kept {
        name: name.into(),
        bytes: bytes.into(),
        large: false,
    }
}

pub fn large(name: &str, bytes: impl Into<Vec<u8>>) -> Kept {
    Kept {
        large: true,
        ..small(name, bytes)
    }
}

/// Bytes without a pattern.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// The commit of every repository here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Its name.
pub const NAME: &str = "owner/model";

/// A hub with one repository, and its storage.
pub struct Played {
    pub hub: Server,
    pub storage: Arc<Server>,
}

impl Played {
    /// A hub that behaves.
    pub fn start(files: Vec<Kept>) -> Self {
        Self::twisted(files, |_, _, reply| reply)
    }

    /// A hub whose replies are changed before they are sent.
    pub fn twisted(
        files: Vec<Kept>,
        twist: impl Fn(At, &Request, Reply) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (files, twist) = (Arc::new(files), Arc::new(twist));
        let (kept, twisted) = (files.clone(), twist.clone());
        let storage = Arc::new(Server::start(move |request| {
            let hash = request.path.trim_start_matches("/blob/");
            let hash = hash.split('?').next().unwrap_or_default();
            let file = kept.iter().find(|f| sha256(&f.bytes) == hash);
            let reply = match file {
                Some(file) => ranged(request, &file.bytes),
                None => Reply::new(404, "no blob"),
            };
            twisted(At::Storage, request, reply)
        }));
        let place = storage.url.clone();
        let hub = Server::start(move |request| {
            let (at, reply) = own(request, &files, &place);
            twist(at, request, reply)
        });
        Self { hub, storage }
    }
}

/// What a hub answers.
fn own(request: &Request, files: &[Kept], storage: &str) -> (At, Reply) {
    let path = request.path.split('?').next().unwrap_or_default();
    let none = |code: &str| Reply::new(404, "{}").with("X-Error-Code", code);
    if let Some(below) = path.strip_prefix("/api/models/") {
        let Some(below) = below.strip_prefix(NAME) else {
            return (At::Api, none("RepoNotFound"));
        };
        let reply = match below {
            "/revision/main" | "/revision/refs%2Fpr%2F1" => {
                Reply::new(200, format!("{{\"sha\": \"{COMMIT}\"}}"))
            }
            below if below == format!("/tree/{COMMIT}") => Reply::new(200, tree(files)),
            _ => none("RevisionNotFound"),
        };
        return (At::Api, reply);
    }
    let front = format!("/{NAME}/resolve/{COMMIT}/");
    let file = path
        .strip_prefix(&front)
        .and_then(|name| files.iter().find(|f| f.name == name));
    let reply = match file {
        None => none("EntryNotFound"),
        Some(file) if file.large => {
            let hash = sha256(&file.bytes);
            Reply::new(302, "")
                .with("Location", format!("{storage}/blob/{hash}?signature=abc"))
                .with("X-Linked-Etag", format!("\"{hash}\""))
                .with("X-Linked-Size", file.bytes.len().to_string())
        }
        Some(file) => ranged(request, &file.bytes),
    };
    (At::Resolve, reply.with("X-Repo-Commit", COMMIT))
}

/// The listing's JSON.
pub fn tree(files: &[Kept]) -> String {
    let item = |f: &Kept| {
        let (name, len) = (&f.name, f.bytes.len());
        let hash = git(&f.bytes);
        let kept = match f.large {
            true => format!(
                ", \"lfs\": {{\"oid\": \"{}\", \"size\": {len}, \"pointerSize\": 134}}",
                sha256(&f.bytes)
            ),
            false => String::new(),
        };
        format!(
            "{{\"type\": \"file\", \"oid\": \"{hash}\", \"size\": {len}, \"path\": \"{name}\"{kept}}}"
        )
    };
    let items: Vec<String> = files.iter().map(item).collect();
    format!("[{}]", items.join(", "))
}

/// A file, or what is behind a range's start.
pub fn ranged(request: &Request, bytes: &[u8]) -> Reply {
    let len = bytes.len();
    match request.from() {
        None => Reply::new(200, bytes),
        Some(from) if from < len => Reply::new(206, &bytes[from..])
            .with("Content-Range", format!("bytes {from}-{}/{len}", len - 1)),
        Some(_) => Reply::new(416, "").with("Content-Range", format!("bytes */{len}")),
    }
}
