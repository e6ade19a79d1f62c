//! `/v1/models`.

use crate::app::App;
use crate::refusal::Refusal;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The models that can be asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct Models {
    object: &'static str,
    data: Vec<ModelEntry>,
    /// The same under the name that Anthropic's clients read.
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// A model.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelEntry {
    id: String,
    object: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// When it was loaded, in seconds since 1970-01-01; 0 while it is not.
    created: u64,
    owned_by: &'static str,
    display_name: String,
    /// Whether it is in memory.
    loaded: bool,
    /// What is known of a model that is loaded.
    meta: Option<Meta>,
}

/// What a model is.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Meta {
    /// Positions that it was trained for.
    n_ctx_train: u32,
    /// Positions of a text here.
    n_ctx: u32,
    /// Tokens of its vocabulary.
    n_vocab: u32,
    /// Width of its hidden state.
    n_embd: u32,
    /// Bytes of its file.
    size: u64,
    /// Whether its file has a chat template.
    chat_template: bool,
}

/// `GET /v1/models`.
pub async fn list(State(app): State<Arc<App>>) -> Json<Models> {
    let names = app.shelf.names();
    let data: Vec<ModelEntry> = names.iter().map(|name| entry(&app, name)).collect();
    Json(Models {
        object: "list",
        has_more: false,
        first_id: names.first().cloned(),
        last_id: names.last().cloned(),
        data,
    })
}

/// `GET /v1/models/{name}`.
pub async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<ModelEntry>, Refusal> {
    match app.shelf.names().contains(&name) {
        true => Ok(Json(entry(&app, &name))),
        false => Err(app.shelf.unknown(&name)),
    }
}

fn entry(app: &App, name: &str) -> ModelEntry {
    let hosted = app.shelf.loaded(name);
    ModelEntry {
        id: name.into(),
        object: "model",
        kind: "model",
        created: hosted.as_ref().map_or(0, |h| h.created),
        owned_by: "carat",
        display_name: name.into(),
        loaded: hosted.is_some(),
        meta: hosted.map(|h| {
            let spec = h.model().spec();
            Meta {
                n_ctx_train: spec.context_length,
                n_ctx: h.context,
                n_vocab: spec.vocab_size,
                n_embd: spec.embedding_length,
                size: h.model().len(),
                chat_template: h.prompter().template().is_some(),
            }
        }),
    }
}
