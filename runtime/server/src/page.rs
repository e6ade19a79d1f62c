//! The page at `/`, which `examples/web` lays out with an engine of its own. Here the engine is a module that asks this server.

use crate::refusal::{Kind, Refusal};
use axum::extract::Path;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// A file of the page.
macro_rules! of_page {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/page/", $path))
    };
}

/// Files of a folder of the page, by their names.
macro_rules! named {
    ($folder:literal: $($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/page/", $folder, "/", $name
        )))),*]
    };
}

const INDEX: &str = of_page!("index.html");
const ICON: &str = of_page!("icon.svg");
/// What the page asks the server with, in the place of the package.
const PACKAGE: &str = of_page!("served/package.js");
/// In the place of the page's own, which needs two libraries.
const MARKDOWN: &str = of_page!("served/markdown.js");
const STYLES: [(&str, &str); 3] = named!("css": "base.css", "dialogs.css", "talk.css");
const SCRIPTS: [(&str, &str); 28] = named!("js":
    "address.js", "announce.js", "answers.js", "catalogue.js", "devices.js", "dom.js", "early.js", "engine.js",
    "errors.js", "exchange.js", "format.js", "history.js", "keeping.js", "loading.js", "main.js", "marks.js",
    "models.js", "record.js", "same.js", "sampling.js", "served.js", "settings.js", "shape.js", "shelf.js",
    "stored.js", "talk.js", "theme.js", "view.js",
);
/// Nothing but files of this server, and nothing around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

fn file(kind: &'static str, text: impl IntoResponse) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (SNIFF, "nosniff"),
    ];
    (headers, text).into_response()
}

/// `GET /`.
pub async fn index() -> Response {
    // What only a page with its own engine has.
    let without = |line: &&str| {
        !["\"vendor/", "models.json"]
            .iter()
            .any(|w| line.contains(w))
    };
    let lines: Vec<&str> = INDEX.lines().filter(without).collect();
    file("text/html; charset=utf-8", lines.join("\n"))
}

/// `GET /js/{name}`.
pub async fn script(Path(name): Path<String>) -> Result<Response, Refusal> {
    let text = match name.as_str() {
        "markdown.js" => Some(MARKDOWN),
        name => of(&SCRIPTS, name),
    };
    let text = text.ok_or_else(none)?;
    Ok(file("text/javascript; charset=utf-8", text))
}

/// `GET /css/{name}`.
pub async fn style(Path(name): Path<String>) -> Result<Response, Refusal> {
    let text = of(&STYLES, &name).ok_or_else(none)?;
    Ok(file("text/css; charset=utf-8", text))
}

/// `GET /icon.svg`.
pub async fn icon() -> Response {
    file("image/svg+xml", ICON)
}

/// `GET /carat-web/index.js`.
pub async fn package() -> Response {
    file("text/javascript; charset=utf-8", PACKAGE)
}

fn of(files: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let found = files.iter().find(|(n, _)| *n == name);
    found.map(|(_, text)| *text)
}

fn none() -> Refusal {
    Refusal::new(Kind::NotFound, "the page has no such file")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// Texts between quotes that follow a word.
    fn quoted<'a>(text: &'a str, before: &str, quote: char) -> Vec<&'a str> {
        let parts = text.split(before).skip(1);
        parts.filter_map(|p| p.split(quote).next()).collect()
    }

    #[test]
    fn whatever_the_page_imports_is_there() {
        let scripts = SCRIPTS.iter().copied();
        let mut seen = 0;
        for (name, text) in scripts.chain([("package.js", PACKAGE), ("markdown.js", MARKDOWN)]) {
            let imports = text.lines().filter(|l| l.starts_with("import "));
            for path in imports.flat_map(|l| quoted(l, " from '", '\'')) {
                let there = match path {
                    "../carat-web/index.js" | "./markdown.js" => true,
                    path => of(&SCRIPTS, path.trim_start_matches("./")).is_some(),
                };
                assert!(there, "{name}: {path}");
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen} imports");
    }

    #[tokio::test]
    async fn whatever_the_page_names_is_there() {
        let response = index().await;
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap();
        let html = String::from_utf8(body.to_vec()).unwrap();
        let mut seen = 0;
        for path in ["href=\"", "src=\""]
            .iter()
            .flat_map(|b| quoted(&html, b, '"'))
        {
            let (folder, name) = path.split_once('/').unwrap_or(("", path));
            let there = match folder {
                "js" => script(Path(name.into())).await.is_ok(),
                "css" => style(Path(name.into())).await.is_ok(),
                "carat-web" => name == "index.js",
                _ => path == "icon.svg" || path.starts_with('#'),
            };
            assert!(there, "{path}");
            seen += 1;
        }
        assert!(seen > 40, "{seen} files");
        assert!(script(Path("../Cargo.toml".into())).await.is_err());
        // No address of another host: links of answers are the model's.
        for text in [INDEX, PACKAGE] {
            let hosts = text.matches("https://").count();
            assert_eq!(hosts, 0);
        }
    }
}
