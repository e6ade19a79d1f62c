//! A conversation as the tokens that a model is sent: one construction for whoever has one.

use super::error::TemplateError;
use super::input::{Clock, Input};
use super::limits::{Limits, MAX_NESTING};
use super::parser;
use super::render::render;
use super::value::Value;
use crate::tokenizer::{Tokenizer, free_mark, keys as text};
use carat_format::{FormatError, keys};
use carat_gguf::{Header, OwnedValue};

/// The name of the template that is taken where nothing asks for another.
pub const DEFAULT: &str = "default";
/// The name of the one that is taken where there are tools.
const TOOL_USE: &str = "tool_use";

/// Variables of a template that are texts of the tokenizer's special tokens.
pub const TOKEN_VARIABLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The chat templates of a model, and the texts of special tokens that they may print.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Jinja by name; most models have one, which is [`DEFAULT`].
    pub sources: Vec<(String, String)>,
    /// Texts of special tokens by the names of their variables, as `bos_token`. One that the tokenizer does
    /// not have is not here, and undefined in the template.
    pub tokens: Vec<(String, String)>,
}

impl ChatTemplate {
    /// One template, with the tokens of the model that it is for.
    pub fn of_source(source: String, tokens: Vec<(String, String)>) -> Self {
        Self {
            sources: vec![(DEFAULT.into(), source)],
            tokens,
        }
    }

