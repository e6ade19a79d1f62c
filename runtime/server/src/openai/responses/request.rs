//! Requests.

use crate::refusal::Refusal;
use crate::values::TextOr;
use carat_text::template::Value;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Most entries of `metadata`.
const MOST_METADATA: usize = 16;

/// A conversation whose next answer is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ResponsesRequest {
    /// A model of `/v1/models`; with one model any name is that model's.
    pub model: Option<String>,
    /// What was said: a message of the user, or items.
    pub input: TextOr<InputItem>,
    /// What the model is told in front.
    pub instructions: Option<String>,
    /// Functions that may be called, as `{"type": "function", "name": …, "parameters": {…}}`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Value,
    /// `none`, `auto`, `required`, or a function.
    #[serde(default)]
    #[schema(value_type = Option<crate::describe::forms::ToolChoiceForm>)]
    pub tool_choice: Value,
    /// Whether an answer may call several.
    pub parallel_tool_calls: Option<bool>,
    /// What the answer follows.
    pub text: Option<TextConfig>,
    /// Whether the answer comes piece by piece.
    pub stream: Option<bool>,
    /// How much to reason.
    pub reasoning: Option<ReasoningConfig>,
    /// What comes back with the answer.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Ignored: nothing is kept.
    #[allow(dead_code)]
    pub store: Option<bool>,
    /// An error: nothing is kept.
    pub previous_response_id: Option<String>,
    /// An error: nothing is kept.
    #[serde(default)]
    #[schema(schema_with = crate::describe::anything)]
    pub conversation: Value,
    /// An error if true: nothing is kept.
    pub background: Option<bool>,
}

/// For the description alone: both are read from one object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct ResponsesBody {
    #[serde(flatten)]
    request: ResponsesRequest,
    #[serde(flatten)]
    sampling: crate::sampling::SamplingFields,
}

/// Something that was said or done: a message, a call of a function, its output, or reasoning.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct InputItem {
    /// `message` (also without a type), `function_call`, `function_call_output` or `reasoning`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Who says a message: `user`, `assistant`, `system` or `developer`.
    pub role: Option<String>,
    /// What a message says, or what the model thought.
    pub content: Option<TextOr<Part>>,
    /// What the model thought in short, where it is not in `content`.
    pub summary: Option<Vec<Part>>,
    /// The name of a call.
    pub call_id: Option<String>,
    /// The function of a call.
    pub name: Option<String>,
    /// The arguments of a call, a text of JSON.
    pub arguments: Option<String>,
    /// The output of a call.
    pub output: Option<TextOr<Part>>,
}

/// A part of a message.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Part {
    /// `input_text`, `output_text`, `reasoning_text`, `summary_text` or `refusal`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text.
    #[serde(alias = "refusal")]
    pub text: Option<String>,
}

/// What an answer follows.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct TextConfig {
    /// `{"type": "text"}`, `{"type": "json_object"}` or `{"type": "json_schema", "name": …, "schema": {…}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub format: Value,
}

/// How much to reason.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct ReasoningConfig {
    /// A variable of the template, `reasoning_effort`.
    pub effort: Option<String>,
}

impl ResponsesRequest {
    /// Errors: what needs a store, too much that is to come back.
    pub fn check(&self) -> Result<(), Refusal> {
        let kept = |field: &str, remedy: &str| {
            // No status that clients ask again after.
            Err(Refusal::invalid(format!(
                "'{field}' is given, and this server keeps no answers; {remedy}"
            ))
            .at(field))
        };
        if self.previous_response_id.is_some() {
            return kept(
                "previous_response_id",
                "send the items of the conversation as 'input'",
            );
        }
        if !self.conversation.is_none() {
            return kept(
                "conversation",
                "send the items of the conversation as 'input'",
            );
        }
        if self.background == Some(true) {
            return kept("background", "wait for the answer, or stream it");
        }
        match self.metadata.as_ref().map_or(0, BTreeMap::len) {
            n if n > MOST_METADATA => Err(Refusal::invalid(format!(
                "'metadata' has {n} entries; expected at most {MOST_METADATA}"
            ))
            .at("metadata")),
            _ => Ok(()),
        }
    }
}
