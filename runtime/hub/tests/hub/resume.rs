//! Downloads that are cut and gone on with.

use crate::server::{At, Framing, Played, Reply, noise, ranged, sha256};
use crate::support::{MODEL, Stage, Watch, gguf, is_whole, read};
use carat_hub::{Error, Note};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn what_is_there_is_gone_on_with() {
    let bytes = noise(500_000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.leave(&bytes, &bytes[..123_456]);
    let watch = Watch::default();
    let pulled = stage.watched(MODEL, &watch).unwrap();
    assert_eq!(pulled.fetched, 500_000 - 123_456);
    assert_eq!(watch.plans.lock().unwrap()[0].present, 123_456);
    let asked = stage.played.storage.requests();
    assert_eq!(asked[0].header("range"), Some("bytes=123456-"));
    is_whole(&stage, &bytes);
}

#[test]
fn whole_but_not_named_needs_no_request() {
    let bytes = noise(5000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.leave(&bytes, &bytes);
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 0);
    assert!(stage.played.storage.requests().is_empty());
    is_whole(&stage, &bytes);
}

#[test]
fn too_long_to_be_a_beginning() {
    let bytes = noise(5000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.leave(&bytes, &noise(6000));
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 5000);
    is_whole(&stage, &bytes);
}

#[test]
fn cuts_in_the_middle() {
    for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
        let bytes = noise(400_000);
        let cuts = AtomicUsize::new(0);
        let played = Played::twisted(gguf(&bytes), move |at, _, reply| {
            if at != At::Storage {
                return reply;
            }
            let cut = cuts.fetch_add(1, Ordering::SeqCst) < 2;
            Reply {
                cut: cut.then_some(100_000),
                framing,
                ..reply
            }
        });
        let stage = Stage::new(played);
        let watch = Watch::default();
        let pulled = stage.watched(MODEL, &watch).unwrap();
        assert_eq!(pulled.fetched, 400_000, "{framing:?}: no byte comes twice");
        assert_eq!(watch.retries(), 2, "{framing:?}");
        let from: Vec<_> = stage.played.storage.requests();
        let from: Vec<_> = from.iter().map(|r| r.from()).collect();
        assert_eq!(from, [None, Some(100_000), Some(200_000)], "{framing:?}");
        is_whole(&stage, &bytes);
    }
}

#[test]
fn cuts_without_end_are_an_error_that_keeps_what_came() {
    let bytes = noise(400_000);
    let played = Played::twisted(gguf(&bytes), |at, _, reply| Reply {
        cut: (at == At::Storage).then_some(10),
        ..reply
    });
    let stage = Stage::new(played);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert_eq!(
        stage.played.storage.requests().len(),
        4,
        "as often as allowed"
    );
    assert_eq!(read(&stage.incomplete(&bytes)), &bytes[..40]);
    assert!(!stage.snapshot().join("model-Q8_0.gguf").exists());
    assert!(!stage.repository().join("refs/main").exists());
}

#[test]
fn a_server_that_ignores_ranges() {
    let bytes = noise(300_000);
    let whole = bytes.clone();
    let played = Played::twisted(gguf(&bytes), move |at, _, reply| match at {
        At::Storage => Reply::new(200, whole.clone()),
        _ => reply,
    });
    let stage = Stage::new(played);
    stage.leave(&bytes, &bytes[..100_000]);
    let watch = Watch::default();
    let pulled = stage.watched(MODEL, &watch).unwrap();
    assert_eq!(pulled.fetched, 300_000);
    assert!(watch.has(|n| matches!(n, Note::Restart { .. })));
    is_whole(&stage, &bytes);
}

#[test]
fn a_server_that_refuses_a_range() {
    let bytes = noise(300_000);
    let played = Played::twisted(gguf(&bytes), |at, request, reply| {
        match (at, request.from()) {
            (At::Storage, Some(_)) => Reply::new(416, "").with("Content-Range", "bytes */5"),
            _ => reply,
        }
    });
    let stage = Stage::new(played);
    stage.leave(&bytes, &bytes[..100_000]);
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 300_000);
    is_whole(&stage, &bytes);
}

