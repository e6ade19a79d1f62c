//! `/v1/chat/completions`.

pub mod answer;
pub mod chunks;

use crate::app::App;
use crate::describe::forms::{ChatMessageForm, ResponseFormatForm, ToolChoiceForm, ToolForm};
use crate::events::stream;
use crate::hosted::Hosted;
use crate::parts::{Reading, all};
use crate::refusal::Refusal;
use crate::sampling::{MOST_TOP, SamplingFields, choices};
use crate::texts::Texts;
use crate::tools::{Choice, Talk, format};
use crate::{ids, read};
use answer::Head;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carat::internals::GenerateOptions;
use carat_text::template::Value;
use chunks::Chunks;
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
    let strengths = sampling.strengths(&hosted)?;
    let slot = sampling.slot(&hosted)?;
    let mut options = sampling.options(&hosted, usize::MAX)?;
    options.metrics = metrics;
    let talk = request.talk(&hosted)?;
    let mut ask = talk.ask(&hosted, options)?;
    ask.strengths = strengths;
    ask.slot = slot;
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
