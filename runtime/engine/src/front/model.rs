//! A model that is open.

use super::format::Words;
use super::gate::Gate;
use super::watch::Watch;
use super::{Dialect, Error, Generation, Load, Prompter, Relay, Verdict};
use crate::error::Error as Fault;
use crate::model::{Model as File, ModelInfo};
use crate::session::{DeviceChoice, Embedding, SessionOptions};
use carat_format::Pooling;
use carat_text::template::Clock;
use std::io::{Read, Seek};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A model that is open on a device: it generates text, and makes embeddings. Clones are the same model; it may be used from
/// several threads, each text on a session of its own.
///
/// Unless [`Load::device`] names another place, the CPU answers at once, and a GPU goes on as soon as it is ready if it is
/// faster: every device chooses the same tokens, so the text does not show it. The file's hashes are compared beside the first
/// text, which ends with an error if the file is damaged.
///
/// ```
/// # let path = carat_examples::bundled()?;
/// let model = carat::Model::open(path)?;
/// let text = model.generate("Once upon a time").text()?;
/// # assert!(!text.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Model {
    pub(super) shared: Arc<Shared>,
}

/// What clones share.
pub(super) struct Shared {
    pub(super) file: Arc<File>,
    pub(super) options: SessionOptions,
    pub(super) verdict: Verdict,
    pub(super) watch: Arc<Watch>,
    pub(super) words: Words,
    pub(super) dialect: OnceLock<Arc<Dialect>>,
    /// Whether GPUs may be used.
    pub(super) gate: Gate,
    /// A session that nobody uses.
    pub(super) idle: Mutex<Option<Relay>>,
}

