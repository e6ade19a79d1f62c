//! Requests.

use crate::refusal::Refusal;
use crate::tools::{Talk, format};
use crate::values::TextOr;
use carat_text::template::Value;
use serde::Deserialize;
use utoipa::ToSchema;

/// What a prompt is made of.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Prompted {
    /// A model of `/v1/models`; with one model any name is that model's.
    pub model: Option<String>,
    /// What was said. A last message of the assistant is the beginning of the answer.
    pub messages: Vec<InputMessage>,
    /// What the model is told in front.
    pub system: Option<TextOr<TextBlock>>,
    /// Functions that may be called.
    #[serde(default)]
    pub tools: Vec<ToolDefinition>,
    /// Whether they are called.
    pub tool_choice: Option<ToolChoice>,
    /// Whether the model reasons, where its template can say so.
    pub thinking: Option<Thinking>,
}

/// How the answer goes on.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MessagesRequest {
    /// Most tokens of the answer, reasoning included.
    pub max_tokens: u32,
    /// Whether the answer comes piece by piece.
    pub stream: Option<bool>,
    /// Texts that end the answer.
    pub stop_sequences: Option<Vec<String>>,
    /// What the answer follows, and how much to reason.
    pub output_config: Option<OutputConfig>,
}

/// For the description alone: all are read from one object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct MessagesBody {
    #[serde(flatten)]
    prompted: Prompted,
    #[serde(flatten)]
    request: MessagesRequest,
    #[serde(flatten)]
    sampling: crate::sampling::SamplingFields,
}

/// What someone said.
#[derive(Debug, Deserialize, ToSchema)]
pub struct InputMessage {
    /// Who.
    pub role: Role,
    /// What.
    pub content: TextOr<InputBlock>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
    /// Whoever runs both.
    System,
}

/// A piece of what someone said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputBlock {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// What the model thought.
    Thinking {
        /// The text.
        thinking: String,
    },
    /// What another model thought, which nobody here can read: it is left out.
    RedactedThinking {},
    /// A call of the model.
    ToolUse {
        /// The name of the call.
        id: String,
        /// The tool.
        name: String,
        /// The arguments.
        #[serde(default)]
        #[schema(value_type = Object)]
        input: Value,
    },
    /// What a tool gave.
    ToolResult {
        /// The name of the call.
        tool_use_id: String,
        /// The result. The text itself should say that it is an error.
        content: Option<TextOr<TextBlock>>,
    },
}

/// A text within a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextBlock {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
}

impl TextBlock {
    /// The text.
    pub fn text(&self) -> &str {
        let Self::Text { text } = self;
        text
    }
}

/// A function that may be called.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ToolDefinition {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input_schema: Value,
    /// `custom`: this server runs no tools itself.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// Whether tools are called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    /// As the model likes.
    Auto {
        /// Most calls of an answer is one.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// One at least.
    Any {
        /// Most calls of an answer is one.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// This one.
    Tool {
        /// Its name.
        name: String,
        /// Most calls of an answer is one.
        #[serde(default)]
        disable_parallel_tool_use: bool,
    },
    /// Never.
    None {},
}

/// Whether the model reasons.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Thinking {
    /// It does.
    Enabled {
        /// Most tokens of reasoning.
        budget_tokens: u32,
        /// Whether it is told.
        display: Option<Display>,
    },
    /// As it likes.
    Adaptive {
        /// Whether it is told.
        display: Option<Display>,
    },
    /// It does not.
    Disabled {},
}

/// Whether reasoning is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Display {
    /// It is, and not in other words.
    Summarized,
    /// It is not: blocks of it are empty.
    Omitted,
}

/// What an answer follows.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OutputConfig {
    /// `{"type": "json_schema", "schema": {…}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub format: Value,
    /// How much to reason: a variable of the template, `reasoning_effort`.
    pub effort: Option<String>,
}

impl Prompted {
    /// Most tokens of reasoning, where that is said.
    pub fn budget(&self) -> Option<u32> {
        match self.thinking {
            Some(Thinking::Enabled { budget_tokens, .. }) => Some(budget_tokens),
            _ => None,
        }
    }

    /// Errors: reasoning may take all tokens of the answer.
    pub fn check_budget(&self, max_tokens: u32) -> Result<(), Refusal> {
        match self.budget() {
            Some(budget) if budget >= max_tokens => Err(Refusal::invalid(format!(
                "'thinking.budget_tokens' is {budget} and 'max_tokens' is {max_tokens}; expected a budget below 'max_tokens'"
            ))
            .at("thinking.budget_tokens")),
            _ => Ok(()),
        }
    }

    /// Whether reasoning is not to be told.
    pub fn omits_thinking(&self) -> bool {
        let (Some(Thinking::Enabled { display, .. }) | Some(Thinking::Adaptive { display })) =
            &self.thinking
        else {
            return false;
        };
        *display == Some(Display::Omitted)
    }
}

impl MessagesRequest {
    /// Adds what the answer follows.
    ///
    /// Errors: a format that is none.
    pub fn restrict(&self, talk: &mut Talk) -> Result<(), Refusal> {
        let Some(config) = &self.output_config else {
            return Ok(());
        };
        talk.format = format(Some(&config.format), None).map_err(|mut e| {
            e.param = Some("output_config.format".into());
            e
        })?;
        if let Some(effort) = &config.effort {
            let effort = ("reasoning_effort".to_owned(), effort.as_str().into());
            talk.variables.push(effort);
        }
        Ok(())
    }
}
