//! A conversation as an API has it, made such as a template reads it.

use super::chat::{ChatError, ChatTemplate, Conversation};
use super::input::{Clock, Input};
use super::limits::Limits;
use super::parser::Mentions;
use super::read;
use super::render::render;
use super::value::Value;

/// What a template reads of a conversation.
///
/// APIs have one form of messages. Templates differ: some take content in parts, some texts alone; most take the arguments
/// of earlier calls as objects, where OpenAI's API has texts of JSON. What a template takes is found by rendering small conversations
/// with it, so that a template needs no row in a table. A template that fails on one does not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Content may be a list of parts.
    parts: bool,
    /// Arguments of calls are objects, else texts of JSON.
    objects: bool,
    /// Where there are calls and no content, this is null, else an empty text.
    null: bool,
    /// There is a role `developer`.
    developer: bool,
    /// There is a role `system`.
    system: bool,
    /// Results of tools stand with the calls, in `tool_responses`.
    responses: bool,
    /// The name of a message's reasoning.
    reasoning: &'static str,
    /// The tools are in this variable, too.
    tools: Option<&'static str>,
}

const USER: &str = "kx1";
const OTHER: &str = "kx2";

impl Fit {
    /// What a template in Jinja reads.
    ///
    /// Errors: a source that is no template.
    pub fn of_source(source: &str) -> Result<Self, ChatError> {
        let words = Mentions::of(source)?;
        let user = || message("user", USER.into());
        let shown = |messages: Vec<Value>| prompt(source, messages);
        let shows =
            |messages: Vec<Value>, text: &str| shown(messages).is_some_and(|p| p.contains(text));
        let parts = vec![dict([("type", "text".into()), ("text", USER.into())])];
        let plain = shown(vec![user()]);
        let in_parts = shown(vec![message("user", parts.into())]);
        let with = |role: &str| shows(vec![message(role, OTHER.into()), user()], OTHER);
        let call = |content: Value, arguments: Value, wrong: &str| {
            let shown = shown(vec![user(), caller(content, arguments), result()]);
            shown.is_some_and(|p| p.contains("kx4") && !p.contains(wrong))
        };
        let object = |content: Value| call(content, dict([("kx3", "kx4".into())]), "{'kx3'");
        // A text within a text has escapes.
        let text = |content: Value| call(content, r#"{"kx3": "kx4"}"#.into(), "\\\"kx3");
        let (empty, null) = (|| Value::from(""), Value::default);
        // Whether content is null beside calls, and whether arguments are objects.
        let (null, objects) = match () {
            () if object(empty()) => (false, true),
            () if text(empty()) => (false, false),
            () if object(null()) => (true, true),
            () if text(null()) => (true, false),
            () => (false, true),
        };
        let named = ["thinking", "reasoning"].into_iter().find(|n| words.has(n));
        let reasoning = named.filter(|_| !words.has("reasoning_content"));
        Ok(Self {
            parts: plain.is_some() && plain == in_parts,
            objects,
            null,
            developer: words.has("developer") && with("developer"),
            system: plain.is_none() || with("system"),
            responses: words.has("tool_responses") && !words.has("tool_call_id"),
            reasoning: reasoning.unwrap_or("reasoning_content"),
            tools: (words.has("xml_tools") && !words.has("tools")).then_some("xml_tools"),
        })
    }

    /// The conversation as the template reads it:
    ///
    /// * arguments of calls are objects, or texts of JSON where the template takes these alone; a text that is no JSON stays;
    /// * parts of type `text` are joined where the template takes no parts; where others are among them, they stay as they are;
    /// * a `developer` is the `system` where the template does not know one, and a `system` that it does not know stands in front
    ///   of the next user's text;
    /// * a message without content has an empty one, or null beside calls where the template shows these alone then; one without
    ///   calls has no list of them;
    /// * the result of a tool has the `name` of the call with its `tool_call_id`, and both stay;
    /// * reasoning has the name that the template reads.
    pub fn apply(&self, talk: &Conversation) -> Conversation {
        let mut talk = talk.clone();
        let mut messages: Vec<Value> = Vec::with_capacity(talk.messages.len());
        let mut names: Vec<(String, Value)> = Vec::new();
        let mut system = String::new();
        for message in &talk.messages {
            let message = self.message(message, &mut names);
            match message.get("role").and_then(Value::as_str) {
                Some("system") if !self.system => {
                    system.push_str(text(&message));
                    system.push_str("\n\n");
                }
                Some("user")
                    if !system.is_empty() && message.get("content").is_some_and(is_text) =>
                {
                    system.push_str(text(&message));
                    messages.push(with(&message, "content", system.as_str().into()));
                    system.clear();
                }
                _ => messages.push(message),
            }
        }
        if !system.is_empty() {
            messages.push(self::message("user", system.trim_end().into()));
        }
        if self.responses {
            messages = responses(messages);
        }
        talk.messages = messages;
        if let (Some(name), Some(tools)) = (self.tools, &talk.tools)
            && !talk.variables.iter().any(|v| v.0 == name)
        {
            talk.variables.push((name.into(), tools.clone()));
        }
        talk
    }

    fn message(&self, message: &Value, names: &mut Vec<(String, Value)>) -> Value {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        let calls = message.get("tool_calls").and_then(Value::items);
        let null = self.null && calls.is_some_and(|c| !c.is_empty());
        let empty = || if null { Value::default() } else { "".into() };
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for (key, value) in message.entries().unwrap_or_default() {
            let (key, value) = match key.as_str() {
                Some("role") if role == "developer" && !self.developer => {
                    (key.clone(), "system".into())
                }
                Some("content") if value.is_none() || value.as_str() == Some("") => {
                    (key.clone(), empty())
                }
                Some("content") if !self.parts => (key.clone(), joined(value)),
                Some("tool_calls") if value.items().is_none_or(<[Value]>::is_empty) => continue,
                Some("tool_calls") => (key.clone(), self.calls(value, names)),
                Some("reasoning_content") => (self.reasoning.into(), value.clone()),
                _ => (key.clone(), value.clone()),
            };
            pairs.push((key, value));
        }
        let has = |key: &str| message.get(key).is_some();
        if !has("content") {
            pairs.push(("content".into(), empty()));
        }
        if role == "tool" && !has("name") {
            let id = message.get("tool_call_id").and_then(Value::as_str);
            // Ids may occur again: the last one is meant.
            let name = names.iter().rev().find(|n| Some(n.0.as_str()) == id);
            pairs.extend(name.map(|n| ("name".into(), n.1.clone())));
        }
        // Keys were keys before.
        Value::map(pairs).unwrap_or_default()
    }

    fn calls(&self, calls: &Value, names: &mut Vec<(String, Value)>) -> Value {
        let calls = calls.items().unwrap_or_default().iter().map(|call| {
            let Some(function) = call.get("function") else {
                return call.clone();
            };
            let id = call.get("id").and_then(Value::as_str);
            if let (Some(id), Some(name)) = (id, function.get("name")) {
                names.push((id.into(), name.clone()));
            }
            let Some(arguments) = function.get("arguments") else {
                return with(call, "function", with(function, "arguments", dict([])));
            };
            let arguments = match arguments.as_str() {
                Some("") if self.objects => dict([]),
                Some(text) if self.objects => read::json(text)
                    .filter(|v| v.entries().is_some())
                    .unwrap_or_else(|| arguments.clone()),
                None if !self.objects => match super::json::plain(arguments) {
                    Some(text) => text.as_str().into(),
                    None => arguments.clone(),
                },
                _ => arguments.clone(),
            };
            with(call, "function", with(function, "arguments", arguments))
        });
        calls.collect::<Vec<_>>().into()
    }
}

impl ChatTemplate {
    /// The conversation as the template reads it that it will be rendered with: see [`Fit::apply`].
    ///
    /// Errors: those of the template's choice; a source that is no template.
    pub fn fitted(&self, talk: &Conversation) -> Result<Conversation, ChatError> {
        Ok(Fit::of_source(self.source(talk)?)?.apply(talk))
    }
}

fn dict<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::map(pairs.map(|(k, v)| (k.into(), v))).unwrap_or_default()
}

