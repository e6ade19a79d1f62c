//! A Carat file on its way in: header, segments, and where their bytes go.

use crate::engine::{Clock, Engine};
use crate::error::{self, coded};
use crate::options;
use carat::internals::sample::Params;
use carat::internals::{
    Delivery, DeviceChoice, Head, Model, Prompter, Segments, Session, SessionOptions,
};
use carat_text::template::{ChatTemplate, Clock as Date, Conversation};
use js_sys::{Object, Reflect, Uint8Array, Uint32Array};
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// Positions of a prompt that the CPU computes between two looks at the worker's messages.
const CPU_BATCH: u32 = 32;

struct Inner {
    model: Arc<Model>,
    segments: Segments,
    prompter: Prompter,
}

/// The header of a file, or how much of it is missing.
#[wasm_bindgen]
pub struct File {
    need: u64,
    inner: Option<Inner>,
}

fn field(object: &Object, name: &str, value: impl Into<JsValue>) {
    // A fresh object takes any property.
    let _ = Reflect::set(object, &name.into(), &value.into());
}

#[wasm_bindgen]
impl File {
    /// Reads the first bytes of a file of `total` bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(prefix: &[u8], total: f64) -> Result<File, JsValue> {
        match Model::head(prefix, total as u64).map_err(error::engine)? {
            Head::NeedMore(need) => Ok(Self { need, inner: None }),
            Head::Whole(model) => {
                let model = Arc::new(*model);
                let header = model.header().map_err(error::engine)?;
                let template = ChatTemplate::of_header(&header);
                Ok(Self {
                    need: 0,
                    inner: Some(Inner {
                        segments: model.segments().map_err(error::engine)?,
                        prompter: Prompter::new(
                            model.clone(),
                            template.map_err(|e| coded("format", e))?,
                            // Each conversation comes with its time.
                            Date::Unix(0),
                        ),
                        model: model.clone(),
                    }),
                })
            }
        }
    }

    fn inner(&self) -> Result<&Inner, JsValue> {
        let missing = || coded("internal", "the header has not arrived");
        self.inner.as_ref().ok_or_else(missing)
    }

    /// Bytes from the start that are needed; 0 when the header is here.
    #[wasm_bindgen(getter)]
    pub fn need(&self) -> f64 {
        self.need as f64
    }

    /// Number of segments.
    #[wasm_bindgen(getter)]
    pub fn segments(&self) -> Result<u32, JsValue> {
        Ok(self.inner()?.segments.count() as u32)
    }

    /// First byte of a segment; past the last one the file's length.
    pub fn start(&self, segment: u32) -> Result<f64, JsValue> {
        Ok(self.inner()?.segments.range(segment as usize).start as f64)
    }

    /// Compares a segment's bytes with their hash.
    pub fn check(&self, segment: u32, bytes: &[u8]) -> Result<(), JsValue> {
        let segments = &self.inner()?.segments;
        segments
            .check(segment as usize, bytes)
            .map_err(error::engine)
    }

    /// The package's `ModelInfo`.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let Inner {
            model, prompter, ..
        } = self.inner()?;
        let header = model.header().map_err(error::engine)?;
        let info = model.info();
        let out = Object::new();
        field(&out, "name", info.name.as_str());
        field(&out, "architecture", info.architecture.as_str());
        field(&out, "parameters", info.parameters as f64);
        field(&out, "bytes", info.bytes as f64);
        field(&out, "bitsPerWeight", info.bits_per_weight);
        field(&out, "contextLength", info.context_length);
        field(&out, "vocabSize", info.vocab_size);
        field(&out, "hasTemplate", prompter.template().is_some());
        let defaults = options::sampling(&Params::of_header(&header));
        field(&out, "sampling", defaults);
        let card = info.card.map(|card| {
            let out = Object::new();
            field(&out, "tokens", card.predictions() as f64);
            field(&out, "perplexity", card.figures.ppl);
            field(&out, "referencePerplexity", card.figures.reference_ppl);
            field(&out, "meanKl", card.figures.kl_mean);
            field(&out, "p99Kl", card.figures.kl_p99);
            field(&out, "sameTop", card.figures.top1);
            field(&out, "text", card.text.as_str());
            JsValue::from(out)
        });
        field(&out, "card", card.unwrap_or(JsValue::NULL));
        Ok(out.into())
    }

    /// Token ids of a text.
    pub fn tokenize(&self, text: &str, special: bool) -> Result<Vec<u32>, JsValue> {
        let tokenizer = self.inner()?.model.tokenizer().map_err(error::engine)?;
        Ok(tokenizer.encode(text, special))
    }

    /// Token ids of a prompt, whose text spells no control token.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, JsValue> {
        let model = &self.inner()?.model;
        model.encode_prompt(text).map_err(error::engine)
    }

    /// The text of token ids.
    pub fn detokenize(&self, ids: &[u32]) -> Result<String, JsValue> {
        self.inner()?.model.detokenize(ids).map_err(error::engine)
    }

    /// What the module of grammars knows of the tokens: `bytes`, `lengths`, `ends`.
    pub fn words(&self) -> Result<JsValue, JsValue> {
        let tokenizer = self.inner()?.model.tokenizer().map_err(error::engine)?;
        let words = tokenizer.words();
        let out = Object::new();
        field(&out, "bytes", Uint8Array::from(&words.bytes[..]));
        field(&out, "lengths", Uint32Array::from(&words.lengths[..]));
        field(&out, "ends", Uint32Array::from(&words.ends[..]));
        Ok(out.into())
    }

    /// Token ids of a conversation: a list of messages, or an object as a file of `carat template` has it; `seconds` is
    /// the time since 1970.
    pub fn chat(&self, talk: &JsValue, seconds: f64) -> Result<Vec<u32>, JsValue> {
        let prompter = &self.inner()?.prompter;
        let talk = Conversation::new(options::value(talk)?).map_err(error::chat)?;
        // What is wrong with the file is no fault of the conversation.
        prompter.tokenizer().map_err(error::engine)?;
        let clock = Date::Unix(seconds as i64);
        prompter.ids_at(&talk, clock).map_err(error::chat)
    }

    /// Memory for the whole file, for the CPU.
    pub fn weights(&self) -> Result<Weights, JsValue> {
        let model = self.inner()?.model.hold().map_err(error::engine)?;
        Ok(Weights {
            model: Arc::new(model),
        })
    }

    /// Memory for a part of the file that shows how fast the CPU is.
    pub fn probe(&self) -> Result<Probe, JsValue> {
        let inner = carat::internals::Probe::new(self.inner()?.model.clone());
        Ok(Probe {
            inner: inner.map_err(error::engine)?,
        })
    }

    /// Buffers on the GPU for the whole file and a cache of `context` positions.
    pub async fn upload(&self, context: u32) -> Result<Upload, JsValue> {
        let model = self.inner()?.model.clone();
        let options = SessionOptions {
            device: DeviceChoice::GpuIndex(0),
            context,
            ..SessionOptions::default()
        };
        let delivery = Delivery::begin(model, &options).await;
        Ok(Upload {
            delivery: delivery.map_err(error::engine)?,
            context,
        })
    }
}

