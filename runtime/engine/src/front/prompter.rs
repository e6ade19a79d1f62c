//! The one construction of a prompt: a conversation becomes tokens by a model's template and tokenizer.

use crate::error::Error;
use crate::model::Model;
use carat_text::template::{self, ChatError, ChatTemplate, Clock, Conversation};
use carat_text::tokenizer::Tokenizer;
use std::sync::Arc;

/// Turns conversations into tokens.
pub struct Prompter {
    model: Arc<Model>,
    template: Option<ChatTemplate>,
    /// When the conversation began: a prompt's start stays the same.
    clock: Clock,
}

impl Prompter {
    /// With the template that the file holds.
    ///
    /// Errors: a file without a tokenizer, keys of another type.
    pub fn of_model(model: Arc<Model>, clock: Clock) -> Result<Self, Error> {
        let template = ChatTemplate::of_header(&model.header()?)?;
        model.tokenizer()?;
        Ok(Self::new(model, template, clock))
    }

    /// With another template, or none. A tokenizer that is missing shows when it is used.
    pub fn new(model: Arc<Model>, template: Option<ChatTemplate>, clock: Clock) -> Self {
        Self {
            model,
            template,
            clock,
        }
    }

    /// The model's tokenizer.
    ///
    /// Errors: keys missing, damaged or of an unknown kind.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.model.tokenizer()
    }

    /// The template, if there is one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The time that the template is told.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The prompt of the answer that follows.
    ///
    /// No text of the conversation becomes a control token, nor a part of one: see [`Tokenizer::mask`].
    ///
    /// Errors: those of the template; what nothing reads; a tokenizer that cannot be used.
    pub fn ids(&self, talk: &Conversation) -> Result<Vec<u32>, ChatError> {
        self.ids_at(talk, self.clock.clone())
    }

    /// [`Prompter::ids`] at another time.
    ///
    /// Errors: as there.
    pub fn ids_at(&self, talk: &Conversation, clock: Clock) -> Result<Vec<u32>, ChatError> {
        let tokenizer = self.tokenizer();
        let tokenizer = tokenizer.map_err(|e| ChatError::Conversation(e.to_string()))?;
        template::chat_ids(tokenizer, self.template.as_ref(), talk, clock)
    }
}
