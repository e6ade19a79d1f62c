//! `/slots`: texts under way, and texts as files.

use crate::app::App;
use crate::read;
use crate::refusal::{Kind, Refusal};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use utoipa::ToSchema;

/// A place of a text that is computed. No text has a fixed one.
#[derive(Serialize, ToSchema)]
pub struct Slot {
    id: u32,
    /// Positions of a text.
    n_ctx: u32,
    is_processing: bool,
}

/// `GET /slots`: as many places as texts are computed at once, of which so many are in use.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<Slot>>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let (running, _) = hosted.host().load();
    let slot = |id: u32| Slot {
        id,
        n_ctx: hosted.context,
        is_processing: u64::from(id) < running,
    };
    Ok(Json((0..hosted.parallel).map(slot).collect()))
}

/// What is to be done with the last text that named a slot.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Save,
    Restore,
    Erase,
}

#[derive(Debug, Deserialize)]
pub struct Wanted {
    action: Action,
}

/// The file.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SlotRequest {
    model: Option<String>,
    /// Its name in the folder of the server; not of 'erase'.
    filename: String,
}

/// What was done.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct SlotDone {
    id_slot: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_saved: Option<usize>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_written: Option<u64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_restored: Option<usize>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_read: Option<u64>,
    /// Tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_erased: Option<usize>,
    timings: SlotTimings,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct SlotTimings {
    #[serde(skip_serializing_if = "Option::is_none")]
    save_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_ms: Option<f64>,
}

/// `POST /slots/{id}?action=save|restore|erase`: the last text that named the slot goes to a file, or comes from one.
pub async fn act(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    body: Bytes,
) -> Result<Json<SlotDone>, Refusal> {
    let Ok(Query(Wanted { action })) = wanted else {
        let text = "'action' is missing or unknown; expected ?action=save, restore or erase";
        return Err(Refusal::invalid(text).at("action"));
    };
    let request: SlotRequest = match body.is_empty() {
        true => SlotRequest::default(),
        false => read::json(&body)?,
    };
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let id = id.parse().ok().filter(|id| *id < hosted.parallel);
    let Some(id_slot) = id else {
        let text = format!(
            "there is no such slot; there are 0 to {}",
            hosted.parallel - 1
        );
        return Err(Refusal::invalid(text).at("id_slot"));
    };
    if let Action::Erase = action {
        return Ok(Json(SlotDone {
            id_slot,
            n_erased: Some(hosted.slots.take(id_slot)),
            ..SlotDone::default()
        }));
    }
    let Some(folder) = &app.config.slots else {
        let text = "this server keeps no files of slots; start it with a folder for them";
        return Err(Refusal::new(Kind::Unsupported, text));
    };
    let name = request.filename;
    // A text that is written takes the engine's time as an answer does.
    let _place = app.place()?;
    let start = Instant::now();
    let mut done = SlotDone {
        id_slot,
        ..SlotDone::default()
    };
    let ms = |start: Instant| Some((start.elapsed().as_secs_f64() * 1e6).round() / 1e3);
    if let Action::Save = action {
        let tokens = hosted.slots.get(id_slot).unwrap_or_default();
        if tokens.is_empty() {
            let text = format!("slot {id_slot} has no text; expected one that named it before");
            return Err(Refusal::invalid(text).at("id_slot"));
        }
        done.n_saved = Some(tokens.len());
        done.n_written = Some(folder.save(&hosted, tokens, &name).await?);
        done.timings.save_ms = ms(start);
    } else {
        let (tokens, bytes) = folder.restore(&hosted, &name).await?;
        done.n_restored = Some(tokens.len());
        done.n_read = Some(bytes);
        done.timings.restore_ms = ms(start);
        hosted.slots.put(id_slot, tokens);
    }
    done.filename = Some(name);
    Ok(Json(done))
}
