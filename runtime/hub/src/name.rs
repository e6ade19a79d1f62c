//! Names of models on a hub.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// How a name may begin that says where it belongs.
const BEGINNINGS: [&str; 8] = [
    "hf://",
    "hf:",
    "https://huggingface.co/",
    "https://hf.co/",
    "http://huggingface.co/",
    "http://hf.co/",
    "huggingface.co/",
    "hf.co/",
];
/// Longest owner or model, longest name of anything else: the hub's own limit, and the longest name of a path's part.
const MAX_PART: usize = 96;
const MAX_NAME: usize = 255;

/// A repository's name: `owner/model`, or `model` alone for some old ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository(String);

impl Repository {
    /// As the hub has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model on a hub: `OWNER/NAME`, with `@REVISION` and `:FILE` or `:QUANTIZATION` behind it where wanted. It may begin with
/// `hf:`, `hf://` or a hub's address, and may be the address of a file or of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// A branch, a tag or a commit's hash; `main` where it is not given.
    pub revision: Option<String>,
    /// A file's path, a folder's, or how a GGUF file's name ends before its ending.
    pub wanted: Option<String>,
}

impl Reference {
    /// Whether a name says that it is a hub's; `owner/model` alone may be a path.
    pub fn is_stated(name: &str) -> bool {
        BEGINNINGS.iter().any(|b| name.starts_with(b))
    }

    /// The revision, which is `main` where none is given.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The same at another revision. Errors: it can be none.
    pub fn at(mut self, revision: &str) -> Result<Self, Error> {
        check_revision(revision).map_err(|reason| Error::Name {
            name: revision.into(),
            reason: reason.into(),
        })?;
        self.revision = Some(revision.into());
        Ok(self)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        parse(name).map_err(|reason| Error::Name {
            name: name.chars().take(MAX_NAME).collect(),
            reason: reason.into(),
        })
    }
}

fn parse(name: &str) -> Result<Reference, &'static str> {
    let begun = BEGINNINGS.iter().find_map(|b| name.strip_prefix(b));
    let rest = begun.unwrap_or(name);
    // A query belongs to an address.
    let rest = match begun {
        Some(_) => rest.split(['?', '#']).next().unwrap_or_default(),
        None => rest,
    };
    let (place, mut wanted) = match rest.split_once(':') {
        Some((place, wanted)) => (place, Some(wanted)),
        None => (rest, None),
    };
    let (place, mut revision) = match place.split_once('@') {
        Some((place, revision)) => (place, Some(revision)),
        None => (place, None),
    };
    // An address may end so.
    let place = match begun {
        Some(_) => place.trim_end_matches('/'),
        None => place,
    };
    let cut = place.match_indices('/').nth(1).map(|m| m.0);
    let (repository, below) = match cut {
        Some(at) => (&place[..at], Some(&place[at + 1..])),
        None => (place, None),
    };
    if let Some(mut below) = below {
        if revision.is_some() || wanted.is_some() {
            return Err("a file is named before and behind the colon");
        }
        for page in ["resolve/", "blob/", "tree/"] {
            if let Some(address) = below.strip_prefix(page) {
                let (at, path) = address.split_once('/').unwrap_or((address, ""));
                (revision, below) = (Some(at), path);
            }
        }
        wanted = Some(below).filter(|b| !b.is_empty());
    }
    check_repository(repository)?;
    if let Some(revision) = revision {
        check_revision(revision)?;
    }
    // Of Ollama's names, it stands for none.
    let wanted = wanted.filter(|w| *w != "latest");
    if let Some(wanted) = wanted {
        check_path(wanted)?;
    }
    Ok(Reference {
        repository: Repository(repository.into()),
        revision: revision.map(Into::into),
        wanted: wanted.map(Into::into),
    })
}

fn check_repository(name: &str) -> Result<(), &'static str> {
    for part in name.split('/') {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if part.is_empty() {
            return Err("a part of the name is empty");
        }
        if !part.chars().all(plain) {
            return Err(
                "a part of the name has other characters than letters, digits, '.', '_' and '-'",
            );
        }
        // The cache joins the parts by two hyphens.
        if part.starts_with(['.', '-'])
            || part.ends_with(['.', '-'])
            || part.contains("..")
            || part.contains("--")
        {
            return Err(
                "a part of the name begins or ends with '.' or '-', or has two of them together",
            );
        }
        if part.len() > MAX_PART {
            return Err("a part of the name is too long");
        }
    }
    Ok(())
}

