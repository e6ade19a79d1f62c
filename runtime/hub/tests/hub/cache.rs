//! What is in the cache after a pull, and what a pull takes from it.

use crate::server::{At, COMMIT, Played, Reply, git, large, noise, sha256, small};
use crate::support::{MODEL, Stage, Watch, checkpoint, gguf, is_whole, pull, read};
use carat_hub::{Error, Note, Settings};
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_checkpoint_is_laid_out_as_other_programs_do() {
    let stage = Stage::new(Played::start(checkpoint()));
    let watch = Watch::default();
    let pulled = stage.watched(MODEL, &watch).unwrap();
    assert_eq!(pulled.path, stage.snapshot());
    let names: Vec<&str> = pulled.files.iter().map(|f| f.name.as_str()).collect();
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(names, expected, "README.md is not fetched");
    for kept in checkpoint().iter().filter(|k| expected.contains(&&*k.name)) {
        let path = stage.snapshot().join(&kept.name);
        assert!(read(&path) == kept.bytes, "{}", kept.name);
        let hash = match kept.large {
            true => sha256(&kept.bytes),
            false => git(&kept.bytes),
        };
        if cfg!(unix) {
            let link = fs::read_link(&path).unwrap();
            assert_eq!(link, Path::new("../../blobs").join(&hash));
        }
        let file = pulled.files.iter().find(|f| f.name == kept.name).unwrap();
        assert_eq!((&file.path, file.hash.as_ref()), (&path, Some(&hash)));
    }
    let reference = stage.repository().join("refs/main");
    assert_eq!(read(&reference), COMMIT.as_bytes());
    let bytes = 300_000 + 20_000 + 23;
    assert_eq!((pulled.bytes, pulled.fetched), (bytes, bytes));
    assert_eq!((&pulled.commit[..], &pulled.revision[..]), (COMMIT, "main"));
    let plans = watch.plans.lock().unwrap();
    assert_eq!(
        (plans.len(), plans[0].bytes, plans[0].present),
        (1, bytes, 0)
    );
    assert_eq!(watch.most.into_inner(), bytes);
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let stage = Stage::new(Played::start(checkpoint()));
    let first = stage.pull(MODEL).unwrap();
    let asked = stage.played.hub.requests().len();
    let again = stage.pull(MODEL).unwrap();
    assert_eq!((again.fetched, &again.path), (0, &first.path));
    assert_eq!(
        stage.played.hub.requests().len(),
        asked + 2,
        "revision and listing alone"
    );
    let pinned = format!("{MODEL}@{COMMIT}");
    assert_eq!(stage.pull(&pinned).unwrap().fetched, 0);
    assert_eq!(
        stage.played.hub.requests().len(),
        asked + 3,
        "a commit needs no request for its revision"
    );
    assert!(!stage.repository().join("refs").join(COMMIT).exists());
}

#[test]
fn folders_parts_and_revisions() {
    let parts = [noise(1000), noise(2000)];
    let stage = Stage::new(Played::start(vec![
        large("Q4/m-Q4_K_M-00001-of-00002.gguf", parts[0].clone()),
        large("Q4/m-Q4_K_M-00002-of-00002.gguf", parts[1].clone()),
        large("m-Q8_0.gguf", noise(500)),
    ]));
    let name = format!("hf:{MODEL}@refs/pr/1:q4_k_m");
    let pulled = stage.pull(&name).unwrap();
    let place = stage.snapshot().join("Q4");
    assert_eq!(pulled.path, place.join("m-Q4_K_M-00001-of-00002.gguf"));
    assert!(read(&pulled.path) == parts[0]);
    assert!(read(&place.join("m-Q4_K_M-00002-of-00002.gguf")) == parts[1]);
    assert!(!stage.snapshot().join("m-Q8_0.gguf").exists());
    let reference = stage.repository().join("refs/refs/pr/1");
    assert_eq!(read(&reference), COMMIT.as_bytes());
    let watch = Watch::default();
    stage.watched(MODEL, &watch).unwrap();
    let chosen = watch.plans.lock().unwrap()[0].chosen.clone();
    assert_eq!(chosen.as_deref(), Some("m-Q8_0.gguf"));
}

