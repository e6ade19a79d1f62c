//! An adapter's file.

use crate::element::Element;
use crate::names::{Named, Target};
use crate::{AdapterError, gguf, peft};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most bytes of a file.
const MOST_BYTES: u64 = 1 << 32;
/// Most bytes of a configuration.
const MOST_JSON: u64 = 16 << 20;

/// How an adapter is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A directory of PEFT.
    Peft,
    /// A GGUF file of llama.cpp.
    Gguf,
}

impl Container {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Container::Peft => "peft",
            Container::Gguf => "gguf",
        }
    }
}

/// A matrix of the file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub name: String,
    pub element: Element,
    pub rows: u64,
    pub cols: u64,
    pub range: Range<usize>,
}

/// A pair of matrices.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What it is added to.
    pub target: Target,
    /// Factor of `B·A` by the adapter's configuration: α/r, or α/√r.
    pub factor: f64,
    pub(crate) a: Stored,
    pub(crate) b: Stored,
}

impl Pair {
    /// The rank.
    pub fn rank(&self) -> u64 {
        self.a.rows
    }

    /// (rows of `B`, columns of `A`): the shape of what it changes.
    pub fn shape(&self) -> (u64, u64) {
        (self.b.rows, self.a.cols)
    }
}

/// An adapter in memory, its structure checked, of no model yet.
pub struct AdapterFile {
    path: PathBuf,
    container: Container,
    pub(crate) bytes: Vec<u8>,
    pub(crate) pairs: Vec<Pair>,
    /// What the file says of the model that it was made for.
    pub(crate) described: Described,
}

/// What an adapter says beside its matrices.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Described {
    /// α.
    pub alpha: f64,
    /// Its architecture, in a GGUF file.
    pub architecture: Option<String>,
    /// The name of its model.
    pub base: Option<String>,
}

impl AdapterFile {
    /// Reads a directory of PEFT, its `adapter_model.safetensors`, or a GGUF file.
    ///
    /// # Errors
    /// Nothing of that is there; what is there is damaged, too large, or a kind of adapter that has more than pairs of
    /// matrices.
    pub fn open(path: &Path) -> Result<Self, AdapterError> {
        let none = || AdapterError::NoAdapter { path: path.into() };
        let (directory, tensors) = match path.is_dir() {
            true => (path, path.join(peft::TENSORS)),
            false => (path.parent().unwrap_or(Path::new("")), path.into()),
        };
        if !tensors.is_file() {
            return Err(none());
        }
        let bytes = read(&tensors, MOST_BYTES)?;
        if bytes.starts_with(&carat_gguf::MAGIC) {
            return Self::from_gguf(&tensors, bytes);
        }
        let config = directory.join(peft::CONFIG);
        if !config.is_file() {
            return Err(none());
        }
        let json = read(&config, MOST_JSON)?;
        Self::from_peft((&config, &json), (&tensors, bytes))
    }

    /// A GGUF file's bytes; `path` is for messages.
    ///
    /// # Errors
    /// As of [`AdapterFile::open`].
    pub fn from_gguf(path: &Path, bytes: Vec<u8>) -> Result<Self, AdapterError> {
        let (described, pairs) = gguf::read(path, &bytes)?;
        Self::new(path, Container::Gguf, bytes, described, pairs)
    }

    /// The bytes of PEFT's configuration and of its safetensors file; paths are for messages.
    ///
    /// # Errors
    /// As of [`AdapterFile::open`].
    pub fn from_peft(
        (config, json): (&Path, &[u8]),
        (tensors, bytes): (&Path, Vec<u8>),
    ) -> Result<Self, AdapterError> {
        let (described, pairs) = peft::read((config, json), (tensors, &bytes))?;
        Self::new(tensors, Container::Peft, bytes, described, pairs)
    }

    fn new(
        path: &Path,
        container: Container,
        bytes: Vec<u8>,
        described: Described,
        pairs: Vec<Pair>,
    ) -> Result<Self, AdapterError> {
        if pairs.is_empty() {
            return Err(AdapterError::Empty { path: path.into() });
        }
        Ok(Self {
            path: path.into(),
            container,
            bytes,
            pairs,
            described,
        })
    }

    /// The file of its matrices.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is called: the name of its directory or file.
    pub fn name(&self) -> String {
        let own = match self.container {
            Container::Gguf => self.path.file_stem(),
            Container::Peft => {
                let whole = self.path.canonicalize();
                let whole = whole.as_deref().unwrap_or(&self.path);
                return whole
                    .parent()
                    .and_then(Path::file_name)
                    .map_or("adapter".into(), |n| n.to_string_lossy().into_owned());
            }
        };
        own.map_or("adapter".into(), |n| n.to_string_lossy().into_owned())
    }

    /// How it is stored.
    pub fn container(&self) -> Container {
        self.container
    }

    /// α: what the pairs are multiplied with, over their rank.
    pub fn alpha(&self) -> f64 {
        self.described.alpha
    }

