//! `/v1/chat/completions`.

use super::logprobs::Logprobs;
use super::usage::{Timings, Usage};
use crate::app::App;
use crate::describe::forms::{ChatMessageForm, ResponseFormatForm, ToolChoiceForm, ToolForm};
use crate::events::{Event, Writer, stream};
use crate::hosted::Hosted;
use crate::parts::{Answer, Reading, Said, all};
use crate::refusal::Refusal;
use crate::sampling::{MOST_TOP, SamplingFields, choices};
use crate::texts::Texts;
use crate::tools::{Choice, Talk, format};
use crate::{ids, read};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carat::internals::GenerateOptions;
use carat::internals::sample::TokenMetrics;
use carat_text::reply::Delta;
use carat_text::template::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A conversation whose next answer is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// A model of `/v1/models`; with one model any name is that model's.
    model: Option<String>,
    /// What was said. A last message of the assistant is the beginning of the answer.
    #[schema(value_type = Vec<ChatMessageForm>)]
    messages: Value,
    /// Functions that may be called.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ToolForm>>)]
    tools: Value,
    /// `none`, `auto`, `required`, or a function.
    #[serde(default)]
    #[schema(value_type = Option<ToolChoiceForm>)]
    tool_choice: Value,
    /// Whether an answer may call several; one that must call has one where nothing is said.
    parallel_tool_calls: Option<bool>,
    /// `text`, `json_object` or `json_schema`.
    #[serde(default)]
    #[schema(value_type = Option<ResponseFormatForm>)]
    response_format: Value,
    /// The schema alone, as llama.cpp takes it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    json_schema: Value,
    /// Whether the answer comes piece by piece.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// How many answers.
    n: Option<i64>,
    /// Whether to tell what the model thought of each token.
    logprobs: Option<bool>,
    /// With so many of the likeliest tokens.
    top_logprobs: Option<u32>,
    /// Variables of the template, as `enable_thinking`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Value,
    /// How much to reason: a variable of the template.
    reasoning_effort: Option<String>,
    /// Tokens of reasoning, at most; then it is ended. -1: as many as the model likes.
    #[serde(alias = "thinking_budget_tokens", alias = "reasoning_budget_tokens")]
    reasoning_budget: Option<i64>,
    /// `none`: reasoning is part of the content; otherwise it is told apart.
    reasoning_format: Option<String>,
    add_generation_prompt: Option<bool>,
    continue_final_message: Option<bool>,
    /// Times with every piece.
    timings_per_token: Option<bool>,
    /// How far the prompt is, before the first piece.
    return_progress: Option<bool>,
}

/// Whether a stream ends with its usage.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    include_usage: Option<bool>,
}

impl StreamOptions {
    /// Whether it does.
    pub fn usage(&self) -> bool {
        self.include_usage == Some(true)
    }
}

/// For the description alone: both are read from one object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct ChatBody {
    #[serde(flatten)]
    chat: ChatRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// An answer, or several.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatCompletion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<ChatChoice>,
    usage: Usage,
    timings: Timings,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatChoice {
    index: usize,
    message: ChatMessage,
    finish_reason: &'static str,
    #[schema(required)]
    logprobs: Option<Logprobs>,
    /// blake3 over everything that the tokens were chosen from: equal wherever the same was computed.
    logits_hash: String,
    /// Where the draws began.
    seed: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatMessage {
    role: &'static str,
    #[schema(required)]
    content: Option<String>,
    #[schema(required)]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChatToolCall>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChatToolCall {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionCall,
}

#[derive(Debug, Serialize, ToSchema)]
struct FunctionCall {
    name: String,
    arguments: String,
}

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_progress: Option<PromptProgress>,
}

