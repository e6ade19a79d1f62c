//! Errors as clients get them.

use axum::http::StatusCode;
use carat::internals::{Cause, Error, FitError, GenerateError};
use carat_text::template::ChatError;
use serde::Serialize;
use utoipa::ToSchema;

/// What is wrong, in OpenAI's words for kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request.
    Invalid,
    /// The prompt has no room in the context.
    ContextLength,
    /// The key.
    Authentication,
    /// The model or path.
    NotFound,
    /// The method.
    Method,
    /// Longer than a request may be.
    TooLarge,
    /// Too slow.
    Timeout,
    /// Too many requests at once.
    Busy,
    /// What this model or server cannot do.
    Unsupported,
    /// The server is about to end.
    Ending,
    /// The engine.
    Engine,
}

/// How a kind is told.
struct Words {
    status: StatusCode,
    openai: &'static str,
    code: Option<&'static str>,
    anthropic: &'static str,
}

impl Kind {
    fn words(self) -> Words {
        let (status, openai, code, anthropic) = match self {
            Self::Invalid => (400, "invalid_request_error", None, "invalid_request_error"),
            Self::ContextLength => (
                400,
                "exceed_context_size_error",
                Some("context_length_exceeded"),
                "invalid_request_error",
            ),
            Self::Authentication => (
                401,
                "authentication_error",
                Some("invalid_api_key"),
                "authentication_error",
            ),
            Self::NotFound => (404, "not_found_error", Some("not_found"), "not_found_error"),
            Self::Method => (405, "invalid_request_error", None, "invalid_request_error"),
            Self::TooLarge => (413, "invalid_request_error", None, "request_too_large"),
            Self::Timeout => (408, "timeout_error", None, "timeout_error"),
            Self::Busy => (429, "rate_limit_error", Some("busy"), "rate_limit_error"),
            Self::Unsupported => (501, "not_supported_error", None, "invalid_request_error"),
            Self::Ending => (503, "unavailable_error", None, "overloaded_error"),
            Self::Engine => (500, "server_error", None, "api_error"),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Words {
            status,
            openai,
            code,
            anthropic,
        }
    }
}

/// An error of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub kind: Kind,
    /// The same in a sentence.
    pub message: String,
    /// The field of the request.
    pub param: Option<String>,
    /// When it may go better.
    pub retry_after: Option<u32>,
    /// Tokens of a prompt, and the positions that there are for it.
    pub room: Option<(usize, u32)>,
}

impl Refusal {
    /// Of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            retry_after: None,
            room: None,
        }
    }

    /// Of a request that is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// The thread that computes has ended, which only a panic does.
    pub fn engine_gone() -> Self {
        let text = "the engine's thread has ended; start the server again";
        Self::new(Kind::Engine, text)
    }

    /// Because of that field.
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.kind.words().status
    }

    /// As OpenAI's clients read it.
    pub fn openai(&self) -> OpenAiError {
        let words = self.kind.words();
        OpenAiError {
            error: OpenAiProblem {
                message: self.message.clone(),
                kind: words.openai,
                param: self.param.clone(),
                code: words.code,
                n_prompt_tokens: self.room.map(|r| r.0),
                n_ctx: self.room.map(|r| r.1),
            },
        }
    }

    /// As Anthropic's clients read it.
    pub fn anthropic(&self) -> AnthropicError {
        AnthropicError {
            kind: "error",
            error: AnthropicProblem {
                kind: self.kind.words().anthropic,
                message: self.message.clone(),
            },
        }
    }
}

/// An error in OpenAI's form.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    error: OpenAiProblem,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct OpenAiProblem {
    /// What was found, what was expected, and what to try.
    message: String,
    /// The kind of error.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field of the request.
    #[schema(required)]
    param: Option<String>,
    #[schema(required)]
    code: Option<&'static str>,
    /// Tokens of a prompt that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_prompt_tokens: Option<usize>,
    /// Positions that there are for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_ctx: Option<u32>,
}

/// An error in Anthropic's form.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnthropicError {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicProblem,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct AnthropicProblem {
    #[serde(rename = "type")]
    kind: &'static str,
    message: String,
}

impl From<Error> for Refusal {
    fn from(e: Error) -> Self {
        let kind = match &e {
            Error::ContextFull { .. } => Kind::ContextLength,
            Error::Token { .. } | Error::NoTokens | Error::Saved(_) => Kind::Invalid,
            Error::PoolFull { .. } => Kind::Busy,
            Error::NoHead | Error::Vocabulary(_) => Kind::Unsupported,
            _ => Kind::Engine,
        };
        Self::new(kind, e.to_string())
    }
}

impl From<GenerateError> for Refusal {
    fn from(e: GenerateError) -> Self {
        match e {
            GenerateError::Engine(e) => e.into(),
            GenerateError::Sample(e) => Self::new(Kind::Engine, e.to_string()),
            e => Self::invalid(e.to_string()),
        }
    }
}

impl From<ChatError> for Refusal {
    fn from(e: ChatError) -> Self {
        Self::invalid(e.to_string()).at("messages")
    }
}

impl From<FitError> for Refusal {
    fn from(e: FitError) -> Self {
        match e {
            FitError::Chat(e) => e.into(),
            e => Self::new(Kind::ContextLength, e.to_string()).at("messages"),
        }
    }
}

impl From<Cause> for Refusal {
    fn from(e: Cause) -> Self {
        match e {
            Cause::Engine(e) => e.into(),
            Cause::Generate(e) => e.into(),
            Cause::Chat(e) => e.into(),
            e => Self::invalid(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_its_form() {
        let refusal = Refusal::invalid("no").at("top_p");
        let openai = serde_json::to_value(refusal.openai()).unwrap_or_default();
        assert_eq!(openai["error"]["type"], "invalid_request_error");
        assert_eq!(openai["error"]["param"], "top_p");
        let anthropic = serde_json::to_value(refusal.anthropic()).unwrap_or_default();
        assert_eq!(anthropic["type"], "error");
        assert_eq!(anthropic["error"]["message"], "no");
        assert_eq!(refusal.status(), 400);
    }
}
