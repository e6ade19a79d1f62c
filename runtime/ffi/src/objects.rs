//! Objects for uniffi. A thin layer by hand makes them idiomatic in each language: it has the names that apps see.

use crate::app::{
    Conversation, ConversationOptions, Failure, Info, LoadOptions, LoadStage, Model, OnLoad,
    Outcome, Piece, Stream, StreamOptions,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

/// What went wrong.
#[derive(Debug, uniffi::Error)]
pub enum NativeError {
    /// A code of the npm package, one line, and what was found and expected where it is about a value.
    Failed {
        /// `device-lost`, for instance.
        code: String,
        /// The state, the cause and the remedy.
        reason: String,
        /// What was found.
        found: Option<String>,
        /// What was expected in its place.
        expected: Option<String>,
    },
}

impl std::fmt::Display for NativeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Failed { reason, .. } = self;
        f.write_str(reason)
    }
}

impl std::error::Error for NativeError {}

impl From<Failure> for NativeError {
    fn from(failure: Failure) -> Self {
        Self::Failed {
            code: failure.code.name().into(),
            reason: failure.message,
            found: failure.found,
            expected: failure.expected,
        }
    }
}

type Done<T> = Result<T, NativeError>;

/// Told how far loading is; `false` ends it.
#[uniffi::export(with_foreign)]
pub trait LoadProgress: Send + Sync {
    /// The stage is `download`, `read`, `upload` or `compile`. A total of 0 is not known.
    fn on_progress(&self, stage: String, done: u64, total: u64) -> bool;
}

/// What came of a call of a tool.
#[derive(Clone, Debug, uniffi::Record)]
pub struct CallResult {
    /// The call's id.
    pub id: String,
    /// What the tool returned.
    pub result: String,
}

fn sink(progress: Option<Arc<dyn LoadProgress>>) -> Option<Arc<OnLoad>> {
    let progress = progress?;
    Some(Arc::new(move |stage, done, total| {
        let name = match stage {
            LoadStage::Download => "download",
            LoadStage::Read => "read",
            LoadStage::Upload => "upload",
            LoadStage::Compile => "compile",
        };
        progress.on_progress(name.into(), done, total)
    }))
}

/// Runs on a thread of its own what would keep an event loop waiting.
async fn aside<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Done<T> {
    type Slot<T> = (Option<Result<T, Failure>>, Option<Waker>);
    let slot: Arc<Mutex<Slot<T>>> = Arc::new(Mutex::new((None, None)));
    let to = slot.clone();
    let run = move || {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        let done = caught.unwrap_or_else(|_| Err(Failure::panicked()));
        let waker = {
            let mut slot = to.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(done);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    };
    let started = std::thread::Builder::new().name("carat".into()).spawn(run);
    if let Err(e) = started {
        let line = format!("no thread can be started: {e}");
        return Err(Failure::new(crate::app::Code::Internal, line).into());
    }
    let done = std::future::poll_fn(|context| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(done) => Poll::Ready(done),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    });
    Ok(done.await?)
}

/// How a model is opened where an app says nothing.
#[uniffi::export]
pub fn default_load_options() -> LoadOptions {
    LoadOptions::default()
}

/// The version of the library.
#[uniffi::export]
pub fn native_version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Opens a model, and waits for it.
#[uniffi::export]
pub fn load_model(
    from: String,
    options: LoadOptions,
    progress: Option<Arc<dyn LoadProgress>>,
) -> Done<Arc<NativeModel>> {
    let model = Model::load(&from, &options, sink(progress))?;
    Ok(Arc::new(NativeModel(model)))
}

/// Opens a model beside an event loop.
#[uniffi::export]
pub async fn load_model_async(
    from: String,
    options: LoadOptions,
    progress: Option<Arc<dyn LoadProgress>>,
) -> Done<Arc<NativeModel>> {
    let load = move || Model::load(&from, &options, sink(progress));
    let model = aside(load).await?;
    Ok(Arc::new(NativeModel(model)))
}

/// A model: see [`Model`].
#[derive(uniffi::Object)]
pub struct NativeModel(Model);

#[uniffi::export]
impl NativeModel {
    /// See [`Model::info`].
    pub fn info(&self) -> Done<Info> {
        Ok(self.0.info()?)
    }

    /// See [`Model::tokenize`].
    pub fn tokenize(&self, text: String) -> Done<Vec<u32>> {
        Ok(self.0.tokenize(&text)?)
    }

    /// See [`Model::detokenize`].
    pub fn detokenize(&self, ids: Vec<u32>) -> Done<String> {
        Ok(self.0.detokenize(&ids)?)
    }

    /// See [`Model::embed`].
    pub fn embed(&self, text: String) -> Done<Vec<f32>> {
        Ok(self.0.embed(&text)?)
    }

