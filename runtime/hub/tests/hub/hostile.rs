//! Hubs that mean ill.

use crate::server::{
    At, COMMIT, Framing, Kept, Played, Reply, Server, git, large, noise, sha256, small, tree,
};
use crate::support::{MODEL, Stage, checkpoint, gguf};
use carat_hub::Error;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A hub whose listing is this text.
fn listing(text: impl Into<String>) -> Stage {
    let text = text.into();
    Stage::new(Played::twisted(
        checkpoint(),
        move |_, request, reply| match request.path.contains("/tree/") {
            true => Reply::new(200, text.clone()),
            false => reply,
        },
    ))
}

/// A listing's one large file.
fn item(path: &str, oid: &str, size: &str) -> String {
    format!(
        "[{{\"type\": \"file\", \"path\": {path:?}, \"oid\": \"{}\", \"size\": 1, \
         \"lfs\": {{\"oid\": \"{oid}\", \"size\": {size}}}}}]",
        git(b"")
    )
}

/// Nothing of the hub's is in the cache or beside it.
fn nothing_written(stage: &Stage) {
    assert!(stage.kept().is_empty(), "{:?}", stage.kept());
    assert!(!stage.snapshot().exists());
    let beside = fs::read_dir(stage.cache.path()).unwrap();
    for entry in beside {
        let name = entry.unwrap().file_name();
        let known = name == ".locks" || name == "models--owner--model";
        assert!(known, "{name:?}");
    }
}

#[test]
fn names_that_leave_their_directory() {
    let hash = sha256(b"");
    for path in [
        "../../../evil.gguf",
        "a/../../evil.gguf",
        "/tmp/evil.gguf",
        "a//evil.gguf",
        "./evil.gguf",
        "",
        "a\\..\\evil.gguf",
        "evil\u{1b}[2J.gguf",
    ] {
        let stage = listing(item(path, &hash, "1"));
        let error = stage.pull(MODEL).unwrap_err();
        assert!(
            matches!(&error, Error::UnsafeName { .. } | Error::Answer { .. }),
            "{path:?}: {error}"
        );
        nothing_written(&stage);
    }
}

#[test]
fn hashes_that_are_paths() {
    for oid in ["../../evil", "", &"A".repeat(64), &"0".repeat(63)] {
        let stage = listing(item("a.gguf", oid, "1"));
        let error = stage.pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{oid}: {error}");
        nothing_written(&stage);
    }
}

#[test]
fn a_commit_that_is_a_path() {
    for sha in ["../../evil", "main", "", "0123"] {
        let stage = Stage::new(Played::twisted(
            checkpoint(),
            move |_, request, reply| match request.path.contains("/revision/") {
                true => Reply::new(200, format!("{{\"sha\": {sha:?}}}")),
                false => reply,
            },
        ));
        let error = stage.pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{sha}: {error}");
        nothing_written(&stage);
    }
}

#[test]
fn sizes_without_measure() {
    let hash = sha256(b"");
    for size in ["18446744073709551615", "4398046511105"] {
        let error = listing(item("a.gguf", &hash, size))
            .pull(MODEL)
            .unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{size}: {error}");
    }
    for size in ["-1", "1e30", "\"1\"", "null"] {
        let error = listing(item("a.gguf", &hash, size))
            .pull(MODEL)
            .unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{size}: {error}");
    }
    // Four terabytes may exist, and do not fit here.
    let stage = listing(item("a.gguf", &hash, "4398046511104"));
    let error = stage.pull(MODEL).unwrap_err();
    if cfg!(unix) {
        assert!(
            matches!(
                error,
                Error::DiskFull {
                    needed: 4_398_046_511_104,
                    free: Some(_),
                    ..
                }
            ),
            "{error}"
        );
    }
    assert!(stage.played.storage.requests().is_empty());
}

#[test]
fn listings_that_are_none() {
    for text in ["", "{", "{}", "<html>", "[{}]", "[1]", &"[".repeat(100_000)] {
        let error = listing(text).pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error}");
    }
    let twice = [small("a.gguf", "x"), small("a.gguf", "y")];
    let error = listing(tree(&twice)).pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::UnsafeName { .. }), "{error}");
}