/// How far a prompt is.
#[derive(Debug, Serialize, ToSchema)]
struct PromptProgress {
    /// Tokens of the prompt.
    total: usize,
    /// Of them, those that were kept of earlier texts.
    cache: usize,
    /// Tokens so far, those included.
    processed: usize,
    /// Milliseconds since the request began.
    time_ms: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice {
    index: usize,
    delta: ChunkDelta,
    #[schema(required)]
    finish_reason: Option<&'static str>,
    #[schema(required)]
    logprobs: Option<Logprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// What is new; a field that is not there has nothing new.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ChunkDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `null` beside the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChunkCall>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkCall {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: ChunkFunction,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

/// `POST /v1/chat/completions`.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: ChatRequest = read::json(&body)?;
    let sampling: SamplingFields = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let n = choices(request.n)?;
    let streams = request.stream.unwrap_or(false);
    let stream_options = request.stream_options.as_ref();
    let with_usage = stream_options.is_some_and(StreamOptions::usage);
    let times = request.timings_per_token.unwrap_or(false);
    let metrics = top(request.logprobs, request.top_logprobs)?;
    let mut options = sampling.options(&hosted, usize::MAX)?;
    options.metrics = metrics;
    let talk = request.talk(&hosted)?;
    let ask = talk.ask(&hosted, options)?;
    let prompt = ask.ids.len();
    let asks = ask.choices(n);
    let readings: Vec<Reading> = asks.iter().map(|a| Reading::new(&hosted, a)).collect();
    let texts = Texts::begin(&app, hosted.clone(), asks)?;
    let head = Head {
        id: ids::unique("chatcmpl-"),
        created: ids::now(),
        model: hosted.name.clone(),
        hosted,
    };
    if streams {
        let writer = Chunks {
            head,
            prompt,
            with_usage,
            times,
            progress: request.return_progress.unwrap_or(false),
            calls: vec![0; n],
        };
        return Ok(stream(texts, readings, writer));
    }
    let answers = all(texts, readings).await?;
    Ok(head.whole(answers, prompt))
}

/// `POST /v1/chat/completions/input_tokens`: how many tokens the prompt would have.
pub async fn count(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: ChatRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let talk = request.talk(&hosted)?;
    let ask = talk.ask(&hosted, GenerateOptions::default())?;
    let body = InputTokens {
        object: "response.input_tokens",
        input_tokens: ask.ids.len(),
    };
    Ok(Json(body).into_response())
}

/// Tokens of a prompt.
#[derive(Debug, Serialize, ToSchema)]
pub struct InputTokens {
    object: &'static str,
    input_tokens: usize,
}

/// How many likeliest tokens are told, if any.
fn top(logprobs: Option<bool>, top: Option<u32>) -> Result<Option<usize>, Refusal> {
    match (logprobs.unwrap_or(false), top) {
        (_, Some(n)) if n > MOST_TOP => Err(Refusal::invalid(format!(
            "'top_logprobs' is {n}; expected at most {MOST_TOP}"
        ))
        .at("top_logprobs")),
        (false, Some(n)) if n > 0 => Err(Refusal::invalid(
            "'top_logprobs' is set and 'logprobs' is not; set it to true",
        )
        .at("top_logprobs")),
        (true, n) => Ok(Some(n.unwrap_or(0) as usize)),
        (false, _) => Ok(None),
    }
}

impl ChatRequest {
    fn talk(&self, hosted: &Hosted) -> Result<Talk, Refusal> {
        let messages = messages(&self.messages)?;
        if self.add_generation_prompt == Some(true) && self.continue_final_message == Some(true) {
            return Err(Refusal::invalid(
                "'add_generation_prompt' and 'continue_final_message' are both true; set one",
            ));
        }
        let mut variables = Vec::new();
        if let Some(given) = self.chat_template_kwargs.entries() {
            for (name, value) in given {
                let name = name.as_str().unwrap_or_default().to_owned();
                variables.push((name, value.clone()));
            }
        }
        let mut talk = Talk {
            messages,
            tools: Some(self.tools.clone()).filter(|t| !t.is_none()),
            choice: choice(&self.tool_choice)?,
            parallel: self.parallel_tool_calls,
            variables,
            format: format(Some(&self.response_format), Some(&self.json_schema))?,
            budget: self.reasoning_budget.and_then(|n| usize::try_from(n).ok()),
            raw: self.reasoning_format.as_deref() == Some("none"),
        };
        // A wish of any model, where the others are meant for this one.
        if let Some(effort) = &self.reasoning_effort {
            let wish = ("reasoning_effort".to_owned(), Value::from(effort.as_str()));
            let mut wishes = Talk {
                variables: vec![wish],
                ..Talk::default()
            };
            crate::wishes::keep_read(hosted, &mut wishes);
            talk.variables.extend(wishes.variables);
        }
        Ok(talk)
    }
}

/// A list of messages.
///
/// Errors: no list, one without a role, a content of another type.
pub fn messages(list: &Value) -> Result<Vec<Value>, Refusal> {
    let wrong = |text: String| Refusal::invalid(text).at("messages");
    let expected = "expected [{\"role\": \"user\", \"content\": \"Hello\"}]";
    let list = list
        .items()
        .ok_or_else(|| wrong(format!("'messages' is no list; {expected}")))?;
    if list.is_empty() {
        return Err(wrong(format!("'messages' is empty; {expected}")));
    }
    let assistants = list.iter().rev().take_while(|m| {
        let role = m.get("role").and_then(Value::as_str);
        role == Some("assistant") && m.get("tool_calls").is_none()
    });
    if assistants.count() > 1 {
        return Err(wrong(
            "the last two messages are the assistant's; join them, or let a user speak in between"
                .into(),
        ));
    }
    for (i, message) in list.iter().enumerate() {
        if message.entries().is_none() {
            return Err(wrong(format!("message {i} is no object; {expected}")));
        }
        if message.get("role").and_then(Value::as_str).is_none() {
            return Err(wrong(format!("message {i} has no 'role'; {expected}")));
        }
        match message.get("content") {
            None => {}
            Some(c) if c.is_none() || c.as_str().is_some() => {}
            Some(c) => parts(i, c)?,
        }
    }
    Ok(list.to_vec())
}

/// Errors: a content that is no list of texts.
fn parts(i: usize, content: &Value) -> Result<(), Refusal> {
    let wrong = |text: String| Refusal::invalid(text).at("messages");
    let Some(parts) = content.items() else {
        return Err(wrong(format!(
            "the content of message {i} is neither a text nor a list of parts"
        )));
    };
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if part.get("text").and_then(Value::as_str).is_none() {
            return Err(wrong(format!(
                "message {i} has a part of type '{kind}'; this model reads texts alone"
            )));
        }
    }
    Ok(())
}

