//! A Hugging Face directory: `config.json` and one or several safetensors files.

mod head;
mod quantized;
mod sentence;

use super::config::{self, Described, Packed, Quantization};
use super::decode::{self, ElementType};
use super::io::{SourceFile, read_small};
use super::normal::{Form, Normal};
use super::packed::{CODES, is_of_cache};
use super::stored::{Data, Stored};
use super::{Checkpoint, Generation, Hyper, Kind, SourceError, Transform, names, unfit};
use crate::text;
use carat_format::Tensor;
use head::Head;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Largest JSON file that is read, in bytes.
const MAX_JSON: u64 = 64 << 20;
/// Largest header of a safetensors file, in bytes: the limit of the safetensors crate.
const MAX_HEADER: u64 = 100_000_000;

pub(super) fn open(directory: &Path) -> Result<Checkpoint, SourceError> {
    let config_path = directory.join("config.json");
    if !config_path.exists() {
        return Err(unfit::directory(directory));
    }
    let config = object(&config_path)?;
    if let Some(error) = unfit::config(&config_path, &config) {
        return Err(error);
    }
    let mut described = config::read(&config_path, &config)?;
    let (files, mut found) = weights(directory)?;
    let (architecture, hyper) = (described.architecture, &mut described.hyper);
    hyper.pooling = sentence::pooling(directory)?;
    let (head, note) = head::settle(hyper, &files, &found)?;
    described.notes.extend(note);
    let gains = architecture.gains_about_zero;
    let normal = Normal::new(architecture, hyper, &described.ropes, false, gains);
    super::hyper::check_tables(hyper, &config_path)?;
    let generation_path = directory.join("generation_config.json");
    let generation = match object(&generation_path) {
        Err(SourceError::NotFound { .. }) => Map::new(),
        other => other?,
    };
    let tensors = Placing {
        head,
        directory,
        described: &described,
        normal: &normal,
        files: &files,
    }
    .place(&mut found)?;
    let packed = matches!(described.quantization, Some(Quantization::Packed(_)));
    let hyper = described.hyper;
    let known = |name: &str| ignored(&hyper, name) || (packed && is_of_cache(name));
    if let Some((name, entry)) = found.iter().find(|(name, _)| !known(name)) {
        return Err(SourceError::UnknownTensor {
            path: files[entry.file].path.clone(),
            tensor: name.clone(),
            architecture: hyper.source_architecture,
        });
    }
    let name = directory.canonicalize().ok().and_then(|d| model_name(&d));
    Ok(Checkpoint {
        kind: Kind::HuggingFace,
        path: directory.into(),
        generation: Generation::from_json(&generation, &config),
        hyper,
        name,
        notes: described.notes,
        files,
        tensors,
        header: Vec::new(),
        transform: Transform::default(),
    })
}

/// A model's name by its directory: the directory's own, or the repository's where it is a snapshot in the cache of
/// huggingface_hub (`models--OWNER--NAME/snapshots/COMMIT`).
fn model_name(directory: &Path) -> Option<String> {
    let own = |d: &Path| Some(d.file_name()?.to_string_lossy().into_owned());
    let snapshots = directory.parent().filter(|p| p.ends_with("snapshots"));
    let repository = snapshots.and_then(Path::parent).and_then(own);
    let repository = repository.and_then(|r| {
        let name = r.strip_prefix("models--")?;
        Some(name.rsplit_once("--").map_or(name, |n| n.1).to_owned())
    });
    repository.or_else(|| own(directory))
}

fn ignored(hyper: &Hyper, name: &str) -> bool {
    // A head that equals the embedding is stored once.
    names::is_derived(name)
        || names::is_not_text(name)
        || (hyper.tied && names::alternatives(names::HEAD).any(|n| n == name))
}

fn object(path: &Path) -> Result<Map<String, Value>, SourceError> {
    let bytes = read_small(path, MAX_JSON)?;
    serde_json::from_slice(text::without_mark(&bytes)).map_err(|error| SourceError::Json {
        path: path.into(),
        error,
    })
}

/// A tensor as a safetensors header describes it.
struct Entry {
    file: usize,
    /// First byte, from the start of the file.
    offset: u64,
    info: TensorInfo,
}

type Entries = BTreeMap<String, Entry>;

