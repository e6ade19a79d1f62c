//! What a checkpoint says about generating text.

use carat_gguf::Header;
use serde_json::{Map, Value};

/// Defaults for generation; `None` and empty where the checkpoint says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generation {
    /// Every token that ends a generation.
    pub eos_token_ids: Vec<u32>,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// Whether to sample at all, rather than take the likeliest token.
    pub do_sample: Option<bool>,
    /// Divisor of the logits.
    pub temperature: Option<f64>,
    /// Number of likeliest tokens to sample from.
    pub top_k: Option<u32>,
    /// Probability mass to sample from.
    pub top_p: Option<f64>,
    /// Least probability to sample, relative to the likeliest token's.
    pub min_p: Option<f64>,
    /// Factor against repetition.
    pub repetition_penalty: Option<f64>,
}

impl Generation {
    /// From `generation_config.json`, and for the special tokens `config.json` where that is silent.
    /// Values of a wrong type are ignored: they are advice.
    pub(super) fn from_json(generation: &Map<String, Value>, config: &Map<String, Value>) -> Self {
        let either = |key: &str| {
            let ids = |m: &Map<String, Value>| ids(m.get(key));
            Some(ids(generation))
                .filter(|i| !i.is_empty())
                .unwrap_or_else(|| ids(config))
        };
        let number = |key: &str| generation.get(key).and_then(Value::as_f64);
        Self {
            eos_token_ids: either("eos_token_id"),
            bos_token_id: either("bos_token_id").first().copied(),
            do_sample: generation.get("do_sample").and_then(Value::as_bool),
            temperature: number("temperature"),
            top_k: generation.get("top_k").and_then(id),
            top_p: number("top_p"),
            min_p: number("min_p"),
            repetition_penalty: number("repetition_penalty"),
        }
    }

    /// From GGUF metadata.
    pub(super) fn from_header(header: &Header<'_>) -> Self {
        let id = |key: &str| header.u32_opt(key).ok().flatten();
        let number = |key: &str| header.f64_opt(key).ok().flatten();
        let mut eos: Vec<u32> = match header.array_of_opt::<u32>(carat_format::keys::EOS_TOKEN_IDS)
        {
            Ok(Some(ids)) => ids.collect(),
            _ => Vec::new(),
        };
        if eos.is_empty() {
            eos = ["eos", "eot", "eom"]
                .iter()
                .filter_map(|k| id(&format!("tokenizer.ggml.{k}_token_id")))
                .collect();
        }
        eos.sort_unstable();
        eos.dedup();
        Self {
            eos_token_ids: eos,
            bos_token_id: id("tokenizer.ggml.bos_token_id"),
            do_sample: None,
            temperature: number("general.sampling.temp"),
            top_k: id("general.sampling.top_k"),
            top_p: number("general.sampling.top_p"),
            min_p: number("general.sampling.min_p"),
            repetition_penalty: number("general.sampling.penalty_repeat"),
        }
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|n| u32::try_from(n).ok())
}

/// One id or a list of them.
fn ids(value: Option<&Value>) -> Vec<u32> {
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}