fn message(role: &str, content: Value) -> Value {
    dict([("role", role.into()), ("content", content)])
}

/// A message with another value of a key.
fn with(dict: &Value, key: &str, value: Value) -> Value {
    let pairs = dict.entries().unwrap_or_default().iter().cloned();
    Value::map(pairs.chain([(key.into(), value)])).unwrap_or_default()
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some()
}

fn text(message: &Value) -> &str {
    message
        .get("content")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Parts of text as one text; anything else as it is.
fn joined(content: &Value) -> Value {
    let Some(parts) = content.items() else {
        return content.clone();
    };
    let text = |part: &Value| {
        let kind = part.get("type").and_then(Value::as_str);
        let text = part.get("text").and_then(Value::as_str);
        let is_text = matches!(kind, None | Some("text" | "input_text" | "output_text"));
        text.filter(|_| is_text).map(str::to_owned)
    };
    let texts: Option<Vec<String>> = parts.iter().map(text).collect();
    texts.map_or_else(|| content.clone(), |t| t.join("\n").as_str().into())
}

/// Results of tools within the message with the calls, and the text that follows them.
fn responses(messages: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::with_capacity(messages.len());
    let mut messages = messages.into_iter().peekable();
    let role = |m: &Value| m.get("role").and_then(Value::as_str).map(str::to_owned);
    while let Some(mut message) = messages.next() {
        let calls = message.get("tool_calls").is_some();
        let mut results = Vec::new();
        while calls && let Some(result) = messages.next_if(|m| role(m).as_deref() == Some("tool")) {
            let of = |key: &str| result.get(key).cloned().unwrap_or_default();
            let content = of("content");
            // What is JSON is shown as what it is.
            let response = content.as_str().and_then(read::json).unwrap_or(content);
            results.push(dict([("name", of("name")), ("response", response)]));
        }
        if !results.is_empty() {
            message = with(&message, "tool_responses", results.into());
            let follows = |m: &Value| {
                role(m).as_deref() == Some("assistant")
                    && m.get("tool_calls").is_none()
                    && !text(m).is_empty()
            };
            if text(&message).is_empty()
                && let Some(next) = messages.next_if(follows)
            {
                message = with(&message, "content", text(&next).into());
            }
        }
        out.push(message);
    }
    out
}

/// The prompt of a small conversation; nothing where the template fails.
fn prompt(source: &str, messages: Vec<Value>) -> Option<String> {
    let function = dict([
        ("name", "kx5".into()),
        ("description", "kx6".into()),
        (
            "parameters",
            dict([("type", "object".into()), ("properties", dict([]))]),
        ),
    ]);
    let tools = vec![dict([("type", "function".into()), ("function", function)])];
    let calls = messages.len() > 2;
    let input = Input {
        messages: messages.into(),
        tools: calls.then(|| tools.into()),
        add_generation_prompt: true,
        bos_token: "".into(),
        eos_token: "".into(),
        clock: Clock::Unix(0),
        variables: Vec::new(),
    };
    let mut limits = Limits::default();
    limits.fuel /= 8;
    render(source, &input, &limits).ok()
}

/// A message with a call. The id is as long as Mistral's templates want it.
fn caller(content: Value, arguments: Value) -> Value {
    let function = dict([("name", "kx5".into()), ("arguments", arguments)]);
    let call = dict([
        ("id", "abcdefghi".into()),
        ("type", "function".into()),
        ("function", function),
    ]);
    dict([
        ("role", "assistant".into()),
        ("content", content),
        ("tool_calls", vec![call].into()),
    ])
}

fn result() -> Value {
    dict([
        ("role", "tool".into()),
        ("tool_call_id", "abcdefghi".into()),
        ("name", "kx5".into()),
        ("content", "kx7".into()),
    ])
}
