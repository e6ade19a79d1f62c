//! Where the hub is, who asks, and where files go: by the variables that huggingface_hub reads.

use crate::{Error, Patience};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The hub where none is named.
const ENDPOINT: &str = "https://huggingface.co";
/// Longest token, in bytes.
const MAX_TOKEN: u64 = 4096;

/// What says who asks. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token, without white space around it. Errors: characters that no header may have.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let reason = match text {
            "" => "it is empty",
            _ if text.len() as u64 > MAX_TOKEN => "it is too long",
            _ if !text.bytes().all(|b| b.is_ascii_graphic()) => {
                "it has other characters than letters, digits and signs"
            }
            _ => return Ok(Self(text.into())),
        };
        Err(Error::Token {
            reason: reason.into(),
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How a [`crate::Hub`] works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hub's address, without a slash at its end.
    pub endpoint: String,
    /// Who asks; sent to the endpoint and to no other host.
    pub token: Option<Token>,
    /// The cache's directory, laid out as huggingface_hub does.
    pub cache: PathBuf,
    /// Ask nobody: give what the cache has.
    pub offline: bool,
    /// Hash files that the cache has already, and fetch those again that are damaged.
    pub verify: bool,
    /// Certificates to trust instead of Mozilla's, a PEM file.
    pub certificates: Option<PathBuf>,
    /// Whether `HTTPS_PROXY` and its like are obeyed.
    pub proxy: bool,
    /// How long to wait, and how often to try.
    pub patience: Patience,
}

impl Settings {
    /// Settings for that cache, with nothing of the environment.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: ENDPOINT.into(),
            token: None,
            cache: cache.into(),
            offline: false,
            verify: false,
            certificates: None,
            proxy: false,
            patience: Patience::default(),
        }
    }

    /// What the environment asks for: `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`, `HF_HUB_CACHE`,
    /// `HF_HUB_OFFLINE`, `SSL_CERT_FILE`, and the variables of proxies.
    ///
    /// Errors: a token that cannot be one; no directory for the cache.
    pub fn from_env() -> Result<Self, Error> {
        Self::from(&|name| std::env::var_os(name))
    }

    fn from(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty());
        let first = |names: &[&str]| names.iter().find_map(|n| set(n));
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let user = first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let expand = |value: OsString| expand(PathBuf::from(value), user.as_deref());
        let usual = || {
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(user.as_ref()?.join(".cache")));
            Some(cache?.join("huggingface"))
        };
        let home = set("HF_HOME").map(expand).or_else(usual);
        let cache = first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]).map(expand);
        let cache = cache.or_else(|| Some(home.as_ref()?.join("hub")));
        let mut this = Self::new(cache.ok_or(Error::NoCache)?);
        this.proxy = true;
        this.certificates = first(&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
            .map(PathBuf::from)
            .filter(|p| !p.is_dir());
        if let Some(endpoint) = set("HF_ENDPOINT") {
            this.endpoint = text(endpoint).trim_end_matches('/').into();
        }
        let yes = |name: &str| {
            let value = set(name).map(|v| text(v).to_uppercase());
            value.is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&&*v))
        };
        this.offline = yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE");
        if yes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return Ok(this);
        }
        let named = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]);
        this.token = match named {
            Some(token) => Some(Token::new(&text(token))?),
            None => {
                let path = set("HF_TOKEN_PATH").map(expand);
                let path = path.or_else(|| Some(home?.join("token")));
                path.and_then(|p| read_token(&p)).transpose()?
            }
        };
        Ok(this)
    }
}

/// A path whose `~` is the user's directory.
fn expand(path: PathBuf, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(below), Some(user)) => user.join(below),
        _ => path,
    }
}

/// The token of a file; `None` where there is none, or an empty one.
fn read_token(path: &Path) -> Option<Result<Token, Error>> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    let read = file.take(MAX_TOKEN + 2).read_to_string(&mut text);
    let token = match read {
        Ok(_) if text.trim().is_empty() => return None,
        Ok(_) => Token::new(&text),
        Err(e) => Err(Error::Token {
            reason: e.to_string(),
        }),
    };
    Some(token.map_err(|e| match e {
        Error::Token { reason } => Error::Token {
            reason: format!("{}: {reason}", path.display()),
        },
        other => other,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from(&|name| {
            let found = variables.iter().find(|v| v.0 == name);
            found.map(|v| v.1.into())
        })
    }

    #[test]
    fn places() {
        let cache = |variables: &[(&str, &str)]| of(variables).unwrap().cache;
        let home = ("HOME", "/home/a");
        assert_eq!(cache(&[home]), Path::new("/home/a/.cache/huggingface/hub"));
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(cache(&[home, xdg]), Path::new("/x/huggingface/hub"));
        let hf = ("HF_HOME", "~/hf");
        assert_eq!(cache(&[home, xdg, hf]), Path::new("/home/a/hf/hub"));
        let hub = ("HF_HUB_CACHE", "/c");
        assert_eq!(cache(&[home, hf, hub]), Path::new("/c"));
        assert!(matches!(of(&[]), Err(Error::NoCache)));
    }

    #[test]
    fn tokens() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let token = |variables: &[(&str, &str)]| {
            let token = of(variables).unwrap().token;
            token.map(|t| t.text().to_owned())
        };
        assert_eq!(token(&[home]), None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(token(&[home]).as_deref(), Some("hf_file"));
        let named = ("HF_TOKEN", " hf_named ");
        assert_eq!(token(&[home, named]).as_deref(), Some("hf_named"));
        let off = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[home, named, off]), None);
        for odd in ["a\r\nHost: b", "a b", "ä"] {
            let odd = of(&[home, ("HF_TOKEN", odd)]);
            assert!(matches!(odd, Err(Error::Token { .. })), "{odd:?}");
        }
        std::fs::write(folder.path().join("token"), "a\nb").unwrap();
        assert!(matches!(of(&[home]), Err(Error::Token { .. })));
        let shown = format!("{:?}", of(&[home, named]).unwrap());
        assert!(!shown.contains("hf_named"), "{shown}");
    }

    #[test]
    fn switches() {
        let home = ("HF_HOME", "/h");
        assert!(!of(&[home]).unwrap().offline);
        assert!(!of(&[home, ("HF_HUB_OFFLINE", "0")]).unwrap().offline);
        assert!(of(&[home, ("HF_HUB_OFFLINE", "true")]).unwrap().offline);
        let mirror = of(&[home, ("HF_ENDPOINT", "https://m.example/hf/")]);
        assert_eq!(mirror.unwrap().endpoint, "https://m.example/hf");
    }
}
