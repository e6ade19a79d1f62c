//! The API of Anthropic: <https://docs.anthropic.com/en/api/messages>.

pub mod message;
pub mod request;
pub mod stream;
mod talk;

use crate::app::App;
use crate::ids;
use crate::parts::{Reading, all};
use crate::read;
use crate::refusal::Refusal;
use crate::sampling::{OneOrMany, SamplingFields};
use crate::texts::Texts;
use crate::tools::{Choice, prefill};
use crate::wishes::keep_read;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carat_text::template::Conversation;
use message::{Head, TokenCount};
use request::{MessagesRequest, Prompted};
use std::sync::Arc;

/// `POST /v1/messages`.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let prompted: Prompted = read::json(&body)?;
    let request: MessagesRequest = read::json(&body)?;
    let mut sampling: SamplingFields = read::json(&body)?;
    let hosted = app.shelf.get(prompted.model.as_deref()).await?;
    prompted.check_budget(request.max_tokens)?;
    if let Some(stops) = request.stop_sequences.clone() {
        sampling.stop = Some(OneOrMany::Many(stops));
    }
    let strengths = sampling.strengths(&hosted)?;
    let options = sampling.options(&hosted, usize::MAX)?;
    let omits = prompted.omits_thinking();
    let budget = prompted.budget();
    let mut talk = prompted.talk()?;
    request.restrict(&mut talk)?;
    keep_read(&hosted, &mut talk);
    talk.budget = budget.map(|tokens| tokens as usize);
    let mut ask = talk.ask(&hosted, options)?;
    ask.strengths = strengths;
    let readings = vec![Reading::new(&hosted, &ask)];
    let texts = Texts::begin(&app, hosted.clone(), vec![ask])?;
    let head = Head {
        id: ids::unique("msg_"),
        model: hosted.name.clone(),
        omits,
    };
    if request.stream.unwrap_or(false) {
        let events = stream::Events::new(head);
        return Ok(crate::events::stream(texts, readings, events));
    }
    let answer = all(texts, readings).await?.pop().unwrap_or_default();
    let headers = [(crate::http::HASH_HEADER, answer.hash.clone())];
    Ok((headers, Json(head.whole(answer))).into_response())
}

/// `POST /v1/messages/count_tokens`.
pub async fn count(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<TokenCount>, Refusal> {
    let prompted: Prompted = read::json(&body)?;
    let hosted = app.shelf.get(prompted.model.as_deref()).await?;
    let mut talk = prompted.talk()?;
    keep_read(&hosted, &mut talk);
    let shown = talk.choice != Choice::None;
    let tools = talk
        .tools
        .filter(|t| shown && t.items().is_some_and(|t| !t.is_empty()));
    let (messages, begun) = prefill(talk.messages);
    let conversation = Conversation {
        messages,
        tools,
        variables: talk.variables,
        ..Conversation::default()
    };
    let mut tokens = crate::tools::prompt(&hosted, &conversation)?.len();
    if let Some(begun) = begun {
        tokens += hosted.tokenizer()?.encode(&begun, false).len();
    }
    Ok(Json(TokenCount {
        input_tokens: tokens,
    }))
}