#[test]
fn a_server_that_refuses_everything_with_416() {
    let bytes = noise(3000);
    let played = Played::twisted(gguf(&bytes), |at, _, reply| match at {
        At::Storage => Reply::new(416, ""),
        _ => reply,
    });
    let stage = Stage::new(played);
    stage.leave(&bytes, &bytes[..1000]);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
    assert_eq!(stage.played.storage.requests().len(), 2);
}

#[test]
fn ranges_that_were_not_asked_for() {
    let bytes = noise(300_000);
    for wrong in [
        "bytes 0-199999/300000",
        "bytes 100000-199999/300000",
        "bytes 100000-299999/300001",
        "bytes 100000-18446744073709551615/300000",
        "bytes */300000",
        "100000-299999",
        "",
    ] {
        let body = bytes[100_000..].to_vec();
        let played = Played::twisted(gguf(&bytes), move |at, _, reply| match at {
            At::Storage => Reply::new(206, body.clone()).with("Content-Range", wrong),
            _ => reply,
        });
        let stage = Stage::new(played);
        stage.leave(&bytes, &bytes[..100_000]);
        let error = stage.pull(MODEL).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{wrong}: {error}");
        let there = read(&stage.incomplete(&bytes));
        assert!(there == bytes[..100_000], "{wrong}: what is there stays");
    }
}

#[test]
fn a_part_that_was_not_asked_for() {
    let bytes = noise(1000);
    let body = bytes.clone();
    let played = Played::twisted(gguf(&bytes), move |at, _, reply| match at {
        At::Storage => Reply::new(206, body.clone()).with("Content-Range", "bytes 0-999/1000"),
        _ => reply,
    });
    let error = Stage::new(played).pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error}");
}

#[test]
fn stopping_keeps_what_came() {
    let bytes = noise(4 << 20);
    let played = Played::twisted(gguf(&bytes), |at, _, reply| match at {
        At::Storage => Reply {
            slow: std::time::Duration::from_millis(5),
            ..reply
        },
        _ => reply,
    });
    let stage = Stage::new(played);
    let watch = Watch {
        until: Some(1 << 20),
        ..Watch::default()
    };
    let error = stage.watched(MODEL, &watch).unwrap_err();
    let Error::Cancelled { kept, total } = error else {
        panic!("{error}");
    };
    assert_eq!(total, 4 << 20);
    assert!((1 << 20..4 << 20).contains(&kept), "{kept}");
    let there = read(&stage.incomplete(&bytes));
    assert_eq!(there.len() as u64, kept);
    assert!(there == bytes[..there.len()]);
    let pulled = stage.pull(MODEL).unwrap();
    assert_eq!(pulled.fetched, (4 << 20) - kept);
    is_whole(&stage, &bytes);
}

#[test]
fn a_beginning_of_other_bytes_is_found_out() {
    let bytes = noise(50_000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.leave(&bytes, &[7; 1000]);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(&error, Error::Verification { expected, .. } if *expected == sha256(&bytes)),
        "{error}"
    );
    assert!(stage.kept().is_empty(), "nothing of it is left");
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 50_000);
    is_whole(&stage, &bytes);
}

#[test]
fn chunked_bodies_and_late_ends() {
    for (framing, linger) in [
        (Framing::Chunked, 0),
        (Framing::Close, 0),
        (Framing::Chunked, 10_000),
    ] {
        let bytes = noise(200_000);
        let body = bytes.clone();
        let played = Played::twisted(gguf(&bytes), move |at, request, reply| match at {
            At::Storage => Reply {
                framing,
                linger: std::time::Duration::from_millis(linger),
                ..ranged(request, &body)
            },
            _ => reply,
        });
        let stage = Stage::new(played);
        let start = std::time::Instant::now();
        assert_eq!(stage.pull(MODEL).unwrap().fetched, 200_000);
        assert!(
            start.elapsed().as_secs() < 9,
            "an end that is late is not waited for"
        );
        is_whole(&stage, &bytes);
    }
}
