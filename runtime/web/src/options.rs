//! What JavaScript gives, checked.

use crate::error::coded;
use carat::GenerateOptions;
use carat::sample::Params;
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
    set(&mut sampling.repeat_penalty, "repeatPenalty")?;
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
