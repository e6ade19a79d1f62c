//! `/v1/responses`.

pub mod events;
mod output;
pub mod request;
pub mod response;
mod talk;

use crate::app::App;
use crate::ids;
use crate::parts::{Reading, all};
use crate::read;
use crate::refusal::{Kind, Refusal};
use crate::sampling::SamplingFields;
use crate::texts::Texts;
use crate::wishes::keep_read;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use output::Output;
use request::ResponsesRequest;
use response::Head;
use std::sync::Arc;

/// `POST /v1/responses`.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: ResponsesRequest = read::json(&body)?;
    let sampling: SamplingFields = read::json(&body)?;
    request.check()?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let limit = sampling.max_tokens.filter(|n| *n >= 0);
    let strengths = sampling.strengths(&hosted)?;
    let options = sampling.options(&hosted, usize::MAX)?;
    let head = Head::new(&request, &hosted, &options.sampling, limit);
    let streams = request.stream.unwrap_or(false);
    let mut talk = request.talk()?;
    keep_read(&hosted, &mut talk);
    let mut ask = talk.ask(&hosted, options)?;
    ask.strengths = strengths;
    let readings = vec![Reading::new(&hosted, &ask)];
    let texts = Texts::begin(&app, hosted.clone(), vec![ask])?;
    if streams {
        let events = events::Events::new(head);
        return Ok(crate::events::stream(texts, readings, events));
    }
    let answer = all(texts, readings).await?.pop().unwrap_or_default();
    let headers = [(crate::http::HASH_HEADER, answer.hash.clone())];
    let output = Output::whole(&answer);
    Ok((headers, Json(head.ended(output, &answer))).into_response())
}

/// `GET /v1/responses/{id}`: nothing is kept.
pub async fn one(Path(id): Path<String>) -> Refusal {
    let id = ids::shown(&id);
    Refusal::new(
        Kind::NotFound,
        format!(
            "there is no response '{id}': this server keeps none; keep what /v1/responses gave"
        ),
    )
}