/// The safetensors files of the directory and every tensor in them.
fn weights(directory: &Path) -> Result<(Vec<SourceFile>, Entries), SourceError> {
    let (single, index) = (
        directory.join("model.safetensors"),
        directory.join("model.safetensors.index.json"),
    );
    if single.exists() {
        let file = SourceFile::open(&single)?;
        let mut entries = Entries::new();
        for (name, offset, info) in read_header(&file)? {
            entries.insert(
                name,
                Entry {
                    file: 0,
                    offset,
                    info,
                },
            );
        }
        return Ok((vec![file], entries));
    }
    if !index.exists() {
        if directory.join("pytorch_model.bin").exists() {
            return Err(SourceError::Pickle {
                path: directory.join("pytorch_model.bin"),
            });
        }
        return Err(
            unfit::adapter(directory).unwrap_or_else(|| SourceError::NoWeights {
                path: directory.into(),
            }),
        );
    }
    let map = weight_map(&index)?;
    let shards: BTreeSet<&str> = map.values().map(String::as_str).collect();
    let (mut files, mut entries) = (Vec::new(), Entries::new());
    for shard in shards {
        let file = SourceFile::open(&directory.join(shard)).map_err(|error| match error {
            SourceError::NotFound { path } => SourceError::MissingShard { path },
            other => other,
        })?;
        let mut there = BTreeMap::new();
        for (name, offset, info) in read_header(&file)? {
            there.insert(name, (offset, info));
        }
        for name in map.iter().filter(|(_, s)| *s == shard).map(|(n, _)| n) {
            let Some((offset, info)) = there.remove(name) else {
                return Err(SourceError::ShardTensor {
                    path: file.path,
                    tensor: name.clone(),
                });
            };
            entries.insert(
                name.clone(),
                Entry {
                    file: files.len(),
                    offset,
                    info,
                },
            );
        }
        files.push(file);
    }
    Ok((files, entries))
}

/// The index's map from tensor to file; every file is a plain name.
fn weight_map(index: &Path) -> Result<BTreeMap<String, String>, SourceError> {
    let mut json = object(index)?;
    let wrong = |found: &Value| SourceError::Value {
        path: index.into(),
        field: "weight_map".into(),
        found: found.to_string().chars().take(80).collect(),
        expected: "an object from tensor names to file names".into(),
    };
    let map = match json.remove("weight_map") {
        Some(Value::Object(map)) => map,
        Some(other) => return Err(wrong(&other)),
        None => {
            return Err(SourceError::Missing {
                path: index.into(),
                field: "weight_map".into(),
                expected: "an object from tensor names to file names",
            });
        }
    };
    let mut names = BTreeMap::new();
    for (tensor, file) in map {
        let Value::String(file) = file else {
            return Err(wrong(&file));
        };
        if !plain(&file) {
            let field = format!("weight_map.{tensor}");
            return Err(SourceError::ShardName {
                path: index.into(),
                field,
                found: file,
            });
        }
        names.insert(tensor, file);
    }
    Ok(names)
}

/// Whether a name is that of a file or folder in the same directory.
fn plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    // A backslash and a colon are separators on Windows only; no file's name has them.
    one && !name.contains(['/', '\\', ':', '\0'])
}

/// Name, absolute offset and description of each tensor.
fn read_header(file: &SourceFile) -> Result<Vec<(String, u64, TensorInfo)>, SourceError> {
    let fault = |fault: String| SourceError::Safetensors {
        path: file.path.clone(),
        fault,
    };
    unfit::refuse_pointer(&file.path, &file.prefix(unfit::START)?)?;
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(fault(format!(
            "{length} bytes, at most {MAX_HEADER} are allowed"
        )));
    }
    let start = 8 + length;
    if start > file.len {
        return Err(SourceError::Length {
            path: file.path.clone(),
            expected: start,
            found: file.len,
        });
    }
    let bytes = file.prefix(start)?;
    // The crate's own entry point asks for the whole file in memory; its metadata type makes the same
    // checks (offsets contiguous, sizes those of shape and type) but for the file's length.
    let metadata: Metadata =
        serde_json::from_slice(&bytes[8..]).map_err(|e| fault(e.to_string()))?;
    let expected = start.saturating_add(metadata.data_len() as u64);
    if expected != file.len {
        return Err(SourceError::Length {
            path: file.path.clone(),
            expected,
            found: file.len,
        });
    }
    let tensors = metadata.tensors();
    Ok(tensors
        .into_iter()
        .map(|(name, info)| (name, start + info.data_offsets.0 as u64, info.clone()))
        .collect())
}

fn element(dtype: Dtype) -> Option<&'static ElementType> {
    match dtype {
        Dtype::F32 => Some(&decode::F32),
        Dtype::F16 => Some(&decode::F16),
        Dtype::BF16 => Some(&decode::BF16),
        _ => None,
    }
}

/// What finds the model's tensors among those of the files.
struct Placing<'a> {
    head: Head,
    directory: &'a Path,
    described: &'a Described,
    normal: &'a Normal,
    files: &'a [SourceFile],
}

