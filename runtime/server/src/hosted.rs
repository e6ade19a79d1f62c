//! A model that is loaded: the engine's thread, and what turns requests into tokens.

use crate::ids;
use crate::refusal::Refusal;
use crate::slots::Slots;
use carat::Format;
use carat::internals::adapter::{Applied, Strength};
use carat::internals::sample::{Params, TokenMetrics};
use carat::internals::{
    Batcher, CacheBits, DeviceChoice, Dialect, Drafter, Embedding, Error, Host, Loaded, Model,
    PagesInUse, Prompter, Restriction, SessionOptions, Words,
};
use carat_format::Pooling;
use carat_text::template::{ChatTemplate, Clock};
use carat_text::tokenizer::Tokenizer;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Rows of logits that a pass gives at most: every text under way has one, and scores have many.
const OUTPUTS: u32 = 32;

/// How a model is loaded.
#[derive(Clone)]
pub struct HostedOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Positions of each text.
    pub context: u32,
    /// Texts that are computed at once.
    pub parallel: u32,
    /// Threads of the CPU; `None` for every core.
    pub threads: Option<usize>,
    /// Most bytes of memory, weights included: the context becomes as short as that takes.
    pub memory_limit: Option<u64>,
    /// Bits of keys and values.
    pub cache: CacheBits,
    /// A chat template (Jinja) instead of the file's.
    pub template: Option<String>,
    /// Divides the logits where a request does not say.
    pub temperature: Option<f32>,
    /// Where draws begin where a request does not say; otherwise somewhere else each time.
    pub seed: Option<u64>,
    /// Most tokens of an answer where a request does not say.
    pub max_tokens: Option<usize>,
    /// Tokens that are computed in advance where a request does not say and the text said the same before.
    pub lookup: usize,
    /// A smaller model that proposes tokens, and how many at most.
    pub smaller: Option<(Arc<Model>, usize)>,
    /// Adapters, and how strongly each acts where a request does not say.
    pub adapters: Vec<Applied>,
}

/// What holds where a request says nothing.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// How tokens are chosen.
    pub params: Params,
    /// Where draws begin; otherwise somewhere else each time.
    pub seed: Option<u64>,
    /// Most tokens of an answer.
    pub max_tokens: Option<usize>,
    /// Tokens in advance.
    pub lookup: usize,
}

impl HostedOptions {
    /// The same for a session.
    pub fn session(&self) -> SessionOptions {
        SessionOptions {
            device: self.device.clone(),
            context: self.context,
            sequences: self.parallel,
            outputs: self.parallel.max(OUTPUTS),
            spare: 1,
            threads: self.threads,
            memory_limit: self.memory_limit,
            cache: self.cache,
            adapters: self.adapters.clone(),
            ..SessionOptions::default()
        }
    }
}

/// A model that is loaded.
pub struct Hosted {
    /// Its name.
    pub name: String,
    model: Arc<Model>,
    host: Host,
    /// How it is spoken to.
    pub dialect: Dialect,
    words: Words,
    /// Positions of a text.
    pub context: u32,
    /// Texts at once.
    pub parallel: u32,
    /// What computes.
    pub device: String,
    /// Bytes of memory, weights included.
    pub memory: u64,
    /// When it was loaded.
    pub created: u64,
    /// What its file recommends, and who serves it.
    pub defaults: Defaults,
    /// A name of its bytes, which is the same wherever they are.
    pub fingerprint: String,
    /// The last texts that named slots.
    pub slots: Arc<Slots>,
    /// How many adapters are loaded.
    pub adapters: usize,
}

