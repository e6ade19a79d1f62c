//! What can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What the hub was told about who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// No token is set.
    Absent,
    /// The token was sent.
    Sent,
    /// The token was kept back, because the endpoint would receive it without encryption.
    Withheld,
}

impl fmt::Display for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "set HF_TOKEN to a token of https://huggingface.co/settings/tokens",
            Self::Sent => "check that the token in HF_TOKEN is valid and may read this repository",
            Self::Withheld => {
                "set HF_ENDPOINT to an https address, because the token is not sent without encryption"
            }
        })
    }
}

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that is no repository's, revision's or file's.
    #[error(
        "{name:?} names no model of a hub: {reason}; expected OWNER/NAME, OWNER/NAME:FILE or OWNER/NAME:Q4_K_M"
    )]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The hub's address cannot be one.
    #[error(
        "{endpoint:?} is no address of a hub: {reason}; set HF_ENDPOINT to one like https://huggingface.co"
    )]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
    /// A token that cannot be sent.
    #[error(
        "the token of the hub cannot be used: {reason}; set HF_TOKEN to a token of https://huggingface.co/settings/tokens"
    )]
    Token {
        /// What is wrong.
        reason: String,
    },
    /// A file of certificates that cannot be used.
    #[error(
        "{path}: no certificates can be read ({reason}); give a PEM file in SSL_CERT_FILE, or unset it"
    )]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No directory for the cache is known.
    #[error("there is no directory for what is fetched; set HF_HOME to one")]
    NoCache,
    /// There is no such repository, or it is hidden from who asks.
    #[error(
        "{endpoint} has no model {repository}, or hides it; check the name, and for a private one {token}"
    )]
    RepositoryNotFound {
        /// Its name.
        repository: String,
        /// The hub's address.
        endpoint: String,
        /// Who asked.
        token: TokenState,
    },
    /// There is no such branch, tag or commit.
    #[error(
        "{repository} has no revision {revision}; give a branch, a tag or a commit's hash, like main"
    )]
    RevisionNotFound {
        /// The repository.
        repository: String,
        /// What was asked for.
        revision: String,
    },
    /// There is no such file.
    #[error(
        "{repository} has no file and no quantization {wanted}; {}",
        Listed(near, "its files are at the hub's page", "it has")
    )]
    FileNotFound {
        /// The repository.
        repository: String,
        /// What was asked for.
        wanted: String,
        /// Files of similar names, the most similar first; else some models of the repository.
        near: Vec<String>,
    },
    /// The repository has nothing that is a model.
    #[error(
        "{repository} has no safetensors checkpoint and no GGUF file; {}",
        Listed(found, "it is empty", "it has")
    )]
    NoModel {
        /// The repository.
        repository: String,
        /// Some of its files.
        found: Vec<String>,
    },
    /// Several models fit.
    #[error("{repository} has several models that fit; name one of these files: {}", found.join(", "))]
    Ambiguous {
        /// The repository.
        repository: String,
        /// The models' files.
        found: Vec<String>,
    },
    /// A model in several files, of which some are not there.
    #[error("{repository}: {} is not there, and the model is useless without it; take another model", missing.join(", "))]
    PartsMissing {
        /// The repository.
        repository: String,
        /// The names of the files.
        missing: Vec<String>,
    },
    /// Access is given to those who ask for it.
    #[error(
        "{repository} is gated, so that its owner decides who may fetch it; ask for access at {page}, and then {token}"
    )]
    Gated {
        /// The repository.
        repository: String,
        /// Where to ask.
        page: String,
        /// Who asked.
        token: TokenState,
    },
    /// The hub refuses who asks.
    #[error("the hub refuses access to {repository} (status {status}); {token}")]
    Unauthorised {
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// Who asked.
        token: TokenState,
    },
    /// Nothing may be fetched, and the cache has not got it.
    #[error(
        "{repository} is not in {cache} ({reason}), and nothing is fetched in offline mode; fetch it once while online"
    )]
    Offline {
        /// The repository.
        repository: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The hub cannot be reached.
    #[error(
        "{host} cannot be reached: {reason}; check the connection and try again, which goes on from what is there"
    )]
    Network {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "{host} cannot be trusted: {reason}; where a proxy has certificates of its own, name their file in SSL_CERT_FILE"
    )]
    Tls {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// Too many requests.
    #[error("{host} takes no more requests for now{}; wait, or set HF_TOKEN, which allows more", Wait(*wait))]
    RateLimited {
        /// The host.
        host: String,
        /// After which time it takes requests again, where it says so.
        wait: Option<Duration>,
    },
    /// An answer that says that something is wrong.
    #[error("{host} answers with status {status}; try again later")]
    Status {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// An answer that contradicts itself or the protocol.
    #[error("{url}: the answer cannot be used: {reason}; try again later, or another HF_ENDPOINT")]
    Answer {
        /// Where it came from, without its query.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A redirect that is not followed.
    #[error(
        "{from}: the redirect to {to} is refused: {reason}; check HF_ENDPOINT, and what is between here and it"
    )]
    Redirect {
        /// Where it came from, without its query.
        from: String,
        /// Where it leads, cut.
        to: String,
        /// Why not.
        reason: String,
    },
    /// A file's name that would leave its directory, or cannot be a file's name here.
    #[error("{repository}: the file name {name:?} is refused: {reason}; take another model")]
    UnsafeName {
        /// The repository.
        repository: String,
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// More than is ever taken.
    #[error(
        "{what} is said to have {bytes} bytes, and at most {limit} are taken; take another model"
    )]
    TooLarge {
        /// Of what.
        what: String,
        /// Its stated size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A body of another length than the listing states.
    #[error(
        "{file}: the server sends {found}, and the listing states {expected} bytes; try again later, or another HF_ENDPOINT"
    )]
    Size {
        /// The file.
        file: String,
        /// Bytes by the listing.
        expected: u64,
        /// What came.
        found: String,
    },
    /// The bytes do not have the hash that the listing states; they are removed.
    #[error(
        "{file}: the bytes have the {algorithm} {found}, and the listing states {expected}; they are removed, fetch the file again"
    )]
    Verification {
        /// The file.
        file: String,
        /// `sha256` or `git hash`.
        algorithm: &'static str,
        /// By the listing.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// The disk has no room.
    #[error("{path}: the disk is full: {needed} bytes are needed{}; free some space, or set HF_HUB_CACHE to another place", Free(*free))]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free, where that is known.
        free: Option<u64>,
    },
    /// The system refuses a file.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The observer asked to stop. What is there is kept.
    #[error(
        "stopped with {kept} of {total} bytes, which are kept; the next pull goes on from there"
    )]
    Cancelled {
        /// Bytes in the cache.
        kept: u64,
        /// Bytes of all files; 0 where they are not known yet.
        total: u64,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, needed: u64) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                path,
                needed,
                free: None,
            },
            _ => Self::Io { path, error },
        }
    }

    /// Whether the hub could not be asked: what the cache has may do instead.
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Network { .. } | Self::RateLimited { .. } | Self::Status { .. }
        )
    }
}

/// Some names of many.
struct Listed<'a>(&'a [String], &'static str, &'static str);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str(self.1),
            names => write!(f, "{} {}", self.2, names.join(", ")),
        }
    }
}

struct Wait(Option<Duration>);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, " (for {} seconds)", wait.as_secs()),
            None => Ok(()),
        }
    }
}

struct Free(Option<u64>);

impl fmt::Display for Free {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(free) => write!(f, ", {free} are free"),
            None => Ok(()),
        }
    }
}
