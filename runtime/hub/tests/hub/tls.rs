//! Encryption: whose certificates are trusted, and where a redirect may not lead.

use crate::server::{COMMIT, NAME, Reply, Request, Server, noise, read, sha256};
use crate::support::{MODEL, Watch, pull};
use carat_hub::{Error, Patience, Settings, Token};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// A server that speaks TLS, with a certificate of an authority of its own.
struct Secure {
    url: String,
    folder: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Secure {
    fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("root.pem"), root.pem()).unwrap();
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![own.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (config, seen) = (Arc::new(config), requests.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let Some(request) = read(&mut stream) else {
                    continue;
                };
                seen.lock().unwrap().push(request.clone());
                // Whoever asked may have gone.
                let _ = handler(&request).send(&mut stream);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self {
            url,
            folder,
            requests,
        }
    }

    fn settings(&self, trusted: bool) -> Settings {
        let root = self.folder.path().join("root.pem");
        Settings {
            endpoint: self.url.clone(),
            token: Some(Token::new("hf_secret").unwrap()),
            certificates: trusted.then_some(root),
            patience: Patience {
                pause: Duration::from_millis(1),
                ..Patience::default()
            },
            ..Settings::new(self.folder.path())
        }
    }
}

use std::io::Write;

/// A hub of one GGUF file, whose bytes are `bytes` or come from where `redirect` says.
fn hub(bytes: Vec<u8>, redirect: Option<String>) -> Secure {
    let file = vec![crate::server::large("model-Q8_0.gguf", bytes.clone())];
    Secure::start(move |request| {
        if request.path == format!("/api/models/{NAME}/revision/main") {
            return Reply::new(200, format!("{{\"sha\": \"{COMMIT}\"}}"));
        }
        match (request.path.contains("/tree/"), &redirect) {
            (true, _) => Reply::new(200, crate::server::tree(&file)),
            (_, Some(place)) => Reply::new(302, "").with("Location", place.clone()),
            _ => crate::server::ranged(request, &bytes),
        }
    })
}

#[test]
fn a_certificate_that_is_trusted() {
    let bytes = noise(300_000);
    let hub = hub(bytes.clone(), None);
    let pulled = pull(hub.settings(true), MODEL, &Watch::default()).unwrap();
    assert!(std::fs::read(&pulled.path).unwrap() == bytes);
    let requests = hub.requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    let sent = requests.iter().filter_map(|r| r.header("authorization"));
    assert!(sent.eq(["Bearer hf_secret"; 3]), "encrypted, so it is sent");
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let hub = hub(noise(10), None);
    let watch = Watch::default();
    let error = pull(hub.settings(false), MODEL, &watch).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
    assert_eq!(watch.retries(), 0, "another try changes nothing");
    assert!(hub.requests.lock().unwrap().is_empty(), "nothing was said");
}

#[test]
fn encryption_is_not_given_up() {
    let bytes = noise(1000);
    let body = bytes.clone();
    let plain = Server::start(move |_| Reply::new(200, body.clone()));
    let hub = hub(bytes.clone(), Some(format!("{}/blob", plain.url)));
    let error = pull(hub.settings(true), MODEL, &Watch::default()).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(plain.requests().is_empty());
    let blobs = hub.folder.path().join("models--owner--model/blobs");
    assert!(!blobs.join(sha256(&bytes)).exists());
}
