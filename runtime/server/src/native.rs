//! What llama.cpp's clients ask for beside the APIs of others: texts that go on, tokens, templates, health and figures.

use crate::app::App;
use crate::ask::Ask;
use crate::events::{Event, Writer, stream};
use crate::hosted::Hosted;
use crate::openai::logprobs::{Logprobs, TokenLogprob};
use crate::openai::usage::Timings;
use crate::parts::{Answer, Reading, Said, all};
use crate::refusal::{Kind, Refusal};
use crate::sampling::{MOST_TOP, SamplingFields};
use crate::stats::Gauge;
use crate::texts::Texts;
use crate::tools::{format, prompt};
use crate::{openai, read};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use carat_text::reply::Delta;
use carat_text::stop::StopReason;
use carat_text::template::{Conversation, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json_, json};
use std::sync::Arc;

/// `GET /health`.
pub async fn health(State(app): State<Arc<App>>) -> Json<Json_> {
    let loaded: Vec<String> = app
        .shelf
        .all_loaded()
        .iter()
        .map(|h| h.name.clone())
        .collect();
    Json(json!({"status": "ok", "loaded": loaded}))
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

/// `GET /props`: what is served.
pub async fn props(State(app): State<Arc<App>>) -> Result<Json<Json_>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let tokenizer = hosted.tokenizer()?;
    let piece = |id: Option<u32>| id.map(|id| openai::logprobs::token(&hosted, id).0);
    let talk = Conversation::default();
    let template = hosted.prompter().template();
    let template = template.and_then(|t| t.source(&talk).ok());
    let p = &hosted.defaults.params;
    Ok(Json(json!({
        "default_generation_settings": {
            "n_ctx": hosted.context,
            "params": {
                "temperature": p.temperature, "top_k": p.top_k, "top_p": p.top_p, "min_p": p.min_p,
                "repeat_penalty": p.repeat_penalty, "dry_multiplier": p.dry_multiplier,
                "seed": hosted.defaults.seed, "n_predict": hosted.defaults.max_tokens,
            },
        },
        "total_slots": hosted.parallel,
        "model_alias": hosted.name,
        "model_path": hosted.name,
        "chat_template": template.unwrap_or_default(),
        "bos_token": piece(tokenizer.bos()).unwrap_or_default(),
        "eos_token": piece(tokenizer.eos()).unwrap_or_default(),
        "modalities": {"vision": false, "audio": false},
        "device": hosted.device,
        "fingerprint": hosted.fingerprint,
        "build_info": concat!("carat-", env!("CARGO_PKG_VERSION")),
    })))
}

/// `GET /slots`: as many places as texts are computed at once, of which so many are in use. A text has no fixed one.
pub async fn slots(State(app): State<Arc<App>>) -> Result<Json<Json_>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let (running, _) = hosted.host().load();
    let slot = |id: u32| json!({"id": id, "n_ctx": hosted.context, "is_processing": u64::from(id) < running});
    Ok(Json((0..hosted.parallel).map(slot).collect()))
}

/// `POST /v1/rerank`.
pub async fn rerank() -> Refusal {
    Refusal::new(
        Kind::Unsupported,
        "no model here ranks documents; compare vectors of /v1/embeddings",
    )
}

/// `GET /openapi.json`.
pub async fn openapi() -> Json<Json_> {
    Json(json!({}))
}

/// `GET /`: a page to chat.
pub async fn page() -> Html<&'static str> {
    Html("<!doctype html>")
}

#[derive(Debug, Deserialize)]
struct TokenizeRequest {
    model: Option<String>,
    #[serde(alias = "prompt")]
    content: Value,
    /// With the tokens that begin a text.
    #[serde(alias = "add_special_tokens")]
    add_special: Option<bool>,
    /// Whether what the text spells may be control tokens.
    parse_special: Option<bool>,
    with_pieces: Option<bool>,
}

/// `POST /tokenize`.
pub async fn tokenize(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Json_>, Refusal> {
    let request: TokenizeRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let special = request.parse_special.unwrap_or(true);
    let begins = request.add_special.unwrap_or(false);
    let ids = mixed(&hosted, &request.content, special, begins)?;
    let tokens: Json_ = match request.with_pieces.unwrap_or(false) {
        false => ids.clone().into(),
        true => {
            let piece = |id: &u32| {
                let (text, bytes) = openai::logprobs::token(&hosted, *id);
                match std::str::from_utf8(&bytes) {
                    Ok(_) => json!({"id": id, "piece": text}),
                    Err(_) => json!({"id": id, "piece": bytes}),
                }
            };
            ids.iter().map(piece).collect()
        }
    };
    Ok(Json(json!({
        "tokens": tokens, "count": ids.len(), "max_model_len": hosted.context,
    })))
}

/// The tokens of a text, of tokens, or of a list of both.
///
/// Errors: something else, a token outside the vocabulary.
fn mixed(hosted: &Hosted, given: &Value, special: bool, begins: bool) -> Result<Vec<u32>, Refusal> {
    let wrong = || Refusal::invalid("the prompt is neither a text nor a list of texts and tokens");
    let tokenizer = hosted.tokenizer()?;
    let encode = |text: &str, begins: bool| match begins {
        true => tokenizer.encode_prompt(text, special),
        false => tokenizer.encode(text, special),
    };
    if let Some(text) = given.as_str() {
        return Ok(encode(text, begins));
    }
    // llama.cpp's form of a text that may have images beside it.
    if let Some(text) = given.get("prompt_string").and_then(Value::as_str) {
        if given.get("multimodal_data").is_some() {
            return Err(Refusal::invalid(
                "'multimodal_data' is given; this model reads texts alone",
            ));
        }
        return Ok(encode(text, begins));
    }
    let vocab = hosted.model().spec().vocab_size;
    let mut ids = Vec::new();
    for (i, item) in given.items().ok_or_else(wrong)?.iter().enumerate() {
        match (item.as_str(), item.as_i64()) {
            (Some(text), _) => ids.extend(encode(text, begins && i == 0)),
            (None, Some(id)) => match u32::try_from(id) {
                Ok(id) if id < vocab => ids.push(id),
                _ => {
                    return Err(Refusal::invalid(format!(
                        "token {id} is outside the vocabulary of {vocab}"
                    )));
                }
            },
            _ => return Err(wrong()),
        }
    }
    Ok(ids)
}

#[derive(Debug, Deserialize)]
struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<u32>,
}

