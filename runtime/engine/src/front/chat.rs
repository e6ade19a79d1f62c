//! A conversation with a model.

use super::reply::Before;
use super::{Cause, Dialect, Error, Message, Model, Relay, Reply, Sampling, Talk, ToolChoice};
use carat_text::reply::Tools;
use carat_text::template::{ChatError, Clock, Conversation, Value};
use std::sync::Arc;

/// A conversation with a model: what was said, in the form that the model was trained on.
///
/// Each prompt is made by the chat template of the model's file; without one the texts follow each other. No text that is said
/// can spell a control token. What a prompt shares with the one before is not computed again. Where the context is full the
/// oldest messages are no longer sent to the model, so that an answer has a quarter of the context; the system message always
/// is, and [`Chat::messages`] still has all.
///
/// A chat has a session of its own, with the memory of its context, until it is dropped.
///
/// ```
/// # let model = carat::Model::open(carat_examples::bundled()?)?;
/// let mut chat = carat::Chat::new(&model)?.system("Answer in one word.");
/// let color = chat.ask("Which color has the sky?").text()?;
/// let other = chat.regenerate().text()?;
/// assert_eq!(chat.messages().len(), 3);
/// chat.undo();
/// assert_eq!(chat.messages().len(), 1);
/// # let _ = (color, other);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Chat {
    pub(super) model: Model,
    pub(super) dialect: Arc<Dialect>,
    /// When the conversation began: a prompt's start stays the same.
    pub(super) clock: Clock,
    pub(super) talk: Talk,
    pub(super) tools: Tools,
    pub(super) sampling: Sampling,
    /// Answers so far: each has a seed of its own.
    pub(super) answers: u64,
    pub(super) relay: Option<Relay>,
}

impl Chat {
    /// An empty conversation, which begins now: templates that tell the model the date tell it this one. In a browser, whose
    /// clock is not read here, [`Chat::date`] sets it.
    ///
    /// Errors: a file without a tokenizer, or with a template of another type.
    pub fn new(model: &Model) -> Result<Self, Error> {
        Ok(Self {
            dialect: model.dialect()?.clone(),
            clock: Clock::now(),
            model: model.clone(),
            talk: Talk::new(None),
            tools: Tools::default(),
            sampling: Sampling::new(),
            answers: 0,
            relay: None,
        })
    }

    /// Sets the system message, which holds from the next answer on, in the place of the one before.
    pub fn system(mut self, text: &str) -> Self {
        self.set_system(text);
        self
    }

    /// As [`Chat::system`], of a chat that is under way.
    pub fn set_system(&mut self, text: &str) {
        self.talk.set_system(text);
    }

    /// Chooses the tokens of answers so.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// The time that the template is told, in seconds since 1970-01-01 00:00 UTC.
    pub fn date(mut self, seconds: i64) -> Self {
        self.clock = Clock::Unix(seconds);
        self
    }

