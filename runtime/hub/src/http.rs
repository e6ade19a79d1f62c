//! Requests to the hub: redirects by rules, the token to the endpoint alone, and every wait can be ended.
//!
//! A request has a thread of its own, from which head and body come in pieces. So Ctrl-C is heard while a server is silent,
//! and the disk writes while the network reads. A thread that nobody listens to ends at its next piece, or after the silence
//! that the patience allows.

mod address;
mod trust;

use crate::retry::{Again, LOOK};
use crate::{Error, Observer, Settings, Token, TokenState};
use address::{Origin, join, shown};
use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Uri, header};
use ureq::tls::TlsConfig;
use ureq::{Agent, Proxy};

/// Redirects that are followed.
const REDIRECTS: usize = 8;
/// Bytes of a piece, and how many pieces wait at most.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// A request's failure.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may go well the next time.
    Again(Again),
    /// It will not.
    Final(Error),
}

impl Fault {
    pub fn again(error: Error) -> Self {
        Self::Again(Again { error, wait: None })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Asks one endpoint.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<Token>,
    patience: crate::Patience,
}

/// How an answer begins.
#[derive(Debug)]
pub(crate) struct Head {
    pub status: u16,
    pub headers: HeaderMap,
    /// Where it came from, without the query, in which there may be a signature.
    pub url: String,
    pub host: String,
    /// Whether it came from the endpoint itself.
    pub own: bool,
    /// The commit that the endpoint names.
    pub commit: Option<String>,
}

impl Head {
    /// A header's text, where it has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Bytes of the body, where they are stated. Errors: what is stated is no number.
    pub fn length(&self) -> Result<Option<u64>, Error> {
        let stated = self.text("content-length");
        let length = stated.map(|t| {
            t.parse::<u64>()
                .map_err(|_| self.odd("its length is no number"))
        });
        length.transpose()
    }

    /// An answer that cannot be used.
    pub fn odd(&self, reason: impl Into<String>) -> Error {
        Error::Answer {
            url: self.url.clone(),
            reason: reason.into(),
        }
    }

    /// The pause that the server asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.text("retry-after")?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// An answer whose body is still to come.
pub(crate) struct Answer {
    pub head: Head,
    pieces: Receiver<Message>,
}

enum Message {
    Head(Box<Head>),
    Piece(Vec<u8>),
    End,
    Fault(Box<Fault>),
}

impl Client {
    /// Errors: an endpoint that is no address; certificates that cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let endpoint = settings.endpoint.trim_end_matches('/').to_owned();
        let origin = endpoint
            .parse::<Uri>()
            .map_err(|e| e.to_string())
            .and_then(|uri| Origin::of(&uri).map_err(Into::into))
            .and_then(|origin| match endpoint.contains(['?', '#']) {
                true => Err("it has a query".into()),
                false => Ok(origin),
            });
        let origin = origin.map_err(|reason| Error::Endpoint {
            endpoint: shown(&endpoint),
            reason,
        })?;
        let patience = settings.patience;
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.certificates {
            tls = tls.root_certs(trust::certificates(path)?);
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .proxy(settings.proxy.then(Proxy::try_from_env).flatten())
            .user_agent(concat!("carat/", env!("CARGO_PKG_VERSION")))
            // What is hashed and counted are the file's own bytes.
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint,
            origin,
            token: settings.token.clone(),
            patience,
        })
    }

    /// The hub's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the endpoint is told about who asks.
    pub fn token_state(&self) -> TokenState {
        match (&self.token, self.origin.is_private()) {
            (None, _) => TokenState::Absent,
            (Some(_), true) => TokenState::Sent,
            (Some(_), false) => TokenState::Withheld,
        }
    }

    /// Asks for `url`, from byte `from` on, and waits for the answer's head.
    pub fn get(&self, url: &str, from: u64, observer: &dyn Observer) -> Result<Answer, Fault> {
        let (sender, pieces) = sync_channel(PIECES);
        let (client, url) = (self.clone(), url.to_owned());
        let worker = std::thread::Builder::new().name("hub".into());
        worker
            .spawn(move || {
                let fault = match client.work(&url, from, &sender) {
                    Ok(()) => return,
                    Err(fault) => fault,
                };
                // Nobody may be there any more.
                let _ = sender.send(Message::Fault(Box::new(fault)));
            })
            .map_err(Error::io("a thread for the network", 0))?;
        match wait(&pieces, None, observer)? {
            Some(Message::Head(head)) => Ok(Answer {
                head: *head,
                pieces,
            }),
            Some(Message::Fault(fault)) => Err(*fault),
            _ => Err(self.cut("the answer has no head")),
        }
    }

    fn cut(&self, reason: &str) -> Fault {
        Fault::again(Error::Network {
            host: self.origin.host.clone(),
            reason: reason.into(),
        })
    }