/// `POST /detokenize`.
pub async fn detokenize(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Json_>, Refusal> {
    let request: DetokenizeRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let text = hosted.model().detokenize(&request.tokens)?;
    // Clients of llama.cpp read one, clients of vLLM the other.
    Ok(Json(json!({"content": text, "prompt": text})))
}

/// `GET /tokenizer_info`: what clients need that tokenize here.
pub async fn tokenizer_info(State(app): State<Arc<App>>) -> Result<Json<Json_>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let tokenizer = hosted.tokenizer()?;
    let piece = |id: Option<u32>| id.map(|id| openai::logprobs::token(&hosted, id).0);
    let template = hosted.prompter().template();
    let template =
        template.and_then(|t| t.source(&Conversation::default()).ok().map(str::to_owned));
    Ok(Json(json!({
        "bos_token": piece(tokenizer.bos()), "eos_token": piece(tokenizer.eos()),
        "pad_token": null, "chat_template": template, "vocab_size": tokenizer.vocab_size(),
        "model_max_length": hosted.context,
    })))
}

#[derive(Debug, Deserialize)]
struct TemplateRequest {
    model: Option<String>,
    messages: Value,
    #[serde(default)]
    tools: Value,
    add_generation_prompt: Option<bool>,
    #[serde(default)]
    chat_template_kwargs: Value,
}

/// `POST /apply-template`: the prompt of a conversation as a text.
pub async fn apply_template(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<Json<Json_>, Refusal> {
    let request: TemplateRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let given = request.chat_template_kwargs.entries().into_iter().flatten();
    let talk = Conversation {
        messages: openai::chat::messages(&request.messages)?,
        tools: Some(request.tools).filter(|t| t.items().is_some_and(|t| !t.is_empty())),
        add_generation_prompt: request.add_generation_prompt,
        variables: given
            .map(|(name, value)| (name.as_str().unwrap_or_default().to_owned(), value.clone()))
            .collect(),
        ..Conversation::default()
    };
    let ids = prompt(&hosted, &talk)?;
    Ok(Json(json!({"prompt": hosted.model().detokenize(&ids)?})))
}

#[derive(Debug, Deserialize)]
struct CompletionRequest {
    model: Option<String>,
    prompt: Value,
    stream: Option<bool>,
    n_probs: Option<u32>,
    return_tokens: Option<bool>,
    #[serde(default)]
    json_schema: Value,
}

/// A text as llama.cpp's own API tells it.
#[derive(Debug, Serialize)]
struct CompletionBody {
    index: usize,
    content: String,
    tokens: Vec<u32>,
    stop: bool,
    /// What the model thought of the tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_probabilities: Option<Vec<TokenLogprob>>,
    #[serde(flatten)]
    end: Option<End>,
}

#[derive(Debug, Serialize)]
struct End {
    model: String,
    tokens_predicted: usize,
    tokens_evaluated: usize,
    tokens_cached: usize,
    truncated: bool,
    has_new_line: bool,
    stop_type: &'static str,
    stopping_word: String,
    generation_settings: Json_,
    timings: Timings,
    logits_hash: String,
}

impl End {
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
pub async fn completion(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: CompletionRequest = read::json(&body)?;
    let sampling: SamplingFields = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
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
        .map(|(index, answer)| CompletionBody {
            index,
            content: answer.content.clone(),
            tokens: match request.return_tokens.unwrap_or(false) {
                true => answer.ids.clone(),
                false => Vec::new(),
            },
            stop: true,
            completion_probabilities: (!answer.metrics.is_empty())
                .then(|| Logprobs::of(&hosted, &answer.metrics).content),
            end: Some(End::of(&hosted, answer, &settings)),
        });
    let mut bodies: Vec<CompletionBody> = bodies.collect();
    let headers = [(crate::http::HASH_HEADER, hash.join(","))];
    Ok(match (several, bodies.len()) {
        (false, 1) => (headers, Json(bodies.pop())).into_response(),
        _ => (headers, Json(bodies)).into_response(),
    })
}

/// Writes [`CompletionBody`]s.
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
        vec![Event::data(&CompletionBody {
            index: i,
            content,
            tokens: last.into_iter().collect(),
            stop: end,
            completion_probabilities: metrics.map(|m| Logprobs::of(&self.hosted, [m]).content),
            end: end.then(|| End::of(&self.hosted, answer, &self.settings)),
        })]
    }

    fn end(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        vec![Event::named("error", &refusal.openai())]
    }
}
