//! Adapters of the model: how strongly each acts, where a request does not say and in one request.

use crate::app::App;
use crate::hosted::Hosted;
use crate::read;
use crate::refusal::Refusal;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use carat::internals::adapter::Strength;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// An adapter that is loaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdapterEntry {
    /// Its place among those that are loaded.
    id: usize,
    /// What it is called.
    path: String,
    /// How strongly it acts where a request does not say.
    scale: f64,
    rank: u32,
}

/// All of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Adapters(Vec<AdapterEntry>);

/// How strongly each acts; those that are not listed do not act.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AdapterScales(Vec<AdapterScale>);

/// How strongly an adapter acts.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub struct AdapterScale {
    /// Its place among those that are loaded.
    id: usize,
    /// From -16 to 16; 1 is the adapter as it was trained.
    scale: f64,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    success: bool,
}

/// The strengths of all adapters: 0 of those that are not listed.
///
/// Errors: an adapter that is not there, a strength outside its range.
pub fn strengths(hosted: &Hosted, scales: &[AdapterScale]) -> Result<Vec<Strength>, Refusal> {
    let mut all = vec![Strength::ZERO; hosted.adapters];
    for AdapterScale { id, scale } in scales {
        let Some(own) = all.get_mut(*id) else {
            let text = format!(
                "there is no adapter {id}, expected one of the {} that GET /lora-adapters lists",
                hosted.adapters
            );
            return Err(Refusal::invalid(text).at("lora"));
        };
        *own = Strength::new(*scale).ok_or_else(|| {
            let text = format!("the scale of adapter {id} is {scale}, expected -16 to 16");
            Refusal::invalid(text).at("lora")
        })?;
    }
    Ok(all)
}

/// `GET /lora-adapters`.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Adapters>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let adapters = hosted.adapters().await?;
    let entry = |(id, applied): (usize, carat::internals::adapter::Applied)| AdapterEntry {
        id,
        path: applied.adapter.name().into(),
        scale: applied.strength.value(),
        rank: applied.adapter.rank(),
    };
    let adapters = adapters.into_iter().enumerate();
    Ok(Json(Adapters(adapters.map(entry).collect())))
}

/// `POST /lora-adapters`: for requests that say nothing, from now on.
pub async fn set(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Done>, Refusal> {
    let AdapterScales(scales) = read::json(&body)?;
    let hosted = app.shelf.get(None).await?;
    let strengths = strengths(&hosted, &scales)?;
    hosted.set_strengths(strengths).await?;
    Ok(Json(Done { success: true }))
}
