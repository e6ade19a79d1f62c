//! A GGUF file: a checkpoint of a known architecture, or a Carat file whose weights are decoded.

mod keys;
mod known;
mod rope;

use crate::source::architecture::{self, Architecture};
use crate::source::container::{Container, Placed, parsed};
use crate::source::normal::{Form, Normal};
use crate::source::stored::{Data, Stored};
use crate::source::{
    Checkpoint, Generation, Hyper, Kind, SourceError, Transform, decode, names, unfit,
};
use carat_format::{Directory, ModelSpec, Shape, Tensor};
use carat_gguf::{Header, KeyError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) fn open(path: &Path) -> Result<Checkpoint, SourceError> {
    let container = Container::open(path)?;
    let model = Model::new(&container)?;
    Ok(Checkpoint {
        kind: model.kind,
        path: path.into(),
        hyper: model.hyper,
        name: model.name,
        notes: model.notes,
        generation: model.generation,
        files: container.files,
        tensors: model.tensors,
        header: container.header,
        transform: Transform::default(),
    })
}

/// What the files say about the model.
struct Model {
    kind: Kind,
    hyper: Hyper,
    name: Option<String>,
    notes: Vec<String>,
    generation: Generation,
    tensors: BTreeMap<Tensor, Stored>,
}

impl Model {
    fn new(container: &Container) -> Result<Self, SourceError> {
        // A container has at least one file.
        let first = &container.files[0];
        let header = &parsed(first, &container.header)?;
        if let Some(error) = unfit::gguf(&first.path, header) {
            return Err(error);
        }
        let name = header.str(carat_format::keys::ARCHITECTURE);
        let name = name.map_err(|error| SourceError::GgufKey {
            path: first.path.clone(),
            error,
        })?;
        let at = At {
            path: &first.path,
            header,
            container,
            prefix: name,
        };
        let (kind, hyper, tensors, notes) = match architecture::gguf(name) {
            _ if name == carat_format::keys::CARAT => {
                let (hyper, tensors) = at.carat()?;
                (Kind::Carat, hyper, tensors, Vec::new())
            }
            Some(architecture) => {
                let mut described = at.describe(architecture)?;
                let hyper = &mut described.hyper;
                let together = architecture.pairs_together;
                // ggml's files have the gains that are multiplied with.
                let normal = Normal::new(architecture, hyper, &described.ropes, together, false);
                at.divide_angles(hyper)?;
                super::hyper::check_tables(hyper, at.path)?;
                let tensors = at.tensors(architecture, hyper, &normal)?;
                (Kind::Gguf, described.hyper, tensors, described.notes)
            }
            None => {
                let known = architecture::names(|a| a.gguf);
                return Err(SourceError::Architecture {
                    path: first.path.clone(),
                    found: name.into(),
                    known: format!("{known}, {}", carat_format::keys::CARAT),
                });
            }
        };
        let name = at
            .key(header.str_opt(carat_format::keys::NAME))?
            .map(String::from);
        Ok(Self {
            kind,
            hyper,
            name,
            notes,
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
    /// The architecture, with which its keys begin.
    prefix: &'h str,
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

    /// The tensor of that name as `[rows, cols]`; one row makes a vector.
    fn stored(
        &self,
        name: &str,
        rows: u64,
        cols: u64,
        form: Form,
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
        let data = Data::Elements { ty, form };
        Ok(Some(Stored {
            file: info.file,
            offset: info.offset,
            name: name.into(),
            rows,
            cols,
            data,
        }))
    }

    fn tensors(
        &self,
        architecture: &Architecture,
        hyper: &Hyper,
        normal: &Normal,
    ) -> Result<BTreeMap<Tensor, Stored>, SourceError> {
        let mut tensors = BTreeMap::new();
        let mut known = BTreeSet::from([rope::FACTORS, rope::SHORT, rope::LONG].map(String::from));
        // A head that equals the embedding is stored once.
        known.insert(Tensor::Output.name());
        for tensor in hyper.tensors() {
            let (rows, cols) = hyper.shape(tensor);
            let place = architecture.place(&names::GGML, hyper, tensor);
            let mut form = normal.form(tensor);
            if let Some((scale, factor)) = self.scale(&place.name)? {
                form.times *= factor;
                known.insert(scale);
            }
            // What NVFP4 activations are divided by; here they are not rounded.
            if let Some(stem) = place.name.strip_suffix(".weight") {
                known.insert(format!("{stem}.input_scale"));
            }
            let Some(mut stored) = self.stored(&place.name, place.rows, cols, form)? else {
                return Err(SourceError::MissingTensor {
                    path: self.path(),
                    tensor: place.name,
                });
            };
            if let Data::Elements { ty, .. } = &stored.data {
                let row_bytes = cols / ty.elements as u64 * ty.bytes as u64;
                stored.offset += place.first * row_bytes;
                stored.rows = rows;
            }
            tensors.insert(tensor, stored);
            known.insert(place.name);
        }
        for (name, placed) in &self.container.tensors {
            if !known.contains(name) && !names::is_derived(name) {
                return Err(SourceError::UnknownTensor {
                    path: self.path_of(placed),
                    tensor: name.clone(),
                    architecture: hyper.source_architecture.clone(),
                });
            }
        }
        Ok(tensors)
    }

    /// The factor of a matrix that is stored beside it, with that tensor's name.
    fn scale(&self, name: &str) -> Result<Option<(String, f32)>, SourceError> {
        let Some(stem) = name.strip_suffix(".weight") else {
            return Ok(None);
        };
        let name = format!("{stem}.scale");
        let values = self.vector(&name, 1)?;
        Ok(values.and_then(|v| v.first().map(|f| (name, *f))))
    }

    /// The elements of a vector.
    fn vector(&self, name: &str, len: u64) -> Result<Option<Vec<f32>>, SourceError> {
        let Some(stored) = self.stored(name, 1, len, Form::default())? else {
            return Ok(None);
        };
        let mut values = Vec::new();
        stored.read_rows(&self.container.files, 0..1, &mut values)?;
        Ok(Some(values))
    }

    /// A Carat file: the directory says where everything is.
    fn carat(&self) -> Result<(Hyper, BTreeMap<Tensor, Stored>), SourceError> {
        let error = |error| SourceError::Carat {
            path: self.path(),
            error,
        };
        let spec = ModelSpec::from_header(self.header).map_err(error)?;
        let directory = Directory::from_header(self.header, &spec).map_err(error)?;
        let hyper = Hyper::from_spec(&spec);
        super::hyper::check(&hyper, self.path)?;
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
        for v in directory.vectors {
            let folded = match v.tensor.kind() {
                Shape::Gains => libm::sqrt(v.len as f64),
                _ => 1.0,
            };
            let data = Data::Gains {
                unit: libm::ldexp(1.0, v.exponent) / folded,
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
