//! What llama.cpp's clients ask for beside the APIs of others: texts that go on, tokens, templates, health and figures.

pub mod adapters;
pub mod completion;
pub mod slots;
pub mod tokens;

use crate::app::App;
use crate::openai;
use crate::refusal::{Kind, Refusal};
use crate::stats::Gauge;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use carat_text::template::Conversation;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// For the description alone: an object of any fields.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct Ignored {}

/// That the server is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    status: &'static str,
    /// Models that are in memory.
    loaded: Vec<String>,
}

/// `GET /health`.
pub async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let loaded = app.shelf.all_loaded();
    Json(Health {
        status: "ok",
        loaded: loaded.iter().map(|h| h.name.clone()).collect(),
    })
}

/// `GET /metrics`: figures in Prometheus' format.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let mut rows = Vec::new();
    for hosted in app.shelf.all_loaded() {
        let (running, waiting) = hosted.host().load();
        let mut row = |name, help, value| {
            rows.push(Gauge {
                name,
                help,
                model: hosted.name.clone(),
                value,
            });
        };
        row("texts_running", "Texts that are computed.", running);
        row(
            "texts_waiting",
            "Texts that wait for their beginning.",
            waiting,
        );
        row(
            "memory_bytes",
            "Memory of the model, weights included.",
            hosted.memory,
        );
        let pages = hosted.pages().await?;
        let sum = |of: fn(&carat::internals::PagesInUse) -> u32| {
            pages.iter().map(|p| u64::from(of(p))).sum()
        };
        row("pages", "Pages of the cache.", sum(|p| p.all));
        row(
            "pages_held",
            "Pages that texts under way hold.",
            sum(|p| p.held),
        );
        row(
            "pages_kept",
            "Pages kept for texts that begin as earlier ones.",
            sum(|p| p.kept),
        );
    }
    rows.sort_by_key(|r| r.name);
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((headers, app.stats.text(&rows)).into_response())
}

/// What is served.
#[derive(Serialize, ToSchema)]
pub struct Properties {
    default_generation_settings: Settings,
    /// Texts that are computed at once.
    total_slots: u32,
    model_alias: String,
    model_path: String,
    /// The source of the chat template.
    chat_template: String,
    bos_token: String,
    eos_token: String,
    modalities: Modalities,
    /// What computes.
    device: String,
    /// A name of the file's bytes.
    fingerprint: String,
    build_info: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Settings {
    /// Positions of a text.
    n_ctx: u32,
    params: SamplingDefaults,
}

/// What the model's file recommends.
#[derive(Serialize, ToSchema)]
struct SamplingDefaults {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    dry_multiplier: f32,
    /// Where draws begin; `null`: somewhere else each time.
    #[schema(required)]
    seed: Option<u64>,
    /// Most tokens; `null`: as many as the context has room for.
    #[schema(required)]
    n_predict: Option<usize>,
}

#[derive(Serialize, ToSchema)]
struct Modalities {
    vision: bool,
    audio: bool,
}

/// `GET /props`: what is served.
pub async fn props(State(app): State<Arc<App>>) -> Result<Json<Properties>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let tokenizer = hosted.tokenizer()?;
    let piece = |id: Option<u32>| {
        let text = id.map(|id| openai::logprobs::token(&hosted, id).0);
        text.unwrap_or_default()
    };
    let talk = Conversation::default();
    let template = hosted.prompter().template();
    let template = template.and_then(|t| t.source(&talk).ok());
    let p = &hosted.defaults.params;
    Ok(Json(Properties {
        default_generation_settings: Settings {
            n_ctx: hosted.context,
            params: SamplingDefaults {
                temperature: p.temperature,
                top_k: p.top_k,
                top_p: p.top_p,
                min_p: p.min_p,
                repeat_penalty: p.repeat_penalty,
                dry_multiplier: p.dry_multiplier,
                seed: hosted.defaults.seed,
                n_predict: hosted.defaults.max_tokens,
            },
        },
        total_slots: hosted.parallel,
        model_alias: hosted.name.clone(),
        model_path: hosted.name.clone(),
        chat_template: template.unwrap_or_default().to_owned(),
        bos_token: piece(tokenizer.bos()),
        eos_token: piece(tokenizer.eos()),
        modalities: Modalities {
            vision: false,
            audio: false,
        },
        device: hosted.device.clone(),
        fingerprint: hosted.fingerprint.clone(),
        build_info: concat!("carat-", env!("CARGO_PKG_VERSION")),
    }))
}

/// `POST /v1/rerank`.
pub async fn rerank() -> Refusal {
    Refusal::new(
        Kind::Unsupported,
        "no model here ranks documents; compare vectors of /v1/embeddings",
    )
}
