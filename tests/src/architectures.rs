//! Tiny random checkpoints of every architecture, as Hugging Face directories with the tokenizer of the
//! bundled model. `oracles/architectures.json` has their configurations and tensors, and logits of them
//! by Hugging Face transformers; `oracles/make_architectures.py` makes it.

use crate::facet;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The models of the oracle: an architecture, or one with a variant after the dash.
pub const NAMES: &[&str] = &[
    "llama",
    "llama-linear",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3-yarn",
    "phi3",
    "phi3-longrope",
    "phi3-longrope-whole",
    "gemma2",
    "gemma3",
    "gemma3-new",
    "bitnet",
];

/// A tensor of a checkpoint: every weight is `base + n · 2^exponent` with a random `n` in `-most..=most`,
/// exact in bf16.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Name in the checkpoint; it seeds the weights.
    pub name: String,
    /// Rows and columns, or the length of a vector.
    pub shape: Vec<usize>,
    /// The middle value.
    pub base: f64,
    /// Power of two of a step.
    pub exponent: i32,
    /// Most steps from the middle.
    pub most: u32,
}

/// A model of the oracle.
#[derive(Clone, Debug)]
pub struct Model {
    /// The checkpoint's `config.json`.
    pub config: Value,
    /// The checkpoint's tensors.
    pub tensors: Vec<Weights>,
    /// Token ids whose logits are known.
    pub ids: Vec<u32>,
    /// At each position the ids of the logits in `logits`.
    pub seen: Vec<Vec<u32>>,
    /// Logits at each position.
    pub logits: Vec<Vec<f64>>,
    /// Root mean square of all logits at all positions.
    pub rms: f64,
}

/// The oracle's file.
fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracles/architectures.json")
}

/// A model of the oracle.
///
/// # Panics
/// If the oracle does not have it.
pub fn model(name: &str) -> Model {
    let path = oracle();
    let read = || -> Option<Model> {
        let all: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let m = all.get("models")?.get(name)?;
        let ids = |v: &Value| -> Option<Vec<u32>> { serde_json::from_value(v.clone()).ok() };
        let tensor = |t: &Value| {
            Some(Weights {
                name: t.get(0)?.as_str()?.into(),
                shape: serde_json::from_value(t.get(1)?.clone()).ok()?,
                base: t.get(2)?.as_f64()?,
                exponent: t.get(3)?.as_i64()? as i32,
                most: t.get(4)?.as_u64()? as u32,
            })
        };
        Some(Model {
            config: m.get("config")?.clone(),
            tensors: m
                .get("tensors")?
                .as_array()?
                .iter()
                .map(tensor)
                .collect::<Option<_>>()?,
            ids: ids(m.get("ids")?)?,
            seen: m
                .get("seen")?
                .as_array()?
                .iter()
                .map(ids)
                .collect::<Option<_>>()?,
            logits: serde_json::from_value(m.get("logits")?.clone()).ok()?,
            rms: m.get("rms")?.as_f64()?,
        })
    };
    match read() {
        Some(model) => model,
        None => panic!("{}: no model {name}", path.display()),
    }
}

/// Writes the checkpoint `name` into the directory `dir`, which exists.
///
/// # Panics
/// If the oracle does not have it, or a file cannot be written.
pub fn write(dir: &Path, name: &str) {
    model(name).write(dir);
}

impl Model {
    /// Writes the checkpoint into the directory `dir`, which exists.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, dir: &Path) {
        let put = |name: &str, bytes: Vec<u8>| {
            if let Err(e) = fs::write(dir.join(name), bytes) {
                panic!("{}: {e}", dir.join(name).display());
            }
        };
        put("config.json", self.config.to_string().into_bytes());
        put("model.safetensors", safetensors(&self.tensors));
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            match fs::read(facet::directory().join(name)) {
                Ok(bytes) => put(name, bytes),
                Err(e) => panic!("{name}: {e}"),
            }
        }
    }
}

/// A safetensors file of these tensors in bf16.
pub fn safetensors(tensors: &[Weights]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for t in tensors {
        let start = data.len();
        // The upper half of an f32, of which the lower is zero.
        let bf16 = |x: f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
        data.extend(t.values().flat_map(bf16));
        let entry = json!({"dtype": "BF16", "shape": t.shape, "data_offsets": [start, data.len()]});
        header.insert(t.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

impl Weights {
    /// The weights in order.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        // FNV-1a.
        let seed = |h: u32, b: u8| (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
        let seed = self.name.bytes().fold(0x811c_9dc5, seed);
        let (base, most, step) = (self.base, self.most, f64::from(self.exponent).exp2());
        (0..self.shape.iter().product::<usize>() as u32).map(move |i| {
            let n = mix(i.wrapping_mul(0x9e37_79b1).wrapping_add(seed)) % (2 * most + 1);
            (base + (f64::from(n) - f64::from(most)) * step) as f32
        })
    }
}

/// MurmurHash3's finaliser.
fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}
