//! A session and the generation under way.

use crate::error::{self, coded};
use crate::now;
use crate::options;
use carat::internals::sample::Params;
use carat::internals::{Beside, GenerateOptions, Generator, Place, Session, Snapshot, Step};
use carat_text::constraint::{Constraint, ConstraintError, Mask};
use carat_text::stop::StopReason;
use js_sys::{Object, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;

/// A constraint whose masks come from the module of grammars: the worker gives each before its step, and tells that module the
/// token chosen.
#[derive(Default)]
struct Given {
    mask: Option<Mask>,
    complete: bool,
}

impl Constraint for Given {
    fn mask(&mut self) -> Result<Option<Mask>, ConstraintError> {
        Ok(self.mask.clone())
    }

    fn accept(&mut self, _: u32) -> Result<(), ConstraintError> {
        self.mask = None;
        Ok(())
    }

    fn is_complete(&mut self) -> bool {
        self.complete
    }
}

struct Run {
    prompt: Vec<u32>,
    generator: Generator,
    given: Option<Given>,
    /// The context ends it, not the number of tokens asked for.
    fills: bool,
}

/// What is asked for, and whether the context ends it before.
struct Asked {
    options: GenerateOptions,
    fills: bool,
}

/// A generation that a limit ended: it can go on.
struct Ended {
    prompt: Vec<u32>,
    generator: Generator,
    masked: bool,
}

/// A generation of a session that was saved: it can go on.
struct Restored {
    prompt: Vec<u32>,
    snapshot: Snapshot,
    pending: Vec<u32>,
}

/// A session on one device.
#[wasm_bindgen]
pub struct Engine {
    session: Session,
    /// Positions asked for; the session has whole pages.
    context: u32,
    gpu: bool,
    run: Option<Run>,
    ended: Option<Ended>,
    restored: Option<Restored>,
}

/// The shortest time between two ticks, in milliseconds; infinite before the second.
pub(crate) struct Clock {
    pub(crate) least: f64,
    last: Option<f64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            least: f64::INFINITY,
            last: None,
        }
    }
}

impl Clock {
    pub(crate) fn tick(&mut self) {
        let at = now();
        if let Some(before) = self.last.replace(at) {
            self.least = self.least.min(at - before);
        }
    }
}

/// Work of a submission before a device's speed is known: a pass of one row over 256 MB.
const FIRST_WORK: u64 = 1 << 26;
/// Milliseconds that a submission may take; drivers wait about two seconds.
const SUBMISSION_MS: f64 = 250.0;

impl Engine {
    pub(crate) fn new(mut session: Session, context: u32, gpu: bool) -> Self {
        if gpu {
            session.limit_submissions(FIRST_WORK);
        }
        Self {
            session,
            context,
            gpu,
            run: None,
            ended: None,
            restored: None,
        }
    }

    /// The options of a generation after `prompt`, with no more tokens than the context holds.
    fn asked(&self, prompt: &[u32], given: &JsValue) -> Result<Asked, JsValue> {
        let model = self.session.model();
        let header = model.header().map_err(error::engine)?;
        let mut options = options::generation(given, Params::of_header(&header))?;
        let fills = options.within(self.context, prompt.len());
        let fills = fills.map_err(error::engine)?;
        Ok(Asked { options, fills })
    }
}

impl Engine {
    /// The generation of a session that was saved, if it is the one after `prompt` that chose `ids`. Under a mask it is computed
    /// again: its constraint is not here.
    fn revived(
        &self,
        restored: Option<Restored>,
        prompt: &[u32],
        ids: &[u32],
        options: &GenerateOptions,
        masked: bool,
    ) -> Result<Option<Generator>, JsValue> {
        let is_that = |r: &Restored| {
            let seed = r.snapshot.seed == options.sampling.seed;
            seed && !masked && r.prompt == prompt && r.snapshot.ids == ids
        };
        let Some(restored) = restored.filter(is_that) else {
            return Ok(None);
        };
        let model = self.session.model();
        let tokenizer = model.tokenizer();
        let tokenizer = tokenizer.map_err(|e| error::engine(e.into()))?;
        let place = Place::of(&self.session);
        let from = (&restored.snapshot, &restored.pending[..]);
        let resumed = Generator::resume(place, from, options, tokenizer, None);
        resumed.map(Some).map_err(error::generate)
    }
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let out = Object::new();
    for (name, value) in fields {
        // A fresh object takes any property.
        let _ = Reflect::set(&out, &(*name).into(), value);
    }
    out.into()
}

