//! Chats as files: what was said, and its keys and values.

use super::talk::Talk;
use super::{Cause, Chat, Error, Model};
use crate::session::Beside;
use carat_text::template::{ChatError, Conversation, Value};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// What is kept beside a chat's keys and values, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TalkNote {
    /// Answers so far: each has a seed of its own.
    pub answers: u64,
    /// What was said.
    conversation: Value,
}

impl TalkNote {
    /// Of a conversation.
    pub fn new(talk: &Talk, answers: u64) -> Self {
        Self {
            answers,
            conversation: talk.whole().to_value(),
        }
    }

    /// What goes into a file.
    ///
    /// Errors: a value that is no data, which no message is.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ChatError> {
        serde_json::to_vec(self).map_err(|e| ChatError::Conversation(e.to_string()))
    }

    /// What was in a file.
    ///
    /// Errors: the file is of a text without a conversation.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ChatError> {
        serde_json::from_slice(bytes).map_err(|_| {
            ChatError::Conversation(
                "the session holds no conversation; expected one that a chat was saved to".into(),
            )
        })
    }

    /// The conversation.
    ///
    /// Errors: messages in another order.
    pub fn talk(&self) -> Result<Talk, ChatError> {
        Talk::of_conversation(Conversation::new(self.conversation.clone())?)
    }
}

impl Chat {
    /// Writes the chat with its keys and values, so that [`Chat::resume`] goes on with it at once, on any device and in any
    /// program: `carat chat --session` reads it too. A file is best written under another name and renamed.
    ///
    /// ```
    /// # let model = carat::Model::open(carat_examples::bundled()?)?;
    /// let mut chat = carat::Chat::new(&model)?;
    /// chat.ask("What is a carat?").text()?;
    /// let mut file = Vec::new();
    /// chat.save(&mut file)?;
    ///
    /// let mut later = carat::Chat::resume(&model, &mut file.as_slice())?;
    /// assert_eq!(later.messages().len(), 2);
    /// later.ask("And a caret?").text()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Errors: the device fails, the writer fails.
    pub fn save(&mut self, to: &mut dyn Write) -> Result<(), Error> {
        pollster::block_on(self.write(to))
    }

    async fn write(&mut self, to: &mut dyn Write) -> Result<(), Error> {
        let note = TalkNote::new(&self.talk, self.answers);
        let beside = Beside {
            note: note.to_bytes().map_err(Cause::from)?,
            ..Beside::default()
        };
        let mut relay = match self.relay.take() {
            Some(relay) => relay,
            None => self.model.take().await?,
        };
        let saved = relay.session().save(&beside, to).await;
        self.relay = Some(relay);
        Ok(saved?)
    }

    /// Goes on with a chat that was saved.
    ///
    /// Errors: a file of another type or model, or without a conversation; one that is damaged; more tokens than the context has;
    /// the reader fails; as of [`Chat::new`].
    pub fn resume(model: &Model, from: &mut dyn Read) -> Result<Self, Error> {
        let mut chat = Self::new(model)?;
        pollster::block_on(chat.read(from))?;
        Ok(chat)
    }

    async fn read(&mut self, from: &mut dyn Read) -> Result<(), Error> {
        let mut relay = self.model.take().await?;
        let opened = relay.session().open_saved(from);
        self.relay = Some(relay);
        let note = TalkNote::of_bytes(&opened?.note).map_err(Cause::from)?;
        self.talk = note.talk().map_err(Cause::from)?;
        self.answers = note.answers;
        Ok(())
    }
}
