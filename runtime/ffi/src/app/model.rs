//! A model that any thread may use.

use super::conversation;
use super::stream::{self, Sink};
use super::{
    Conversation, ConversationOptions, Failure, Info, LoadOptions, Outcome, Sampling, Stream,
    StreamOptions, source,
};
use carat::Progress;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Where loading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStage {
    /// Bytes come over the network.
    Download = 1,
    /// Bytes of the file are read into memory.
    Read = 2,
    /// Bytes of weights go to a GPU.
    Upload = 3,
    /// Kernels are compiled for a GPU.
    Compile = 4,
}

/// Told how far loading is: the stage, how much is done and of how much. Where it returns `false` loading ends.
pub type OnLoad = dyn Fn(LoadStage, u64, u64) -> bool + Send + Sync;

/// A model that is open. Clones are the same model.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Nothing: it is closed.
    model: Option<carat::Model>,
    conversations: Kept<conversation::Inner>,
    streams: Kept<stream::Inner>,
}

/// Things that are closed with the model, as long as there are any.
pub(super) struct Kept<T>(Vec<Weak<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Kept<T> {
    fn add(&mut self, new: &Arc<T>) {
        self.0.retain(|old| old.strong_count() > 0);
        self.0.push(Arc::downgrade(new));
    }

    fn all(&self) -> Vec<Arc<T>> {
        self.0.iter().filter_map(Weak::upgrade).collect()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    /// Opens a model: a path, an address (`https://…/model.gguf`), or a hub's name (`hf:OWNER/NAME`). What is fetched is kept, goes
    /// on where it was cut off, and is compared with its hashes. `progress` is called on this thread until the model is open.
    ///
    /// Errors: nothing is there, no Carat model, damaged, no such device, no memory; the network; cancelled.
    pub fn load(
        from: &str,
        options: &LoadOptions,
        progress: Option<Arc<OnLoad>>,
    ) -> Result<Self, Failure> {
        let progress = progress.unwrap_or_else(|| Arc::new(|_, _, _| true));
        let path = source::local(from, options, &*progress)?;
        let mut load = options.load()?;
        let cancel = carat::Cancel::new();
        // Prompts tell how far they are by the same way: nobody asked for that.
        let open = Arc::new(AtomicBool::new(false));
        let (told, wish, tell) = (open.clone(), cancel.clone(), progress);
        load = load.cancel(&cancel).on_progress(move |p| {
            if told.load(Ordering::Relaxed) {
                return;
            }
            let (stage, done, total) = match p {
                Progress::Reading { done, total } => (LoadStage::Read, done, total),
                Progress::Uploading { done, total } => (LoadStage::Upload, done, total),
                Progress::Compiling { done, total } => (LoadStage::Compile, done, total),
                _ => return,
            };
            if !tell(stage, done, total) {
                wish.cancel();
            }
        });
        let model = match options.map && source::guard() {
            true => load.open(&path)?,
            false => {
                let file = std::fs::File::open(&path);
                load.open_reader(file.map_err(|e| source::unreadable(&path, &e))?)?
            }
        };
        open.store(true, Ordering::Relaxed);
        let state = State {
            model: Some(model),
            ..State::default()
        };
        Ok(Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
            }),
        })
    }

    /// The engine's model. Errors: it is closed.
    pub(super) fn open(&self) -> Result<carat::Model, Failure> {
        let model = lock(&self.inner.state).model.clone();
        model.ok_or_else(|| Failure::closed("model"))
    }

    /// Closes a conversation with the model.
    pub(super) fn keep(&self, conversation: &Arc<conversation::Inner>) -> Result<(), Failure> {
        let mut state = lock(&self.inner.state);
        match state.model {
            Some(_) => {
                state.conversations.add(conversation);
                Ok(())
            }
            None => Err(Failure::closed("model")),
        }
    }

    /// Closes a stream with the model.
    pub(super) fn watch(&self, stream: &Arc<stream::Inner>) -> Result<(), Failure> {
        let mut state = lock(&self.inner.state);
        match state.model {
            Some(_) => {
                state.streams.add(stream);
                Ok(())
            }
            None => Err(Failure::closed("model")),
        }
    }

    /// A conversation with the model.
    ///
    /// Errors: closed; no tokenizer; options out of range.
    pub fn conversation(&self, options: &ConversationOptions) -> Result<Conversation, Failure> {
        Conversation::new(self, options)
    }

    /// A conversation that [`Conversation::save`] wrote.
    ///
    /// Errors: the file cannot be read, is damaged or of another model; as of [`Model::conversation`].
    pub fn resume(
        &self,
        path: &Path,
        options: &ConversationOptions,
    ) -> Result<Conversation, Failure> {
        Conversation::resume(self, path, options)
    }

    /// A text that goes on with a prompt.
    ///
    /// Errors: closed; options out of range. What is wrong with the prompt is an error of the stream.
    pub fn generate(&self, prompt: &str, options: &StreamOptions) -> Result<Stream, Failure> {
        let (model, format) = (self.open()?, options.format()?);
        let sampling = options.sampling.as_ref().map(Sampling::sampling);
        let (metrics, prompt) = (options.metrics, prompt.to_owned());
        let work = move |sink: &Sink<'_>| -> Result<Outcome, Failure> {
            let mut text = model.generate(&prompt).format(format).cancel(sink.cancel());
            if let Some(sampling) = sampling {
                text = text.sampling(sampling);
            }
            if let Some(top) = metrics {
                text = text.metrics(top as usize);
            }
            sink.pump(text)
        };
        let stream = Stream::start(work)?;
        self.watch(stream.inner())?;
        Ok(stream)
    }

    /// The meaning of a text as a vector of length 1.
    ///
    /// Errors: closed; a text without tokens or longer than the context.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, Failure> {
        Ok(self.open()?.embed(text)?.to_vec())
    }

    /// The tokens of a text.
    ///
    /// Errors: closed; no tokenizer.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Failure> {
        Ok(self.open()?.tokenize(text)?)
    }

    /// The text of tokens.
    ///
    /// Errors: closed; a token outside the vocabulary.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String, Failure> {
        Ok(self.open()?.detokenize(ids)?)
    }

    /// What is known of the model.
    ///
    /// Errors: closed.
    pub fn info(&self) -> Result<Info, Failure> {
        Ok(Info::of(&self.open()?))
    }

    /// Gives back what can be computed or read again: sessions of conversations that do not answer, pages of the file.
    ///
    /// Errors: closed.
    pub fn memory_warning(&self) -> Result<(), Failure> {
        let model = self.open()?;
        for conversation in lock(&self.inner.state).conversations.all() {
            conversation.release_memory();
        }
        model.release_memory();
        Ok(())
    }

    /// Goes on with the CPU, with the same tokens. When this returns no GPU works for the model.
    ///
    /// Errors: closed.
    pub fn enter_background(&self) -> Result<(), Failure> {
        self.open()?.enter_background();
        Ok(())
    }

    /// Makes a GPU ready again, as at loading.
    ///
    /// Errors: closed.
    pub fn enter_foreground(&self) -> Result<(), Failure> {
        self.open()?.enter_foreground();
        Ok(())
    }

    /// Cancels what is under way, waits for its threads, closes conversations and gives the memory back. May be called again.
    pub fn close(&self) {
        let state = std::mem::take(&mut *lock(&self.inner.state));
        state.conversations.all().iter().for_each(|c| c.close());
        state.streams.all().iter().for_each(|s| s.close());
    }

    /// Whether [`Model::close`] was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.inner.state).model.is_none()
    }
}