fn no_run() -> JsValue {
    coded("internal", "no generation is under way")
}

#[wasm_bindgen]
impl Engine {
    /// Whether it runs on WebGPU.
    #[wasm_bindgen(getter)]
    pub fn gpu(&self) -> bool {
        self.gpu
    }

    /// Begins a generation after `prompt`; of what the cache holds the common beginning is kept. If it is `masked`, every step
    /// gets a mask.
    pub fn start(&mut self, prompt: &[u32], given: &JsValue, masked: bool) -> Result<(), JsValue> {
        (self.run, self.ended, self.restored) = (None, None, None);
        let Asked { options, fills } = self.asked(prompt, given)?;
        let kept = self.session.keep(prompt);
        let rest = prompt.get(kept..).unwrap_or(&[]);
        let generator = Generator::new(&self.session, rest, &options, masked);
        self.run = Some(Run {
            prompt: prompt.to_vec(),
            generator: generator.map_err(error::generate)?,
            given: masked.then(Given::default),
            fills,
        });
        Ok(())
    }

    /// Takes up the generation that ended last, if a limit ended it and it is the one after `prompt` that chose `ids`: the text
    /// so far, and its steps go on. It must have been asked for the same but for the most tokens, and the cache still hold it.
    pub fn resume(
        &mut self,
        prompt: &[u32],
        ids: &[u32],
        given: &JsValue,
        masked: bool,
    ) -> Result<Option<String>, JsValue> {
        let Asked { options, fills } = self.asked(prompt, given)?;
        let held = |ended: &Ended| {
            let before = ended.generator.options();
            let same = GenerateOptions {
                max_tokens: before.max_tokens,
                ..options.clone()
            };
            // The last token is not in the cache yet.
            let computed = prompt.iter().chain(ids).take(prompt.len() + ids.len() - 1);
            *before == same
                && ended.masked == masked
                && ended.prompt == prompt
                && ended.generator.ids() == ids
                && self.session.tokens().iter().eq(computed)
        };
        let ended = self.ended.take().filter(|e| !ids.is_empty() && held(e));
        let restored = self.restored.take();
        let generator = match ended {
            Some(Ended { mut generator, .. }) => {
                generator.extend(options.max_tokens);
                Some(generator)
            }
            None => self.revived(restored, prompt, ids, &options, masked)?,
        };
        let Some(generator) = generator else {
            return Ok(None);
        };
        let text = generator.text().to_string();
        self.run = Some(Run {
            prompt: prompt.to_vec(),
            generator,
            given: masked.then(Given::default),
            fills,
        });
        Ok(Some(text))
    }

    /// The hash over the logits of the generation under way.
    #[wasm_bindgen(getter)]
    pub fn hash(&self) -> String {
        let hash = |r: &Run| r.generator.logits_hash();
        self.run.as_ref().map(hash).unwrap_or_default()
    }

    /// A part of the prompt (`{done, total}`), a token (`{id, text, hash}` with the hash over the logits so far), or `null` at
    /// the end. After `device-lost` the step can be taken again: see [`Engine::move_to`]. `mask` has the tokens allowed, a bit
    /// each; an empty one ends the text.
    pub async fn step(&mut self, mask: Vec<u32>) -> Result<JsValue, JsValue> {
        let run = self.run.as_mut().ok_or_else(no_run)?;
        if let Some(given) = &mut run.given {
            given.mask = Some(Mask::from_words(&mask));
        }
        let constraint = run.given.as_mut().map(|g| g as &mut dyn Constraint);
        let (work, begun) = (self.session.work(), now());
        let step = run.generator.step(&mut self.session, constraint).await;
        let took = now() - begun;
        // A step of a token waits for its result, so it tells the device's speed.
        if self.gpu && took >= 1.0 && matches!(step, Ok(Step::Token { .. })) {
            let rate = (self.session.work() - work) as f64 / took;
            self.session
                .limit_submissions((rate * SUBMISSION_MS) as u64);
        }
        Ok(match step.map_err(error::generate)? {
            Step::Prompt { done, total } => object(&[
                ("done", (done as f64).into()),
                ("total", (total as f64).into()),
            ]),
            Step::Token { id, text, .. } => object(&[
                ("id", id.into()),
                ("text", text.into()),
                ("hash", run.generator.logits_hash().into()),
            ]),
            Step::End => JsValue::NULL,
        })
    }