    /// The templates that a GGUF or Carat file holds.
    ///
    /// Errors: a key of another type.
    pub fn of_header(header: &Header<'_>) -> Result<Option<Self>, FormatError> {
        let mut sources = Vec::new();
        if let Some(source) = header.str_opt(keys::CHAT_TEMPLATE)? {
            sources.push((DEFAULT.to_owned(), source.to_owned()));
        }
        for (key, _) in header.metadata() {
            let name = key.strip_prefix(keys::CHAT_TEMPLATE);
            if let Some(name) = name.and_then(|n| n.strip_prefix('.'))
                && let Some(source) = header.str_opt(key)?
            {
                sources.push((name.to_owned(), source.to_owned()));
            }
        }
        if sources.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            sources,
            tokens: tokens_of(header)?,
        }))
    }

    /// The metadata of a file that holds them.
    pub fn to_gguf(&self) -> Vec<(String, OwnedValue)> {
        let mut out: Vec<(String, OwnedValue)> = Vec::new();
        let mut names = Vec::new();
        for (name, source) in &self.sources {
            if name == DEFAULT {
                out.push((keys::CHAT_TEMPLATE.into(), source.as_str().into()));
                continue;
            }
            // As GGUF's own writer spells names.
            let plain = |c: char| {
                if c.is_ascii_alphanumeric() { c } else { '_' }
            };
            let name: String = name.chars().map(plain).collect();
            if !names.contains(&name) {
                out.push((
                    format!("{}.{name}", keys::CHAT_TEMPLATE),
                    source.as_str().into(),
                ));
                names.push(name);
            }
        }
        if !names.is_empty() {
            out.push((keys::CHAT_TEMPLATES.into(), names.into()));
        }
        if !self.sources.is_empty() {
            let (names, texts): (Vec<String>, Vec<String>) = self.tokens.iter().cloned().unzip();
            out.push((keys::TOKEN_VARIABLES.into(), names.into()));
            out.push((keys::TOKEN_VARIABLE_TEXTS.into(), texts.into()));
        }
        out
    }

    /// The template for a conversation, by `transformers`' rule: the one it names; `tool_use` where there
    /// are tools; `default`.
    ///
    /// Errors: there is none of that name, or several and none of them is the default.
    pub fn source(&self, talk: &Conversation) -> Result<&str, ChatError> {
        let of = |name: &str| self.sources.iter().find(|s| s.0 == name);
        let found = match &talk.template {
            Some(name) => of(name),
            None => (talk.tools.as_ref().and_then(|_| of(TOOL_USE))).or_else(|| of(DEFAULT)),
        };
        let names = || {
            let mut names: Vec<&str> = self.sources.iter().map(|s| s.0.as_str()).collect();
            names.sort_unstable();
            names.join(", ")
        };
        match (found, &talk.template) {
            (Some((_, source)), _) => Ok(source),
            (None, Some(name)) => Err(ChatError::NoTemplate {
                name: name.clone(),
                names: names(),
            }),
            (None, None) => Err(ChatError::NoDefault { names: names() }),
        }
    }

    /// The prompt of a conversation; every text of it passes through `shield` before the template sees it.
    ///
    /// Errors: those of the template and of its choice; a variable that the template does not read.
    pub fn render(
        &self,
        talk: &Conversation,
        clock: Clock,
        shield: &dyn Fn(&str) -> String,
    ) -> Result<String, ChatError> {
        let source = self.source(talk)?;
        let template = parser::Mentions::of(source)?;
        for (name, _) in &talk.variables {
            if !TOKEN_VARIABLES.contains(&name.as_str()) && !template.has(name) {
                return Err(ChatError::Unread { name: name.clone() });
            }
        }
        Ok(render(
            source,
            &self.input(talk, clock, shield)?,
            &Limits::default(),
        )?)
    }

    /// What of a conversation the template does not read, if it is neither null nor empty: its `tools`, or the first such field of
    /// a message. As in `transformers` that is no error.
    ///
    /// Errors: those of the template's choice, and of its words.
    pub fn unread(&self, talk: &Conversation) -> Result<Option<String>, ChatError> {
        let template = parser::Mentions::of(self.source(talk)?)?;
        let filled = |v: &Value| !v.is_none() && v.items().is_none_or(|list| !list.is_empty());
        if talk.tools.as_ref().is_some_and(filled) && !template.has("tools") {
            return Ok(Some("'tools'".into()));
        }
        if template.wholes() {
            return Ok(None);
        }
        for (i, message) in talk.messages.iter().enumerate() {
            for (key, value) in message.entries().unwrap_or_default() {
                let key = key.as_str().unwrap_or_default();
                if !matches!(key, "role" | "content") && filled(value) && !template.has(key) {
                    return Ok(Some(format!("'{key}' of message {}", i + 1)));
                }
            }
        }
        Ok(None)
    }

    /// What the template sees.
    fn input(
        &self,
        talk: &Conversation,
        clock: Clock,
        shield: &dyn Fn(&str) -> String,
    ) -> Result<Input, ChatError> {
        talk.shallow()?;
        let mut variables: Vec<(String, Value)> = Vec::new();
        for (name, text) in &self.tokens {
            variables.push((name.clone(), text.as_str().into()));
        }
        for (name, value) in &talk.variables {
            variables.retain(|v| v.0 != *name);
            // A token that is null is none.
            match TOKEN_VARIABLES.contains(&name.as_str()) {
                true if value.is_none() => {}
                true => variables.push((name.clone(), value.clone())),
                false => variables.push((name.clone(), value.each_text(shield))),
            }
        }
        let messages: Vec<Value> = talk.messages.iter().map(|m| m.each_text(shield)).collect();
        Ok(Input {
            messages: messages.into(),
            tools: talk.tools.as_ref().map(|t| t.each_text(shield)),
            add_generation_prompt: talk.add_generation_prompt.unwrap_or(true),
            bos_token: Value::default(),
            eos_token: Value::default(),
            clock: match &talk.date {
                Some(date) => Clock::Text(shield(date)),
                None => clock,
            },
            variables,
        })
    }
}

/// Texts of special tokens: as the checkpoint's tokenizer had them, or else those that the ids name.
fn tokens_of(header: &Header<'_>) -> Result<Vec<(String, String)>, FormatError> {
    if let Some(names) = header.str_array_opt(keys::TOKEN_VARIABLES)? {
        let texts = header.str_array_opt(keys::TOKEN_VARIABLE_TEXTS)?;
        let pairs = names.zip(texts.into_iter().flatten());
        return Ok(pairs.map(|(n, t)| (n.to_owned(), t.to_owned())).collect());
    }
    let mut tokens = Vec::new();
    for (name, key) in [("bos_token", text::BOS), ("eos_token", text::EOS)] {
        let Some(id) = header.u32_opt(key)? else {
            continue;
        };
        let all = header.str_array_opt(text::TOKENS)?;
        if let Some(token) = all.and_then(|mut t| t.nth(id as usize)) {
            tokens.push((name.to_owned(), token.to_owned()));
        }
    }
    Ok(tokens)
}

