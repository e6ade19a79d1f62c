//! Conversations as prompts: messages, tools and what an answer may be.

use crate::ask::Ask;
use crate::hosted::Hosted;
use crate::refusal::Refusal;
use carat::Format;
use carat::internals::GenerateOptions;
use carat_text::reply::{Options, Tools};
use carat_text::template::{Clock, Conversation, Value};

/// What is asked of a conversation, whatever API it came by.
#[derive(Debug, Default)]
pub struct Talk {
    /// Messages, in OpenAI's form.
    pub messages: Vec<Value>,
    /// Tools, in OpenAI's form.
    pub tools: Option<Value>,
    /// Whether they may be called, must be, or which one.
    pub choice: Choice,
    /// Most calls of an answer is one.
    pub single: bool,
    /// Variables of the template, as `enable_thinking`.
    pub variables: Vec<(String, Value)>,
    /// What the answer follows.
    pub format: Format,
}

/// Whether tools are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// As the model likes.
    #[default]
    Auto,
    /// Never.
    None,
    /// One at least.
    Required,
    /// This one.
    Named(String),
}

/// Tokens at the end of a prompt in which reasoning may be opened.
const TAIL: usize = 16;

impl Talk {
    /// What the engine is asked for.
    ///
    /// Errors: the template refuses the messages, or what is left has no room in the context.
    pub fn ask(self, hosted: &Hosted, options: GenerateOptions) -> Result<Ask, Refusal> {
        let tools = self
            .tools
            .filter(|t| t.items().is_some_and(|t| !t.is_empty()));
        let tools = tools.filter(|_| self.choice != Choice::None);
        let known = match &tools {
            Some(tools) => {
                Tools::new(tools).map_err(|e| Refusal::invalid(e.to_string()).at("tools"))?
            }
            None => Tools::default(),
        };
        let calls = tools.is_some();
        if let Choice::Named(name) = &self.choice
            && known.get(name).is_none()
        {
            return Err(Refusal::invalid(format!(
                "'tool_choice' names '{name}', which is none of the tools; give it among them"
            ))
            .at("tool_choice"));
        }
        let (messages, begun) = prefill(self.messages);
        let talk = Conversation {
            messages,
            tools,
            variables: self.variables,
            ..Conversation::default()
        };
        let mut ids = prompt(hosted, &talk)?;
        let tokenizer = hosted.tokenizer()?;
        let tail = &ids[ids.len().saturating_sub(TAIL)..];
        let tail: Vec<u8> = tail
            .iter()
            .flat_map(|id| tokenizer.decode_bytes(*id, true).iter().copied())
            .collect();
        let opened = hosted
            .syntax
            .opens_reasoning(&String::from_utf8_lossy(&tail));
        if let Some(begun) = &begun {
            ids.extend(tokenizer.encode(begun, false));
        }
        let mut options = options;
        options.shown = hosted.shown.clone();
        let mut ask = Ask::new(hosted, ids, options)?;
        ask.format = self.format;
        ask.parts = Some(Options {
            calls,
            tools: known,
            reasoning_opened: opened && begun.is_none(),
        });
        Ok(ask)
    }
}

/// The tokens of a conversation's prompt.
///
/// Errors: the template fails or refuses.
pub fn prompt(hosted: &Hosted, talk: &Conversation) -> Result<Vec<u32>, Refusal> {
    let prompter = hosted.prompter();
    let fitted;
    let talk = match prompter.template() {
        Some(template) => {
            fitted = template.fitted(talk)?;
            &fitted
        }
        None => talk,
    };
    Ok(prompter.ids_at(talk, Clock::now())?)
}

/// A last message of the assistant is the beginning of the answer.
pub fn prefill(mut messages: Vec<Value>) -> (Vec<Value>, Option<String>) {
    let role = |m: &Value| m.get("role").and_then(Value::as_str).map(str::to_owned);
    let last = messages.last();
    let assistant = last.is_some_and(|m| role(m).as_deref() == Some("assistant"));
    let text = last.and_then(|m| m.get("content")).and_then(text_of);
    let calls = last.is_some_and(|m| m.get("tool_calls").is_some());
    match text.filter(|t| assistant && !calls && !t.is_empty()) {
        Some(text) if messages.len() > 1 => {
            messages.pop();
            (messages, Some(text))
        }
        _ => (messages, None),
    }
}

/// The text of a content: a string, or its parts.
pub fn text_of(content: &Value) -> Option<String> {
    if let Some(text) = content.as_str() {
        return Some(text.to_owned());
    }
    let parts = content.items()?.iter();
    let parts = parts.filter_map(|p| p.get("text").and_then(Value::as_str));
    Some(parts.collect::<Vec<_>>().join("\n\n"))
}

/// What `response_format`, `json_schema` and `grammar` say.
///
/// Errors: a format that is none.
pub fn format(
    response_format: Option<&Value>,
    json_schema: Option<&Value>,
) -> Result<Format, Refusal> {
    let wrong = |text: String| Err(Refusal::invalid(text).at("response_format"));
    let schema = |schema: &Value| match serde_json::to_string(schema) {
        Ok(text) => Ok(Format::JsonSchema(text)),
        Err(e) => {
            Err(Refusal::invalid(format!("the schema is no JSON: {e}")).at("response_format"))
        }
    };
    if let Some(given) = json_schema.filter(|s| !s.is_none()) {
        return schema(given);
    }
    let Some(format) = response_format.filter(|f| !f.is_none()) else {
        return Ok(Format::Text);
    };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Format::Text),
        Some("json_object") => match format.get("schema") {
            Some(given) => schema(given),
            None => Ok(Format::Json),
        },
        Some("json_schema") => {
            let inner = format.get("json_schema").unwrap_or(format);
            match inner.get("schema") {
                Some(given) => schema(given),
                None => wrong(
                    "'response_format' has no 'schema'; expected {\"type\": \"json_schema\", \"json_schema\": {\"schema\": {…}}}".into(),
                ),
            }
        }
        Some(other) => wrong(format!(
            "'response_format' is of type '{other}'; expected 'text', 'json_object' or 'json_schema'"
        )),
        None => wrong(
            "'response_format' has no 'type'; expected 'text', 'json_object' or 'json_schema'"
                .into(),
        ),
    }
}