    /// Ends the generation at the next step.
    pub fn cancel(&mut self) {
        if let Some(run) = &mut self.run {
            run.generator.cancel();
        }
    }

    /// The generation that has ended; `complete` says whether the text may end there under its grammar.
    pub fn finish(&mut self, complete: bool) -> Result<JsValue, JsValue> {
        let mut run = self.run.take().ok_or_else(no_run)?;
        if let Some(given) = &mut run.given {
            given.complete = complete;
        }
        let masked = run.given.is_some();
        let constraint = run.given.as_mut().map(|g| g as &mut dyn Constraint);
        let generator = run.generator.clone();
        let sampling = generator.options().sampling.clone();
        let (mut generation, tail) = run.generator.finish(constraint);
        if let StopReason::Length | StopReason::Cancelled = generation.reason {
            self.ended = Some(Ended {
                prompt: run.prompt,
                generator,
                masked,
            });
        }
        if run.fills && generation.reason == StopReason::Length {
            generation.reason = StopReason::Context;
        }
        Ok(object(&[
            ("ids", Uint32Array::from(&generation.ids[..]).into()),
            ("text", generation.text.into()),
            ("tail", tail.into()),
            ("reason", generation.reason.name().into()),
            ("complete", generation.complete.into()),
            ("logitsHash", generation.logits_hash.into()),
            ("sampling", options::sampling(&sampling).into()),
        ]))
    }

    /// The session as a file: tokens, keys and values, and the generation that ended last if a limit ended it.
    pub async fn save(&mut self) -> Result<Vec<u8>, JsValue> {
        let ended = self.ended.as_ref().map(|e| e.generator.snapshot());
        let restored = self.restored.as_ref();
        let restored = restored.map(|r| (r.snapshot.clone(), r.pending.clone()));
        let (snapshot, pending) = ended.or(restored).unzip();
        let beside = Beside {
            snapshot,
            pending: pending.unwrap_or_default(),
            note: Vec::new(),
        };
        let mut file = Vec::new();
        let saved = self.session.save(&beside, &mut file).await;
        saved.map_err(error::engine)?;
        Ok(file)
    }

    /// Goes on with a session that was saved, here or elsewhere: `{prompt, ids}`, what [`Engine::resume`] takes.
    pub fn restore(&mut self, mut file: &[u8]) -> Result<JsValue, JsValue> {
        (self.run, self.ended, self.restored) = (None, None, None);
        let Beside {
            pending, snapshot, ..
        } = self.session.open_saved(&mut file).map_err(error::engine)?;
        let mut prompt = self.session.tokens().to_vec();
        prompt.extend(&pending);
        let ids = snapshot.as_ref().map_or(0, |s| s.ids.len());
        let ids = prompt.split_off(prompt.len().saturating_sub(ids));
        let found = object(&[
            ("prompt", Uint32Array::from(&prompt[..]).into()),
            ("ids", Uint32Array::from(&ids[..]).into()),
        ]);
        self.restored = snapshot.map(|snapshot| Restored {
            prompt,
            snapshot,
            pending,
        });
        Ok(found)
    }

    /// Tokens that the cache holds.
    #[wasm_bindgen(getter)]
    pub fn used(&self) -> usize {
        self.session.tokens().len()
    }

    /// Milliseconds of a pass of one token here after `used` others, the least of `times`; infinite with a full cache.
    pub async fn pace(&mut self, used: usize, times: usize) -> Result<f64, JsValue> {
        let mut clock = Clock::default();
        let rehearsed = self.session.rehearse(used, times, || clock.tick()).await;
        rehearsed.map_err(error::engine)?;
        Ok(clock.least)
    }

    /// Goes on with another engine's device: it computes the tokens that this one holds, and a generation under way goes on
    /// there.
    pub async fn move_to(&mut self, other: Engine) -> Result<(), JsValue> {
        let mut session = other.session;
        let replayed = session.replay(self.session.tokens()).await;
        replayed.map_err(error::engine)?;
        self.session = session;
        self.gpu = other.gpu;
        Ok(())
    }
}
