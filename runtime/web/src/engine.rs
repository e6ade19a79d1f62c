//! A session and the generation under way.

use crate::error::{self, coded};
use crate::options;
use carat::sample::{Constraint, Params};
use carat::text::StopReason;
use carat::{Error, Generator, Session, Step};
use js_sys::{Object, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;

struct Run {
    generator: Generator,
    constraint: Option<Box<dyn Constraint>>,
    /// The context ends it, not the number of tokens asked for.
    fills: bool,
}

/// A session on one device.
#[wasm_bindgen]
pub struct Engine {
    session: Session,
    /// Positions asked for; the session has whole pages.
    context: u32,
    gpu: bool,
    run: Option<Run>,
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
        }
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

    /// Begins a generation after `prompt`; of what the cache holds the common beginning is kept.
    pub fn start(&mut self, prompt: &[u32], given: &JsValue) -> Result<(), JsValue> {
        self.run = None;
        let model = self.session.model().clone();
        let header = model.header().map_err(error::engine)?;
        let mut options = options::generation(given, Params::of_header(&header))?;
        let context = self.context;
        let free = (context as usize).checked_sub(prompt.len());
        let full = || Error::ContextFull {
            asked: prompt.len(),
            used: 0,
            context,
        };
        let free = free.ok_or_else(|| error::engine(full()))?;
        let constraint = constraint(given, &model)?;
        // The last token needs no position of its own.
        let most = free.saturating_add(1);
        let fills = options.max_tokens > most;
        options.max_tokens = options.max_tokens.min(most);
        let same = self.session.tokens().iter().zip(prompt);
        let same = same.take_while(|(a, b)| a == b).count();
        let kept = same.min(prompt.len().saturating_sub(1));
        self.session.truncate(kept);
        let rest = prompt.get(kept..).unwrap_or(&[]);
        let generator = Generator::new(&self.session, rest, &options, constraint.is_some());
        self.run = Some(Run {
            generator: generator.map_err(error::generate)?,
            constraint,
            fills,
        });
        Ok(())
    }

    /// A part of the prompt (`{done, total}`), a token (`{id, text}`), or `null` at the end. After `device-lost` the step
    /// can be taken again: see [`Engine::move_to`].
    pub async fn step(&mut self) -> Result<JsValue, JsValue> {
        let run = self.run.as_mut().ok_or_else(no_run)?;
        let constraint = run.constraint.as_deref_mut();
        let (work, begun) = (self.session.work(), js_sys::Date::now());
        let step = run.generator.step(&mut self.session, constraint).await;
        let took = js_sys::Date::now() - begun;
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
            Step::Token { id, text, .. } => object(&[("id", id.into()), ("text", text.into())]),
            Step::End => JsValue::NULL,
        })
    }

    /// Ends the generation at the next step.
    pub fn cancel(&mut self) {
        if let Some(run) = &mut self.run {
            run.generator.cancel();
        }
    }

    /// The generation that has ended.
    pub fn finish(&mut self) -> Result<JsValue, JsValue> {
        let mut run = self.run.take().ok_or_else(no_run)?;
        let constraint = run.constraint.as_deref_mut();
        let (mut generation, tail) = run.generator.finish(constraint);
        if run.fills && generation.reason == StopReason::Length {
            generation.reason = StopReason::Context;
        }
        Ok(object(&[
            ("ids", Uint32Array::from(&generation.ids[..]).into()),
            ("text", generation.text.into()),
            ("tail", tail.into()),
            ("reason", generation.reason.name().into()),
            ("logitsHash", generation.logits_hash.into()),
        ]))
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

#[cfg(feature = "grammar")]
fn constraint(
    given: &JsValue,
    model: &carat::Model,
) -> Result<Option<Box<dyn Constraint>>, JsValue> {
    use carat::grammar::{Guide, Kind, Vocabulary};
    let (kind, text) = match (
        options::text(given, "jsonSchema")?,
        options::text(given, "grammar")?,
    ) {
        (Some(text), _) => (Kind::JsonSchema, text),
        (None, Some(text)) => (Kind::Lark, text),
        (None, None) => return Ok(None),
    };
    let wrong = |e| coded("parameter", e);
    let tokenizer = model.tokenizer().map_err(error::engine)?;
    let vocabulary = Vocabulary::new(tokenizer).map_err(wrong)?;
    let guide = Guide::new(&vocabulary, kind, &text).map_err(wrong)?;
    Ok(Some(Box::new(guide)))
}

#[cfg(not(feature = "grammar"))]
fn constraint(given: &JsValue, _: &carat::Model) -> Result<Option<Box<dyn Constraint>>, JsValue> {
    for name in ["jsonSchema", "grammar"] {
        if options::get(given, name).is_some() {
            let why = format!("'{name}': this build has no grammars");
            return Err(coded("parameter", why));
        }
    }
    Ok(None)
}