    /// [`Model::embed`] beside an event loop.
    pub async fn embed_async(&self, text: String) -> Done<Vec<f32>> {
        let model = self.0.clone();
        aside(move || model.embed(&text)).await
    }

    /// See [`Model::generate`].
    pub fn generate(&self, prompt: String, options: StreamOptions) -> Done<Arc<NativeStream>> {
        Ok(stream(self.0.generate(&prompt, &options)?))
    }

    /// See [`Model::conversation`].
    pub fn conversation(&self, options: ConversationOptions) -> Done<Arc<NativeConversation>> {
        let made = self.0.conversation(&options)?;
        Ok(Arc::new(NativeConversation(Arc::new(made))))
    }

    /// See [`Model::resume`].
    pub fn resume(
        &self,
        path: String,
        options: ConversationOptions,
    ) -> Done<Arc<NativeConversation>> {
        let made = self.0.resume(Path::new(&path), &options)?;
        Ok(Arc::new(NativeConversation(Arc::new(made))))
    }

    /// See [`Model::memory_warning`].
    pub fn memory_warning(&self) -> Done<()> {
        Ok(self.0.memory_warning()?)
    }

    /// See [`Model::enter_background`].
    pub fn enter_background(&self) -> Done<()> {
        Ok(self.0.enter_background()?)
    }

    /// See [`Model::enter_foreground`].
    pub fn enter_foreground(&self) -> Done<()> {
        Ok(self.0.enter_foreground()?)
    }

    /// See [`Model::close`]. Kotlin has `close` for the handle.
    pub fn shut(&self) {
        self.0.close();
    }

    /// See [`Model::is_closed`].
    pub fn is_shut(&self) -> bool {
        self.0.is_closed()
    }
}

/// A conversation: see [`Conversation`].
#[derive(uniffi::Object)]
pub struct NativeConversation(Arc<Conversation>);

#[uniffi::export]
impl NativeConversation {
    /// See [`Conversation::ask`].
    pub fn ask(&self, text: String, options: StreamOptions) -> Done<Arc<NativeStream>> {
        Ok(stream(self.0.ask(&text, &options)?))
    }

    /// See [`Conversation::regenerate`].
    pub fn regenerate(&self, options: StreamOptions) -> Done<Arc<NativeStream>> {
        Ok(stream(self.0.regenerate(&options)?))
    }

    /// See [`Conversation::answer_calls`].
    pub fn answer_calls(
        &self,
        results: Vec<CallResult>,
        options: StreamOptions,
    ) -> Done<Arc<NativeStream>> {
        let pairs = results.into_iter().map(|r| (r.id, r.result)).collect();
        Ok(stream(self.0.answer_calls(pairs, &options)?))
    }

    /// See [`Conversation::undo`].
    pub fn undo(&self) -> Done<Option<String>> {
        Ok(self.0.undo()?)
    }

    /// See [`Conversation::messages`].
    pub fn messages(&self) -> Done<String> {
        Ok(self.0.messages()?)
    }

    /// See [`Conversation::set_messages`].
    pub fn set_messages(&self, json: String) -> Done<()> {
        Ok(self.0.set_messages(&json)?)
    }

    /// See [`Conversation::set_system`].
    pub fn set_system(&self, text: String) -> Done<()> {
        Ok(self.0.set_system(&text)?)
    }

    /// See [`Conversation::set_tools`].
    pub fn set_tools(&self, json: String) -> Done<()> {
        Ok(self.0.set_tools(&json)?)
    }

    /// See [`Conversation::save`].
    pub fn save(&self, path: String) -> Done<()> {
        Ok(self.0.save(Path::new(&path))?)
    }

    /// See [`Conversation::close`]. Kotlin has `close` for the handle.
    pub fn shut(&self) {
        self.0.close();
    }
}

fn stream(stream: Stream) -> Arc<NativeStream> {
    Arc::new(NativeStream(stream))
}

/// A text under way: see [`Stream`].
#[derive(uniffi::Object)]
pub struct NativeStream(Stream);

#[uniffi::export]
impl NativeStream {
    /// See [`Stream::next_async`].
    pub async fn next(&self) -> Done<Option<Piece>> {
        Ok(self.0.next_async().await?)
    }

    /// See [`Stream::next`].
    pub fn next_blocking(&self) -> Done<Option<Piece>> {
        Ok(self.0.next()?)
    }

    /// See [`Stream::outcome`].
    pub fn outcome(&self) -> Done<Option<Outcome>> {
        Ok(self.0.outcome().transpose()?)
    }

    /// See [`Stream::cancel`].
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// See [`Stream::close`]. Kotlin has `close` for the handle.
    pub fn shut(&self) {
        self.0.close();
    }
}