#[test]
fn offline_gives_what_was_fetched() {
    let stage = Stage::new(Played::start(checkpoint()));
    let offline = |name: &str| {
        let settings = Settings {
            offline: true,
            ..stage.settings()
        };
        pull(settings, name, &Watch::default())
    };
    let never = offline(MODEL).unwrap_err();
    assert!(matches!(never, Error::Offline { .. }), "{never}");
    let online = stage.pull(MODEL).unwrap();
    let asked = stage.played.hub.requests().len();
    let found = offline(MODEL).unwrap();
    assert_eq!((&found.path, found.bytes), (&online.path, online.bytes));
    assert_eq!(found.files.len(), online.files.len());
    assert_eq!(
        offline(&format!("{MODEL}@{COMMIT}")).unwrap().path,
        found.path
    );
    for name in [format!("{MODEL}@v2"), format!("{MODEL}:Q4_K_M")] {
        let error = offline(&name).unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error}");
    }
    assert_eq!(stage.played.hub.requests().len(), asked, "nobody was asked");
}

#[test]
fn offline_knows_a_checkpoint_that_is_not_whole() {
    let parts = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ];
    let files = parts.map(|name| {
        large(
            name,
            noise(1000 + name.len() + usize::from(name == parts[1])),
        )
    });
    let stage = Stage::new(Played::start(files.to_vec()));
    stage.pull(MODEL).unwrap();
    fs::remove_file(stage.snapshot().join(parts[1])).unwrap();
    let settings = Settings {
        offline: true,
        ..stage.settings()
    };
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Offline { reason, .. } if reason.contains(parts[1])),
        "{error}"
    );
}

#[test]
fn a_blob_of_the_wrong_length_or_hash_is_fetched_again() {
    let bytes = noise(100_000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.pull(MODEL).unwrap();
    let blob = stage.blobs().join(sha256(&bytes));
    fs::write(&blob, &bytes[..50_000]).unwrap();
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 100_000);
    is_whole(&stage, &bytes);

    let mut damaged = bytes.clone();
    damaged[99_999] ^= 1;
    fs::write(&blob, &damaged).unwrap();
    assert_eq!(stage.pull(MODEL).unwrap().fetched, 0, "its length is right");
    let settings = Settings {
        verify: true,
        ..stage.settings()
    };
    let watch = Watch::default();
    let pulled = pull(settings, MODEL, &watch).unwrap();
    assert_eq!(pulled.fetched, 100_000);
    assert!(watch.has(|n| matches!(n, Note::Damaged { .. })));
    is_whole(&stage, &bytes);
}

/// As huggingface_hub leaves them where links cannot be made.
#[test]
fn a_file_without_a_blob_is_taken() {
    let bytes = noise(10_000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    fs::create_dir_all(stage.snapshot()).unwrap();
    fs::write(stage.snapshot().join("model-Q8_0.gguf"), &bytes).unwrap();
    let pulled = stage.pull(MODEL).unwrap();
    assert_eq!(pulled.fetched, 0);
    assert!(read(&pulled.path) == bytes);
    assert!(stage.kept().is_empty());
}

#[test]
fn two_pulls_at_once_fetch_a_file_once() {
    let bytes = noise(2 << 20);
    let played = Played::twisted(gguf(&bytes), |at, _, reply| match at {
        At::Storage => Reply {
            slow: Duration::from_millis(20),
            ..reply
        },
        _ => reply,
    });
    let stage = Stage::new(played);
    let watches = [Watch::default(), Watch::default()];
    let fetched: Vec<u64> = std::thread::scope(|scope| {
        let stage = &stage;
        let run = |watch| scope.spawn(move || stage.watched(MODEL, watch).unwrap().fetched);
        let threads: Vec<_> = watches.iter().map(run).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(fetched.iter().sum::<u64>(), 2 << 20, "{fetched:?}");
    assert_eq!(stage.played.storage.requests().len(), 1);
    let waited = |w: &Watch| w.has(|n| matches!(n, Note::Busy { .. }));
    assert!(watches.iter().any(waited), "one waited for the other");
    is_whole(&stage, &bytes);
}

#[test]
fn a_lock_that_another_program_holds_is_waited_for_until_the_caller_stops() {
    let bytes = noise(1000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    let locks = stage.cache.path().join(".locks/models--owner--model");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", sha256(&bytes)))).unwrap();
    lock.lock().unwrap();
    let watch = Watch {
        until_note: true,
        ..Watch::default()
    };
    let error = stage.watched(MODEL, &watch).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(watch.has(|n| matches!(n, Note::Busy { .. })));
    assert!(stage.played.storage.requests().is_empty());
    drop(lock);
    stage.pull(MODEL).unwrap();
    is_whole(&stage, &bytes);
}

#[test]
fn an_empty_file_is_a_file() {
    let stage = Stage::new(Played::start(vec![
        small("config.json", ""),
        large("model.safetensors", noise(10)),
    ]));
    let pulled = stage.pull(MODEL).unwrap();
    assert_eq!(read(&pulled.path.join("config.json")), b"");
    let empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    assert!(stage.blobs().join(empty).exists());
}
