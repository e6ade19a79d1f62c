//! A conversation that any thread may use, one answer at a time.

use super::model::lock;
use super::stream::{self, Sink};
use super::{Code, Failure, Model, Outcome, Sampling, Stream, StreamOptions};
use carat::Chat;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

/// How a conversation begins.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct ConversationOptions {
    /// The system message.
    pub system: Option<String>,
    /// Tools, JSON in OpenAI's form: see [`carat::Chat::set_tools`].
    pub tools: Option<String>,
    /// Messages that were said before, JSON in OpenAI's form. Each user's message must have an answer.
    pub messages: Option<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The time that the template is told, in seconds since 1970; by default now.
    pub date: Option<i64>,
}

/// A conversation with a model.
pub struct Conversation {
    inner: Arc<Inner>,
    model: Model,
}

/// What a conversation, its model and its answer share.
pub(super) struct Inner {
    state: Mutex<State>,
}

enum State {
    Idle(Box<Chat>),
    /// The chat is with the thread that answers. What was asked of it meanwhile is done when it comes back.
    Busy {
        answer: Weak<stream::Inner>,
        release: bool,
    },
    Closed,
}

impl Inner {
    /// Ends the answer, and gives everything up.
    pub(super) fn close(&self) {
        let state = std::mem::replace(&mut *lock(&self.state), State::Closed);
        if let State::Busy { answer, .. } = state
            && let Some(answer) = answer.upgrade()
        {
            answer.close();
        }
    }

    pub(super) fn release_memory(&self) {
        match &mut *lock(&self.state) {
            State::Idle(chat) => chat.release_memory(),
            State::Busy { release, .. } => *release = true,
            State::Closed => {}
        }
    }

    /// Takes the chat back from an answer's thread.
    fn give_back(&self, mut chat: Box<Chat>) {
        let mut state = lock(&self.state);
        if let State::Busy { release, .. } = &*state {
            if *release {
                chat.release_memory();
            }
            *state = State::Idle(chat);
        }
    }
}

/// What a chat is asked.
enum Ask {
    Text(String),
    Again,
    Results(Vec<(String, String)>),
}

/// Gives a chat back whatever happens, also in a panic.
struct Lent {
    inner: Arc<Inner>,
    chat: Option<Box<Chat>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(chat) = self.chat.take() {
            self.inner.give_back(chat);
        }
    }
}

impl Conversation {
    pub(super) fn new(model: &Model, options: &ConversationOptions) -> Result<Self, Failure> {
        let chat = Chat::new(&model.open()?)?;
        Self::with(model, chat, options)
    }

    fn with(model: &Model, mut chat: Chat, options: &ConversationOptions) -> Result<Self, Failure> {
        if let Some(seconds) = options.date {
            chat = chat.date(seconds);
        }
        chat = chat.sampling(options.sampling.sampling());
        if let Some(messages) = &options.messages {
            chat.set_messages_json(messages)?;
        }
        if let Some(system) = &options.system {
            chat.set_system(system);
        }
        if let Some(tools) = &options.tools {
            chat.set_tools(tools)?;
        }
        let inner = Arc::new(Inner {
            state: Mutex::new(State::Idle(Box::new(chat))),
        });
        model.keep(&inner)?;
        Ok(Self {
            inner,
            model: model.clone(),
        })
    }

    /// Goes on with a conversation that [`Conversation::save`] wrote.
    ///
    /// Errors: the file cannot be read, is damaged or of another model; as of [`Model::conversation`].
    pub(super) fn resume(
        model: &Model,
        path: &Path,
        options: &ConversationOptions,
    ) -> Result<Self, Failure> {
        let file = std::fs::File::open(path).map_err(|e| at(path, "cannot be read", &e))?;
        let chat = Chat::resume(&model.open()?, &mut BufReader::new(file))?;
        Self::with(model, chat, options)
    }

    /// Does something with the chat while it does not answer.
    fn idle<T>(&self, act: impl FnOnce(&mut Chat) -> Result<T, Failure>) -> Result<T, Failure> {
        match &mut *lock(&self.inner.state) {
            State::Idle(chat) => act(chat),
            State::Busy { .. } => Err(Failure::busy()),
            State::Closed => Err(Failure::closed("conversation")),
        }
    }

