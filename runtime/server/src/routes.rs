//! What there is at which path: one table, of which the router and the description are made.

use crate::anthropic::message::{Message, TokenCount};
use crate::anthropic::request::{MessagesBody, Prompted};
use crate::anthropic::stream::MessageEvent;
use crate::app::{App, Config};
use crate::describe::{Told, description};
use crate::native::adapters::{AdapterScales, Adapters, Done};
use crate::native::completion::{TextAnswers, TextBody, TextPiece};
use crate::native::slots::{Slot, SlotDone, SlotRequest};
use crate::native::tokens::{
    DetokenizeRequest, Detokenized, Fitted, TemplateRequest, TokenizeRequest, TokenizerInfo, Tokens,
};
use crate::native::{Health, Ignored, Properties};
use crate::openai::chat::answer::ChatCompletion;
use crate::openai::chat::chunks::ChatChunk;
use crate::openai::chat::{ChatBody, InputTokens};
use crate::openai::completions::{Completion, CompletionBody};
use crate::openai::embeddings::{Embeddings, EmbeddingsRequest};
use crate::openai::models::{ModelEntry, Models};
use crate::openai::responses::events::NumberedEvent;
use crate::openai::responses::request::ResponsesBody;
use crate::openai::responses::response::Response as Answered;
use crate::{anthropic, native, openai, page};
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;

/// What there is at a path, and at others that mean the same.
pub struct Route {
    /// The paths.
    pub paths: &'static [&'static str],
    /// What answers.
    pub handler: MethodRouter<Arc<App>>,
    /// What is told of it.
    pub told: Told,
    /// It needs no key.
    pub open: bool,
}

const OPENAI: &str = "OpenAI";
const ANTHROPIC: &str = "Anthropic";
const LLAMA: &str = "llama.cpp";
const SERVER: &str = "Server";
const PAGE: &str = "Page";

/// Everything.
pub fn table(config: &Config) -> Vec<Route> {
    let mut all = openai();
    all.extend(anthropic());
    all.extend(native());
    all.extend(server(config));
    if config.page {
        all.extend(pages());
    }
    all
}

fn route(paths: &'static [&'static str], handler: MethodRouter<Arc<App>>, told: Told) -> Route {
    Route {
        paths,
        handler,
        told,
        open: false,
    }
}

fn open(paths: &'static [&'static str], handler: MethodRouter<Arc<App>>, told: Told) -> Route {
    Route {
        open: true,
        ..route(paths, handler, told)
    }
}

fn openai() -> Vec<Route> {
    vec![
        route(
            &["/v1/chat/completions", "/chat/completions"],
            post(openai::chat::create),
            Told::post::<ChatBody>(OPENAI, "Answer in a conversation")
                .gives::<ChatCompletion>()
                .streams::<ChatChunk>(),
        ),
        route(
            &[
                "/v1/chat/completions/input_tokens",
                "/chat/completions/input_tokens",
            ],
            post(openai::chat::count),
            Told::post::<ChatBody>(OPENAI, "Count the tokens of a conversation")
                .gives::<InputTokens>(),
        ),
        route(
            &["/v1/completions"],
            post(openai::completions::create),
            Told::post::<CompletionBody>(OPENAI, "Go on with a text")
                .gives::<Completion>()
                .streams::<Completion>(),
        ),
        route(
            &["/v1/responses", "/responses"],
            post(openai::responses::create),
            Told::post::<ResponsesBody>(OPENAI, "Answer in a conversation of items")
                .gives::<Answered>()
                .streams::<NumberedEvent>(),
        ),
        route(
            &["/v1/responses/{id}"],
            get(openai::responses::one),
            Told::get(OPENAI, "An answer of before: an error, as nothing is kept").fails(),
        ),
        route(
            &["/v1/embeddings", "/embeddings"],
            post(openai::embeddings::create),
            Told::post::<EmbeddingsRequest>(OPENAI, "Vectors of texts").gives::<Embeddings>(),
        ),
        route(
            &["/v1/models", "/models"],
            get(openai::models::list),
            Told::get(OPENAI, "The models that can be asked").gives::<Models>(),
        ),
        route(
            &["/v1/models/{name}"],
            get(openai::models::one),
            Told::get(OPENAI, "A model").gives::<ModelEntry>(),
        ),
    ]
}

fn anthropic() -> Vec<Route> {
    vec![
        route(
            &["/v1/messages"],
            post(anthropic::create),
            Told::post::<MessagesBody>(ANTHROPIC, "Answer in a conversation")
                .gives::<Message>()
                .streams::<MessageEvent>(),
        ),
        route(
            &["/v1/messages/count_tokens"],
            post(anthropic::count),
            Told::post::<Prompted>(ANTHROPIC, "Count the tokens of a conversation")
                .gives::<TokenCount>(),
        ),
    ]
}

