//! What JavaScript gives, checked.

use crate::error::coded;
use carat::GenerateOptions;
use carat::sample::Params;
use carat::template::Value;
use js_sys::Reflect;
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
    let Some(object) = found
        .dyn_ref::<js_sys::Object>()
        .filter(|_| !found.is_function())
    else {
        return Err(coded("parameter", "a part of the conversation is no JSON"));
    };
    let mut pairs = Vec::new();
    for entry in js_sys::Object::entries(object).iter() {
        let entry = js_sys::Array::from(&entry);
        let key = entry.get(0).as_string().unwrap_or_default();
        pairs.push((key.as_str().into(), value_at(&entry.get(1), depth + 1)?));
    }
    // Texts are keys of any dict.
    Ok(Value::map(pairs).unwrap_or_default())
}

/// The options of a generation: `defaults`, and what the object sets. The seed is a text of digits.
pub fn generation(object: &JsValue, defaults: Params) -> Result<GenerateOptions, JsValue> {
    let mut sampling = defaults;
    let set = |field: &mut f32, name: &str| -> Result<(), JsValue> {
        if let Some(x) = number(object, name)? {
            *field = x as f32;
        }
        Ok(())
    };
    set(&mut sampling.temperature, "temperature")?;
    set(&mut sampling.top_p, "topP")?;
    set(&mut sampling.min_p, "minP")?;
    if let Some(penalty) = number(object, "repeatPenalty")? {
        sampling = sampling.with_repeat_penalty(penalty as f32);
    }
    set(&mut sampling.dry_multiplier, "dryMultiplier")?;
    set(&mut sampling.dry_base, "dryBase")?;
    let allowed = count(object, "dryAllowedLength")?;
    sampling.dry_allowed_length = allowed.unwrap_or(sampling.dry_allowed_length);
    sampling.top_k = count(object, "topK")?.unwrap_or(sampling.top_k);
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
