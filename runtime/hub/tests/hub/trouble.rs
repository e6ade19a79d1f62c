//! Servers that are busy, broken, silent or not there.

use crate::server::{At, Played, Reply, noise};
use crate::support::{MODEL, Stage, Watch, checkpoint, gguf, is_whole, pull};
use carat_hub::{Error, Settings};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The first `times` replies there are of this status.
fn failing(at: At, times: usize, status: u16, wait: Option<&'static str>) -> (Stage, Vec<u8>) {
    let bytes = noise(10_000);
    let count = AtomicUsize::new(0);
    let played = Played::twisted(gguf(&bytes), move |place, _, reply| {
        if place != at || count.fetch_add(1, Ordering::SeqCst) >= times {
            return reply;
        }
        let reply = Reply::new(status, "busy");
        match wait {
            Some(wait) => reply.with("Retry-After", wait),
            None => reply,
        }
    });
    (Stage::new(played), bytes)
}

#[test]
fn errors_of_servers_pass() {
    for at in [At::Api, At::Resolve, At::Storage] {
        for status in [500, 502, 503, 504, 429] {
            let (stage, bytes) = failing(at, 2, status, None);
            let watch = Watch::default();
            stage.watched(MODEL, &watch).unwrap();
            assert_eq!(watch.retries(), 2, "{at:?} {status}");
            is_whole(&stage, &bytes);
        }
    }
}

#[test]
fn tries_have_an_end() {
    let (stage, _) = failing(At::Storage, usize::MAX, 503, None);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 503, .. }),
        "{error}"
    );
    assert_eq!(stage.played.storage.requests().len(), 4);
    let (stage, _) = failing(At::Api, usize::MAX, 429, None);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { wait: None, .. }),
        "{error}"
    );
    assert_eq!(stage.played.hub.requests().len(), 4);
}

#[test]
fn a_server_says_when_to_come_again() {
    let (stage, bytes) = failing(At::Api, 1, 429, Some("1"));
    let start = Instant::now();
    stage.pull(MODEL).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "it waited");
    is_whole(&stage, &bytes);
    // Longer than anybody waits.
    let (stage, _) = failing(At::Resolve, usize::MAX, 429, Some("3600"));
    let error = stage.pull(MODEL).unwrap_err();
    let hour = Some(Duration::from_secs(3600));
    assert!(
        matches!(error, Error::RateLimited { wait, .. } if wait == hour),
        "{error}"
    );
    assert!(error.to_string().contains("3600 seconds"), "{error}");
    let (stage, _) = failing(At::Resolve, 1, 429, Some("99999999999999999999999"));
    stage.pull(MODEL).unwrap();
}

#[test]
fn a_pause_can_be_ended() {
    let (stage, _) = failing(At::Api, usize::MAX, 503, Some("3"));
    let watch = Watch {
        until_note: true,
        ..Watch::default()
    };
    let start = Instant::now();
    let error = stage.watched(MODEL, &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert_eq!(watch.retries(), 1, "it was in the pause");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_signature_that_ran_out_is_asked_for_again() {
    let (stage, bytes) = failing(At::Storage, 1, 403, None);
    stage.pull(MODEL).unwrap();
    assert_eq!(stage.played.hub.requests().len(), 4, "the address twice");
    is_whole(&stage, &bytes);
}

#[test]
fn a_storage_without_the_file() {
    let (stage, _) = failing(At::Storage, usize::MAX, 404, None);
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 404, .. }),
        "{error}"
    );
    assert_eq!(stage.played.storage.requests().len(), 1, "no second try");
}

#[test]
fn nobody_is_there() {
    let stage = Stage::new(Played::start(checkpoint()));
    let url = stage.played.hub.url.clone();
    let settings = Settings {
        endpoint: url,
        ..stage.settings()
    };
    let Stage { played, cache } = stage;
    drop(played);
    std::thread::sleep(Duration::from_millis(200));
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(error.is_network());
    let settings = Settings {
        endpoint: "https://no-such-host.invalid".into(),
        ..Settings::new(cache.path())
    };
    let quick = carat_hub::Patience {
        tries: 1,
        ..settings.patience
    };
    let settings = Settings {
        patience: quick,
        ..settings
    };
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
}

#[test]
fn a_server_that_speaks_no_tls() {
    let stage = Stage::new(Played::start(checkpoint()));
    let settings = Settings {
        endpoint: stage.played.hub.url.replace("http://", "https://"),
        ..stage.settings()
    };
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. } | Error::Network { .. }),
        "{error}"
    );
}

#[test]
fn a_silent_server_is_left() {
    let bytes = noise(100_000);
    let count = AtomicUsize::new(0);
    let played = Played::twisted(gguf(&bytes), move |at, _, reply| {
        if at != At::Storage || count.fetch_add(1, Ordering::SeqCst) > 0 {
            return reply;
        }
        Reply {
            cut: Some(30_000),
            linger: Duration::from_secs(20),
            ..reply
        }
    });
    let stage = Stage::new(played);
    let start = Instant::now();
    let watch = Watch::default();
    assert_eq!(stage.watched(MODEL, &watch).unwrap().fetched, 100_000);
    assert_eq!(watch.retries(), 1);
    assert!(start.elapsed() < Duration::from_secs(10));
    is_whole(&stage, &bytes);
}

#[test]
fn a_silent_server_does_not_keep_who_wants_to_stop() {
    let bytes = noise(100_000);
    let played = Played::twisted(gguf(&bytes), |at, _, reply| Reply {
        cut: (at == At::Storage).then_some(30_000),
        linger: Duration::from_secs(if at == At::Storage { 20 } else { 0 }),
        ..reply
    });
    let stage = Stage::new(played);
    let watch = Watch {
        until: Some(30_000),
        ..Watch::default()
    };
    let start = Instant::now();
    let error = stage.watched(MODEL, &watch).unwrap_err();
    assert!(
        matches!(error, Error::Cancelled { kept: 30_000, .. }),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_millis(1500));
}