/// Whether tools are called.
///
/// Errors: something else.
pub fn choice(given: &Value) -> Result<Choice, Refusal> {
    let name = |v: &Value| v.get("name").and_then(Value::as_str).map(str::to_owned);
    let named = given.get("function").and_then(name).or_else(|| name(given));
    match (given.as_str(), named) {
        _ if given.is_none() => Ok(Choice::Auto),
        (Some("auto"), _) => Ok(Choice::Auto),
        (Some("none"), _) => Ok(Choice::None),
        (Some("required" | "any"), _) => Ok(Choice::Required),
        (None, Some(name)) => Ok(Choice::Named(name)),
        _ => Err(Refusal::invalid(
            "'tool_choice' is none of 'auto', 'none', 'required' and {\"type\": \"function\", \"function\": {\"name\": …}}",
        )
        .at("tool_choice")),
    }
}

/// What all pieces of an answer begin with.
struct Head {
    id: String,
    created: u64,
    model: String,
    hosted: Arc<Hosted>,
}

impl Head {
    fn whole(self, answers: Vec<Answer>, prompt: usize) -> Response {
        let usage = Usage::of(answers.iter(), prompt);
        let first = answers.first();
        let timings = first.map_or_else(|| Timings::of(&Answer::default()), Timings::of);
        let hash: Vec<String> = answers.iter().map(|a| a.hash.clone()).collect();
        let choices = answers.into_iter().enumerate().map(|(index, answer)| {
            let finish_reason = answer.finish_reason();
            let logprobs =
                (!answer.metrics.is_empty()).then(|| Logprobs::of(&self.hosted, &answer.metrics));
            let calls = answer.calls.into_iter().map(|call| ChatToolCall {
                id: call.id,
                kind: "function",
                function: FunctionCall {
                    name: call.name,
                    arguments: call.arguments,
                },
            });
            let tool_calls: Vec<ChatToolCall> = calls.collect();
            let silent = answer.content.is_empty() && !tool_calls.is_empty();
            ChatChoice {
                index,
                message: ChatMessage {
                    role: "assistant",
                    content: (!silent).then_some(answer.content),
                    refusal: None,
                    reasoning_content: Some(answer.reasoning).filter(|r| !r.is_empty()),
                    tool_calls,
                },
                finish_reason,
                logprobs,
                logits_hash: answer.hash,
                seed: answer.seed,
            }
        });
        let body = ChatCompletion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model,
            system_fingerprint: self.hosted.fingerprint.clone(),
            choices: choices.collect(),
            usage,
            timings,
        };
        let headers = [(crate::http::HASH_HEADER, hash.join(","))];
        (headers, Json(body)).into_response()
    }
}

/// Writes [`ChatChunk`]s.
struct Chunks {
    head: Head,
    prompt: usize,
    with_usage: bool,
    times: bool,
    progress: bool,
    /// Calls that were begun, by choices.
    calls: Vec<usize>,
}

