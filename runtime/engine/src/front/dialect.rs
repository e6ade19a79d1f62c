//! How a model is told of tools, and how its answers are read: what its chat template makes of both.

use super::{Error, Format, Prompter};
#[cfg(feature = "grammar")]
use carat_text::reply::grammar::{self, Rules};
use carat_text::reply::{Options, Parser, Syntax, Tools};
use carat_text::template::{ChatError, ChatTemplate, Clock, Conversation, Fit, Value};
use carat_text::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens at the end of a prompt in which reasoning may be opened.
const TAIL: usize = 16;

/// Whether an answer calls tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
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

/// What reasoning an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thought {
    /// None.
    None,
    /// The answer may begin with it.
    May,
    /// The prompt ends within it.
    Opened,
}

/// How a model writes and reads conversations.
pub struct Dialect {
    prompter: Prompter,
    /// What its templates read, by their sources.
    fits: Mutex<BTreeMap<String, Arc<Fit>>>,
    syntax: Syntax,
    shown: Vec<u32>,
}

impl Dialect {
    /// Of a model and its template.
    ///
    /// Errors: a file without a tokenizer.
    pub fn new(prompter: Prompter) -> Result<Self, crate::error::Error> {
        let tokenizer = prompter.tokenizer()?;
        let plain = Conversation::default();
        let source = prompter.template().and_then(|t| t.source(&plain).ok());
        let syntax = Syntax::of_template(source.unwrap_or_default());
        let shown = syntax.shown_tokens(tokenizer);
        Ok(Self {
            prompter,
            fits: Mutex::default(),
            syntax,
            shown,
        })
    }

    /// What makes prompts.
    pub fn prompter(&self) -> &Prompter {
        &self.prompter
    }

