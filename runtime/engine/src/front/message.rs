//! A message of a conversation.

use super::talk::{message, role};
use carat_text::template::{ChatError, Conversation, Value};

/// A message of a conversation: whose it is, and what it says.
///
/// ```
/// use carat::Message;
/// let message = Message::user("What is a carat?");
/// assert_eq!((message.role(), message.content()), ("user", "What is a carat?"));
/// ```
#[derive(Clone, Debug)]
pub struct Message(Value);

impl Message {
    /// A message of `role`, which the model's chat template must know: `system`, `user`, `assistant`, with some models `tool`.
    pub fn new(role: &str, content: &str) -> Self {
        Self(message(role, content))
    }

    /// What holds for the whole conversation, such as how to answer.
    pub fn system(content: &str) -> Self {
        Self::new("system", content)
    }

    /// What the user says.
    pub fn user(content: &str) -> Self {
        Self::new("user", content)
    }

    /// What the model answered.
    pub fn assistant(content: &str) -> Self {
        Self::new("assistant", content)
    }

    /// Whose it is: `user`, for instance.
    pub fn role(&self) -> &str {
        role(&self.0)
    }

    /// What it says; empty where that is no text.
    pub fn content(&self) -> &str {
        let content = self.0.get("content").and_then(Value::as_str);
        content.unwrap_or_default()
    }

    pub(super) fn of(value: Value) -> Self {
        Self(value)
    }

    /// Errors: none, each has a role.
    pub(super) fn conversation(messages: &[Self]) -> Result<Conversation, ChatError> {
        let messages: Vec<Value> = messages.iter().map(|m| m.0.clone()).collect();
        Conversation::new(messages.into())
    }
}