    /// Follows redirects and sends what comes.
    fn work(&self, url: &str, from: u64, sender: &SyncSender<Message>) -> Result<(), Fault> {
        let mut url = url.to_owned();
        let (mut commit, mut before): (Option<String>, Option<Origin>) = (None, None);
        for _ in 0..=REDIRECTS {
            let refused = |reason: &str| Error::Redirect {
                from: before
                    .as_ref()
                    .map_or(shown(&self.endpoint), |o| o.host.clone()),
                to: shown(&url),
                reason: reason.into(),
            };
            let uri: Uri = url.parse().map_err(|_| refused("it is no address"))?;
            let origin = Origin::of(&uri).map_err(refused)?;
            if before.as_ref().is_some_and(|b| b.secure) && !origin.secure {
                return Err(refused("it gives up encryption").into());
            }
            let own = origin == self.origin;
            let mut request = self.agent.get(uri);
            if from > 0 {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            if let Some(token) = self.token.as_ref().filter(|_| own && origin.is_private()) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.text()));
            }
            let answer = request.call().map_err(|e| fault(e, &origin.host))?;
            let (parts, mut body) = answer.into_parts();
            let mut head = Head {
                status: parts.status.as_u16(),
                headers: parts.headers,
                url: shown(&url),
                host: origin.host.clone(),
                own,
                commit: None,
            };
            if own && let Some(named) = head.text("x-repo-commit") {
                commit = Some(named.into());
            }
            if matches!(head.status, 301 | 302 | 303 | 307 | 308) {
                let to = head.text("location");
                let to = to.ok_or_else(|| head.odd("a redirect without a place"))?;
                url = join(&url, to);
                before = Some(origin);
                continue;
            }
            head.commit = commit;
            if sender.send(Message::Head(Box::new(head))).is_err() {
                return Ok(());
            }
            return send(&mut body.as_reader(), sender, &origin.host);
        }
        Err(Error::Redirect {
            from: shown(&self.endpoint),
            to: shown(&url),
            reason: format!("there are more than {REDIRECTS} of them"),
        }
        .into())
    }

    /// How long a server may be silent.
    pub fn silence(&self) -> Duration {
        self.patience.silence
    }
}

/// Sends a body in pieces.
fn send(body: &mut dyn Read, sender: &SyncSender<Message>, host: &str) -> Result<(), Fault> {
    let mut buffer = vec![0; PIECE];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                let reason = format!("the answer was cut ({e})");
                let host = host.to_owned();
                return Err(Fault::again(Error::Network { host, reason }));
            }
        };
        let message = match n {
            0 => Message::End,
            n => Message::Piece(buffer[..n].to_vec()),
        };
        if sender.send(message).is_err() || n == 0 {
            return Ok(());
        }
    }
}

/// The next message; `None` after `limit`. Errors: the observer says stop, or the thread has gone.
fn wait(
    pieces: &Receiver<Message>,
    limit: Option<Duration>,
    observer: &dyn Observer,
) -> Result<Option<Message>, Fault> {
    let end = limit.map(|l| Instant::now() + l);
    loop {
        match pieces.recv_timeout(LOOK) {
            Ok(message) => return Ok(Some(message)),
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Some(Message::End));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if observer.cancelled() {
            return Err(Error::Cancelled { kept: 0, total: 0 }.into());
        }
        if end.is_some_and(|e| Instant::now() >= e) {
            return Ok(None);
        }
    }
}

impl Answer {
    /// The body's next piece; `None` at its end, or after `limit`.
    pub fn piece(
        &mut self,
        limit: Option<Duration>,
        observer: &dyn Observer,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if observer.cancelled() {
            return Err(Error::Cancelled { kept: 0, total: 0 }.into());
        }
        match wait(&self.pieces, limit, observer)? {
            Some(Message::Piece(piece)) => Ok(Some(piece)),
            Some(Message::Fault(fault)) => Err(*fault),
            _ => Ok(None),
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub fn all(&mut self, limit: u64, observer: &dyn Observer) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece(None, observer)? {
            let length = (all.len() + piece.len()) as u64;
            if length > limit {
                return Err(Error::TooLarge {
                    what: self.head.url.clone(),
                    bytes: self.head.length()?.unwrap_or(length).max(length),
                    limit,
                }
                .into());
            }
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// What a request's error means.
fn fault(error: ureq::Error, host: &str) -> Fault {
    use ureq::Error as E;
    let host = host.to_owned();
    let network = |reason: String| Error::Network {
        host: host.clone(),
        reason,
    };
    match error {
        E::Rustls(e) => Error::Tls {
            reason: e.to_string(),
            host,
        }
        .into(),
        E::Tls(reason) => Error::Tls {
            reason: reason.into(),
            host,
        }
        .into(),
        // A handshake's error comes as one of the system.
        E::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => Error::Tls {
            reason: e.to_string(),
            host,
        }
        .into(),
        E::Io(e) => Fault::again(network(e.to_string())),
        E::HostNotFound => Fault::again(network("no such host is known".into())),
        E::Timeout(e) => Fault::again(network(format!("it did not answer in time ({e})"))),
        E::ConnectionFailed => Fault::again(network("no connection can be made".into())),
        E::Protocol(e) => Fault::again(network(format!("it breaks the protocol ({e})"))),
        e => network(e.to_string()).into(),
    }
}