/// A conversation with all that a template may read of it.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// Dicts with `role`, and what else the template reads: `content` (a text, parts, null), `name`,
    /// `tool_calls`, `reasoning_content` …
    pub messages: Vec<Value>,
    /// Tools that the model may call, where there is a list of them.
    pub tools: Option<Value>,
    /// Whether the prompt ends where the model's answer begins; it does where nothing is said.
    pub add_generation_prompt: Option<bool>,
    /// What `strftime_now` tells, whatever the format.
    pub date: Option<String>,
    /// The name of the template.
    pub template: Option<String>,
    /// Further variables of the template, as `enable_thinking`, and texts of special tokens.
    pub variables: Vec<(String, Value)>,
}

const EXPECTED: &str = r#"expected {"messages": [{"role": "user", "content": "Hello"}]}"#;

impl Conversation {
    /// Messages of a role and a text.
    pub fn of_texts<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            messages: messages.into_iter().map(|(r, c)| message(r, c)).collect(),
            ..Self::default()
        }
    }

    /// A conversation as a JSON file has it: a dict with `messages`, `tools`, `date`,
    /// `add_generation_prompt`, `chat_template` (a name) and variables of the template; or the list of
    /// messages alone.
    ///
    /// Errors: another type somewhere, a message without a role.
    pub fn new(root: Value) -> Result<Self, ChatError> {
        let wrong = |text: String| Err(ChatError::Conversation(text));
        let mut talk = Self::default();
        let mut messages = None;
        if root.items().is_some() {
            messages = Some(root);
        } else {
            let Some(entries) = root.entries() else {
                return wrong(format!("neither an object nor a list; {EXPECTED}"));
            };
            for (key, value) in entries {
                let key = key.as_str().unwrap_or_default();
                let text = || match value.as_str() {
                    Some(text) => Ok(Some(text.to_owned())),
                    None if value.is_none() => Ok(None),
                    None => Err(ChatError::Conversation(format!(
                        "'{key}' is {value:?}; expected a text"
                    ))),
                };
                match key {
                    "messages" => messages = Some(value.clone()),
                    "tools" if value.is_none() => {}
                    "tools" if value.items().is_some() => talk.tools = Some(value.clone()),
                    "tools" => {
                        return wrong(
                            "'tools' is no list; give a list of functions, or leave it out".into(),
                        );
                    }
                    "add_generation_prompt" => match value.as_bool() {
                        Some(flag) => talk.add_generation_prompt = Some(flag),
                        None => {
                            return wrong(format!("'{key}' is {value:?}; expected true or false"));
                        }
                    },
                    "date" => talk.date = text()?,
                    "chat_template" => talk.template = text()?,
                    name => {
                        if TOKEN_VARIABLES.contains(&name) {
                            text()?;
                        }
                        talk.variables.push((name.to_owned(), value.clone()));
                    }
                }
            }
        }
        let Some(messages) = messages else {
            return wrong(format!("there is no 'messages'; {EXPECTED}"));
        };
        let Some(messages) = messages.items() else {
            return wrong(format!("'messages' is no list; {EXPECTED}"));
        };
        for (i, message) in messages.iter().enumerate() {
            if message.entries().is_none() {
                return wrong(format!("message {} is no object; {EXPECTED}", i + 1));
            }
            if message.get("role").and_then(Value::as_str).is_none() {
                return wrong(format!("message {} has no 'role'; {EXPECTED}", i + 1));
            }
        }
        talk.messages = messages.to_vec();
        Ok(talk)
    }

    /// What [`Conversation::new`] reads.
    pub fn to_value(&self) -> Value {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        let mut add = |name: &str, value: Value| pairs.push((name.into(), value));
        add("messages", self.messages.clone().into());
        let text = |t: &Option<String>| t.as_deref().map(Value::from);
        for (name, value) in [
            ("tools", self.tools.clone()),
            (
                "add_generation_prompt",
                self.add_generation_prompt.map(Value::from),
            ),
            ("date", text(&self.date)),
            ("chat_template", text(&self.template)),
        ] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        for (name, value) in &self.variables {
            add(name, value.clone());
        }
        // Texts are keys of any dict.
        Value::map(pairs).unwrap_or_default()
    }

    /// Errors: a value that is nested deeper than a template's may be.
    fn shallow(&self) -> Result<(), ChatError> {
        match self.values().any(|v| v.depth() >= MAX_NESTING) {
            true => Err(TemplateError::Nesting { line: 0 }.into()),
            false => Ok(()),
        }
    }

    fn values(&self) -> impl Iterator<Item = &Value> {
        let variables = self.variables.iter().map(|v| &v.1);
        self.messages.iter().chain(&self.tools).chain(variables)
    }

    /// The first thing that nothing reads where there is no template.
    fn unread(&self) -> Option<String> {
        let named = |name: &str| Some(format!("'{name}'"));
        if self.tools.is_some() {
            return named("tools");
        }
        if self.date.is_some() {
            return named("date");
        }
        if self.template.is_some() {
            return named("chat_template");
        }
        if self.add_generation_prompt == Some(false) {
            return named("add_generation_prompt");
        }
        if let Some((name, _)) = self.variables.first() {
            return named(name);
        }
        for (i, message) in self.messages.iter().enumerate() {
            let of = |what: String| Some(format!("{what} of message {}", i + 1));
            for (key, _) in message.entries().unwrap_or_default() {
                match key.as_str() {
                    Some("role" | "content") => {}
                    other => return of(format!("'{}'", other.unwrap_or_default())),
                }
            }
            if message.get("content").and_then(Value::as_str).is_none() {
                return of("the 'content', which is no text,".into());
            }
        }
        None
    }

    /// A conversation for a model without a template: one text that goes on.
    pub fn plain(&self) -> Result<String, ChatError> {
        if let Some(what) = self.unread() {
            return Err(ChatError::Plain { what });
        }
        let mut out = String::new();
        for m in &self.messages {
            let text = |name: &str| m.get(name).and_then(Value::as_str).unwrap_or_default();
            out.push_str(text("content"));
            match text("role") {
                "system" => out.push_str("\n\n"),
                "assistant" => out.push('\n'),
                _ => {}
            }
        }
        Ok(out)
    }
}

