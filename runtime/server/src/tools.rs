//! Conversations as prompts: messages, tools and what an answer may be.

use crate::ask::Ask;
use crate::hosted::Hosted;
use crate::refusal::Refusal;
use carat::Format;
use carat::internals::GenerateOptions;
use carat_text::reply::grammar::{self, CallsError, Rules};
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
        tell_of_tools(hosted, &mut talk)?;
        let mut ids = prompt(hosted, &talk)?;
        let opened = begun.is_none() && opens_reasoning(hosted, &ids)?;
        let reasoning = match (opened, hosted.syntax.has_reasoning() && begun.is_none()) {
            (true, _) => grammar::Reasoning::Opened,
            (false, true) => grammar::Reasoning::May,
            (false, false) => grammar::Reasoning::None,
        };
        if let Some(begun) = &begun {
            ids.extend(hosted.tokenizer()?.encode(begun, false));
        }
        options.shown = hosted.shown.clone();
        let mut ask = Ask::new(hosted, ids, options)?;
        let calls = match self.choice {
            Choice::Required | Choice::Named(_) => true,
            Choice::Auto => strict,
            Choice::None => false,
        };
        ask.format = match (calls, self.format.clone()) {
            (true, Format::Text) => self.calls(hosted, &known, reasoning)?,
            (true, _) => {
                return Err(Refusal::invalid(
                    "'response_format' and calls that must follow their schemas are both set; leave one out",
                )
                .at("response_format"));
            }
            (false, Format::JsonSchema(schema)) => json(hosted, &schema, reasoning)?,
            (false, Format::Json) => json(hosted, r#"{"type": "object"}"#, reasoning)?,
            (false, format) => format,
        };
        ask.parts = Some(Options {
            calls: !known.is_empty(),
            tools: known,
            reasoning_opened: opened,
        });
        ask.budget = self.budget;
        ask.raw = self.raw;
        Ok(ask)
    }

    /// Calls that must come, or whose arguments must follow their schemas.
    fn calls(
        &self,
        hosted: &Hosted,
        tools: &Tools,
        reasoning: grammar::Reasoning,
    ) -> Result<Format, Refusal> {
        let rules = Rules {
            choice: match &self.choice {
                Choice::Required => grammar::Choice::Required,
                Choice::Named(name) => grammar::Choice::Named(name.clone()),
                Choice::Auto | Choice::None => grammar::Choice::Auto,
            },
            parallel: self.parallel.unwrap_or(self.choice == Choice::Auto),
            reasoning,
        };
        let made = grammar::grammar(&hosted.syntax, hosted.tokenizer()?, tools, &rules);
        let lark = made.map_err(|e| {
            let param = match e {
                CallsError::NoTool { .. } | CallsError::NoTools => "tool_choice",
                _ => "tools",
            };
            Refusal::invalid(e.to_string()).at(param)
        })?;
        Ok(Format::Lark(lark))
    }
}

/// Tells a model of its tools whose template does not: in the system message, with the form of a call that is read here.
fn tell_of_tools(hosted: &Hosted, talk: &mut Conversation) -> Result<(), Refusal> {
    let template = hosted.prompter().template();
    let (Some(_), Some(template)) = (&talk.tools, template) else {
        return Ok(());
    };
    let fitted = hosted.fitted(talk)?;
    // Some have them under another name.
    let renamed = fitted
        .variables
        .iter()
        .any(|(name, _)| name.ends_with("tools"));
    let unread = template
        .unread(&fitted)?
        .is_some_and(|what| what == "'tools'");
    let Some(tools) = talk.tools.take_if(|_| unread && !renamed) else {
        return Ok(());
    };
    let tools = serde_json::to_string(&tools).unwrap_or_default();
    let text = format!(
        "You can call these functions:\n{tools}\nTo call one, answer with nothing but JSON: {{\"name\": NAME, \"arguments\": {{…}}}}"
    );
    let said = talk.messages.first();
    let system = said.filter(|m| m.get("role").and_then(Value::as_str) == Some("system"));
    let (text, rest) = match system.and_then(|m| m.get("content")).and_then(text_of) {
        Some(own) => (format!("{own}\n\n{text}"), 1),
        None => (text, 0),
    };
    let first = Conversation::of_texts([("system", text.as_str())]).messages;
    let rest = talk.messages.split_off(rest.min(talk.messages.len()));
    talk.messages = first.into_iter().chain(rest).collect();
    Ok(())
}

/// JSON of a schema, behind reasoning where there may be some.
fn json(hosted: &Hosted, schema: &str, reasoning: grammar::Reasoning) -> Result<Format, Refusal> {
    if reasoning == grammar::Reasoning::None {
        return Ok(Format::JsonSchema(schema.into()));
    }
    let made = grammar::json(&hosted.syntax, hosted.tokenizer()?, schema, reasoning);
    let lark = made.map_err(|e| Refusal::invalid(e.to_string()).at("response_format"))?;
    Ok(Format::Lark(lark))
}

/// Whether a tool's arguments must follow its schema.
fn is_strict(tools: &Value) -> bool {
    let strict = |t: &Value| {
        let function = t.get("function").unwrap_or(t);
        function.get("strict").and_then(Value::as_bool) == Some(true)
    };
    tools.items().is_some_and(|t| t.iter().any(strict))
}

/// Whether a prompt ends within reasoning.
fn opens_reasoning(hosted: &Hosted, ids: &[u32]) -> Result<bool, Refusal> {
    let tokenizer = hosted.tokenizer()?;
    let tail = ids[ids.len().saturating_sub(TAIL)..].iter();
    let tail = tail.flat_map(|id| tokenizer.decode_bytes(*id, true).iter().copied());
    let tail: Vec<u8> = tail.collect();
    Ok(hosted
        .syntax
        .opens_reasoning(&String::from_utf8_lossy(&tail)))
}

/// The tokens of a conversation's prompt.
///
/// Errors: the template fails or refuses.
pub fn prompt(hosted: &Hosted, talk: &Conversation) -> Result<Vec<u32>, Refusal> {
    let talk = hosted.fitted(talk)?;
    Ok(hosted.prompter().ids_at(&talk, Clock::now())?)
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