/// A file in the module's memory.
#[wasm_bindgen]
pub struct Weights {
    model: Arc<Model>,
}

#[wasm_bindgen]
impl Weights {
    /// Puts bytes that have arrived at `offset`. Errors: an engine reads them already.
    pub fn put(&mut self, offset: f64, bytes: &[u8]) -> Result<(), JsValue> {
        let shared = || coded("internal", "weights are in use");
        let model = Arc::get_mut(&mut self.model).ok_or_else(shared)?;
        model.fill(offset as u64, bytes);
        Ok(())
    }

    /// An engine on the CPU; the weights can be uploaded from here as long as this lives.
    pub async fn engine(&self, context: u32) -> Result<Engine, JsValue> {
        let options = SessionOptions {
            device: DeviceChoice::Cpu,
            context,
            batch: Some(CPU_BATCH),
            ..SessionOptions::default()
        };
        let session = Session::new(self.model.clone(), &options).await;
        Ok(Engine::new(session.map_err(error::engine)?, context, false))
    }
}

/// A part of a file, which shows how fast the CPU is.
#[wasm_bindgen]
pub struct Probe {
    inner: carat::internals::Probe,
}

#[wasm_bindgen]
impl Probe {
    /// Takes what it needs of bytes that have arrived at `offset`.
    pub fn put(&mut self, offset: f64, bytes: &[u8]) {
        self.inner.put(offset as u64, bytes);
    }

    /// Milliseconds that a token will take on the CPU, by the least of `times` runs of the part.
    pub async fn pace(&mut self, times: usize) -> Result<f64, JsValue> {
        let mut clock = Clock::default();
        let rehearsed = self.inner.rehearse(times, || clock.tick()).await;
        rehearsed.map_err(error::engine)?;
        Ok(clock.least * self.inner.share())
    }
}

/// Weights on their way to the GPU.
#[wasm_bindgen]
pub struct Upload {
    delivery: Delivery,
    context: u32,
}

#[wasm_bindgen]
impl Upload {
    /// Copies bytes of the file that have arrived at `offset`, each once.
    pub async fn put(&mut self, offset: f64, bytes: Vec<u8>) -> Result<(), JsValue> {
        let put = self.delivery.put(offset as u64, &bytes).await;
        put.map_err(error::engine)
    }

    /// Copies a file in memory.
    pub async fn put_all(&mut self, weights: &Weights) -> Result<(), JsValue> {
        let model = weights.model.clone();
        self.delivery
            .put_all(&model, false)
            .await
            .map_err(error::engine)
    }

    /// Compiles the kernels.
    pub async fn finish(self) -> Result<Engine, JsValue> {
        let session = self.delivery.finish().await.map_err(error::engine)?;
        Ok(Engine::new(session, self.context, true))
    }
}