impl Model {
    /// Opens the file at `path` with [`Load`]'s defaults.
    ///
    /// Errors: as [`Load::open`].
    #[cfg(feature = "mmap")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, Error> {
        Load::new().open(path)
    }

    /// Opens a file that is in memory, of which it makes a copy.
    ///
    /// Errors: as [`Load::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Load::new().open_bytes(bytes)
    }

    /// Reads a file into memory.
    ///
    /// Errors: as [`Load::open`].
    pub fn from_reader(reader: impl Read + Seek) -> Result<Self, Error> {
        Load::new().open_reader(reader)
    }

    /// Text that goes on with `prompt`, as the model was trained on texts; [`Chat`](crate::Chat) is for models that answer.
    /// What the prompt spells never becomes a control token.
    pub fn generate(&self, prompt: &str) -> Generation {
        Generation::of_text(self.clone(), prompt)
    }

    /// Text that goes on with the tokens of [`Model::tokenize`].
    pub fn generate_from(&self, tokens: &[u32]) -> Generation {
        Generation::of_tokens(self.clone(), tokens)
    }

    /// The meaning of a text as a vector, pooled from the states of its tokens as the file says, or else their mean. Waits for it.
    ///
    /// Errors: a text without tokens, or longer than the context; the device fails; the file is damaged.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn embed(&self, text: &str) -> Result<Embedding, Error> {
        pollster::block_on(self.embed_async(text))
    }

    /// [`Model::embed`] where a program is asynchronous.
    ///
    /// Errors: as there.
    pub async fn embed_async(&self, text: &str) -> Result<Embedding, Error> {
        let file = &self.shared.file;
        let ids = file.tokenizer()?.encode_whole(text, false);
        let context = self.context();
        if ids.len() > context as usize {
            return Err(Fault::ContextFull {
                asked: ids.len(),
                used: 0,
                context,
            }
            .into());
        }
        let pooling = match file.spec().pooling {
            // One vector a token is no vector of the text.
            None | Some(Pooling::None) => Pooling::Mean,
            Some(pooling) => pooling,
        };
        let mut relay = self.take().await?;
        let turn = self.shared.gate.turn();
        relay.follow(turn.place(), &self.shared.options).await?;
        let made = relay.session().embed(&ids, pooling).await;
        drop(turn);
        if let Ok(_) | Err(Fault::NoTokens) = &made {
            self.give(relay);
        }
        let mut made = made?;
        self.shared.verdict.wait()?;
        Ok(made.pop().ok_or(Fault::NoTokens)?)
    }

    /// The tokens of a text, without those that begin or end a prompt; control tokens that the text spells are text.
    ///
    /// Errors: the file's tokenizer is missing or damaged.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.shared.file.tokenizer()?.encode(text, false))
    }

    /// The text of tokens; control tokens as the file names them, bytes that are no UTF-8 as U+FFFD.
    ///
    /// Errors: as [`Model::tokenize`]; a token outside the vocabulary.
    pub fn detokenize(&self, tokens: &[u32]) -> Result<String, Error> {
        Ok(self.shared.file.detokenize(tokens)?)
    }

    /// How many tokens a text has: what it takes of the context.
    ///
    /// Errors: as [`Model::tokenize`].
    pub fn count(&self, text: &str) -> Result<usize, Error> {
        Ok(self.tokenize(text)?.len())
    }

    /// What the file says of the model.
    pub fn info(&self) -> ModelInfo {
        self.shared.file.info()
    }

    /// The model's name, as its checkpoint had it; empty where the file has none.
    pub fn name(&self) -> String {
        self.info().name
    }

    /// Whether the model's file has a chat template.
    pub fn has_template(&self) -> bool {
        let dialect = self.dialect();
        dialect.is_ok_and(|d| d.template().is_some())
    }

    /// Positions of the context: the tokens of a prompt and its text together.
    pub fn context(&self) -> u32 {
        self.shared.options.context
    }

    /// Positions that the model was trained for: beyond them texts get worse.
    pub fn trained_context(&self) -> u32 {
        self.shared.file.spec().context_length
    }

    /// Compares the whole file with its hashes now, where that was not done yet.
    ///
    /// Errors: the file is damaged, or lost bytes since it was opened.
    pub fn verify(&self) -> Result<(), Error> {
        self.shared.verdict.wait()?;
        Ok(self.shared.file.intact()?)
    }

    /// Tells the model that the app is in the background, where systems end apps that use a GPU: what is under way goes on with
    /// the CPU, and chooses the same tokens. When this returns no GPU works for the model, and none will until
    /// [`Model::enter_foreground`]. It waits for at most one pass.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn enter_background(&self) {
        self.shared.gate.set(false);
        #[cfg(feature = "gpu")]
        if let Some(relay) = &mut *self.idle() {
            relay.give_up_waiting();
        }
    }

    /// Tells the model that the app is in the foreground again: a GPU is made ready beside what is under way, as at opening.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn enter_foreground(&self) {
        self.shared.gate.set(true);
    }

    /// Gives memory back that the model can do without: the session that is kept for the next text, and pages of the file, which
    /// come again when they are read. [`Chat::release_memory`](crate::Chat::release_memory) is the same of a chat.
    pub fn release_memory(&self) {
        *self.idle() = None;
        let file = &self.shared.file;
        file.release(0, file.len());
    }

    /// How the model is spoken to.
    ///
    /// Errors: a file without a tokenizer, or with a template of another type.
    pub(super) fn dialect(&self) -> Result<&Arc<Dialect>, Error> {
        let shared = &self.shared;
        if let Some(dialect) = shared.dialect.get() {
            return Ok(dialect);
        }
        let prompter = Prompter::of_model(shared.file.clone(), Clock::now())?;
        let made = Arc::new(Dialect::new(prompter)?);
        Ok(shared.dialect.get_or_init(|| made))
    }

    /// The idle session, or a new one.
    pub(super) async fn take(&self) -> Result<Relay, Error> {
        if let Some(relay) = self.idle().take() {
            return Ok(relay);
        }
        let Shared {
            file,
            options,
            verdict,
            watch,
            ..
        } = &*self.shared;
        let place = self.shared.gate.now();
        let there = match place.gpu {
            true => options.clone(),
            false => SessionOptions {
                device: DeviceChoice::Cpu,
                ..options.clone()
            },
        };
        let relay = Relay::open(file.clone(), &there, verdict, watch.clone()).await?;
        Ok(relay.opened_at(place))
    }

    /// Gives a session back. One is kept for the next text, whose prompt may begin as its last.
    pub(super) fn give(&self, relay: Relay) {
        *self.idle() = Some(relay);
    }

    fn idle(&self) -> MutexGuard<'_, Option<Relay>> {
        let idle = self.shared.idle.lock();
        // A whole value at all times.
        idle.unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// The tokens of a prompt that a user gives: its text spells no control token.
    ///
    /// Errors: the tokenizer is missing or damaged.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Fault> {
        Ok(self.tokenizer()?.encode_prompt(text, false))
    }

    /// The text of token ids; control tokens by their names, what is no UTF-8 as U+FFFD.
    ///
    /// Errors: the tokenizer is missing or damaged, an id outside the vocabulary.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String, Fault> {
        let tokenizer = self.tokenizer()?;
        let vocab = self.spec().vocab_size;
        if let Some(id) = ids.iter().copied().find(|id| *id >= vocab) {
            return Err(Fault::Token { id, vocab });
        }
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.decode_bytes(*id, true))
            .copied()
            .collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
