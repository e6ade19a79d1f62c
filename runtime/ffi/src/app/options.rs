//! What an app may say: how a model is opened, how tokens are chosen, what an answer follows.

use super::Failure;
use carat::{CacheBits, Device, Format, KvBits, Load, ToolChoice};
use serde::Deserialize;
use std::path::PathBuf;

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Adapter {
    /// A directory that PEFT saved, or a GGUF file.
    pub path: String,
    /// From -16 to 16; 1 is the adapter as it was trained.
    pub strength: f64,
}

/// How a model is opened. What is `None` is Carat's choice.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct LoadOptions {
    /// `auto`, `cpu`, `gpu`, `gpu:` and an index, or `gpu:` and a part of a GPU's name. With `auto` the CPU answers at once, and a
    /// GPU goes on as soon as it is ready if it is faster.
    pub device: String,
    /// Positions of the context.
    pub context: Option<u32>,
    /// Most bytes of memory, weights included.
    pub memory_limit: Option<u64>,
    /// Threads of the CPU.
    pub threads: Option<u32>,
    /// Bits of the keys that are kept of a text: 4 or 8.
    pub key_bits: Option<u8>,
    /// Bits of the values that are kept of a text: 4 or 8.
    pub value_bits: Option<u8>,
    /// Whether the file is compared with its hashes beside the first text.
    pub verify: bool,
    /// Whether the file is mapped. Else it is copied into memory, and may change while it is open.
    pub map: bool,
    /// LoRA adapters.
    pub adapters: Vec<Adapter>,
    /// The folder for models that are fetched; by default that of the hub's other programs, or the system's for caches.
    pub cache_dir: Option<String>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: "auto".into(),
            context: None,
            memory_limit: None,
            threads: None,
            key_bits: None,
            value_bits: None,
            verify: true,
            map: true,
            adapters: Vec::new(),
            cache_dir: None,
        }
    }
}

fn bits(name: &str, bits: Option<u8>) -> Result<KvBits, Failure> {
    match bits {
        None | Some(8) => Ok(KvBits::Eight),
        Some(4) => Ok(KvBits::Four),
        Some(n) => Err(Failure::parameter(format!(
            "the {name} have {n} bits; expected 4 or 8"
        ))),
    }
}

impl LoadOptions {
    pub(super) fn load(&self) -> Result<Load, Failure> {
        let device = match (self.device.as_str(), self.device.strip_prefix("gpu:")) {
            ("auto" | "", _) => Device::Auto,
            ("cpu", _) => Device::Cpu,
            ("gpu", _) => Device::Gpu,
            (_, Some(name)) if !name.is_empty() => match name.parse() {
                Ok(index) => Device::GpuIndex(index),
                Err(_) => Device::GpuNamed(name.into()),
            },
            (other, _) => {
                return Err(Failure::parameter(format!(
                    "the device is '{other}'; expected auto, cpu, gpu, gpu:INDEX or gpu:NAME"
                )));
            }
        };
        let mut load = Load::new()
            .device(device)
            .cache(CacheBits {
                keys: bits("keys", self.key_bits)?,
                values: bits("values", self.value_bits)?,
            })
            .verify(self.verify);
        if let Some(positions) = self.context {
            load = load.context(positions);
        }
        if let Some(bytes) = self.memory_limit {
            load = load.memory_limit(bytes);
        }
        if let Some(threads) = self.threads {
            load = load.threads(threads as usize);
        }
        for adapter in &self.adapters {
            load = load.adapter(PathBuf::from(&adapter.path), adapter.strength);
        }
        Ok(load)
    }
}

/// How tokens are chosen. What is `None` is what the model's file recommends. As JSON it has the names of the npm package.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Sampling {
    /// Takes the most probable token at every step, with nothing against repetition.
    pub greedy: bool,
    /// Divides the logits before the draw; at least 0.
    pub temperature: Option<f32>,
    /// Chooses among so many of the most probable tokens; 0 is all.
    pub top_k: Option<u32>,
    /// Chooses among the most probable tokens that reach this probability together.
    pub top_p: Option<f32>,
    /// Chooses among tokens at least so many times as probable as the most probable one.
    pub min_p: Option<f32>,
    /// Makes tokens of the last 64 less probable by this factor.
    pub repeat_penalty: Option<f32>,
    /// Nats from the logit of every token that the generated text has.
    pub presence_penalty: Option<f32>,
    /// Nats from the logit of a token as often as the generated text has it.
    pub frequency_penalty: Option<f32>,
    /// Where the draws begin; 0 by default.
    pub seed: Option<u64>,
    /// Most tokens of a text.
    pub max_tokens: Option<u32>,
    /// Strings that end a text.
    #[serde(rename = "stop")]
    pub stops: Vec<String>,
}

impl Sampling {
    /// Of JSON: `{"temperature": 0.7, "seed": 7, "maxTokens": 100}`.
    ///
    /// Errors: no such object, a name that is none.
    pub fn of_json(json: &str) -> Result<Self, Failure> {
        serde_json::from_str(json).map_err(|e| {
            Failure::parameter(format!(
                "the sampling is no object of its parameters: {e}; expected {{\"temperature\": 0.7, \"maxTokens\": 100}}"
            ))
        })
    }

    pub(super) fn sampling(&self) -> carat::Sampling {
        let mut s = match self.greedy {
            true => carat::Sampling::greedy(),
            false => carat::Sampling::new(),
        };
        macro_rules! set {
            ($($name:ident),*) => {
                $(if let Some(value) = self.$name { s = s.$name(value); })*
            };
        }
        set!(temperature, top_k, top_p, min_p, repeat_penalty);
        set!(presence_penalty, frequency_penalty, seed);
        if let Some(tokens) = self.max_tokens {
            s = s.max_tokens(tokens as usize);
        }
        self.stops.iter().fold(s, |s, stop| s.stop(stop))
    }
}

/// What holds for one text.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct StreamOptions {
    /// How its tokens are chosen; `None`: as the conversation says.
    pub sampling: Option<Sampling>,
    /// A JSON schema that the text follows.
    pub json_schema: Option<String>,
    /// A grammar in llguidance's variant of Lark's syntax that the text follows. Only one of the two.
    pub grammar: Option<String>,
    /// `auto`, `none`, `required`, or the name of the tool that must be called.
    pub tool_choice: Option<String>,
    /// Reports what the model thinks of each token, with so many of the likeliest ones.
    pub metrics: Option<u32>,
}

impl StreamOptions {
    pub(super) fn format(&self) -> Result<Format, Failure> {
        match (&self.json_schema, &self.grammar) {
            (None, None) => Ok(Format::Text),
            (Some(schema), None) => Ok(Format::JsonSchema(schema.clone())),
            (None, Some(grammar)) => Ok(Format::Lark(grammar.clone())),
            (Some(_), Some(_)) => Err(Failure::parameter(
                "a JSON schema and a grammar are both set; leave one out",
            )),
        }
    }

    pub(super) fn choice(&self) -> ToolChoice {
        match self.tool_choice.as_deref() {
            None | Some("auto" | "") => ToolChoice::Auto,
            Some("none") => ToolChoice::None,
            Some("required") => ToolChoice::Required,
            Some(name) => ToolChoice::Named(name.into()),
        }
    }
}
