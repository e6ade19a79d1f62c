//! Conversations as prompts: messages, tools and what an answer may be.

use crate::ask::Ask;
use crate::hosted::Hosted;
use crate::refusal::Refusal;
use carat::Format;
pub use carat::ToolChoice as Choice;
pub use carat::internals::text_of;
use carat::internals::{GenerateOptions, Thought, is_strict};
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
    /// Whether an answer may have several calls. Where nothing is said it may if the model calls by itself, and has one if it must.
    pub parallel: Option<bool>,
    /// Variables of the template, as `enable_thinking`.
    pub variables: Vec<(String, Value)>,
    /// What the answer follows.
    pub format: Format,
    /// Tokens of reasoning, at most.
    pub budget: Option<usize>,
    /// Reasoning is content.
    pub raw: bool,
}

impl Talk {
    /// What the engine is asked for.
    ///
    /// Errors: the template refuses the messages, or what is left has no room in the context; calls or a format that cannot be
    /// followed.
    pub fn ask(mut self, hosted: &Hosted, mut options: GenerateOptions) -> Result<Ask, Refusal> {
        let given = self.tools.take();
        let given = given.filter(|t| t.items().is_some_and(|t| !t.is_empty()));
        let given = given.filter(|_| self.choice != Choice::None);
        let known = match &given {
            Some(tools) => {
                Tools::new(tools).map_err(|e| Refusal::invalid(e.to_string()).at("tools"))?
            }
            None => Tools::default(),
        };
        let strict = given.as_ref().is_some_and(is_strict);
        let (messages, begun) = prefill(std::mem::take(&mut self.messages));
        let mut talk = Conversation {
            messages,
            tools: given,
            variables: std::mem::take(&mut self.variables),
            ..Conversation::default()
        };
        let dialect = &hosted.dialect;
        dialect.tell_of_tools(&mut talk)?;
        let mut ids = prompt(hosted, &talk)?;
        let thought = match begun.is_none() {
            true => dialect.thought(&ids)?,
            false => Thought::None,
        };
        if let Some(begun) = &begun {
            ids.extend(hosted.tokenizer()?.encode(begun, false));
        }
        options.shown = dialect.shown().to_vec();
        let mut ask = Ask::new(hosted, ids, options)?;
        let calls = match self.choice {
            Choice::Required | Choice::Named(_) => true,
            Choice::Auto => strict,
            Choice::None => false,
        };
        ask.format = match (calls, self.format.clone()) {
            (true, Format::Text) => {
                let parallel = self.parallel.unwrap_or(self.choice == Choice::Auto);
                let made = dialect.calls(&known, &self.choice, parallel, thought);
                made.map_err(|e| match e.code() {
                    carat::ErrorCode::Parameter => {
                        Refusal::invalid(e.to_string()).at("tool_choice")
                    }
                    _ => Refusal::invalid(e.to_string()).at("tools"),
                })?
            }
            (true, _) => {
                return Err(Refusal::invalid(
                    "'response_format' and calls that must follow their schemas are both set; leave one out",
                )
                .at("response_format"));
            }
            (false, format) => {
                let made = dialect.format(format, thought);
                made.map_err(|e| Refusal::invalid(e.to_string()).at("response_format"))?
            }
        };
        ask.parts = Some(Options {
            calls: !known.is_empty(),
            tools: known,
            reasoning_opened: thought == Thought::Opened,
        });
        ask.budget = self.budget;
        ask.raw = self.raw;
        Ok(ask)
    }
}

/// The tokens of a conversation's prompt.
///
/// Errors: the template fails or refuses.
pub fn prompt(hosted: &Hosted, talk: &Conversation) -> Result<Vec<u32>, Refusal> {
    Ok(hosted.dialect.ids(talk, Clock::now())?)
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
