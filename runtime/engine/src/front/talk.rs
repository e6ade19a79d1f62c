//! What was said in a conversation, and as much of it as the context has room for.

use carat_text::template::{ChatError, Conversation, Value};

/// What waits for an answer, and the answer.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// The user's message, and what followed it before the answer, as calls of tools and their results.
    asks: Vec<Value>,
    /// The answer, once there is one.
    pub answer: Option<Value>,
}

impl Exchange {
    /// What the user said, as far as it is a text.
    pub fn text(&self) -> &str {
        let content = self.asks.first().and_then(|m| m.get("content"));
        content.and_then(Value::as_str).unwrap_or_default()
    }
}

/// A conversation in exchanges, the last answer of which may still be missing.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// Messages before the first exchange: the system's.
    before: Vec<Value>,
    /// What was said, the oldest first.
    pub exchanges: Vec<Exchange>,
    /// Exchanges at the start that no longer fit into the context. They are kept for saving.
    pub dropped: usize,
    /// Tools, date and variables of the template; its messages are those above.
    rest: Conversation,
}

/// A prompt that leaves room for an answer: see [`Talk::fit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Exchanges that are left out of it and were not before.
    pub gone: usize,
}

/// Why there is no such prompt.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The template fails or refuses.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The last message alone is too long.
    #[error(
        "the message and the system message have {tokens} tokens, the context {context} positions; shorten them"
    )]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions of the context.
        context: usize,
    },
}

/// A message of a text.
pub fn message(role: &str, content: &str) -> Value {
    let mut one = Conversation::of_texts([(role, content)]);
    one.messages.pop().unwrap_or_default()
}

/// Whose message it is; empty where it does not say.
pub fn role(message: &Value) -> &str {
    let role = message.get("role").and_then(Value::as_str);
    role.unwrap_or_default()
}

impl Talk {
    /// An empty conversation with a system message, if there is one.
    pub fn new(system: Option<&str>) -> Self {
        Self {
            before: system.map(|s| message("system", s)).into_iter().collect(),
            ..Self::default()
        }
    }

    /// A conversation that was saved: system messages or none, then exchanges that begin with a user's message
    /// and end with an assistant's.
    ///
    /// Errors: another order, a last message without an answer.
    pub fn of_conversation(talk: Conversation) -> Result<Self, ChatError> {
        let wrong = |text: String| Err(ChatError::Conversation(text));
        let mut out = Self::default();
        for (i, message) in talk.messages.iter().enumerate() {
            match role(message) {
                "system" | "developer" if out.exchanges.is_empty() => {
                    out.before.push(message.clone());
                }
                "user" => out.exchanges.push(Exchange {
                    asks: vec![message.clone()],
                    answer: None,
                }),
                found => match out.exchanges.last_mut() {
                    // What comes after an answer makes it a part of the way to the next one.
                    Some(last) => {
                        last.asks.extend(last.answer.take());
                        match found {
                            "assistant" => last.answer = Some(message.clone()),
                            _ => last.asks.push(message.clone()),
                        }
                    }
                    None => {
                        return wrong(format!(
                            "message {} is of '{found}'; expected system messages at the start or none, then the user's",
                            i + 1
                        ));
                    }
                },
            }
        }
        if out.exchanges.last().is_some_and(|e| e.answer.is_none()) {
            return wrong("the last message has no answer; remove it, and type it instead".into());
        }
        if talk.add_generation_prompt == Some(false) {
            return wrong(
                "'add_generation_prompt' is false, and a chat asks for answers; leave it out"
                    .into(),
            );
        }
        out.rest = Conversation {
            messages: Vec::new(),
            ..talk
        };
        Ok(out)
    }

    /// Says something.
    pub fn ask(&mut self, text: &str) {
        self.exchanges.push(Exchange {
            asks: vec![message("user", text)],
            answer: None,
        });
    }

    /// Takes the last exchange back, if there is one. What had no room may have some again.
    pub fn undo(&mut self) -> Option<Exchange> {
        let last = self.exchanges.pop()?;
        self.dropped = 0;
        Some(last)
    }

    /// Says what came of the calls of the last answer, which becomes a part of the way to the next one. Returns it, and how
    /// many messages were before: what [`Talk::retract`] takes.
    pub fn answer_calls(&mut self, results: Vec<Value>) -> Option<(Value, usize)> {
        let last = self.exchanges.last_mut()?;
        let answer = last.answer.take()?;
        let before = last.asks.len();
        last.asks.push(answer.clone());
        last.asks.extend(results);
        Some((answer, before))
    }

    /// Takes back what [`Talk::answer_calls`] said.
    pub fn retract(&mut self, answer: Value, before: usize) {
        if let Some(last) = self.exchanges.last_mut() {
            last.asks.truncate(before);
            last.answer = Some(answer);
        }
    }

    /// Sets the tools that the model is told of.
    pub fn set_tools(&mut self, tools: Option<Value>) {
        self.rest.tools = tools;
        self.dropped = 0;
    }

    /// The tools that the model is told of.
    pub fn tools(&self) -> Option<&Value> {
        self.rest.tools.as_ref()
    }

    /// Takes back an exchange that got no answer.
    pub fn take_back(&mut self) {
        self.exchanges.pop();
        self.dropped = self.dropped.min(self.exchanges.len());
    }

    /// The text of the system message.
    pub fn system(&self) -> Option<&str> {
        self.before.first()?.get("content")?.as_str()
    }

    /// Sets it, in the place of those that there are.
    pub fn set_system(&mut self, text: &str) {
        self.before = vec![message("system", text)];
        self.dropped = 0;
    }

    /// Messages beside the system's.
    pub fn spoken(&self) -> usize {
        let count = |e: &Exchange| e.asks.len() + usize::from(e.answer.is_some());
        self.exchanges.iter().map(count).sum()
    }

    fn from(&self, first: usize) -> Conversation {
        let mut messages = self.before.clone();
        for exchange in self.exchanges.iter().skip(first) {
            messages.extend(exchange.asks.iter().cloned());
            messages.extend(exchange.answer.clone());
        }
        Conversation {
            messages,
            ..self.rest.clone()
        }
    }

    /// All that was said.
    pub fn whole(&self) -> Conversation {
        self.from(0)
    }

    /// What the model is sent: all but what has no room.
    pub fn sent(&self) -> Conversation {
        self.from(self.dropped)
    }

    /// The prompt, which `prompt` makes, for the last message in a context of so many positions, without the oldest exchanges where they leave no room
    /// for an answer, which may have `most` tokens and gets up to a quarter of the context.
    ///
    /// Errors: those of the template; a last message that has no room alone.
    pub fn fit(
        &mut self,
        prompt: &dyn Fn(Conversation) -> Result<Vec<u32>, ChatError>,
        context: usize,
        most: usize,
    ) -> Result<Fit, FitError> {
        let room = most.min(context / 4).max(1);
        let before = self.dropped;
        loop {
            let ids = prompt(self.sent())?;
            let last = self.dropped + 1 >= self.exchanges.len();
            if ids.len() + room <= context || (last && ids.len() < context) {
                let gone = self.dropped - before;
                return Ok(Fit { ids, gone });
            }
            if last {
                self.dropped = before;
                let tokens = ids.len();
                return Err(FitError::TooLong { tokens, context });
            }
            self.dropped += 1;
        }
    }
}