impl Placing<'_> {
    /// Takes the model's tensors out of `found`.
    fn place(&self, found: &mut Entries) -> Result<BTreeMap<Tensor, Stored>, SourceError> {
        let Described {
            architecture,
            hyper,
            quantization,
            ..
        } = self.described;
        let mut tensors = BTreeMap::new();
        let mut used = BTreeSet::new();
        for tensor in hyper.tensors() {
            let mut place = architecture.place(&names::HUGGING_FACE, hyper, tensor);
            if self.head == Head::Lone && tensor == Tensor::TokenEmbedding {
                place.name = names::HEAD.into();
            }
            let (rows, cols) = hyper.shape(tensor);
            let mut form = self.normal.form(tensor);
            if let (Some(Quantization::Packed(layout)), false) = (quantization, tensor.is_vector())
            {
                let shape = (rows, cols);
                let packed = self.quantized(found, *layout, &place, shape, &form)?;
                if let Some((stored, names)) = packed {
                    tensors.insert(tensor, stored);
                    used.extend(names);
                    continue;
                }
            }
            let present = names::alternatives(&place.name).find(|n| found.contains_key(n));
            let Some((name, entry)) = present.and_then(|n| found.get(&n).map(|e| (n, e))) else {
                return Err(self.missing(found, place.name));
            };
            let packed = match quantization {
                Some(Quantization::Ternary(packed)) if entry.info.dtype == Dtype::U8 => {
                    Some(*packed).filter(|_| !tensor.is_vector())
                }
                _ => None,
            };
            let stored_rows = match packed {
                Some(_) => place.rows.div_ceil(4),
                None => place.rows,
            };
            let expected = match tensor.is_vector() {
                true => vec![cols],
                false => vec![stored_rows, cols],
            };
            self.check_shape(&name, entry, expected)?;
            let mut offset = entry.offset;
            let data = match packed {
                // Fused rows would start within a quarter.
                Some(_) if place.first > 0 || place.rows != rows || rows % 4 != 0 => {
                    return Err(self.wrong_type(&name, entry));
                }
                Some(packed) => {
                    let scale = format!("{}_scale", name);
                    form.times *= self.packed_scale(found, &scale, packed)?;
                    used.insert(scale);
                    let quarter = stored_rows;
                    Data::Ternary { quarter, form }
                }
                None => {
                    let Some(ty) = element(entry.info.dtype) else {
                        return Err(self.wrong_type(&name, entry));
                    };
                    offset += place.first * cols * ty.bytes as u64;
                    Data::Elements { ty, form }
                }
            };
            used.insert(name.clone());
            let stored = Stored {
                file: entry.file,
                offset,
                name,
                rows,
                cols,
                data,
            };
            tensors.insert(tensor, stored);
        }
        found.retain(|name, _| !used.contains(name));
        Ok(tensors)
    }

    /// The fault of a tensor that is not there: it may be packed without a word of how.
    fn missing(&self, found: &Entries, tensor: String) -> SourceError {
        let stem = tensor.strip_suffix(".weight").unwrap_or(&tensor);
        let packed = names::alternatives(stem).any(|stem| {
            let mut ends = CODES.iter();
            ends.any(|end| found.contains_key(&format!("{stem}{end}")))
        });
        match packed && self.described.quantization.is_none() {
            false => SourceError::MissingTensor {
                path: self.directory.into(),
                tensor,
            },
            true => SourceError::Missing {
                path: self.directory.join("config.json"),
                field: "quantization_config".into(),
                expected: "how the matrices of .qweight, .weight_packed or _blocks are quantized (older checkpoints have that object in quantize_config.json or quant_config.json, from where it can be copied)",
            },
        }
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.files[entry.file].path.clone()
    }

    fn check_shape(
        &self,
        name: &str,
        entry: &Entry,
        expected: Vec<u64>,
    ) -> Result<(), SourceError> {
        let found: Vec<u64> = entry.info.shape.iter().map(|d| *d as u64).collect();
        if found == expected {
            return Ok(());
        }
        Err(SourceError::Shape {
            path: self.path(entry),
            tensor: name.into(),
            expected,
            found,
        })
    }

    fn wrong_type(&self, name: &str, entry: &Entry) -> SourceError {
        SourceError::Type {
            path: self.path(entry),
            tensor: name.into(),
            found: entry.info.dtype.to_string(),
            known: "F32, F16, BF16; others where config.json has a quantization_config for them"
                .into(),
        }
    }

    /// The factor of packed weights.
    fn packed_scale(
        &self,
        found: &Entries,
        name: &str,
        packed: Packed,
    ) -> Result<f32, SourceError> {
        let Some(entry) = found.get(name) else {
            return Err(SourceError::MissingTensor {
                path: self.directory.into(),
                tensor: name.into(),
            });
        };
        self.check_shape(name, entry, vec![1])?;
        let Some(ty) = element(entry.info.dtype) else {
            return Err(self.wrong_type(name, entry));
        };
        let stored = Stored {
            file: entry.file,
            offset: entry.offset,
            name: name.into(),
            rows: 1,
            cols: 1,
            data: Data::Elements {
                ty,
                form: Form::default(),
            },
        };
        let mut out = Vec::new();
        stored.read_rows(self.files, 0..1, &mut out)?;
        Ok(match packed {
            Packed::Times => out[0],
            Packed::Over => 1.0 / out[0],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories() {
        for (directory, name) in [
            ("/m/SmolLM2", "SmolLM2"),
            ("/c/hub/models--a--SmolLM2/snapshots/0123", "SmolLM2"),
            ("/c/hub/models--gpt2/snapshots/0123", "gpt2"),
            ("/m/snapshots/0123", "0123"),
            ("/m/models--a--b/other/0123", "0123"),
        ] {
            assert_eq!(model_name(Path::new(directory)).as_deref(), Some(name));
        }
    }
}