    /// The template, if there is one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.prompter.template()
    }

    /// What answers look like.
    pub fn syntax(&self) -> &Syntax {
        &self.syntax
    }

    /// Control tokens that have a text in answers.
    pub fn shown(&self) -> &[u32] {
        &self.shown
    }

    fn tokenizer(&self) -> Result<&Tokenizer, ChatError> {
        let tokenizer = self.prompter.tokenizer();
        tokenizer.map_err(|e| ChatError::Conversation(e.to_string()))
    }

    /// A conversation as the template reads it.
    ///
    /// Errors: no template of the name that it asks for, a template that is none.
    pub fn fitted(&self, talk: &Conversation) -> Result<Conversation, ChatError> {
        let Some(template) = self.template() else {
            return Ok(talk.clone());
        };
        let source = template.source(talk)?;
        let fits = || self.fits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fit) = fits().get(source) {
            return Ok(fit.clone().apply(talk));
        }
        let fit = Arc::new(Fit::of_source(source)?);
        fits().insert(source.into(), fit.clone());
        Ok(fit.apply(talk))
    }

    /// The tokens of a conversation's prompt.
    ///
    /// Errors: the template fails or refuses.
    pub fn ids(&self, talk: &Conversation, clock: Clock) -> Result<Vec<u32>, ChatError> {
        self.prompter.ids_at(&self.fitted(talk)?, clock)
    }

    /// Tells a model of its tools whose template does not: in the system message, with the form of a call that is read here.
    ///
    /// Errors: as [`Dialect::fitted`].
    pub fn tell_of_tools(&self, talk: &mut Conversation) -> Result<(), ChatError> {
        let (Some(_), Some(template)) = (&talk.tools, self.template()) else {
            return Ok(());
        };
        let fitted = self.fitted(talk)?;
        // Some have them under another name.
        let mut variables = fitted.variables.iter();
        let renamed = variables.any(|(name, _)| name.ends_with("tools"));
        let unread = template.unread(&fitted)?;
        let unread = unread.is_some_and(|what| what == "'tools'");
        let Some(tools) = talk.tools.take_if(|_| unread && !renamed) else {
            return Ok(());
        };
        let tools = serde_json::to_string(&tools).unwrap_or_default();
        let text = format!(
            "You can call these functions:\n{tools}\nTo call one, answer with nothing but JSON: {{\"name\": NAME, \"arguments\": {{…}}}}"
        );
        let said = talk.messages.first();
        let system = said.filter(|m| super::role(m) == "system");
        let (text, rest) = match system.and_then(|m| m.get("content")).and_then(text_of) {
            Some(own) => (format!("{own}\n\n{text}"), 1),
            None => (text, 0),
        };
        let rest = talk.messages.split_off(rest.min(talk.messages.len()));
        let first = super::message("system", &text);
        talk.messages = std::iter::once(first).chain(rest).collect();
        Ok(())
    }

    /// What reasoning follows a prompt.
    ///
    /// Errors: a file without a tokenizer.
    pub fn thought(&self, ids: &[u32]) -> Result<Thought, ChatError> {
        let tokenizer = self.tokenizer()?;
        let tail = ids[ids.len().saturating_sub(TAIL)..].iter();
        let tail = tail.flat_map(|id| tokenizer.decode_bytes(*id, true).iter().copied());
        let tail: Vec<u8> = tail.collect();
        let opened = self.syntax.opens_reasoning(&String::from_utf8_lossy(&tail));
        Ok(match (opened, self.syntax.has_reasoning()) {
            (true, _) => Thought::Opened,
            (false, true) => Thought::May,
            (false, false) => Thought::None,
        })
    }

    /// What reads an answer.
    pub fn parser(&self, tools: Tools, thought: Thought) -> Parser {
        let options = Options {
            calls: !tools.is_empty(),
            tools,
            reasoning_opened: thought == Thought::Opened,
        };
        Parser::new(&self.syntax, options)
    }

    /// A format of answers that call tools: those that must come, or whose arguments must follow their schemas.
    ///
    /// Errors: calls that no grammar can be made for.
    #[cfg(feature = "grammar")]
    pub fn calls(
        &self,
        tools: &Tools,
        choice: &ToolChoice,
        parallel: bool,
        thought: Thought,
    ) -> Result<Format, Error> {
        let rules = Rules {
            choice: match choice {
                ToolChoice::Required => grammar::Choice::Required,
                ToolChoice::Named(name) => grammar::Choice::Named(name.clone()),
                ToolChoice::Auto | ToolChoice::None => grammar::Choice::Auto,
            },
            parallel,
            reasoning: thought.into(),
        };
        let made = grammar::grammar(&self.syntax, self.tokenizer()?, tools, &rules);
        Ok(Format::Lark(made?))
    }

    /// A format of JSON, behind reasoning where there may be some.
    ///
    /// Errors: a schema that cannot be used.
    #[cfg(feature = "grammar")]
    pub fn format(&self, format: Format, thought: Thought) -> Result<Format, Error> {
        let schema = match &format {
            Format::JsonSchema(schema) => schema,
            Format::Json => r#"{"type": "object"}"#,
            Format::Text | Format::Lark(_) => return Ok(format),
        };
        if thought == Thought::None {
            return Ok(format);
        }
        let made = grammar::json(&self.syntax, self.tokenizer()?, schema, thought.into());
        Ok(Format::Lark(made?))
    }

    /// The same in a build that has no grammars.
    #[cfg(not(feature = "grammar"))]
    pub fn calls(&self, _: &Tools, _: &ToolChoice, _: bool, _: Thought) -> Result<Format, Error> {
        Err(super::Cause::NoGrammar.into())
    }

    /// The same in a build that has no grammars.
    #[cfg(not(feature = "grammar"))]
    pub fn format(&self, format: Format, _: Thought) -> Result<Format, Error> {
        match format {
            Format::Text => Ok(format),
            _ => Err(super::Cause::NoGrammar.into()),
        }
    }
}

#[cfg(feature = "grammar")]
impl From<Thought> for grammar::Reasoning {
    fn from(thought: Thought) -> Self {
        match thought {
            Thought::None => Self::None,
            Thought::May => Self::May,
            Thought::Opened => Self::Opened,
        }
    }
}

/// Whether a tool's arguments must follow its schema.
pub fn is_strict(tools: &Value) -> bool {
    let strict = |t: &Value| {
        let function = t.get("function").unwrap_or(t);
        function.get("strict").and_then(Value::as_bool) == Some(true)
    };
    tools.items().is_some_and(|t| t.iter().any(strict))
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