impl Chunks {
    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.clone(),
            system_fingerprint: self.head.hosted.fingerprint.clone(),
            choices,
            usage: None,
            timings: None,
            prompt_progress: None,
        }
    }

    fn piece(&self, index: usize, delta: ChunkDelta, logprobs: Option<Logprobs>) -> ChatChunk {
        self.chunk(vec![ChunkChoice {
            index,
            delta,
            finish_reason: None,
            logprobs,
            logits_hash: None,
            seed: None,
        }])
    }

    fn progress(&self, reading: &Reading, processed: usize) -> Event {
        let mut chunk = self.chunk(Vec::new());
        chunk.prompt_progress = Some(PromptProgress {
            total: reading.answer.prompt,
            cache: reading.answer.cached,
            processed,
            time_ms: reading.elapsed_ms(),
        });
        Event::data(&chunk)
    }

    fn parts(
        &mut self,
        i: usize,
        parts: &[Delta],
        metrics: Option<&TokenMetrics>,
        answer: &Answer,
    ) -> Vec<Event> {
        let logprobs = metrics.map(|m| Logprobs::of(&self.head.hosted, [m]));
        let mut deltas: Vec<ChunkDelta> = Vec::new();
        for part in parts {
            match part {
                Delta::Content(text) => deltas.push(ChunkDelta {
                    content: Some(Some(text.clone())),
                    ..ChunkDelta::default()
                }),
                Delta::Reasoning(text) => deltas.push(ChunkDelta {
                    reasoning_content: Some(text.clone()),
                    ..ChunkDelta::default()
                }),
                Delta::Call { index, name } => {
                    self.calls[i] += 1;
                    let id = answer.calls.get(*index).map(|c| c.id.clone());
                    deltas.push(call(*index, id, Some(name.clone()), String::new()));
                }
                Delta::Arguments { index, text } => {
                    deltas.push(call(*index, None, None, text.clone()));
                }
                Delta::End { .. } => {}
            }
        }
        // A token without text has its place in what the model thought all the same.
        if deltas.is_empty() && logprobs.is_some() {
            deltas.push(ChunkDelta {
                content: Some(Some(String::new())),
                ..ChunkDelta::default()
            });
        }
        let mut logprobs = logprobs;
        let pieces = deltas.into_iter().map(|delta| {
            let mut chunk = self.piece(i, delta, logprobs.take());
            if self.times {
                chunk.timings = Some(Timings::of(answer));
            }
            Event::data(&chunk)
        });
        pieces.collect()
    }
}

fn call(index: usize, id: Option<String>, name: Option<String>, arguments: String) -> ChunkDelta {
    ChunkDelta {
        tool_calls: vec![ChunkCall {
            index,
            kind: id.is_some().then_some("function"),
            id,
            function: ChunkFunction { name, arguments },
        }],
        ..ChunkDelta::default()
    }
}

impl Writer for Chunks {
    fn begin(&mut self, readings: &[Reading]) -> Vec<Event> {
        let roles = (0..readings.len()).map(|i| {
            let delta = ChunkDelta {
                role: Some("assistant"),
                content: Some(None),
                ..ChunkDelta::default()
            };
            Event::data(&self.piece(i, delta, None))
        });
        roles.collect()
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        let answer = &readings[i].answer;
        match said {
            Said::Prompt { done } if self.progress => vec![self.progress(&readings[i], *done)],
            Said::Prompt { .. } => Vec::new(),
            Said::Parts(parts, metrics) => {
                // With its first token a prompt is whole.
                let whole = self.progress && answer.ids.len() == 1;
                let mut events: Vec<Event> = match whole {
                    true => vec![self.progress(&readings[i], answer.prompt)],
                    false => Vec::new(),
                };
                events.extend(self.parts(i, parts, metrics.as_deref(), answer));
                events
            }
            Said::End(parts) => {
                let mut events = self.parts(i, parts, None, answer);
                let mut last = self.chunk(vec![ChunkChoice {
                    index: i,
                    delta: ChunkDelta::default(),
                    finish_reason: Some(answer.finish_reason()),
                    logprobs: None,
                    logits_hash: Some(answer.hash.clone()),
                    seed: Some(answer.seed),
                }]);
                last.timings = Some(Timings::of(answer));
                events.push(Event::data(&last));
                events
            }
        }
    }

    fn end(&mut self, readings: &[Reading]) -> Vec<Event> {
        let mut events = Vec::new();
        if self.with_usage {
            let mut chunk = self.chunk(Vec::new());
            let answers = readings.iter().map(|r| &r.answer);
            chunk.usage = Some(Usage::of(answers, self.prompt));
            chunk.timings = readings.first().map(|r| Timings::of(&r.answer));
            events.push(Event::data(&chunk));
        }
        events.push(Event::done());
        events
    }

    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        vec![Event::data(&refusal.openai())]
    }
}