/// Revisions become paths below `refs`.
fn check_revision(revision: &str) -> Result<(), &'static str> {
    check_path(revision)?;
    let odd = |c: char| c.is_whitespace() || "~^:?*[".contains(c);
    match revision.contains(odd) {
        true => Err("a revision has a character that git does not allow"),
        false => Ok(()),
    }
}

/// Checks a path below a directory, with `/` between its parts: it must stay below, on every system.
///
/// Errors: what is wrong.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > 4 * MAX_NAME {
        return Err("it is too long");
    }
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err("it has a backslash or a control character");
    }
    for part in path.split('/') {
        match part {
            "" => return Err("a part of it is empty"),
            "." | ".." => return Err("it leaves its directory"),
            part if part.len() > MAX_NAME => return Err("a part of it is too long"),
            part if cfg!(windows) => check_windows(part)?,
            _ => {}
        }
    }
    Ok(())
}

/// Names that Windows reads as something else than a file's.
fn check_windows(part: &str) -> Result<(), &'static str> {
    let stem = part.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_ascii_uppercase();
    let numbered = |s: &str| {
        let digit = stem.strip_prefix(s);
        digit.is_some_and(|d| d.len() == 1 && d.bytes().all(|b| b.is_ascii_digit()))
    };
    let device = ["CON", "PRN", "AUX", "NUL"].contains(&&*stem);
    if part.contains(['<', '>', ':', '"', '|', '?', '*'])
        || part.ends_with(['.', ' '])
        || device
        || numbered("COM")
        || numbered("LPT")
    {
        return Err("Windows has no file of such a name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> (String, Option<String>, Option<String>) {
        let r: Reference = name.parse().unwrap();
        (r.repository.0, r.revision, r.wanted)
    }

    #[test]
    fn spellings() {
        let is = |name, repository: &str, revision: Option<&str>, wanted: Option<&str>| {
            let own = |t: Option<&str>| t.map(str::to_owned);
            let expected = (repository.to_owned(), own(revision), own(wanted));
            assert_eq!(read(name), expected, "{name}");
        };
        is("a/b", "a/b", None, None);
        is("gpt2", "gpt2", None, None);
        is("hf:a/b", "a/b", None, None);
        is("hf://a/b/c.gguf", "a/b", None, Some("c.gguf"));
        is("hf.co/a/b:Q4_K_M", "a/b", None, Some("Q4_K_M"));
        is("a/b:latest", "a/b", None, None);
        is("a/b@v1:x/y.gguf", "a/b", Some("v1"), Some("x/y.gguf"));
        is("a/b@refs/pr/7", "a/b", Some("refs/pr/7"), None);
        is("https://huggingface.co/a/b/", "a/b", None, None);
        is(
            "https://huggingface.co/a/b/resolve/main/c/d.gguf?download=true",
            "a/b",
            Some("main"),
            Some("c/d.gguf"),
        );
        is("https://hf.co/a/b/tree/v2", "a/b", Some("v2"), None);
    }

    #[test]
    fn refused() {
        for name in [
            "",
            "/",
            "a/",
            "/b",
            "../b",
            "a/..",
            "a/b c",
            "a--b/c",
            "a/b:/etc/passwd",
            "a/b:../../x",
            "a/b:",
            "a/b:x\\y",
            "a/b:x\0",
            "a/b@",
            "a/b@../x",
            "a/b@x y",
            "a/b/c.gguf:Q4",
            "file:///etc/passwd",
        ] {
            let error = name.parse::<Reference>();
            assert!(
                matches!(error, Err(Error::Name { .. })),
                "{name}: {error:?}"
            );
        }
        let long = format!("a/{}", "b".repeat(97));
        assert!(long.parse::<Reference>().is_err());
        let at = "a/b".parse::<Reference>().unwrap().at("..");
        assert!(matches!(at, Err(Error::Name { .. })));
    }

    #[test]
    fn names_of_windows() {
        for part in ["NUL", "con.txt", "a:b", "LPT1", "x.", "com0.json"] {
            assert!(check_windows(part).is_err(), "{part}");
        }
        for part in ["config.json", "console", "a-b_c.gguf", "com.json"] {
            assert!(check_windows(part).is_ok(), "{part}");
        }
    }
}
