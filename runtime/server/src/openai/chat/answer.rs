//! An answer that is whole.

use crate::hosted::Hosted;
use crate::openai::logprobs::Logprobs;
use crate::openai::usage::{Timings, Usage};
use crate::parts::Answer;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

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

/// What all pieces of an answer begin with.
pub struct Head {
    pub id: String,
    pub created: u64,
    pub model: String,
    pub hosted: Arc<Hosted>,
}

impl Head {
    /// All choices.
    pub fn whole(self, answers: Vec<Answer>, prompt: usize) -> Response {
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