fn native() -> Vec<Route> {
    vec![
        route(
            &["/completion", "/completions"],
            post(native::completion::create),
            Told::post::<TextBody>(LLAMA, "Go on with a text")
                .gives::<TextAnswers>()
                .streams::<TextPiece>(),
        ),
        route(
            &["/tokenize"],
            post(native::tokens::tokenize),
            Told::post::<TokenizeRequest>(LLAMA, "The tokens of a text").gives::<Tokens>(),
        ),
        route(
            &["/detokenize"],
            post(native::tokens::detokenize),
            Told::post::<DetokenizeRequest>(LLAMA, "The text of tokens").gives::<Detokenized>(),
        ),
        route(
            &["/tokenizer_info"],
            get(native::tokens::tokenizer_info),
            Told::get(LLAMA, "What is known of the tokenizer").gives::<TokenizerInfo>(),
        ),
        route(
            &["/apply-template"],
            post(native::tokens::apply_template),
            Told::post::<TemplateRequest>(LLAMA, "The prompt of a conversation").gives::<Fitted>(),
        ),
        route(
            &["/lora-adapters"],
            get(native::adapters::list),
            Told::get(LLAMA, "The adapters that are loaded").gives::<Adapters>(),
        ),
        route(
            &["/lora-adapters"],
            post(native::adapters::set),
            Told::post::<AdapterScales>(
                LLAMA,
                "Set how strongly adapters act where a request does not say",
            )
            .gives::<Done>(),
        ),
        route(
            &["/props"],
            get(native::props),
            Told::get(LLAMA, "What is served").gives::<Properties>(),
        ),
        route(
            &["/slots"],
            get(native::slots::list),
            Told::get(LLAMA, "The places of texts that are computed").gives::<Vec<Slot>>(),
        ),
        route(
            &["/slots/{id}"],
            post(native::slots::act),
            Told::post::<SlotRequest>(
                LLAMA,
                "Write the last text that named a slot to a file, or read one, with its keys and values",
            )
            .query("action", &["save", "restore", "erase"])
            .gives::<SlotDone>(),
        ),
        route(
            &["/v1/rerank", "/rerank"],
            post(native::rerank),
            Told::post::<Ignored>(LLAMA, "Rank documents: an error, as no model here does").fails(),
        ),
    ]
}

fn server(config: &Config) -> Vec<Route> {
    let mut all = vec![
        open(
            &["/health", "/v1/health"],
            get(native::health),
            Told::get(SERVER, "Whether the server is well").gives::<Health>(),
        ),
        open(
            &["/openapi.json"],
            get(openapi),
            Told::get(SERVER, "This description").gives::<Ignored>(),
        ),
    ];
    if config.metrics {
        all.push(route(
            &["/metrics"],
            get(native::metrics),
            Told::get(SERVER, "Figures in the text format of Prometheus"),
        ));
    }
    all
}

fn pages() -> Vec<Route> {
    let html = Told::get(PAGE, "A page to chat").mime("text/html");
    let of = |summary| Told::get(PAGE, summary);
    let script = "text/javascript";
    vec![
        open(&["/"], get(page::index), html),
        open(
            &["/js/{name}"],
            get(page::script),
            of("A script of the page").mime(script),
        ),
        open(
            &["/css/{name}"],
            get(page::style),
            of("A style of the page").mime("text/css"),
        ),
        open(
            &["/icon.svg"],
            get(page::icon),
            of("The icon of the page").mime("image/svg+xml"),
        ),
        open(
            &["/carat-web/index.js"],
            get(page::package),
            of("What the page asks the server with").mime(script),
        ),
    ]
}

/// The router of the table.
pub fn router(config: &Config) -> Router<Arc<App>> {
    let mut router = Router::new();
    for route in table(config) {
        for path in route.paths {
            router = router.route(path, route.handler.clone());
        }
    }
    router
}

/// Whether what is at a path needs no key.
pub fn is_open(config: &Config, path: &str) -> bool {
    let opens = |pattern: &str| match pattern.split_once('{') {
        Some((front, _)) => path.strip_prefix(front).is_some_and(|p| !p.contains('/')),
        None => pattern == path,
    };
    OPEN.iter().any(|p| opens(p)) || (config.page && OPEN_PAGE.iter().any(|p| opens(p)))
}

/// Paths that need no key: those of the table, which a test compares.
const OPEN: [&str; 3] = ["/health", "/v1/health", "/openapi.json"];
/// The same of the page.
const OPEN_PAGE: [&str; 5] = [
    "/",
    "/js/{name}",
    "/css/{name}",
    "/icon.svg",
    "/carat-web/index.js",
];

/// `GET /openapi.json`.
async fn openapi(State(app): State<Arc<App>>) -> Response {
    let text = app.description.get_or_init(|| {
        let description = description(&table(&app.config), !app.config.keys.is_empty());
        serde_json::to_string(&description).unwrap_or_default()
    });
    ([(CONTENT_TYPE, "application/json")], text.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_paths_are_those_of_the_table() {
        let config = Config::default();
        let table = table(&config);
        let mut open: Vec<&str> = table
            .iter()
            .filter(|r| r.open)
            .flat_map(|r| r.paths.iter().copied())
            .collect();
        let mut known: Vec<&str> = OPEN.iter().chain(&OPEN_PAGE).copied().collect();
        open.sort_unstable();
        known.sort_unstable();
        assert_eq!(open, known);
        assert!(is_open(&config, "/js/main.js"));
        for path in [
            "/v1/models",
            "/js/a/b",
            "/jsx",
            "/v1/chat/completions",
            "//",
        ] {
            assert!(!is_open(&config, path), "{path}");
        }
        let bare = Config {
            page: false,
            ..Config::default()
        };
        assert!(!is_open(&bare, "/js/main.js"));
    }

    #[test]
    fn the_router_takes_the_table() {
        // It panics where two paths mean the same.
        let _ = router(&Config::default());
    }
}
