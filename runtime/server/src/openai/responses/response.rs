//! Answers.

use super::request::ResponsesRequest;
use crate::hosted::Hosted;
use crate::ids;
use crate::openai::usage::Facts;
use crate::parts::Answer;
use crate::refusal::Refusal;
use crate::values::object;
use carat::internals::sample::Params;
use carat_text::stop::StopReason;
use carat_text::template::Value;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An answer, or what is there of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ResponseObject)]
pub struct Response {
    id: String,
    object: &'static str,
    created_at: u64,
    #[schema(required)]
    completed_at: Option<u64>,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    status: &'static str,
    background: bool,
    #[schema(required)]
    error: Option<ResponseError>,
    #[schema(required)]
    incomplete_details: Option<Incomplete>,
    #[schema(required)]
    instructions: Option<String>,
    #[schema(required)]
    max_output_tokens: Option<i64>,
    model: String,
    output: Vec<OutputItem>,
    parallel_tool_calls: bool,
    #[schema(required)]
    previous_response_id: Option<String>,
    reasoning: ReasoningEcho,
    store: bool,
    temperature: f32,
    text: TextEcho,
    #[schema(schema_with = crate::describe::anything)]
    tool_choice: Value,
    #[schema(value_type = Vec<Object>)]
    tools: Value,
    top_p: f32,
    truncation: &'static str,
    #[schema(required)]
    usage: Option<ResponseUsage>,
    #[schema(required)]
    user: Option<String>,
    metadata: BTreeMap<String, String>,
    system_fingerprint: String,
    #[serde(flatten)]
    facts: Facts,
}

/// Why an answer failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ResponseError {
    code: &'static str,
    message: String,
}

/// Why an answer is not complete.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Incomplete {
    reason: &'static str,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct ReasoningEcho {
    #[schema(required)]
    effort: Option<String>,
    #[schema(required)]
    summary: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct TextEcho {
    #[schema(value_type = Object)]
    format: Value,
}

/// Something that the model did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// It thought.
    Reasoning {
        /// A name.
        id: String,
        /// Nothing: `content` has all of it.
        summary: Vec<OutputPart>,
        /// What it thought.
        content: Vec<OutputPart>,
        /// `in_progress`, `completed` or `incomplete`.
        status: &'static str,
    },
    /// It said something.
    Message {
        /// A name.
        id: String,
        /// `assistant`.
        role: &'static str,
        /// What.
        content: Vec<OutputPart>,
        /// `in_progress`, `completed` or `incomplete`.
        status: &'static str,
    },
    /// It called a function.
    FunctionCall {
        /// A name of this item.
        id: String,
        /// The name of the call.
        call_id: String,
        /// The function.
        name: String,
        /// A text of JSON.
        arguments: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: &'static str,
    },
}

/// A part of what the model did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputPart {
    /// What it said.
    OutputText {
        /// The text.
        text: String,
        /// There are none.
        #[schema(value_type = Vec<Object>)]
        annotations: [(); 0],
        /// There are none.
        #[schema(value_type = Vec<Object>)]
        logprobs: [(); 0],
    },
    /// What it thought.
    ReasoningText {
        /// The text.
        text: String,
    },
}

impl OutputPart {
    /// What it said.
    pub fn said(text: &str) -> Self {
        Self::OutputText {
            text: text.into(),
            annotations: [],
            logprobs: [],
        }
    }

    /// What it thought.
    pub fn thought(text: &str) -> Self {
        Self::ReasoningText { text: text.into() }
    }
}

/// Tokens of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResponseUsage {
    /// Of the prompt.
    input_tokens: usize,
    input_tokens_details: InputDetails,
    /// Of the answer.
    output_tokens: usize,
    output_tokens_details: crate::openai::usage::CompletionDetails,
    /// Both.
    total_tokens: usize,
}

/// Tokens of a prompt.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct InputDetails {
    /// Those that were kept of earlier texts.
    cached_tokens: usize,
    /// 0: what is kept costs nothing.
    cache_write_tokens: usize,
}

impl ResponseUsage {
    fn of(answer: &Answer) -> Self {
        Self {
            input_tokens: answer.prompt,
            input_tokens_details: InputDetails {
                cached_tokens: answer.cached,
                cache_write_tokens: 0,
            },
            output_tokens: answer.tokens(),
            output_tokens_details: crate::openai::usage::CompletionDetails {
                reasoning_tokens: answer.reasoning_tokens,
            },
            total_tokens: answer.prompt + answer.tokens(),
        }
    }
}

/// What all of an answer begins with.
pub struct Head(Response);

impl Head {
    /// Of a request.
    pub fn new(
        request: &ResponsesRequest,
        hosted: &Hosted,
        sampling: &Params,
        limit: Option<i64>,
    ) -> Self {
        let or = |value: &Value, other: Value| match value.is_none() {
            true => other,
            false => value.clone(),
        };
        let format = request.text.as_ref().map(|t| t.format.clone());
        let text = object([("type", "text".into())]);
        Self(Response {
            id: ids::unique("resp_"),
            object: "response",
            created_at: ids::now(),
            completed_at: None,
            status: "in_progress",
            background: false,
            error: None,
            incomplete_details: None,
            instructions: request.instructions.clone(),
            max_output_tokens: limit,
            model: hosted.name.clone(),
            output: Vec::new(),
            parallel_tool_calls: request.parallel_tool_calls.unwrap_or(true),
            previous_response_id: None,
            reasoning: ReasoningEcho {
                effort: request.reasoning.as_ref().and_then(|r| r.effort.clone()),
                summary: None,
            },
            store: false,
            temperature: sampling.temperature,
            text: TextEcho {
                format: or(&format.unwrap_or_default(), text),
            },
            tool_choice: or(&request.tool_choice, "auto".into()),
            tools: or(&request.tools, Vec::new().into()),
            top_p: sampling.top_p,
            truncation: "disabled",
            usage: None,
            user: None,
            metadata: request.metadata.clone().unwrap_or_default(),
            system_fingerprint: hosted.fingerprint.clone(),
            facts: Facts::default(),
        })
    }

    /// An answer of which nothing is known.
    pub fn begun(&self) -> Response {
        self.0.clone()
    }

    /// An answer that has ended.
    pub fn ended(&self, output: Vec<OutputItem>, answer: &Answer) -> Response {
        let cut = cut(answer);
        Response {
            completed_at: (!cut).then(ids::now),
            status: if cut { "incomplete" } else { "completed" },
            incomplete_details: cut.then_some(Incomplete {
                reason: "max_output_tokens",
            }),
            output,
            usage: Some(ResponseUsage::of(answer)),
            facts: Facts::of(answer),
            ..self.begun()
        }
    }

    /// An answer that failed.
    pub fn failed(&self, output: Vec<OutputItem>, refusal: &Refusal) -> Response {
        Response {
            status: "failed",
            error: Some(ResponseError {
                code: "server_error",
                message: refusal.message.clone(),
            }),
            output,
            ..self.begun()
        }
    }
}

/// Whether a limit ended an answer.
pub fn cut(answer: &Answer) -> bool {
    matches!(
        answer.reason,
        Some(StopReason::Length | StopReason::Context | StopReason::Cancelled)
    )
}