    /// The model that it says it was made for.
    pub fn base(&self) -> Option<&str> {
        self.described.base.as_deref()
    }

    /// The architecture that it says it was made for: ggml's name.
    pub fn architecture(&self) -> Option<&str> {
        self.described.architecture.as_deref()
    }

    /// Its pairs, by blocks.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Bytes of its matrices.
    pub fn len(&self) -> u64 {
        let of = |p: &Pair| (p.a.range.len() + p.b.range.len()) as u64;
        self.pairs.iter().map(of).sum()
    }

    /// Never: an adapter without matrices does not open.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// `A` and `B` of a pair, `B` with its factor, row after row.
    ///
    /// # Errors
    /// An element that is no finite number.
    pub fn matrices(&self, pair: &Pair) -> Result<[Vec<f64>; 2], AdapterError> {
        let a = self.elements(&pair.a, 1.0)?;
        Ok([a, self.elements(&pair.b, pair.factor)?])
    }

    fn elements(&self, stored: &Stored, factor: f64) -> Result<Vec<f64>, AdapterError> {
        let bytes = self.bytes.get(stored.range.clone()).unwrap_or_default();
        let values = stored.element.decode(bytes);
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(AdapterError::NotFinite {
                path: self.path.clone(),
                tensor: stored.name.clone(),
                index,
                found: values[index],
            });
        }
        Ok(values.iter().map(|v| f64::from(*v) * factor).collect())
    }
}

/// A whole file of at most `most` bytes.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, AdapterError> {
    let io = |source| AdapterError::Io {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?.len();
    let too_large = |found| AdapterError::TooLarge {
        path: path.into(),
        found,
        most,
    };
    if found > most {
        return Err(too_large(found));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() as u64 > most {
        true => Err(too_large(bytes.len() as u64)),
        false => Ok(bytes),
    }
}

/// Puts both matrices of each pair together.
#[derive(Default)]
pub(crate) struct Pairing(BTreeMap<Target, [Option<Stored>; 2]>);

impl Pairing {
    /// Takes a tensor in. `meaning` is its name's; `element` is `None` where the type of its elements, of that name, is not
    /// read.
    pub fn add(
        &mut self,
        path: &Path,
        (name, meaning): (&str, Named),
        (element, type_name): (Option<Element>, &str),
        shape: [u64; 2],
        range: Range<usize>,
    ) -> Result<(), AdapterError> {
        let (target, side) = match meaning {
            Named::Matrix(target, side, _) => (target, side),
            Named::Outside => {
                return Err(AdapterError::Unsupported {
                    path: path.into(),
                    what: format!("the adapter's tensor '{name}'"),
                    remedy: "embedding and head have no low-rank terms here; merge the adapter into its model and convert that",
                });
            }
            Named::Other => {
                return Err(AdapterError::UnknownTensor {
                    path: path.into(),
                    tensor: name.into(),
                });
            }
        };
        let Some(element) = element else {
            return Err(AdapterError::Type {
                path: path.into(),
                tensor: name.into(),
                found: type_name.into(),
                expected: Element::NAMES,
            });
        };
        let [rows, cols] = shape;
        let stored = Stored {
            name: name.into(),
            element,
            rows,
            cols,
            range,
        };
        let place = &mut self.0.entry(target).or_default()[side as usize];
        if place.is_some() {
            return Err(AdapterError::Unsupported {
                path: path.into(),
                what: format!("the adapter's tensor '{name}'"),
                remedy: "another tensor is for the same matrix; save the adapter again",
            });
        }
        *place = Some(stored);
        Ok(())
    }

    /// The pairs, whose factors `factor` gives by the name of `A` and the rank.
    pub fn finish(
        self,
        path: &Path,
        factor: impl Fn(&str, u64) -> Result<f64, AdapterError>,
    ) -> Result<Vec<Pair>, AdapterError> {
        let pairs = self.0.into_iter().map(|(target, sides)| {
            let unpaired = |there: Stored, missing| AdapterError::Unpaired {
                path: path.into(),
                tensor: there.name,
                missing,
            };
            let (a, b) = match sides {
                [Some(a), Some(b)] => (a, b),
                [Some(a), None] => return Err(unpaired(a, "lora_B")),
                [None, Some(b)] => return Err(unpaired(b, "lora_A")),
                [None, None] => return Err(AdapterError::Empty { path: path.into() }),
            };
            if a.rows != b.cols || !(1..=crate::MAX_RANK).contains(&a.rows) {
                return Err(AdapterError::Shape {
                    path: path.into(),
                    tensor: b.name,
                    found: vec![b.rows, b.cols],
                    expected: format!(
                        "as many columns as '{}' has rows, which are {}, and at most {}",
                        a.name,
                        a.rows,
                        crate::MAX_RANK
                    ),
                });
            }
            let factor = factor(&a.name, a.rows)?;
            Ok(Pair {
                target,
                factor,
                a,
                b,
            })
        });
        pairs.collect()
    }
}
