//! Hashes as the hub states them.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fmt::Write;

/// The hash of a file's bytes, in lower-case hexadecimal digits. It names the file's blob in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// SHA-256 of the bytes: files in large file storage.
    Sha256(String),
    /// What git calls the blob: SHA-1 of `blob LENGTH\0` and the bytes.
    Git(String),
}

impl Digest {
    /// `None` where `text` is no SHA-256.
    pub fn sha256(text: &str) -> Option<Self> {
        hexadecimal(text, 64).map(Self::Sha256)
    }

    /// `None` where `text` is no SHA-1.
    pub fn git(text: &str) -> Option<Self> {
        hexadecimal(text, 40).map(Self::Git)
    }

    /// The digits.
    pub fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }

    /// For a person.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Git(_) => "git hash",
        }
    }

    /// Begins to hash a file of `len` bytes.
    pub fn start(&self, len: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher(Context::new(&SHA256)),
            Self::Git(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {len}\0").as_bytes());
                Hasher(context)
            }
        }
    }
}

/// `text` if it has that many lower-case hexadecimal digits and nothing else.
pub(crate) fn hexadecimal(text: &str, digits: usize) -> Option<String> {
    let right = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    (text.len() == digits && text.bytes().all(right)).then(|| text.to_owned())
}

/// A hash that is being made.
#[derive(Clone)]
pub(crate) struct Hasher(Context);

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digits.
    pub fn finish(self) -> String {
        let mut text = String::new();
        for byte in self.0.finish().as_ref() {
            // A string takes whatever is written to it.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let of = |digest: &Digest, bytes: &[u8]| {
            let mut hasher = digest.start(bytes.len() as u64);
            hasher.update(bytes);
            hasher.finish()
        };
        // What `git hash-object` gives, and FIPS 180-4's own example.
        let git = Digest::git("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391").unwrap();
        assert_eq!(of(&git, b""), git.text());
        assert_eq!(
            of(&git, b"test content\n"),
            "d670460b4b4aece5915caf5c68d12f560a9fe3e4"
        );
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(&Digest::sha256(sha).unwrap(), b"abc"), sha);
        assert_eq!(Digest::sha256("../../x"), None);
        assert_eq!(Digest::git(&"A".repeat(40)), None);
    }
}
