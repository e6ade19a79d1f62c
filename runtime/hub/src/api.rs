//! What a repository has: its commit, and its files with sizes and hashes.

use crate::digest::{Digest, hexadecimal};
use crate::http::{Answer, Client, Fault, Head};
use crate::name::check_path;
use crate::retry::{Again, Tries};
use crate::{Error, Observer, Patience, Reference};
use serde::Deserialize;
use std::fmt::Write;

/// Largest answer about a repository, in bytes.
const MAX_ANSWER: u64 = 16 << 20;
/// Most pages of a listing, and files in it.
const MAX_PAGES: usize = 200;
const MAX_FILES: usize = 100_000;
/// Largest file that is taken, in bytes; the hub itself takes files of half a terabyte.
const MAX_BYTES: u64 = 4 << 40;

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path.
    pub name: String,
    pub bytes: u64,
    /// Not known of files that are only in the cache.
    pub digest: Option<Digest>,
}

/// A repository at a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    /// 40 hexadecimal digits.
    pub commit: String,
    /// By name.
    pub files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

/// Asks for the repository's files.
pub(crate) fn list(
    client: &Client,
    patience: Patience,
    model: &Reference,
    observer: &dyn Observer,
) -> Result<Listing, Error> {
    let base = format!("{}/api/models/{}", client.endpoint(), model.repository);
    let ask = |url: &str| {
        let mut tries = Tries::first(patience);
        loop {
            match answer(client, url, model, observer) {
                Ok(found) => return Ok(found),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again(why)) => tries.again(why, 0, observer)?,
            }
        }
    };
    let revision = model.revision();
    let commit = match hexadecimal(revision, 40) {
        Some(commit) => commit,
        None => {
            let (head, body) = ask(&format!("{base}/revision/{}", encode(revision, false)))?;
            let found: Revision = read(&head, &body)?;
            hexadecimal(&found.sha, 40).ok_or_else(|| head.odd("its commit is no hash"))?
        }
    };
    let mut files = Vec::new();
    let mut next = Some(format!("{base}/tree/{commit}?recursive=true"));
    let mut pages = 0;
    while let Some(url) = next {
        let (head, body) = ask(&url)?;
        let items: Vec<Item> = read(&head, &body)?;
        pages += 1;
        for item in items {
            if item.kind == "file" {
                files.push(entry(&head, model, item)?);
            }
        }
        if pages > MAX_PAGES || files.len() > MAX_FILES {
            return Err(head.odd(format!("it lists more than {MAX_FILES} files")));
        }
        next = next_page(client, &head)?;
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = files.windows(2).find(|w| w[0].name == w[1].name) {
        return Err(Error::UnsafeName {
            repository: model.repository.to_string(),
            name: twice[0].name.clone(),
            reason: "two files have it".into(),
        });
    }
    Ok(Listing { commit, files })
}

/// A whole answer of the interface.
fn answer(
    client: &Client,
    url: &str,
    model: &Reference,
    observer: &dyn Observer,
) -> Result<(Head, Vec<u8>), Fault> {
    let mut answer = client.get(url, 0, observer)?;
    check_status(client, &answer, model, None)?;
    let body = answer.all(MAX_ANSWER, observer)?;
    Ok((answer.head, body))
}

fn read<T: for<'a> Deserialize<'a>>(head: &Head, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| head.odd(format!("it is not the JSON of a hub ({e})")))
}

/// A listing's file, whose name stays below its directory.
fn entry(head: &Head, model: &Reference, item: Item) -> Result<Entry, Error> {
    check_path(&item.path).map_err(|reason| Error::UnsafeName {
        repository: model.repository.to_string(),
        name: item.path.chars().take(100).collect(),
        reason: reason.into(),
    })?;
    let (digest, bytes) = match &item.lfs {
        // Some mirrors write the algorithm in front.
        Some(large) => (
            Digest::sha256(large.oid.trim_start_matches("sha256:")),
            large.size,
        ),
        None => (Digest::git(&item.oid), item.size),
    };
    let digest = digest.ok_or_else(|| head.odd(format!("the hash of {} is none", item.path)))?;
    if bytes > MAX_BYTES {
        return Err(Error::TooLarge {
            what: item.path,
            bytes,
            limit: MAX_BYTES,
        });
    }
    Ok(Entry {
        name: item.path,
        bytes,
        digest: Some(digest),
    })
}

/// The address of a listing's next page, which must be the endpoint's.
fn next_page(client: &Client, head: &Head) -> Result<Option<String>, Error> {
    let Some(link) = head.text("link") else {
        return Ok(None);
    };
    let next = link.split(',').find(|l| l.contains("rel=\"next\""));
    let Some(next) = next else {
        return Ok(None);
    };
    let url = next.split_once('<').and_then(|(_, l)| l.split_once('>'));
    let url = url.map(|(url, _)| url).unwrap_or_default();
    let below = url.strip_prefix(client.endpoint());
    match below.is_some_and(|b| b.starts_with('/')) {
        true => Ok(Some(url.into())),
        false => Err(head.odd("the next page of its listing is at another host")),
    }
}

/// Refuses an answer that is not the thing asked for. `file` is what was asked for of the repository.
pub(crate) fn check_status(
    client: &Client,
    answer: &Answer,
    model: &Reference,
    file: Option<&str>,
) -> Result<(), Fault> {
    let head = &answer.head;
    let (status, host) = (head.status, head.host.clone());
    if (200..300).contains(&status) || status == 416 {
        return Ok(());
    }
    match status {
        429 => {
            let wait = head.retry_after();
            let error = Error::RateLimited { host, wait };
            return Err(Fault::Again(Again { error, wait }));
        }
        408 | 425 | 500..600 => {
            let wait = head.retry_after();
            let error = Error::Status { host, status };
            return Err(Fault::Again(Again { error, wait }));
        }
        // An address that was signed for a while; the endpoint gives another.
        401 | 403 if !head.own => return Err(Fault::again(Error::Status { host, status })),
        _ if !head.own => return Err(Error::Status { host, status }.into()),
        _ => {}
    }
    let repository = model.repository.to_string();
    let token = client.token_state();
    let code = head.text("x-error-code").unwrap_or_default();
    let error = match (status, code, file) {
        (_, "GatedRepo", _) => Error::Gated {
            page: format!("{}/{repository}", client.endpoint()),
            repository,
            token,
        },
        (404, "RevisionNotFound", _) => Error::RevisionNotFound {
            repository,
            revision: model.revision().into(),
        },
        (404, "EntryNotFound", Some(file)) | (404, "", Some(file)) => Error::FileNotFound {
            repository,
            wanted: file.into(),
            near: Vec::new(),
        },
        // Who asks without a token learns of no private repository.
        (404, ..) | (_, "RepoNotFound", _) => not_found(client, repository),
        (401, ..) if token != crate::TokenState::Sent => not_found(client, repository),
        (401 | 403, ..) => Error::Unauthorised {
            repository,
            status,
            token,
        },
        _ => Error::Status { host, status },
    };
    Err(error.into())
}

fn not_found(client: &Client, repository: String) -> Error {
    Error::RepositoryNotFound {
        repository,
        endpoint: client.endpoint().into(),
        token: client.token_state(),
    }
}

/// A path for an address; `/` stays where `path` says so.
pub(crate) fn encode(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && byte == b'/') {
            out.push(char::from(byte));
        } else {
            // A string takes whatever is written to it.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(encode("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(encode("a b/ü#?.gguf", true), "a%20b/%C3%BC%23%3F.gguf");
    }
}