    fn stream(&self, ask: Ask, options: &StreamOptions) -> Result<Stream, Failure> {
        let (format, choice) = (options.format()?, options.choice());
        let sampling = options.sampling.as_ref().map(Sampling::sampling);
        let metrics = options.metrics;
        let mut state = lock(&self.inner.state);
        match &*state {
            State::Idle(_) => {}
            State::Busy { .. } => return Err(Failure::busy()),
            State::Closed => return Err(Failure::closed("conversation")),
        }
        let busy = State::Busy {
            answer: Weak::new(),
            release: false,
        };
        let State::Idle(chat) = std::mem::replace(&mut *state, busy) else {
            return Err(Failure::busy());
        };
        let mut lent = Lent {
            inner: self.inner.clone(),
            chat: Some(chat),
        };
        // The thread may end before this function has the lock again.
        drop(state);
        let work = move |sink: &Sink<'_>| -> Result<Outcome, Failure> {
            let Some(chat) = &mut lent.chat else {
                return Err(Failure::panicked());
            };
            let reply = match ask {
                Ask::Text(text) => chat.ask(&text),
                Ask::Again => chat.regenerate(),
                Ask::Results(results) => chat.answer_calls(&results)?,
            };
            let mut reply = reply
                .format(format)
                .tool_choice(choice)
                .cancel(sink.cancel());
            if let Some(top) = metrics {
                reply = reply.metrics(top as usize);
            }
            if let Some(sampling) = sampling {
                reply = reply.sampling(sampling);
            }
            sink.pump(reply)
        };
        let stream = Stream::start(work)?;
        let known = self.model.watch(stream.inner());
        if let State::Busy { answer, .. } = &mut *lock(&self.inner.state) {
            *answer = Arc::downgrade(stream.inner());
        }
        known?;
        Ok(stream)
    }

    /// Says something; the stream is the answer. One that fails, or is cancelled before its first piece, takes the message back.
    ///
    /// Errors: the conversation answers already, or is closed. What is wrong with the message is an error of the stream.
    pub fn ask(&self, text: &str, options: &StreamOptions) -> Result<Stream, Failure> {
        self.stream(Ask::Text(text.into()), options)
    }

    /// Another answer to the last message.
    ///
    /// Errors: as [`Conversation::ask`].
    pub fn regenerate(&self, options: &StreamOptions) -> Result<Stream, Failure> {
        self.stream(Ask::Again, options)
    }

    /// Says what came of the calls of the last answer, each as the call's id and the tool's result; the stream is the answer that
    /// follows.
    ///
    /// Errors: as [`Conversation::ask`].
    pub fn answer_calls(
        &self,
        results: Vec<(String, String)>,
        options: &StreamOptions,
    ) -> Result<Stream, Failure> {
        self.stream(Ask::Results(results), options)
    }

    /// Takes the last message and its answer back; returns the message's text.
    ///
    /// Errors: the conversation answers, or is closed.
    pub fn undo(&self) -> Result<Option<String>, Failure> {
        self.idle(|chat| Ok(chat.undo()))
    }

    /// All messages as JSON, in OpenAI's form.
    ///
    /// Errors: as [`Conversation::undo`].
    pub fn messages(&self) -> Result<String, Failure> {
        self.idle(|chat| Ok(chat.messages_json()))
    }

    /// Goes on with other messages, JSON in OpenAI's form. Each user's message must have an answer.
    ///
    /// Errors: as [`Conversation::undo`]; no such messages.
    pub fn set_messages(&self, json: &str) -> Result<(), Failure> {
        self.idle(|chat| Ok(chat.set_messages_json(json)?))
    }

    /// Sets the system message from the next answer on.
    ///
    /// Errors: as [`Conversation::undo`].
    pub fn set_system(&self, text: &str) -> Result<(), Failure> {
        self.idle(|chat| {
            chat.set_system(text);
            Ok(())
        })
    }

    /// Sets the tools from the next answer on, JSON in OpenAI's form.
    ///
    /// Errors: as [`Conversation::undo`]; no such tools.
    pub fn set_tools(&self, json: &str) -> Result<(), Failure> {
        self.idle(|chat| Ok(chat.set_tools(json)?))
    }

    /// Writes the conversation with its keys and values to a file, which appears when it is whole.
    ///
    /// Errors: as [`Conversation::undo`]; the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        self.idle(|chat| {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let io = |e: &std::io::Error| at(path, "cannot be written", e);
            let file = tempfile::NamedTempFile::new_in(folder).map_err(|e| io(&e))?;
            let mut writer = BufWriter::new(file);
            chat.save(&mut writer)?;
            writer.flush().map_err(|e| io(&e))?;
            let file = writer.into_inner().map_err(|e| io(e.error()))?;
            file.as_file().sync_all().map_err(|e| io(&e))?;
            file.persist(path).map_err(|e| io(&e.error))?;
            Ok(())
        })
    }

    /// Ends the answer under way, waits for its thread and gives the memory back. May be called again.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.close();
    }
}

fn at(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Storage,
        format!("{}: {what}: {error}", path.display()),
    )
}
