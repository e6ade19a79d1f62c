//! What JavaScript gives, checked.

use crate::error::coded;
use carat::internals::GenerateOptions;
use carat::internals::sample::Params;
use carat_text::template::Value;
use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// A property that is neither `undefined` nor `null`.
pub fn get(object: &JsValue, name: &str) -> Option<JsValue> {
    let found = Reflect::get(object, &name.into()).ok()?;
    (!found.is_undefined() && !found.is_null()).then_some(found)
}

fn wrong(name: &str, expected: &str) -> JsValue {
    coded("parameter", format!("'{name}' is no {expected}"))
}

fn number(object: &JsValue, name: &str) -> Result<Option<f64>, JsValue> {
    let Some(found) = get(object, name) else {
        return Ok(None);
    };
    found
        .as_f64()
        .map(Some)
        .ok_or_else(|| wrong(name, "number"))
}

fn count(object: &JsValue, name: &str) -> Result<Option<u32>, JsValue> {
    match number(object, name)? {
        None => Ok(None),
        Some(n) if n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&n) => {
            Ok(Some(n as u32))
        }
        Some(_) => Err(wrong(name, "whole number of 0 or more")),
    }
}

/// A text property. Errors: of another type.
pub fn text(object: &JsValue, name: &str) -> Result<Option<String>, JsValue> {
    let Some(found) = get(object, name) else {
        return Ok(None);
    };
    found
        .as_string()
        .map(Some)
        .ok_or_else(|| wrong(name, "text"))
}

/// Deepest that a value of JavaScript may nest, as JSON's readers have it.
const MAX_DEPTH: usize = 127;

/// A value as JSON has it.
///
/// Errors: functions and the like, one nested too deep.
pub fn value(found: &JsValue) -> Result<Value, JsValue> {
    value_at(found, 0)
}

fn value_at(found: &JsValue, depth: usize) -> Result<Value, JsValue> {
    if depth > MAX_DEPTH {
        return Err(coded("parameter", "the conversation is nested too deep"));
    }
    if found.is_undefined() || found.is_null() {
        return Ok(Value::default());
    }
    if let Some(flag) = found.as_bool() {
        return Ok(flag.into());
    }
    if let Some(x) = found.as_f64() {
        // JavaScript has one kind of number: what is whole is written without a fraction.
        let whole = x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0;
        return Ok(if whole { (x as i64).into() } else { x.into() });
    }
    if let Some(text) = found.as_string() {
        return Ok(text.as_str().into());
    }
    if let Some(list) = found.dyn_ref::<js_sys::Array>() {
        let items = list.iter().map(|item| value_at(&item, depth + 1));
        return Ok(items.collect::<Result<Vec<_>, _>>()?.into());
    }
    let Some(object) = found.dyn_ref::<Object>().filter(|_| !found.is_function()) else {
        return Err(coded("parameter", "a part of the conversation is no JSON"));
    };
    let mut pairs = Vec::new();
    for entry in Object::entries(object).iter() {
        let entry = js_sys::Array::from(&entry);
        let key = entry.get(0).as_string().unwrap_or_default();
        pairs.push((key.as_str().into(), value_at(&entry.get(1), depth + 1)?));
    }
    // Texts are keys of any dict.
    Ok(Value::map(pairs).unwrap_or_default())
}

/// A number of [`Params`] that JavaScript sets and reads.
struct Number {
    name: &'static str,
    get: fn(&Params) -> f64,
    set: fn(&mut Params, f64),
    whole: bool,
}

/// A field of [`Params`], by its name in JavaScript.
macro_rules! number {
    ($name:literal, $field:ident: f32) => {
        Number {
            name: $name,
            // As it is written: 0.8, not the nearest double of the nearest float.
            get: |p| p.$field.to_string().parse().unwrap_or_default(),
            set: |p, x| p.$field = x as f32,
            whole: false,
        }
    };
    ($name:literal, $field:ident: $whole:ty) => {
        Number {
            name: $name,
            get: |p| p.$field as f64,
            set: |p, x| p.$field = x as $whole,
            whole: true,
        }
    };
}

/// Every number of sampling but the seed, which may be larger than a number of JavaScript is exact. They are set in this order: a
/// penalty that is set is all that is done against repetition, unless DRY is set too.
const NUMBERS: [Number; 23] = [
    number!("temperature", temperature: f32),
    number!("topK", top_k: u32),
    number!("topP", top_p: f32),
    number!("minP", min_p: f32),
    Number {
        set: |p, x| *p = std::mem::take(p).with_repeat_penalty(x as f32),
        ..number!("repeatPenalty", repeat_penalty: f32)
    },
    number!("repeatLastN", repeat_last_n: usize),
    number!("dryMultiplier", dry_multiplier: f32),
    number!("dryBase", dry_base: f32),
    number!("dryAllowedLength", dry_allowed_length: u32),
    number!("dryPenaltyLastN", dry_penalty_last_n: usize),
    number!("presencePenalty", presence_penalty: f32),
    number!("frequencyPenalty", frequency_penalty: f32),
    number!("topNSigma", top_n_sigma: f32),
    number!("typicalP", typical_p: f32),
    number!("xtcProbability", xtc_probability: f32),
    number!("xtcThreshold", xtc_threshold: f32),
    number!("dynatempRange", dynatemp_range: f32),
    number!("dynatempExponent", dynatemp_exponent: f32),
    number!("mirostat", mirostat: u32),
    number!("mirostatTau", mirostat_tau: f32),
    number!("mirostatEta", mirostat_eta: f32),
    number!("adaptiveTarget", adaptive_target: f32),
    number!("adaptiveDecay", adaptive_decay: f32),
];

/// What holds where JavaScript sets nothing: the numbers, and the seed as a text of digits.
pub fn sampling(params: &Params) -> Object {
    let out = Object::new();
    // A fresh object takes any property.
    for n in &NUMBERS {
        let _ = Reflect::set(&out, &n.name.into(), &(n.get)(params).into());
    }
    let _ = Reflect::set(&out, &"seed".into(), &params.seed.to_string().into());
    out
}

/// The options of a generation: `defaults`, and what the object sets. The seed is a text of digits.
pub fn generation(object: &JsValue, defaults: Params) -> Result<GenerateOptions, JsValue> {
    let mut sampling = defaults;
    for n in &NUMBERS {
        let set = match n.whole {
            true => count(object, n.name)?.map(f64::from),
            false => number(object, n.name)?,
        };
        if let Some(x) = set {
            (n.set)(&mut sampling, x);
        }
    }
    if let Some(seed) = text(object, "seed")? {
        let seed = seed.parse();
        sampling.seed = seed.map_err(|_| wrong("seed", "whole number below 2^64"))?;
    }
    sampling.validate().map_err(|e| coded("parameter", e))?;
    let mut stops = Vec::new();
    if let Some(list) = get(object, "stop") {
        let list = list.dyn_into::<js_sys::Array>();
        for stop in list.map_err(|_| wrong("stop", "list of texts"))?.iter() {
            stops.push(
                stop.as_string()
                    .ok_or_else(|| wrong("stop", "list of texts"))?,
            );
        }
    }
    Ok(GenerateOptions {
        max_tokens: count(object, "maxTokens")?.map_or(usize::MAX, |n| n as usize),
        sampling,
        stops,
        ..GenerateOptions::default()
    })
}
