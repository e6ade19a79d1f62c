//! Addresses: whose they are, and where redirects lead.

use ureq::http::Uri;

/// Characters of an address in an error.
const SHOWN: usize = 200;

/// Scheme, host and port: who receives the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub secure: bool,
    pub host: String,
    port: u16,
}

impl Origin {
    /// Errors: why the address is none that is asked.
    pub fn of(uri: &Uri) -> Result<Self, &'static str> {
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither https nor http"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user's name in it");
        }
        let host = authority.host().to_lowercase();
        if host.is_empty() {
            return Err("it has no host");
        }
        let usual = if secure { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self { secure, host, port })
    }

    /// Whether nobody on the way can read what is sent.
    pub fn is_private(&self) -> bool {
        let here = ["localhost", "127.0.0.1", "[::1]"];
        self.secure || here.contains(&&*self.host)
    }
}

/// Where a redirect leads.
pub(crate) fn join(from: &str, to: &str) -> String {
    let after = |at: usize| from[at..].find(['/', '?', '#']).map(|i| at + i);
    let host = from.find("://").map_or(0, |i| i + 3);
    let end = after(host).unwrap_or(from.len());
    let scheme = to.find(':').is_some_and(|colon| {
        let before = &to[..colon];
        !before.is_empty()
            && before
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    if scheme {
        return to.into();
    }
    if to.starts_with("//") {
        return format!("{}{to}", &from[..host.saturating_sub(2)]);
    }
    if to.starts_with('/') {
        return format!("{}{to}", &from[..end]);
    }
    let path = from.split(['?', '#']).next().unwrap_or(from);
    let folder = path.rfind('/').filter(|i| *i >= end);
    format!("{}/{to}", &path[..folder.unwrap_or(path.len().min(end))])
}

/// An address for a person: without its query, and cut.
pub(crate) fn shown(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    place.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_redirects() {
        let from = "https://h.co/a/b?x=1";
        for (to, expected) in [
            ("https://c.co/d", "https://c.co/d"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("//c.co/d", "https://c.co/d"),
            ("/d?y=a:b", "https://h.co/d?y=a:b"),
            ("d", "https://h.co/a/d"),
        ] {
            assert_eq!(join(from, to), expected);
        }
        assert_eq!(join("https://h.co", "d"), "https://h.co/d");
    }

    #[test]
    fn origins() {
        let of = |url: &str| Origin::of(&url.parse().unwrap_or_default());
        assert_eq!(of("https://h.co/a"), of("https://H.co:443/b"));
        assert_ne!(of("https://h.co"), of("http://h.co"));
        assert_ne!(of("https://h.co"), of("https://h.co:444"));
        for bad in ["ftp://h.co/", "https://user@h.co/", "/a", "file:///a"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert!(of("http://127.0.0.1:1/").is_ok_and(|o| o.is_private()));
        assert!(of("http://h.co/").is_ok_and(|o| !o.is_private()));
    }
}
