//! Answers.

use crate::openai::usage::Facts;
use crate::parts::{Answer, Call};
use crate::values::arguments;
use carat_text::stop::StopReason;
use carat_text::template::Value;
use serde::Serialize;
use utoipa::ToSchema;

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: String,
    content: Vec<ContentBlock>,
    /// `end_turn`, `max_tokens`, `stop_sequence`, `tool_use` or `model_context_window_exceeded`.
    #[schema(required)]
    stop_reason: Option<&'static str>,
    /// The text that ended it.
    #[schema(required)]
    stop_sequence: Option<String>,
    usage: MessageUsage,
    #[serde(flatten)]
    facts: Facts,
}

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentBlock {
    /// What the user sees.
    Text {
        /// The text.
        text: String,
    },
    /// Reasoning.
    Thinking {
        /// The text.
        thinking: String,
        /// The blake3 hash of the text.
        signature: String,
    },
    /// A call of a tool.
    ToolUse {
        /// The name of the call.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        #[schema(value_type = Object)]
        input: Value,
    },
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct MessageUsage {
    /// Of the prompt, those that were computed.
    input_tokens: usize,
    /// 0: what is kept costs nothing.
    cache_creation_input_tokens: usize,
    /// Of the prompt, those that were kept of earlier texts.
    cache_read_input_tokens: usize,
    /// Of the answer.
    output_tokens: usize,
}

/// How many tokens a prompt has.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenCount {
    /// All of them.
    pub input_tokens: usize,
}

impl MessageUsage {
    /// Of an answer so far.
    pub fn of(answer: &Answer) -> Self {
        Self {
            input_tokens: answer.prompt.saturating_sub(answer.cached),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: answer.cached,
            output_tokens: answer.tokens(),
        }
    }
}

/// What all of an answer begins with.
pub struct Head {
    /// The name of the answer.
    pub id: String,
    /// The model.
    pub model: String,
    /// Reasoning is not told.
    pub omits: bool,
}

impl Head {
    /// An answer of which nothing is known but its prompt.
    pub fn begun(&self, answer: &Answer) -> Message {
        Message {
            id: self.id.clone(),
            kind: "message",
            role: "assistant",
            model: self.model.clone(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage: MessageUsage::of(answer),
            facts: Facts::default(),
        }
    }

    /// An answer that has ended.
    pub fn whole(&self, answer: Answer) -> Message {
        let (stop_reason, stop_sequence) = stop(&answer);
        let mut message = Message {
            stop_reason: Some(stop_reason),
            stop_sequence,
            facts: Facts::of(&answer),
            ..self.begun(&answer)
        };
        let blocks = &mut message.content;
        if !answer.reasoning.is_empty() {
            blocks.push(ContentBlock::Thinking {
                signature: signature(&answer.reasoning),
                thinking: match self.omits {
                    true => String::new(),
                    false => answer.reasoning,
                },
            });
        }
        let calls = answer.calls.into_iter().filter_map(|call| {
            let Call { id, name, .. } = call;
            let input = arguments(&call.arguments)?;
            Some(ContentBlock::ToolUse { id, name, input })
        });
        let calls: Vec<ContentBlock> = calls.collect();
        if !answer.content.is_empty() || (calls.is_empty() && blocks.is_empty()) {
            blocks.push(ContentBlock::Text {
                text: answer.content,
            });
        }
        blocks.extend(calls);
        message
    }
}

/// Reasoning comes back with its signature; here it is a hash, and nobody is distrusted.
pub fn signature(thinking: &str) -> String {
    blake3::hash(thinking.as_bytes()).to_hex().to_string()
}

/// Why an answer ended, and the text that ended it. A call that was broken off is none.
pub fn stop(answer: &Answer) -> (&'static str, Option<String>) {
    let mut calls = answer.calls.iter();
    match &answer.reason {
        Some(StopReason::Length | StopReason::Cancelled) => ("max_tokens", None),
        Some(StopReason::Context) => ("model_context_window_exceeded", None),
        _ if calls.any(|c| arguments(&c.arguments).is_some()) => ("tool_use", None),
        Some(StopReason::StopString { .. }) => ("stop_sequence", answer.stop.clone()),
        _ => ("end_turn", None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn head() -> Head {
        Head {
            id: "msg_1".into(),
            model: "m".into(),
            omits: false,
        }
    }

    #[test]
    fn parts_are_blocks() {
        let call = |arguments: &str| Call {
            id: "c".into(),
            name: "f".into(),
            arguments: arguments.into(),
        };
        let answer = Answer {
            reasoning: "Hm.".into(),
            content: "So.".into(),
            calls: vec![call("{\"b\":1,\"a\":2}"), call("{\"b\":")],
            prompt: 9,
            cached: 4,
            ids: vec![1, 2],
            hash: "h".into(),
            ..Answer::default()
        };
        let message = serde_json::to_value(head().whole(answer)).unwrap();
        assert_eq!(
            message["content"],
            json!([
                {"type": "thinking", "thinking": "Hm.", "signature": signature("Hm.")},
                {"type": "text", "text": "So."},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"b": 1, "a": 2}},
            ])
        );
        assert_eq!(message["stop_reason"], "tool_use");
        assert_eq!(message["usage"]["input_tokens"], 5);
        assert_eq!(message["usage"]["cache_read_input_tokens"], 4);
        assert_eq!(message["logits_hash"], "h");
    }

    #[test]
    fn ends_have_their_words() {
        let of = |reason, stop: Option<&str>| {
            let answer = Answer {
                reason: Some(reason),
                stop: stop.map(str::to_owned),
                ..Answer::default()
            };
            super::stop(&answer)
        };
        assert_eq!(of(StopReason::End { id: 1 }, None).0, "end_turn");
        assert_eq!(of(StopReason::Length, None).0, "max_tokens");
        assert_eq!(
            of(StopReason::Context, None).0,
            "model_context_window_exceeded"
        );
        assert_eq!(
            of(StopReason::StopString { index: 0 }, Some("x")),
            ("stop_sequence", Some("x".into()))
        );
        let message = serde_json::to_value(head().whole(Answer::default())).unwrap();
        assert_eq!(message["content"], json!([{"type": "text", "text": ""}]));
    }
}