#[test]
fn listings_without_end() {
    let stage = Stage::new(Played::twisted(checkpoint(), |at, _, reply| match at {
        At::Api => Reply {
            endless: true,
            framing: Framing::Chunked,
            ..Reply::new(200, vec![b' '; 1 << 16])
        },
        _ => reply,
    }));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    // Pages that always name a next one.
    let files: Vec<Kept> = (0..600).map(|n| small(&format!("{n}"), "")).collect();
    let page = tree(&files);
    let (count, endpoint) = (AtomicUsize::new(0), std::sync::OnceLock::<String>::new());
    let stage = Stage::new(Played::twisted(checkpoint(), move |_, request, reply| {
        if !request.path.contains("/tree/") {
            return reply;
        }
        let host = request.header("host").unwrap().to_owned();
        let endpoint = endpoint.get_or_init(|| format!("http://{host}"));
        let n = count.fetch_add(1, Ordering::SeqCst);
        let next =
            format!("<{endpoint}/api/models/{MODEL}/tree/{COMMIT}?cursor={n}>; rel=\"next\"");
        Reply::new(200, page.clone()).with("Link", next)
    }));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    assert!(stage.played.hub.requests().len() <= 202);
}

#[test]
fn pages_of_a_listing() {
    let bytes = noise(1000);
    let (body, host) = (gguf(&bytes), "http://elsewhere.example");
    let paged = |next: Option<&'static str>| {
        let second = tree(&body);
        Stage::new(Played::twisted(body.clone(), move |_, request, reply| {
            let own = format!("http://{}", request.header("host").unwrap());
            let first = request.path.contains("/tree/") && !request.path.contains("cursor");
            if request.path.contains("cursor") {
                return Reply::new(200, second.clone());
            }
            let at = next.unwrap_or(&own);
            match first {
                true => Reply::new(200, "[]").with(
                    "Link",
                    format!("<{at}/api/models/{MODEL}/tree/{COMMIT}?cursor=x>; rel=\"next\""),
                ),
                false => reply,
            }
        }))
    };
    let pulled = paged(None).pull(MODEL).unwrap();
    assert_eq!(pulled.files[0].name, "model-Q8_0.gguf");
    let error = paged(Some(host)).with_token(MODEL).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}

#[test]
fn bodies_beyond_their_size() {
    let bytes = noise(200_000);
    for framing in [Framing::Chunked, Framing::Close] {
        let stage = Stage::new(Played::twisted(gguf(&bytes), move |at, _, reply| Reply {
            endless: at == At::Storage,
            framing: if at == At::Storage {
                framing
            } else {
                Framing::Length
            },
            ..reply
        }));
        let start = Instant::now();
        let error = stage.pull(MODEL).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Size {
                    expected: 200_000,
                    ..
                }
            ),
            "{error}"
        );
        assert!(stage.kept().is_empty(), "nothing of it is left");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn lengths_that_are_not_the_listings() {
    let bytes = noise(10_000);
    for (body, stated) in [(9_999, "9999"), (10_001, "10001"), (10_000, "x")] {
        let stage = Stage::new(Played::twisted(
            gguf(&bytes),
            move |at, _, reply| match at {
                At::Storage => Reply::new(200, noise(body)).with("Content-Length", stated),
                _ => reply,
            },
        ));
        let error = stage.pull(MODEL).unwrap_err();
        let refused = match stated {
            "x" => matches!(error, Error::Answer { .. } | Error::Network { .. }),
            _ => matches!(error, Error::Size { .. }),
        };
        assert!(refused, "{stated}: {error}");
        let there = stage.kept();
        assert!(!there.contains(&sha256(&bytes)), "{there:?}");
    }
}