impl Hosted {
    /// Loads a model.
    ///
    /// Errors: no such device, a context that cannot be held, a device that refuses; a file without a tokenizer.
    pub fn load(name: &str, model: Arc<Model>, options: &HostedOptions) -> Result<Self, Error> {
        let session = options.session();
        let tokenizer = model.tokenizer()?;
        let template = match &options.template {
            Some(source) => {
                let piece = |name: &str, id: Option<u32>| {
                    let bytes = tokenizer.decode_bytes(id?, true);
                    Some((name.to_owned(), String::from_utf8_lossy(bytes).into_owned()))
                };
                let tokens = [
                    ("bos_token", tokenizer.bos()),
                    ("eos_token", tokenizer.eos()),
                ];
                let tokens = tokens.into_iter().filter_map(|(name, id)| piece(name, id));
                Some(ChatTemplate::of_source(source.clone(), tokens.collect()))
            }
            None => ChatTemplate::of_header(&model.header()?)?,
        };
        let mut params = Params::of_header(&model.header()?);
        params.temperature = options.temperature.unwrap_or(params.temperature);
        let dialect = Dialect::new(Prompter::new(model.clone(), template, Clock::now()))?;
        let mut memory = session.memory(&model)?.total();
        let loaded = pollster::block_on(Loaded::new(model.clone(), &session))?;
        let extent = loaded.plan().extent;
        let device = loaded.device();
        let fingerprint = fingerprint(&loaded)?;
        let mut batcher = Batcher::new(loaded);
        if let Some((smaller, most)) = &options.smaller {
            let beside = Drafter::options(&SessionOptions {
                sequences: extent.sequences,
                context: extent.context,
                ..session
            });
            memory += beside.memory(smaller)?.total();
            let drafter = Drafter::new(smaller.clone(), &model, &beside, *most);
            batcher.draft_with(pollster::block_on(drafter)?);
        }
        let host = Host::start(batcher)?;
        Ok(Self {
            name: name.into(),
            dialect,
            words: Words::default(),
            context: extent.context.min(options.context.max(1)),
            parallel: extent.sequences,
            device,
            memory,
            created: ids::now(),
            defaults: Defaults {
                params,
                seed: options.seed,
                max_tokens: options.max_tokens,
                lookup: options.lookup,
            },
            fingerprint,
            slots: Arc::default(),
            adapters: options.adapters.len(),
            model,
            host,
        })
    }

    /// The file.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// What computes.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What makes prompts.
    pub fn prompter(&self) -> &Prompter {
        self.dialect.prompter()
    }

    /// The tokenizer. Errors: none for a model that is loaded.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Refusal> {
        Ok(self.model.tokenizer()?)
    }

    /// What restricts a text.
    ///
    /// Errors: a schema or grammar that cannot be used.
    pub fn restriction(&self, format: &Format) -> Result<Option<Restriction>, Refusal> {
        Ok(format.restriction(&self.model, &self.words)?)
    }

    /// Does something with the batcher between two passes, and waits for it.
    pub async fn between<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Batcher) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        self.host.task(move |batcher| {
            // Nobody waits for it any more where this fails.
            let _ = sender.send(task(batcher));
        })?;
        match receiver.await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Refusal::engine_gone()),
        }
    }

    /// The meaning of a text as a vector.
    ///
    /// Errors: no tokens, more than the context has, a device's failure.
    pub async fn embed(&self, ids: Vec<u32>, pooling: Pooling) -> Result<Vec<Embedding>, Refusal> {
        let embed = move |b: &mut Batcher| pollster::block_on(b.embed(&ids, pooling));
        self.between(embed).await
    }

    /// What the model thinks of each token but the first, with the `top` likeliest ones.
    ///
    /// Errors: more tokens than the context has, a device's failure.
    pub async fn score(&self, ids: Vec<u32>, top: usize) -> Result<Vec<TokenMetrics>, Refusal> {
        let score = move |b: &mut Batcher| pollster::block_on(b.score(&ids, top));
        self.between(score).await
    }

    /// The adapters, and how strongly each acts where a request does not say.
    ///
    /// Errors: the engine's thread has ended.
    pub async fn adapters(&self) -> Result<Vec<Applied>, Refusal> {
        self.between(|b: &mut Batcher| Ok(b.loaded().adapters().to_vec()))
            .await
    }

    /// Lets them act so on texts that begin from now on, where a request does not say.
    ///
    /// Errors: other strengths than there are adapters; the engine's thread has ended.
    pub async fn set_strengths(&self, strengths: Vec<Strength>) -> Result<(), Refusal> {
        let set = move |b: &mut Batcher| b.loaded().set_defaults(&strengths);
        self.between(set).await
    }

    /// How many pages are used for what.
    ///
    /// Errors: the engine's thread has ended.
    pub async fn pages(&self) -> Result<Vec<PagesInUse>, Refusal> {
        self.between(|b: &mut Batcher| Ok(b.loaded().pages_in_use()))
            .await
    }
}

/// A name of a file's bytes: of its header, which has the hashes of everything else. Adapters are part of it.
fn fingerprint(loaded: &Loaded) -> Result<String, Error> {
    let hash = loaded.identity()?;
    Ok(format!("b{}", &hash[..16]))
}
