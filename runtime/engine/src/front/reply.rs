//! An answer of a chat.

use super::dialect::is_strict;
use super::flow::Flow;
use super::part::Parts;
use super::talk::message;
use super::{
    Call, Cancel, Cause, Chat, Error, Format, PLAIN_LENGTH, Part, Sampling, Thought, ToolChoice,
};
use crate::sample::TokenMetrics;
use carat_text::reply::Tools;
use carat_text::stop::StopReason;
use carat_text::template::{Conversation, Value};

/// What a reply takes the place of: it comes back if there is none.
pub(super) enum Before {
    /// Nothing: then the message goes too.
    Nothing,
    /// Another answer.
    Answer(Value),
    /// An answer with calls, and how many messages were before it.
    Calls { answer: Value, asks: usize },
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
    choice: ToolChoice,
    sampling: Option<Sampling>,
    before: Before,
    begun: bool,
    failed: bool,
    settled: bool,
}

impl<'a> Reply<'a> {
    pub(super) fn new(chat: &'a mut Chat, before: Before) -> Self {
        Self {
            flow: Flow::new(chat.model.clone()),
            chat,
            choice: ToolChoice::Auto,
            sampling: None,
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

    /// Chooses the tokens of this answer so, where the chat says otherwise. To be set before the first piece.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Whether the answer calls tools. To be set before the first piece.
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Reports what the model thinks of each token, with so many of the likeliest ones: [`Reply::take_metrics`]. To be set
    /// before the first piece.
    pub fn metrics(mut self, top: usize) -> Self {
        self.flow.metrics = Some(top);
        self
    }

    /// Ends the answer when `cancel` says so.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.flow.cancel = cancel.clone();
        self
    }

    /// The next piece of the text that the user reads, at least one character; `None` at the end. Reasoning and calls of tools are
    /// left out: [`Reply::next_part`] has them. As [`Generation::next`](crate::Generation::next) it computes on the thread that
    /// polls it.
    ///
    /// Errors: as [`Reply::next_part`].
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        loop {
            match self.next_part().await? {
                Ok(Part::Text(text)) => return Some(Ok(text)),
                Ok(Part::Reasoning(_) | Part::Call(_)) => {}
                Err(e) => return Some(Err(e)),
            }
        }
    }

    /// The next part of the answer; `None` at the end.
    ///
    /// Errors: the template fails, the message does not fit the context, and as there. After an error nothing follows, and the
    /// message is taken back.
    pub async fn next_part(&mut self) -> Option<Result<Part, Error>> {
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
        let spoken = chat.has_template();
        let most = match spoken {
            true => usize::MAX,
            false => PLAIN_LENGTH,
        };
        let file = &chat.model.shared.file;
        let sampling = self.sampling.as_ref().unwrap_or(&chat.sampling);
        let mut options = sampling.options(file, most, chat.answers)?;
        let context = chat.model.context() as usize;
        let mut talk = std::mem::take(&mut chat.talk);
        let prompt = |talk: Conversation| chat.prompt(talk, &self.choice);
        let fit = talk.fit(&prompt, context, options.max_tokens);
        chat.talk = talk;
        let ids = fit?.ids;
        let parts = match spoken {
            true => {
                let thought = chat.dialect.thought(&ids).map_err(Cause::from)?;
                let tools = match self.choice {
                    ToolChoice::None => Tools::default(),
                    _ => chat.tools.clone(),
                };
                let format = std::mem::take(&mut self.flow.format);
                self.flow.format = chat.format(&tools, &self.choice, format, thought)?;
                options.shown = chat.dialect.shown().to_vec();
                Parts::new(Some(chat.dialect.parser(tools, thought)), chat.calls())
            }
            false => Parts::default(),
        };
        chat.answers += 1;
        let relay = chat.relay.take();
        self.flow.begin(relay, &ids, options, parts).await
    }

    /// Writes down what became of the answer, once.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let relay = self.flow.release();
        let chat = &mut *self.chat;
        chat.relay = relay.or(chat.relay.take());
        let outcome = &self.flow.outcome;
        let ended = |r: &StopReason| *r != StopReason::Cancelled;
        let whole = outcome.reason.as_ref().is_some_and(ended);
        let said = !outcome.text.is_empty() || !outcome.calls.is_empty();
        if !self.failed
            && (whole || said)
            && let Some(last) = chat.talk.exchanges.last_mut()
        {
            last.answer = Some(answer(&outcome.text, &outcome.calls));
            return;
        }
        match std::mem::replace(&mut self.before, Before::Nothing) {
            Before::Nothing => chat.talk.take_back(),
            Before::Calls { answer, asks } => chat.talk.retract(answer, asks),
            Before::Answer(before) => {
                if let Some(last) = chat.talk.exchanges.last_mut() {
                    last.answer = Some(before);
                }
            }
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
        self.flow.outcome.ids.len()
    }

    /// The tokens of the answer so far, the one that ended it included.
    pub fn ids(&self) -> &[u32] {
        &self.flow.outcome.ids
    }

    /// The model's reasoning so far.
    pub fn reasoning(&self) -> &str {
        &self.flow.outcome.reasoning
    }

    /// The calls of tools so far.
    pub fn calls(&self) -> &[Call] {
        &self.flow.outcome.calls
    }

    /// What the model thought of the tokens since the last call, where [`Reply::metrics`] asks.
    pub fn take_metrics(&mut self) -> Vec<TokenMetrics> {
        std::mem::take(&mut self.flow.outcome.metrics)
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

impl Chat {
    /// Calls that answers have had.
    fn calls(&self) -> usize {
        let whole = self.talk.whole();
        let calls = |m: &Value| {
            m.get("tool_calls")
                .and_then(Value::items)
                .map_or(0, <[_]>::len)
        };
        whole.messages.iter().map(calls).sum()
    }

    /// What an answer follows that may or must call tools.
    fn format(
        &self,
        tools: &Tools,
        choice: &ToolChoice,
        format: Format,
        thought: Thought,
    ) -> Result<Format, Error> {
        let strict = !tools.is_empty() && self.talk.tools().is_some_and(is_strict);
        let (must, parallel) = match choice {
            ToolChoice::Required | ToolChoice::Named(_) => (true, false),
            ToolChoice::Auto => (strict, true),
            ToolChoice::None => (false, true),
        };
        match (must, format) {
            (true, Format::Text) => self.dialect.calls(tools, choice, parallel, thought),
            (true, _) => Err(Cause::CallsAndFormat.into()),
            (false, format) => self.dialect.format(format, thought),
        }
    }
}

/// An answer as a message.
fn answer(text: &str, calls: &[Call]) -> Value {
    if calls.is_empty() {
        return message("assistant", text);
    }
    let dict = |pairs: Vec<(&str, Value)>| {
        let pairs = pairs.into_iter().map(|(k, v)| (Value::from(k), v));
        // Texts are keys of any dict.
        Value::map(pairs).unwrap_or_default()
    };
    let call = |call: &Call| {
        let function = dict(vec![
            ("name", call.name.as_str().into()),
            ("arguments", call.arguments.as_str().into()),
        ]);
        dict(vec![
            ("id", call.id.as_str().into()),
            ("type", "function".into()),
            ("function", function),
        ])
    };
    let calls: Vec<Value> = calls.iter().map(call).collect();
    dict(vec![
        ("role", "assistant".into()),
        ("content", text.into()),
        ("tool_calls", calls.into()),
    ])
}