#[test]
fn bytes_that_are_not_the_listings() {
    let bytes = noise(10_000);
    let mut wrong = bytes.clone();
    wrong[5000] ^= 1;
    let sent = wrong.clone();
    let stage = Stage::new(Played::twisted(
        gguf(&bytes),
        move |at, _, reply| match at {
            At::Storage => Reply::new(200, sent.clone()),
            _ => reply,
        },
    ));
    let error = stage.pull(MODEL).unwrap_err();
    let Error::Verification {
        file,
        algorithm,
        expected,
        found,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((&file[..], *algorithm), ("model-Q8_0.gguf", "sha256"));
    assert_eq!((expected, found), (&sha256(&bytes), &sha256(&wrong)));
    assert!(stage.kept().is_empty());
    // A small file has git's hash.
    let stage = Stage::new(Played::twisted(
        checkpoint(),
        |at, request, reply| match at {
            At::Resolve if request.path.ends_with("/config.json") => {
                Reply::new(200, "{\"model_type\": \"Llama\"}")
            }
            _ => reply,
        },
    ));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Verification {
                algorithm: "git hash",
                ..
            }
        ),
        "{error}"
    );
    assert!(!stage.snapshot().join("config.json").exists());
}

#[test]
fn coded_bodies_and_other_commits() {
    let bytes = noise(1000);
    for (name, value) in [
        ("Content-Encoding", "gzip"),
        ("X-Repo-Commit", "ffffffffffffffffffffffffffffffffffffffff"),
    ] {
        let stage = Stage::new(Played::twisted(
            gguf(&bytes),
            move |at, _, reply| match at {
                At::Storage if name == "Content-Encoding" => reply.with(name, value),
                At::Resolve if name == "X-Repo-Commit" => reply.with(name, value),
                _ => reply,
            },
        ));
        let error = stage.pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{name}: {error}");
    }
}

#[test]
fn redirects_that_are_not_followed() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "a secret").unwrap();
    let file = format!("file://{}", secret.path().display());
    for to in [
        file.as_str(),
        "ftp://a.example/x",
        "data:text/plain,x",
        "http://",
        "http://user@127.0.0.1/x",
        "javascript:1",
        "http://[::1",
    ] {
        let place = to.to_owned();
        let stage = Stage::new(Played::twisted(
            checkpoint(),
            move |at, _, reply| match at {
                At::Resolve => Reply::new(302, "").with("Location", place.clone()),
                _ => reply,
            },
        ));
        let error = stage.pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{to}: {error}");
        assert!(!stage.snapshot().exists());
    }
    let stage = Stage::new(Played::twisted(checkpoint(), |at, _, reply| match at {
        At::Resolve => Reply::new(302, ""),
        _ => reply,
    }));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}

#[test]
fn redirects_in_a_circle() {
    let stage = Stage::new(Played::twisted(
        checkpoint(),
        |at, request, reply| match at {
            At::Resolve => Reply::new(302, "").with("Location", request.path.clone()),
            _ => reply,
        },
    ));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    let asked = stage.played.hub.requests().len();
    assert_eq!(asked, 2 + 9, "eight are followed");
}

/// A redirect from the storage back to the endpoint carries the token, one to a port beside it does not.
#[test]
fn a_port_is_part_of_a_host() {
    let bytes = noise(1000);
    let body = bytes.clone();
    let beside = Server::start(move |_| Reply::new(200, body.clone()));
    let place = beside.url.clone();
    let stage = Stage::new(Played::twisted(
        gguf(&bytes),
        move |at, _, reply| match at {
            At::Storage => Reply::new(302, "").with("Location", place.clone()),
            _ => reply,
        },
    ));
    stage.with_token(MODEL).unwrap();
    let seen = beside.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

#[test]
fn a_link_in_the_cache_leads_no_download_astray() {
    // A snapshot's name that is a link to a file outside is replaced, and that file stays as it is.
    let bytes = noise(1000);
    let stage = Stage::new(Played::start(vec![large("model-Q8_0.gguf", bytes.clone())]));
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "mine").unwrap();
    fs::create_dir_all(stage.snapshot()).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path(), stage.snapshot().join("model-Q8_0.gguf")).unwrap();
    let pulled = stage.pull(MODEL).unwrap();
    assert!(fs::read(&pulled.path).unwrap() == bytes);
    assert_eq!(fs::read(outside.path()).unwrap(), b"mine");
}
