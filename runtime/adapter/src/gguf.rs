//! GGUF files of llama.cpp: `general.type` is `adapter`, `adapter.type` is `lora`.

use crate::AdapterError;
use crate::element::Element;
use crate::file::{Described, Pair, Pairing};
use crate::names::{self, Named};
use carat_gguf::{Header, KeyError, Parse, TensorType, parse};
use std::path::Path;

/// What the bytes of a file hold.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<(Described, Vec<Pair>), AdapterError> {
    let fault = |fault: String| AdapterError::Gguf {
        path: path.into(),
        fault,
    };
    let header = match parse(bytes, bytes.len() as u64) {
        Ok(Parse::Complete(header)) => header,
        Ok(Parse::NeedMore(n)) => return Err(fault(format!("{n} bytes are stated"))),
        Err(e) => return Err(fault(e.to_string())),
    };
    let key = |e: KeyError| fault(e.to_string());
    for (field, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = header.str_opt(field).map_err(key)?;
        if found != Some(expected) {
            return Err(AdapterError::Value {
                path: path.into(),
                field: field.into(),
                found: found.map_or("missing".into(), |f| format!("'{f}'")),
                expected: format!("'{expected}': this is no file of a LoRA adapter"),
            });
        }
    }
    if header.get("adapter.alora.invocation_tokens").is_some() {
        return Err(AdapterError::Unsupported {
            path: path.into(),
            what: "an adapter that begins to act within a text (aLoRA)".into(),
            remedy: "use one that acts from the first token on",
        });
    }
    // llama.cpp takes 0 as 1/r.
    let alpha = header.f64_opt("adapter.lora.alpha").map_err(key)?;
    let alpha = alpha.unwrap_or(0.0);
    if !alpha.is_finite() {
        return Err(AdapterError::Value {
            path: path.into(),
            field: "adapter.lora.alpha".into(),
            found: alpha.to_string(),
            expected: "a finite number".into(),
        });
    }
    let pairs = pairs(path, &header)?.finish(path, |_, rank| match alpha {
        0.0 => Ok(1.0),
        alpha => Ok(alpha / rank as f64),
    })?;
    let text = |name: &str| Ok(header.str_opt(name).map_err(key)?.map(String::from));
    let described = Described {
        alpha,
        architecture: text("general.architecture")?,
        base: text("general.base_model.0.name")?,
    };
    Ok((described, pairs))
}

fn pairs(path: &Path, header: &Header<'_>) -> Result<Pairing, AdapterError> {
    let mut pairing = Pairing::default();
    for info in header.tensors() {
        let element = match info.ty {
            TensorType::F32 => Some(Element::F32),
            TensorType::F16 => Some(Element::F16),
            TensorType::BF16 => Some(Element::Bf16),
            _ => None,
        };
        let meaning = names::ggml(info.name);
        // A trailing dimension of 1 says nothing.
        let dims = &info.dims;
        let significant = dims.iter().rposition(|d| *d != 1).map_or(1, |i| i + 1);
        if significant > 2 && matches!(meaning, Named::Matrix(..)) {
            return Err(AdapterError::Shape {
                path: path.into(),
                tensor: info.name.into(),
                found: dims.to_vec(),
                expected: "a matrix".into(),
            });
        }
        let (cols, rows) = (dims[0], dims.get(1).copied().unwrap_or(1));
        // Within the file: the parser checked it.
        let range = info
            .range()
            .map_or(0..0, |r| r.start as usize..r.end as usize);
        let named = (info.name, meaning);
        let ty = info.ty.to_string();
        pairing.add(path, named, (element, &ty), [rows, cols], range)?;
    }
    Ok(pairing)
}