/// A message of a text.
fn message(role: &str, content: &str) -> Value {
    let pairs = [("role", role), ("content", content)];
    Value::map(pairs.map(|(k, v)| (k.into(), v.into()))).unwrap_or_default()
}

/// Why a conversation has no prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// It is none.
    #[error("{0}")]
    Conversation(String),
    /// No character is left to mark users' texts with.
    #[error("the conversation uses every private character of Unicode; remove some")]
    Marks,
    /// There is no template of the name that it gives.
    #[error("there is no chat template '{name}'; the model has: {names}")]
    NoTemplate {
        /// The name.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// Several templates, and none is the default.
    #[error(
        "the model has several chat templates and no default one; name one of them as \"chat_template\" of the \
         conversation: {names}"
    )]
    NoDefault {
        /// Their names.
        names: String,
    },
    /// Nothing reads a variable.
    #[error(
        "the chat template does not read '{name}'; correct its name, or leave it out of the conversation"
    )]
    Unread {
        /// The variable.
        name: String,
    },
    /// There is no template that could read something.
    #[error(
        "the model has no chat template, so nothing reads {what}; leave it out, or give a template"
    )]
    Plain {
        /// What it is.
        what: String,
    },
    /// The template fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The prompt of the answer that follows a conversation; without a template one text that goes on.
///
/// No text of the conversation becomes a control token, nor a part of one: see [`Tokenizer::mask`].
///
/// Errors: those of the template; what nothing reads.
pub fn chat_ids(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    talk: &Conversation,
    clock: Clock,
) -> Result<Vec<u32>, ChatError> {
    let Some(template) = template else {
        return Ok(tokenizer.encode_prompt(&talk.plain()?, false));
    };
    talk.shallow()?;
    let mut texts = vec![template.source(talk)?];
    talk.values().for_each(|v| v.texts(&mut texts));
    texts.extend(talk.date.as_deref());
    let mark = free_mark(texts.into_iter()).ok_or(ChatError::Marks)?;
    let prompt = template.render(talk, clock, &|text| tokenizer.mask(text, mark))?;
    Ok(tokenizer.encode_masked(&prompt, mark))
}

#[cfg(test)]
mod tests;
