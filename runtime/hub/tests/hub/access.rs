//! Who asks, what is asked for, and who learns the token.

use crate::server::{At, NAME, Played, Reply, Server, large, noise, small};
use crate::support::{MODEL, Stage, Watch, checkpoint, gguf, is_whole, pull};
use carat_hub::{Error, Settings, Token, TokenState};

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let bytes = noise(1000);
    let stage = Stage::new(Played::start(gguf(&bytes)));
    stage.with_token(MODEL).unwrap();
    let own = stage.played.hub.requests();
    assert_eq!(own.len(), 3);
    for request in own {
        let sent = request.header("authorization");
        assert_eq!(sent, Some("Bearer hf_secret"), "{}", request.path);
    }
    let storage = stage.played.storage.requests();
    assert_eq!(storage.len(), 1);
    for header in &storage[0].headers {
        assert!(!header.1.contains("hf_secret"), "{header:?}");
    }
    is_whole(&stage, &bytes);
}

#[test]
fn without_a_token_none_is_sent() {
    let stage = Stage::new(Played::start(checkpoint()));
    stage.pull(MODEL).unwrap();
    for request in stage.played.hub.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
}

/// Only Linux has more addresses of this machine than one, and this one is no name of it.
#[cfg(target_os = "linux")]
#[test]
fn a_token_is_not_sent_in_the_clear() {
    let far = Server::at("127.0.0.2", |_| Reply::new(401, "{}"));
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        endpoint: far.url.clone(),
        token: Some(Token::new("hf_secret").unwrap()),
        ..Settings::new(folder.path())
    };
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    let withheld = TokenState::Withheld;
    assert!(
        matches!(error, Error::RepositoryNotFound { token, .. } if token == withheld),
        "{error}"
    );
    let asked = far.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

fn refusing(status: u16, code: &'static str) -> Stage {
    Stage::new(Played::twisted(
        checkpoint(),
        move |at, _, reply| match at {
            At::Api => Reply::new(status, "{}").with("X-Error-Code", code),
            _ => reply,
        },
    ))
}

#[test]
fn repositories_that_are_not_there() {
    let stage = Stage::new(Played::start(checkpoint()));
    let error = stage.pull("owner/other").unwrap_err();
    let Error::RepositoryNotFound {
        repository, token, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (&repository[..], *token),
        ("owner/other", TokenState::Absent)
    );
    assert!(error.to_string().contains("HF_TOKEN"));
    assert!(stage.kept().is_empty());

    // What the hub says of a name that is none, to those without a token.
    let error = refusing(401, "").pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::RepositoryNotFound { .. }), "{error}");
    let error = refusing(401, "").with_token(MODEL).unwrap_err();
    let sent = TokenState::Sent;
    assert!(
        matches!(error, Error::Unauthorised { status: 401, token, .. } if token == sent),
        "{error}"
    );
    let error = refusing(403, "").pull(MODEL).unwrap_err();
    assert!(
        matches!(error, Error::Unauthorised { status: 403, .. }),
        "{error}"
    );
}

#[test]
fn gated_repositories() {
    let stage = refusing(403, "GatedRepo");
    let error = stage.pull(MODEL).unwrap_err();
    let Error::Gated { page, token, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*page, format!("{}/{NAME}", stage.played.hub.url));
    assert_eq!(*token, TokenState::Absent);
    assert!(error.to_string().contains("HF_TOKEN"));
    // The listing of a gated repository is public, its files are not.
    let stage = Stage::new(Played::twisted(checkpoint(), |at, _, reply| match at {
        At::Resolve => Reply::new(401, "").with("X-Error-Code", "GatedRepo"),
        _ => reply,
    }));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::Gated { .. }), "{error}");
    assert!(!stage.snapshot().exists());
}

