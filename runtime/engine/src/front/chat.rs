//! A conversation with a model.

use super::flow::Flow;
use super::talk::message;
use super::{
    Cancel, Cause, Error, Format, Message, Model, PLAIN_LENGTH, Prompter, Relay, Sampling, Talk,
};
use carat_text::stop::StopReason;
use carat_text::template::{Clock, Value};

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
    prompter: Prompter,
    pub(super) talk: Talk,
    sampling: Sampling,
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
            prompter: Prompter::of_model(model.shared.file.clone(), Clock::now())?,
            model: model.clone(),
            talk: Talk::new(None),
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
        self.prompter.set_clock(Clock::Unix(seconds));
        self
    }

    /// Says something; the reply is the answer. One that is cancelled or dropped before its first piece, or fails, takes the
    /// message back; one that is ended later stays as far as it came.
    pub fn ask(&mut self, text: &str) -> Reply<'_> {
        self.talk.ask(text);
        Reply::new(self, None)
    }

    /// Another answer to the last message, with another seed. If it fails or is cancelled before its first piece the answer
    /// before is restored.
    pub fn regenerate(&mut self) -> Reply<'_> {
        let before = self.talk.exchanges.last_mut().and_then(|e| e.answer.take());
        Reply::new(self, before)
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
        let talk = Message::conversation(messages)?;
        self.talk = Talk::of_conversation(talk)?;
        Ok(())
    }

    /// How many of the oldest user's messages had no room in the last prompt, and were not sent with their answers.
    pub fn dropped(&self) -> usize {
        self.talk.dropped
    }

    /// Whether the model's file has a chat template. Without one the model goes on with the texts, as far as it can.
    pub fn has_template(&self) -> bool {
        self.prompter.template().is_some()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.model.give(relay);
        }
    }
}

/// An answer, piece by piece: [`Chat::ask`] makes one, and nothing is computed before its first piece is asked for.
///
/// Pieces come in a `for` loop, which waits for each, or from [`Reply::next`] where a program is asynchronous; [`Reply::text`]
/// is all of them.
///
/// ```
/// # let model = carat::Model::open(carat_examples::bundled()?)?;
/// # let mut chat = carat::Chat::new(&model)?;
/// # pollster::block_on(async {
/// let mut reply = chat.ask("What is a carat?");
/// while let Some(piece) = reply.next().await {
///     print!("{}", piece?);
/// }
/// # Ok::<(), carat::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reply<'a> {
    chat: &'a mut Chat,
    flow: Flow,
    /// The answer that this one takes the place of.
    before: Option<Value>,
    begun: bool,
    failed: bool,
    settled: bool,
}

impl<'a> Reply<'a> {
    fn new(chat: &'a mut Chat, before: Option<Value>) -> Self {
        Self {
            flow: Flow::new(chat.model.clone()),
            chat,
            before,
            begun: false,
            failed: false,
            settled: false,
        }
    }

    /// Lets the answer follow a format. To be set before the first piece.
    pub fn format(mut self, format: Format) -> Self {
        self.flow.format = format;
        self
    }

    /// Ends the answer when `cancel` says so.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.flow.cancel = cancel.clone();
        self
    }

    /// The next piece of the answer, at least one character; `None` at the end. As
    /// [`Generation::next`](crate::Generation::next) it computes on the thread that polls it.
    ///
    /// Errors: the template fails, the message does not fit the context, and as there. After an error nothing follows, and the
    /// message is taken back.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        let piece = match std::mem::replace(&mut self.begun, true) {
            true => self.flow.next().await,
            false => match self.begin().await {
                Ok(()) => self.flow.next().await,
                Err(e) => Some(Err(e)),
            },
        };
        self.failed |= matches!(piece, Some(Err(_)));
        if !matches!(piece, Some(Ok(_))) {
            self.settle();
        }
        piece
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let chat = &mut *self.chat;
        if chat.talk.exchanges.is_empty() {
            return Err(Cause::NoMessage.into());
        }
        let most = match chat.has_template() {
            true => usize::MAX,
            false => PLAIN_LENGTH,
        };
        let file = &chat.model.shared.file;
        let options = chat.sampling.options(file, most, chat.answers)?;
        let context = chat.model.context() as usize;
        let fit = chat.talk.fit(&chat.prompter, context, options.max_tokens)?;
        chat.answers += 1;
        let relay = chat.relay.take();
        self.flow.begin(relay, &fit.ids, options).await
    }

    /// Writes down what became of the answer, once.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let relay = self.flow.release();
        let chat = &mut *self.chat;
        chat.relay = relay.or(chat.relay.take());
        let text = &self.flow.outcome.text;
        let ended = |r: &StopReason| *r != StopReason::Cancelled;
        let whole = self.flow.outcome.reason.as_ref().is_some_and(ended);
        let Some(last) = chat.talk.exchanges.last_mut() else {
            return;
        };
        if !self.failed && (whole || !text.is_empty()) {
            last.answer = Some(message("assistant", text));
        } else if let Some(before) = self.before.take() {
            last.answer = Some(before);
        } else {
            chat.talk.take_back();
        }
    }

    /// All of the answer, waited for. Errors: as [`Reply::next`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn text(self) -> Result<String, Error> {
        self.into_iter().collect()
    }

    /// Why the answer ended; `None` while it goes on, and after an error.
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.flow.outcome.reason.as_ref()
    }

    /// With a [`Format`], once the answer has ended: whether it is whole. One that a limit cut is not.
    pub fn is_complete(&self) -> Option<bool> {
        self.flow.outcome.complete
    }

    /// Tokens of the prompt, once the answer has begun: the whole conversation as it is sent.
    pub fn prompt_tokens(&self) -> usize {
        self.flow.outcome.prompt_tokens
    }

    /// Tokens of the prompt that were computed before, and were not again.
    pub fn cached_tokens(&self) -> usize {
        self.flow.outcome.cached_tokens
    }

    /// Tokens of the answer so far, the one that ended it included.
    pub fn tokens(&self) -> usize {
        self.flow.outcome.tokens
    }

    /// blake3 over everything that the tokens were chosen from, in hexadecimal, once the answer has ended.
    pub fn logits_hash(&self) -> &str {
        &self.flow.outcome.logits_hash
    }

    /// What computes the answer, or did; empty before the first piece.
    pub fn device(&self) -> String {
        self.flow.device()
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}
