//! `/completion`: llama.cpp's own API of a text that goes on.

use super::tokens::mixed;
use crate::app::App;
use crate::ask::Ask;
use crate::events::{Event, Writer, stream};
use crate::hosted::Hosted;
use crate::openai::logprobs::{Logprobs, TokenLogprob};
use crate::openai::usage::Timings;
use crate::parts::{Answer, Reading, Said, all};
use crate::read;
use crate::refusal::Refusal;
use crate::sampling::{MOST_TOP, SamplingFields};
use crate::texts::Texts;
use crate::tools::format;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carat_text::reply::Delta;
use carat_text::stop::StopReason;
use carat_text::template::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json_, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// A text that is to go on.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TextRequest {
    model: Option<String>,
    /// A text, tokens, a list of both, or a list of such.
    #[schema(schema_with = crate::describe::anything)]
    prompt: Value,
    /// Whether it comes piece by piece.
    stream: Option<bool>,
    /// With so many of the likeliest tokens.
    n_probs: Option<u32>,
    /// With the tokens.
    return_tokens: Option<bool>,
    /// What the text follows.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    json_schema: Value,
}

/// For the description alone: both are read from one object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct TextBody {
    #[serde(flatten)]
    text: TextRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// For the description alone: a text, or one of each prompt.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub enum TextAnswers {
    /// Of one prompt.
    One(Box<TextAnswer>),
    /// Of several.
    Many(Vec<TextAnswer>),
}

/// A text as llama.cpp's own API tells it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TextAnswer {
    index: usize,
    content: String,
    tokens: Vec<u32>,
    stop: bool,
    /// What the model thought of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_probabilities: Option<Vec<TokenLogprob>>,
    #[serde(flatten)]
    #[schema(value_type = TextEnd)]
    end: Option<TextEnd>,
}

/// For the description alone: a piece of a text; the last one is a [`TextAnswer`].
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct TextPiece {
    index: usize,
    content: String,
    tokens: Vec<u32>,
    stop: bool,
}

/// What is known at the end.
#[derive(Debug, Serialize, ToSchema)]
struct TextEnd {
    model: String,
    tokens_predicted: usize,
    tokens_evaluated: usize,
    tokens_cached: usize,
    truncated: bool,
    has_new_line: bool,
    stop_type: &'static str,
    stopping_word: String,
    #[schema(value_type = Object)]
    generation_settings: Json_,
    timings: Timings,
    logits_hash: String,
}

impl TextEnd {
    fn of(hosted: &Hosted, answer: &Answer, settings: &Json_) -> Self {
        let stop_type = match &answer.reason {
            Some(StopReason::End { .. } | StopReason::Complete) => "eos",
            Some(StopReason::StopString { .. }) => "word",
            Some(_) => "limit",
            None => "none",
        };
        let mut settings = settings.clone();
        settings["seed"] = answer.seed.into();
        Self {
            model: hosted.name.clone(),
            tokens_predicted: answer.tokens(),
            tokens_evaluated: answer.prompt,
            tokens_cached: answer.cached,
            truncated: false,
            has_new_line: answer.content.contains('\n'),
            stop_type,
            stopping_word: answer.stop.clone().unwrap_or_default(),
            generation_settings: settings,
            timings: Timings::of(answer),
            logits_hash: answer.hash.clone(),
        }
    }
}

/// `POST /completion`: llama.cpp's own API of a text that goes on.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: TextRequest = read::json(&body)?;
    let sampling: SamplingFields = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let strengths = sampling.strengths(&hosted)?;
    let slot = sampling.slot(&hosted)?;
    let mut options = sampling.options(&hosted, usize::MAX)?;
    options.metrics = request
        .n_probs
        .filter(|n| *n > 0)
        .map(|n| n.min(MOST_TOP) as usize);
    let format = format(None, Some(&request.json_schema))?;
    // A list of texts alone, or of lists, has a text each.
    let many = |v: &Value| {
        let items = v.items()?;
        let single = items.iter().any(|i| i.as_i64().is_some());
        (!single && !items.is_empty()).then(|| items.to_vec())
    };
    let prompts = many(&request.prompt);
    let several = prompts.is_some();
    let mut asks = Vec::new();
    for given in prompts.unwrap_or_else(|| vec![request.prompt.clone()]) {
        let ids = mixed(&hosted, &given, true, true)?;
        let mut ask = Ask::new(&hosted, ids, options.clone())?;
        ask.format = format.clone();
        ask.strengths = strengths.clone();
        ask.slot = slot;
        asks.push(ask);
    }
    let s = &options.sampling;
    let settings = json!({
        "n_predict": asks.first().map(|a| a.options.max_tokens),
        "seed": s.seed, "temperature": s.temperature, "top_k": s.top_k, "top_p": s.top_p,
        "min_p": s.min_p, "repeat_penalty": s.repeat_penalty, "stop": options.stops,
    });
    let readings: Vec<Reading> = asks.iter().map(|a| Reading::new(&hosted, a)).collect();
    let texts = Texts::begin(&app, hosted.clone(), asks)?;
    if request.stream.unwrap_or(false) {
        return Ok(stream(texts, readings, Pieces { hosted, settings }));
    }
    let answers = all(texts, readings).await?;
    let hash: Vec<String> = answers.iter().map(|a| a.hash.clone()).collect();
    let bodies = answers
        .iter()
        .enumerate()
        .map(|(index, answer)| TextAnswer {
            index,
            content: answer.content.clone(),
            tokens: match request.return_tokens.unwrap_or(false) {
                true => answer.ids.clone(),
                false => Vec::new(),
            },
            stop: true,
            completion_probabilities: (!answer.metrics.is_empty())
                .then(|| Logprobs::of(&hosted, &answer.metrics).content),
            end: Some(TextEnd::of(&hosted, answer, &settings)),
        });
    let mut bodies: Vec<TextAnswer> = bodies.collect();
    let headers = [(crate::http::HASH_HEADER, hash.join(","))];
    Ok(match (several, bodies.len()) {
        (false, 1) => (headers, Json(bodies.pop())).into_response(),
        _ => (headers, Json(bodies)).into_response(),
    })
}

/// Writes [`TextAnswer`]s.
struct Pieces {
    hosted: Arc<Hosted>,
    settings: Json_,
}

impl Writer for Pieces {
    fn begin(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        let answer = &readings[i].answer;
        let (parts, metrics, end) = match said {
            Said::Prompt { .. } => return Vec::new(),
            Said::Parts(parts, metrics) => (parts, metrics.as_deref(), false),
            Said::End(parts) => (parts, None, true),
        };
        let texts = parts.iter().filter_map(|p| match p {
            Delta::Content(text) => Some(text.as_str()),
            _ => None,
        });
        let content: String = texts.collect();
        let last = answer.ids.last().copied().filter(|_| !end);
        vec![Event::data(&TextAnswer {
            index: i,
            content,
            tokens: last.into_iter().collect(),
            stop: end,
            completion_probabilities: metrics.map(|m| Logprobs::of(&self.hosted, [m]).content),
            end: end.then(|| TextEnd::of(&self.hosted, answer, &self.settings)),
        })]
    }

    fn end(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        vec![Event::named("error", &refusal.openai())]
    }
}
