//! Certificates that are trusted instead of Mozilla's.

use crate::Error;
use std::io::Read;
use std::path::Path;
use ureq::tls::{PemItem, RootCerts, parse_pem};

/// Largest file of certificates, in bytes.
const MAX_CERTIFICATES: u64 = 16 << 20;

/// Reads a PEM file. Errors: it cannot be read, or has no certificate.
pub(crate) fn certificates(path: &Path) -> Result<RootCerts, Error> {
    let failed = |reason: String| Error::Certificates {
        path: path.into(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_CERTIFICATES)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(e.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err(failed("there are none in it".into())),
        false => Ok(RootCerts::new_with_certs(&found)),
    }
}