    /// Says something; the reply is the answer. One that is cancelled or dropped before its first piece, or fails, takes the
    /// message back; one that is ended later stays as far as it came.
    pub fn ask(&mut self, text: &str) -> Reply<'_> {
        self.talk.ask(text);
        Reply::new(self, Before::Nothing)
    }

    /// Tells the model of tools that it may call, from the next answer on: JSON in OpenAI's form,
    /// `[{"type": "function", "function": {"name": …, "description": …, "parameters": SCHEMA}}]`. An empty list takes them away.
    /// A tool with `"strict": true` is called with arguments that fit its schema. A model whose template knows no tools is told of
    /// them in the system message.
    ///
    /// Errors: no such list; without a chat template there are no tools.
    pub fn set_tools(&mut self, json: &str) -> Result<(), Error> {
        let what = "list of tools";
        let list: Value =
            serde_json::from_str(json).map_err(|error| Cause::Json { what, error })?;
        let tools = Tools::new(&list)?;
        let listed = (!tools.is_empty()).then_some(list);
        if listed.is_some() && !self.has_template() {
            let what = "'tools'".into();
            return Err(Cause::from(ChatError::Plain { what }).into());
        }
        self.talk.set_tools(listed);
        self.tools = tools;
        Ok(())
    }

    /// As [`Chat::set_tools`].
    ///
    /// Errors: as there.
    pub fn tools(mut self, json: &str) -> Result<Self, Error> {
        self.set_tools(json)?;
        Ok(self)
    }

    /// Tells the model what came of the calls of its last answer, each as the call's id and the tool's result; the reply is the
    /// answer that follows, which may have calls again. If it fails or is cancelled before its first part the chat is as before.
    ///
    /// ```
    /// # let model = carat::Model::open(carat_examples::bundled()?)?;
    /// use carat::Part;
    /// let tools = r#"[{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]"#;
    /// # let tools = "[]";
    /// let mut chat = carat::Chat::new(&model)?.tools(tools)?;
    /// let mut reply = chat.ask("What time is it?");
    /// let mut results = Vec::new();
    /// # pollster::block_on(async {
    /// while let Some(part) = reply.next_part().await {
    ///     match part? {
    ///         Part::Text(text) => print!("{text}"),
    ///         Part::Call(call) => results.push((call.id, "12:00".to_owned())),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), carat::Error>(())
    /// # })?;
    /// drop(reply);
    /// if !results.is_empty() {
    ///     print!("{}", chat.answer_calls(&results)?.text()?);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Errors: the last answer has no calls; a result of another call, or none of one of them.
    pub fn answer_calls(&mut self, results: &[(String, String)]) -> Result<Reply<'_>, Error> {
        let calls = self.pending_calls();
        let messages = results_of(&calls, results)?;
        let before = match self.talk.answer_calls(messages) {
            Some((answer, asks)) => Before::Calls { answer, asks },
            None => Before::Nothing,
        };
        Ok(Reply::new(self, before))
    }

    /// The id and the tool of each call of the last answer that has no result yet.
    pub fn pending_calls(&self) -> Vec<(String, String)> {
        let answer = self.talk.exchanges.last().and_then(|e| e.answer.as_ref());
        let calls = answer.and_then(|a| a.get("tool_calls"));
        let calls = calls.and_then(Value::items).unwrap_or_default();
        let text = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().to_owned();
        let pair = |c: &Value| {
            let name = c.get("function").and_then(|f| f.get("name"));
            (text(c.get("id")), text(name))
        };
        calls.iter().map(pair).collect()
    }

    /// Another answer to the last message, with another seed. If it fails or is cancelled before its first piece the answer
    /// before is restored.
    pub fn regenerate(&mut self) -> Reply<'_> {
        let before = self.talk.exchanges.last_mut().and_then(|e| e.answer.take());
        Reply::new(self, before.map_or(Before::Nothing, Before::Answer))
    }

    /// Takes the last message and its answer back; returns the message's text. `None` if there is none.
    pub fn undo(&mut self) -> Option<String> {
        self.talk.undo().map(|last| last.text().to_owned())
    }

    /// All messages, the system's first: what [`Chat::set_messages`] takes.
    pub fn messages(&self) -> Vec<Message> {
        let whole = self.talk.whole();
        whole.messages.into_iter().map(Message::of).collect()
    }

    /// Goes on with a conversation that was saved. Each user's message must have an answer.
    ///
    /// Errors: messages in another order; the chat is then as before.
    pub fn set_messages(&mut self, messages: &[Message]) -> Result<(), Error> {
        self.set_conversation(Message::conversation(messages)?)
    }

    /// All that was said as JSON: a list of messages in OpenAI's form, calls and their results among them.
    pub fn messages_json(&self) -> String {
        let messages = Value::from(self.talk.whole().messages);
        // Messages are data.
        serde_json::to_string(&messages).unwrap_or_default()
    }

    /// [`Chat::set_messages`] of what [`Chat::messages_json`] gave.
    ///
    /// Errors: as there; no such list.
    pub fn set_messages_json(&mut self, json: &str) -> Result<(), Error> {
        let what = "list of messages";
        let list: Value =
            serde_json::from_str(json).map_err(|error| Cause::Json { what, error })?;
        self.set_conversation(Conversation::new(list)?)
    }

    fn set_conversation(&mut self, talk: Conversation) -> Result<(), Error> {
        let tools = self.talk.tools().cloned();
        let mut talk = Talk::of_conversation(talk)?;
        if tools.is_some() {
            talk.set_tools(tools);
        }
        self.talk = talk;
        Ok(())
    }

    /// Gives the chat's memory back, which the next answer takes again: its keys and values are then computed anew.
    pub fn release_memory(&mut self) {
        self.relay = None;
    }

    /// How many of the oldest user's messages had no room in the last prompt, and were not sent with their answers.
    pub fn dropped(&self) -> usize {
        self.talk.dropped
    }

    /// Whether the model's file has a chat template. Without one the model goes on with the texts, as far as it can.
    pub fn has_template(&self) -> bool {
        self.dialect.template().is_some()
    }
}

impl Chat {
    /// The prompt of a conversation, with its tools or without.
    pub(super) fn prompt(
        &self,
        mut talk: Conversation,
        choice: &ToolChoice,
    ) -> Result<Vec<u32>, ChatError> {
        if *choice == ToolChoice::None {
            talk.tools = None;
        }
        self.dialect.tell_of_tools(&mut talk)?;
        self.dialect.ids(&talk, self.clock.clone())
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.model.give(relay);
        }
    }
}

/// The messages of the results.
fn results_of(
    calls: &[(String, String)],
    results: &[(String, String)],
) -> Result<Vec<Value>, Error> {
    let wrong = |found: String| {
        let expected: Vec<&str> = calls.iter().map(|c| c.0.as_str()).collect();
        let expected = match expected.is_empty() {
            true => "none".into(),
            false => expected.join(", "),
        };
        Error::from(Cause::Results { found, expected })
    };
    if calls.is_empty() {
        return Err(wrong("the last answer calls no tool".into()));
    }
    if let Some((id, _)) = results.iter().find(|r| calls.iter().all(|c| c.0 != r.0)) {
        return Err(wrong(format!("there is a result of the call '{id}'")));
    }
    let message = |(id, name): &(String, String)| {
        let mut of = results.iter().filter(|r| r.0 == *id);
        let (Some(result), None) = (of.next(), of.next()) else {
            return Err(wrong(format!("the call '{id}' has no result, or several")));
        };
        let pair = |key: &str, value: &str| (Value::from(key), Value::from(value));
        let message = Value::map([
            pair("role", "tool"),
            pair("tool_call_id", id),
            pair("name", name),
            pair("content", &result.1),
        ]);
        Ok(message.unwrap_or_default())
    };
    calls.iter().map(message).collect()
}
