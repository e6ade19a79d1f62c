//! Directories of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

use crate::AdapterError;
use crate::element::Element;
use crate::file::{Described, Pair, Pairing};
use crate::names::{self, Named};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};
use std::path::Path;

/// The configuration.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// The matrices.
pub(crate) const TENSORS: &str = "adapter_model.safetensors";

const MERGE: &str = "merge the adapter into its model and convert that";

/// What both files hold.
pub(crate) fn read(
    (config, json): (&Path, &[u8]),
    (path, bytes): (&Path, &[u8]),
) -> Result<(Described, Vec<Pair>), AdapterError> {
    let config = Config::read(config, json)?;
    let fault = |e: safetensors::SafeTensorError| AdapterError::Safetensors {
        path: path.into(),
        fault: e.to_string(),
    };
    let file = SafeTensors::deserialize(bytes).map_err(fault)?;
    let mut pairing = Pairing::default();
    for (name, view) in file.tensors() {
        let element = match view.dtype() {
            Dtype::F32 => Some(Element::F32),
            Dtype::F16 => Some(Element::F16),
            Dtype::BF16 => Some(Element::Bf16),
            _ => None,
        };
        let meaning = names::peft(&name);
        if name.contains("lora_magnitude_vector") {
            return Err(config.unsupported("DoRA", MERGE));
        }
        let (rows, cols) = match (view.shape(), &meaning) {
            ([rows, cols], _) => (*rows as u64, *cols as u64),
            (other, Named::Matrix(..)) => {
                return Err(AdapterError::Shape {
                    path: path.into(),
                    found: other.iter().map(|d| *d as u64).collect(),
                    tensor: name,
                    expected: "a matrix".into(),
                });
            }
            _ => (0, 0),
        };
        // Views are of the same bytes.
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let range = start..start + view.data().len();
        let ty = format!("{:?}", view.dtype());
        pairing.add(path, (&name, meaning), (element, &ty), [rows, cols], range)?;
    }
    let pairs = pairing.finish(path, |name, rank| config.factor(name, rank))?;
    let described = Described {
        alpha: config.alpha,
        architecture: None,
        base: config.base,
    };
    Ok((described, pairs))
}

/// What the configuration says.
struct Config<'a> {
    path: &'a Path,
    alpha: f64,
    /// α of modules whose names end so.
    alphas: Vec<(String, f64)>,
    by_root: bool,
    base: Option<String>,
}

impl<'a> Config<'a> {
    fn read(path: &'a Path, json: &[u8]) -> Result<Self, AdapterError> {
        let json: Value = serde_json::from_slice(json).map_err(|e| AdapterError::Json {
            path: path.into(),
            fault: e.to_string(),
        })?;
        let wrong = |field: &str, found: &Value, expected: &str| AdapterError::Value {
            path: path.into(),
            field: field.into(),
            found: found.to_string().chars().take(80).collect(),
            expected: expected.into(),
        };
        let Value::Object(json) = json else {
            return Err(wrong("the file", &json, "an object"));
        };
        let get = |field: &str| json.get(field).unwrap_or(&Value::Null);
        let alpha = |field: &str, found: &Value| {
            let number = found.as_f64().filter(|a| a.is_finite());
            number.ok_or_else(|| wrong(field, found, "a number"))
        };
        if get("peft_type") != "LORA" {
            let found = get("peft_type");
            return Err(wrong("peft_type", found, "\"LORA\""));
        }
        let mut this = Self {
            path,
            alpha: alpha("lora_alpha", get("lora_alpha"))?,
            alphas: Vec::new(),
            by_root: get("use_rslora") == true,
            base: get("base_model_name_or_path").as_str().map(String::from),
        };
        this.check(&json)?;
        if let Value::Object(patterns) = get("alpha_pattern") {
            for (pattern, found) in patterns {
                // A pattern may be a regular expression; names of modules are not.
                let plain = |c: char| c.is_alphanumeric() || "_.".contains(c);
                if !pattern.chars().all(plain) {
                    return Err(this.unsupported("a pattern of modules in alpha_pattern", MERGE));
                }
                let value = alpha("alpha_pattern", found)?;
                this.alphas.push((pattern.clone(), value));
            }
        }
        Ok(this)
    }

    /// Errors: the adapter has more than pairs of matrices.
    fn check(&self, json: &Map<String, Value>) -> Result<(), AdapterError> {
        let get = |field: &str| json.get(field).unwrap_or(&Value::Null);
        let is_off = |v: &Value| match v {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        for (field, what) in [
            ("use_dora", "DoRA"),
            ("lora_bias", "an adapter with biases of its own"),
            (
                "modules_to_save",
                "an adapter with whole modules (modules_to_save)",
            ),
            (
                "trainable_token_indices",
                "an adapter with tokens of its own",
            ),
            (
                "target_parameters",
                "an adapter of parameters without a module",
            ),
            ("layer_replication", "an adapter of repeated layers"),
            (
                "fan_in_fan_out",
                "an adapter of transposed matrices (fan_in_fan_out)",
            ),
            ("use_qalora", "QA-LoRA"),
            ("use_bdlora", "an adapter of diagonal blocks"),
            ("arrow_config", "a router of adapters"),
            (
                "alora_invocation_tokens",
                "an adapter that begins to act within a text (aLoRA)",
            ),
        ] {
            if !is_off(get(field)) {
                return Err(self.unsupported(what, MERGE));
            }
        }
        if !matches!(get("bias").as_str(), None | Some("none")) {
            return Err(self.unsupported("an adapter that changes biases", MERGE));
        }
        // Others change the model's own weights before training, so that its matrices are not what the adapter is for.
        let plain = match get("init_lora_weights") {
            Value::Null | Value::Bool(_) => true,
            Value::String(s) => matches!(&s[..], "gaussian" | "eva" | "orthogonal"),
            _ => false,
        };
        if !plain {
            return Err(self.unsupported(
                "an adapter whose beginning changed the model's own weights (init_lora_weights)",
                "save it with path_initial_model_for_weight_conversion, or merge it into its model and convert that",
            ));
        }
        Ok(())
    }

    fn unsupported(&self, what: &str, remedy: &'static str) -> AdapterError {
        AdapterError::Unsupported {
            path: self.path.into(),
            what: what.into(),
            remedy,
        }
    }

    /// The factor of the pair whose `A` has that name.
    fn factor(&self, name: &str, rank: u64) -> Result<f64, AdapterError> {
        let module = name.split(".lora_").next().unwrap_or(name);
        let ends = |pattern: &str| {
            let before = module.strip_suffix(pattern);
            before.is_some_and(|b| b.is_empty() || b.ends_with('.'))
        };
        let own = self.alphas.iter().find(|(pattern, _)| ends(pattern));
        let alpha = own.map_or(self.alpha, |a| a.1);
        let rank = rank as f64;
        Ok(match self.by_root {
            true => alpha / libm::sqrt(rank),
            false => alpha / rank,
        })
    }
}
