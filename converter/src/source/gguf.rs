//! A GGUF file: a llama checkpoint, or a Carat file whose weights are decoded.

use super::container::{Container, Placed, parsed};
use super::rope::{self, Scaling};
use super::stored::{Data, RowOrder, Stored};
use super::{BlockHyper, Checkpoint, Generation, Hyper, Kind, SourceError, decode, names};
use carat_format::{Activation, Directory, Extras, ModelSpec, Tensor, keys};
use carat_gguf::{Header, KeyError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The architecture whose arithmetic is this crate's.
const LLAMA: &str = "llama";
/// The factors that llama.cpp's converter makes of Llama 3's rope scaling.
const ROPE_FACTORS: &str = "rope_freqs.weight";

pub(super) fn open(path: &Path) -> Result<Checkpoint, SourceError> {
    let container = Container::open(path)?;
    let model = Model::new(&container)?;
    Ok(Checkpoint {
        kind: model.kind,
        path: path.into(),
        hyper: model.hyper,
        name: model.name,
        generation: model.generation,
        files: container.files,
        tensors: model.tensors,
        header: container.header,
    })
}

/// What the files say about the model.
struct Model {
    kind: Kind,
    hyper: Hyper,
    name: Option<String>,
    generation: Generation,
    tensors: BTreeMap<Tensor, Stored>,
}

impl Model {
    fn new(container: &Container) -> Result<Self, SourceError> {
        // A container has at least one file.
        let first = &container.files[0];
        let header = &parsed(first, &container.header)?;
        let at = At {
            path: &first.path,
            header,
            container,
        };
        let architecture = at.key(header.str(keys::ARCHITECTURE))?;
        let (kind, hyper, tensors) = match architecture {
            keys::CARAT => {
                let (hyper, tensors) = at.carat()?;
                (Kind::Carat, hyper, tensors)
            }
            LLAMA => {
                let hyper = at.hyper()?;
                let tensors = at.tensors(&hyper)?;
                (Kind::Gguf, hyper, tensors)
            }
            other => {
                return Err(SourceError::Architecture {
                    path: first.path.clone(),
                    found: other.into(),
                    known: format!("{LLAMA}, {}", keys::CARAT),
                });
            }
        };
        let name = at.key(header.str_opt(keys::NAME))?.map(String::from);
        Ok(Self {
            kind,
            hyper,
            name,
            generation: Generation::from_header(header),
            tensors,
        })
    }
}

/// The header with the model's keys, the file it is from, and the tensors of all files.
struct At<'h, 'a> {
    path: &'h Path,
    header: &'h Header<'a>,
    container: &'h Container,
}

impl At<'_, '_> {
    fn key<T>(&self, result: Result<T, KeyError>) -> Result<T, SourceError> {
        result.map_err(|error| SourceError::GgufKey {
            path: self.path.into(),
            error,
        })
    }

    fn path(&self) -> PathBuf {
        self.path.into()
    }

    fn tensor(&self, name: &str) -> Option<&Placed> {
        self.container.tensors.get(name)
    }

    /// The file that a tensor is in, for messages.
    fn path_of(&self, tensor: &Placed) -> PathBuf {
        self.container.files[tensor.file].path.clone()
    }

    fn size(&self, key: &str) -> Result<u32, SourceError> {
        self.key(self.header.u32(&format!("{LLAMA}.{key}")))
    }

    fn size_opt(&self, key: &str) -> Result<Option<u32>, SourceError> {
        self.key(self.header.u32_opt(&format!("{LLAMA}.{key}")))
    }

    fn number_opt(&self, key: &str) -> Result<Option<f64>, SourceError> {
        let name = format!("{LLAMA}.{key}");
        match self.key(self.header.f64_opt(&name))? {
            Some(x) if !(x.is_finite() && x > 0.0) => {
                Err(self.value(&name, x, "a positive number"))
            }
            x => Ok(x),
        }
    }

    fn value(&self, field: &str, found: impl ToString, expected: impl Into<String>) -> SourceError {
        SourceError::Value {
            path: self.path(),
            field: field.into(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    fn hyper(&self) -> Result<Hyper, SourceError> {
        self.refuse_unknown_keys()?;
        let heads = self.size("attention.head_count")?;
        let hidden = self.size("embedding_length")?;
        let head_dim = match self.size_opt("attention.key_length")? {
            Some(d) => d,
            None => match hidden.checked_div(heads) {
                Some(d) if d * heads == hidden => d,
                _ => {
                    return Err(self.value(
                        "llama.attention.head_count",
                        heads,
                        format!("a divisor of {hidden}"),
                    ));
                }
            },
        };
        for key in ["attention.value_length", "rope.dimension_count"] {
            match self.size_opt(key)? {
                Some(d) if d != head_dim => {
                    let expected = format!("{head_dim}, the head dimension");
                    return Err(self.value(&format!("{LLAMA}.{key}"), d, expected));
                }
                _ => {}
            }
        }
        let embedding = Tensor::TokenEmbedding.name();
        let rows = self
            .tensor(&embedding)
            .map(|t| t.dims.get(1).copied().unwrap_or(1));
        let Some(rows) = rows else {
            return Err(SourceError::MissingTensor {
                path: self.path(),
                tensor: embedding,
            });
        };
        let epsilon = "llama.attention.layer_norm_rms_epsilon";
        let hyper = Hyper {
            architecture: LLAMA.into(),
            vocab_size: u32::try_from(rows).unwrap_or(u32::MAX),
            context_length: self.size("context_length")?,
            embedding_length: hidden,
            block_count: self.size("block_count")?,
            feed_forward_length: self.size("feed_forward_length")?,
            head_count: heads,
            head_count_kv: self.size_opt("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            epsilon: self.key(self.header.f64(epsilon))?,
            attention_scale: 1.0 / libm::sqrt(f64::from(head_dim)),
            rope_tables: Vec::new(),
            blocks: Vec::new(),
            activation: Activation::Silu,
            extras: Extras::default(),
            attention_softcap: None,
            logits_softcap: None,
            tied: self.tensor(&Tensor::Output.name()).is_none(),
        };
        hyper.check(self.path)?;
        Ok(Hyper {
            rope_tables: vec![self.rope(head_dim)?],
            blocks: vec![BlockHyper::default(); hyper.block_count as usize],
            ..hyper
        })
    }

    /// Keys of the architecture that are not read may change the arithmetic.
    fn refuse_unknown_keys(&self) -> Result<(), SourceError> {
        const KNOWN: &[&str] = &[
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
            "attention.layer_norm_rms_epsilon",
            "attention.value_length",
            "block_count",
            "context_length",
            "embedding_length",
            "feed_forward_length",
            "rope.dimension_count",
            "rope.freq_base",
            "rope.scale_linear",
            "rope.scaling.factor",
            "rope.scaling.finetuned",
            "rope.scaling.original_context_length",
            "rope.scaling.type",
            "tensor_data_layout",
            "vocab_size",
        ];
        for (key, value) in self.header.metadata() {
            let Some(part) = key.strip_prefix("llama.") else {
                continue;
            };
            // Zero experts, a bias that is off.
            let off = value.as_int() == Some(0) || value.as_bool() == Some(false);
            if !off && !KNOWN.contains(&part) {
                let found = format!("{value:?}").chars().take(80).collect();
                return Err(SourceError::UnknownField {
                    path: self.path(),
                    field: (*key).into(),
                    found,
                });
            }
        }
        Ok(())
    }

    fn rope(&self, head_dim: u32) -> Result<Vec<f64>, SourceError> {
        let base = self.number_opt("rope.freq_base")?.unwrap_or(10_000.0);
        let old = self.number_opt("rope.scale_linear")?;
        let factor = self.number_opt("rope.scaling.factor")?;
        let scaling = match self.key(self.header.str_opt("llama.rope.scaling.type"))? {
            None => old.or(factor).map_or(Scaling::None, Scaling::Linear),
            Some("none") => Scaling::None,
            Some("linear") => match factor.or(old) {
                Some(f) => Scaling::Linear(f),
                None => {
                    return Err(SourceError::Missing {
                        path: self.path(),
                        field: "llama.rope.scaling.factor".into(),
                        expected: "a positive number",
                    });
                }
            },
            Some(other) => {
                return Err(SourceError::Unsupported {
                    path: self.path(),
                    field: "llama.rope.scaling.type".into(),
                    found: format!("'{other}'"),
                    hint: "; none and linear are",
                });
            }
        };
        let mut frequencies = rope::frequencies(base, head_dim, scaling);
        if let Some(stored) =
            self.stored(ROPE_FACTORS, 1, u64::from(head_dim / 2), RowOrder::AsStored)?
        {
            let mut factors = Vec::new();
            stored.read_rows(&self.container.files[stored.file], 0..1, &mut factors)?;
            for (i, (w, f)) in frequencies.iter_mut().zip(&factors).enumerate() {
                if *f <= 0.0 {
                    return Err(self.value(
                        &format!("{ROPE_FACTORS}[{i}]"),
                        f,
                        "a positive number",
                    ));
                }
                *w /= f64::from(*f);
            }
        }
        Ok(frequencies)
    }

    /// The tensor of that name as `[rows, cols]`; one row makes a vector.
    fn stored(
        &self,
        name: &str,
        rows: u64,
        cols: u64,
        order: RowOrder,
    ) -> Result<Option<Stored>, SourceError> {
        let Some(info) = self.tensor(name) else {
            return Ok(None);
        };
        let expected = if rows == 1 {
            vec![cols]
        } else {
            vec![cols, rows]
        };
        // A trailing dimension of 1 says nothing.
        let found = &info.dims;
        let significant = found.iter().rposition(|d| *d != 1).map_or(1, |i| i + 1);
        if found[..significant] != expected[..] {
            return Err(SourceError::Shape {
                path: self.path_of(info),
                tensor: name.into(),
                expected,
                found: found.clone(),
            });
        }
        let Some(ty) = decode::ggml(info.ty) else {
            let (found, known) = (info.ty.to_string(), decode::ggml_names());
            return Err(SourceError::Type {
                path: self.path_of(info),
                tensor: name.into(),
                found,
                known,
            });
        };
        let data = Data::Elements { ty, order };
        Ok(Some(Stored {
            file: info.file,
            offset: info.offset,
            name: name.into(),
            rows,
            cols,
            data,
        }))
    }

    fn tensors(&self, hyper: &Hyper) -> Result<BTreeMap<Tensor, Stored>, SourceError> {
        let mut tensors = BTreeMap::new();
        for tensor in hyper.tensors() {
            let (rows, cols) = hyper.shape(tensor);
            let order = match tensor {
                Tensor::AttnQ(_) | Tensor::AttnK(_) => RowOrder::PairsTogether {
                    head_dim: u64::from(hyper.head_dim),
                },
                _ => RowOrder::AsStored,
            };
            let name = tensor.name();
            let Some(stored) = self.stored(&name, rows, cols, order)? else {
                return Err(SourceError::MissingTensor {
                    path: self.path(),
                    tensor: name,
                });
            };
            tensors.insert(tensor, stored);
        }
        let known: BTreeSet<&str> = tensors.values().map(|s| s.name.as_str()).collect();
        for (name, placed) in &self.container.tensors {
            if !known.contains(name.as_str()) && name != ROPE_FACTORS && !names::is_derived(name) {
                return Err(SourceError::UnknownTensor {
                    path: self.path_of(placed),
                    tensor: name.clone(),
                    architecture: hyper.architecture.clone(),
                });
            }
        }
        Ok(tensors)
    }

    /// A Carat file: the directory says where everything is.
    fn carat(&self) -> Result<(Hyper, BTreeMap<Tensor, Stored>), SourceError> {
        let error = |error| SourceError::Carat {
            path: self.path(),
            error,
        };
        let spec = ModelSpec::from_header(self.header).map_err(error)?;
        let directory = Directory::from_header(self.header, &spec).map_err(error)?;
        let hyper = Hyper::from_spec(&spec, directory.tied());
        hyper.check(self.path)?;
        let mut tensors = BTreeMap::new();
        for e in directory.matrices {
            let (rows, cols) = (e.layout.rows, e.layout.cols);
            let data = Data::Matrix {
                layout: e.layout,
                table: e.table,
            };
            let stored = Stored {
                file: 0,
                offset: e.offset,
                name: e.tensor.name(),
                rows,
                cols,
                data,
            };
            tensors.insert(e.tensor, stored);
        }
        let sqrt_d = libm::sqrt(f64::from(spec.embedding_length));
        for v in directory.vectors {
            let data = Data::Gains {
                unit: libm::ldexp(1.0, v.exponent) / sqrt_d,
            };
            let (rows, cols) = (1, v.len);
            tensors.insert(
                v.tensor,
                Stored {
                    file: 0,
                    offset: v.offset,
                    name: v.tensor.name(),
                    rows,
                    cols,
                    data,
                },
            );
        }
        Ok((hyper, tensors))
    }
}