#[test]
fn revisions_and_files_that_are_not_there() {
    let stage = Stage::new(Played::start(checkpoint()));
    let error = stage.pull(&format!("{MODEL}@v9")).unwrap_err();
    assert!(
        matches!(&error, Error::RevisionNotFound { revision, .. } if revision == "v9"),
        "{error}"
    );
    let error = stage
        .pull(&format!("{MODEL}:model.safetensor"))
        .unwrap_err();
    let Error::FileNotFound { near, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(near[..], ["model.safetensors"]);
    let told = error.to_string();
    assert!(told.contains("model.safetensors"), "{told}");
    // A file that the listing has and the hub has not.
    let stage = Stage::new(Played::twisted(
        checkpoint(),
        |at, request, reply| match at {
            At::Resolve if request.path.ends_with("config.json") => {
                Reply::new(404, "").with("X-Error-Code", "EntryNotFound")
            }
            _ => reply,
        },
    ));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(
        matches!(&error, Error::FileNotFound { wanted, .. } if wanted == "config.json"),
        "{error}"
    );
}

#[test]
fn no_model_and_several() {
    let stage = Stage::new(Played::start(vec![small("README.md", "x")]));
    let error = stage.pull(MODEL).unwrap_err();
    assert!(matches!(error, Error::NoModel { .. }), "{error}");
    let stage = Stage::new(Played::start(vec![
        large("a-Q4_0.gguf", noise(10)),
        large("b-Q4_0.gguf", noise(20)),
    ]));
    let error = stage.pull(&format!("{MODEL}:Q4_0")).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { found, .. } if found.len() == 2),
        "{error}"
    );
    assert!(stage.kept().is_empty());
}

#[test]
fn a_renamed_repository_is_found() {
    let stage = Stage::new(Played::twisted(
        checkpoint(),
        |_, request, reply| match request.path.strip_prefix("/api/models/old/name") {
            Some(below) => {
                Reply::new(307, "").with("Location", format!("/api/models/{NAME}{below}"))
            }
            None if request.path.starts_with("/old/name") => {
                let below = request.path.trim_start_matches("/old/name");
                Reply::new(307, "").with("Location", format!("/{NAME}{below}"))
            }
            None => reply,
        },
    ));
    let pulled = stage.with_token("old/name").unwrap();
    assert_eq!(
        (pulled.files.len(), &pulled.repository[..]),
        (4, "old/name")
    );
    let redirected = stage.played.hub.requests();
    let all = |r: &crate::server::Request| r.header("authorization").is_some();
    assert!(redirected.iter().all(all), "one host, one token");
}

#[test]
fn addresses_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    for endpoint in [
        "ftp://a.example",
        "huggingface.co",
        "https://",
        "https://u:p@a.example",
        "https://a.example/?x",
        "",
    ] {
        let settings = Settings {
            endpoint: endpoint.into(),
            ..Settings::new(folder.path())
        };
        let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
        assert!(
            matches!(error, Error::Endpoint { .. }),
            "{endpoint}: {error}"
        );
    }
    let settings = Settings {
        certificates: Some(folder.path().join("none.pem")),
        ..Settings::new(folder.path())
    };
    let error = pull(settings, MODEL, &Watch::default()).unwrap_err();
    assert!(matches!(error, Error::Certificates { .. }), "{error}");
}

#[test]
fn an_endpoint_may_be_below_a_path() {
    let played = Played::start(checkpoint());
    let hub = played.hub.url.clone();
    let front = Server::start(move |request| {
        let below = request.path.strip_prefix("/mirror/hf").unwrap_or("/none");
        Reply::new(307, "").with("Location", format!("{hub}{below}"))
    });
    let stage = Stage::new(played);
    let settings = Settings {
        endpoint: format!("{}/mirror/hf/", front.url),
        token: Some(Token::new("hf_secret").unwrap()),
        ..stage.settings()
    };
    assert_eq!(
        pull(settings, MODEL, &Watch::default())
            .unwrap()
            .files
            .len(),
        4
    );
    // Where the mirror sends us is another host.
    for request in stage.played.hub.requests() {
        assert_eq!(request.header("authorization"), None);
    }
}
