//! The files of a GGUF: one, or the parts that llama.cpp's `gguf-split` makes of one.
//!
//! Part `i` of `n`, counted from 1, is named `NAME-0000i-of-0000n.gguf` and holds whole tensors. The keys
//! `split.no` (counted from 0) and `split.count` are in every part, the model's keys in the first alone.

use super::io::SourceFile;
use super::{SourceError, unfit};
use carat_gguf::{Header, KeyError, Parse, TensorType, parse};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes read first; headers with a vocabulary have megabytes, the parser then asks for more.
const FIRST: u64 = 1 << 16;
/// Largest header that is read, in bytes; real ones have some 10 MB.
const MAX_HEADER: u64 = 256 << 20;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// The files of a GGUF and every tensor in them.
pub(super) struct Container {
    /// The parts in order; the first has the model's keys.
    pub files: Vec<SourceFile>,
    /// The bytes of the first file before its tensor data.
    pub header: Vec<u8>,
    pub tensors: BTreeMap<String, Placed>,
}

/// A tensor's place and type.
pub(super) struct Placed {
    /// Index into the files.
    pub file: usize,
    /// First byte in that file.
    pub offset: u64,
    pub ty: TensorType,
    /// In ggml's order, `dims[0]` contiguous.
    pub dims: Vec<u64>,
}

impl Container {
    /// Opens a file; one that is a part of a split, with all other parts.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let file = SourceFile::open(path)?;
        let bytes = header_bytes(&file)?;
        let split = Split::read(path, &parsed(&file, &bytes)?)?;
        let mut container = Self {
            files: Vec::new(),
            header: Vec::new(),
            tensors: BTreeMap::new(),
        };
        let Some(Split { no, count, .. }) = split else {
            container.push(file, bytes)?;
            return Ok(container);
        };
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        let Some(stem) = name.strip_suffix(&suffix(no, count)) else {
            return Err(SourceError::PartName {
                path: path.into(),
                part: no + 1,
                count,
                suffix: suffix(no, count),
            });
        };
        let mut totals = Vec::new();
        for no in 0..count {
            let path = path.with_file_name(format!("{stem}{}", suffix(no, count)));
            let file = SourceFile::open(&path).map_err(|error| match error {
                SourceError::NotFound { path } => SourceError::MissingPart {
                    path,
                    part: no + 1,
                    count,
                },
                other => other,
            })?;
            let bytes = header_bytes(&file)?;
            totals.push(Split::expect(&path, &parsed(&file, &bytes)?, no, count)?);
            container.push(file, bytes)?;
        }
        let found = container.tensors.len();
        for (file, total) in container.files.iter().zip(totals) {
            match total {
                Some(total) if usize::try_from(total) != Ok(found) => {
                    return Err(SourceError::Value {
                        path: file.path.clone(),
                        field: TENSORS.into(),
                        found: total.to_string(),
                        expected: format!("{found}, the tensors in all {count} parts"),
                    });
                }
                _ => {}
            }
        }
        Ok(container)
    }

    /// Adds a file and its tensors.
    fn push(&mut self, file: SourceFile, header: Vec<u8>) -> Result<(), SourceError> {
        for t in parsed(&file, &header)?.tensors() {
            let placed = Placed {
                file: self.files.len(),
                offset: t.offset,
                ty: t.ty,
                dims: t.dims.to_vec(),
            };
            if let Some(other) = self.tensors.insert(t.name.into(), placed) {
                let first = self.files.get(other.file).unwrap_or(&file);
                return Err(SourceError::DuplicateTensor {
                    path: file.path.clone(),
                    tensor: t.name.into(),
                    first: first.path.clone(),
                });
            }
        }
        if self.files.is_empty() {
            self.header = header;
        }
        self.files.push(file);
        Ok(())
    }
}

/// How the name of part `no`, counted from 0, ends.
fn suffix(no: u32, count: u32) -> String {
    format!("-{:05}-of-{count:05}.gguf", no + 1)
}

/// The bytes of a file before its tensor data.
fn header_bytes(file: &SourceFile) -> Result<Vec<u8>, SourceError> {
    let mut bytes = file.prefix(FIRST)?;
    unfit::refuse_pointer(&file.path, &bytes)?;
    loop {
        let length = match read(file, &bytes)? {
            Parse::NeedMore(n) if n > MAX_HEADER => {
                return Err(SourceError::TooLarge {
                    path: file.path.clone(),
                    found: n,
                    limit: MAX_HEADER,
                });
            }
            Parse::NeedMore(n) => {
                bytes = file.prefix(n)?;
                continue;
            }
            Parse::Complete(header) => header.data_start(),
        };
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        return Ok(bytes);
    }
}

fn read<'a>(file: &SourceFile, bytes: &'a [u8]) -> Result<Parse<'a>, SourceError> {
    parse(bytes, file.len).map_err(|error| SourceError::Gguf {
        path: file.path.clone(),
        error,
    })
}

/// The header of a file, of [`header_bytes`].
pub(super) fn parsed<'a>(file: &SourceFile, bytes: &'a [u8]) -> Result<Header<'a>, SourceError> {
    match read(file, bytes)? {
        Parse::Complete(header) => Ok(header),
        Parse::NeedMore(n) => Err(SourceError::Length {
            path: file.path.clone(),
            expected: n,
            found: bytes.len() as u64,
        }),
    }
}

/// What a header says about its file's place among others.
struct Split {
    no: u32,
    count: u32,
    /// Tensors in all parts.
    tensors: Option<u32>,
}

impl Split {
    /// `None` for a file that is whole.
    fn read(path: &Path, header: &Header<'_>) -> Result<Option<Self>, SourceError> {
        let key = |result: Result<Option<u32>, KeyError>| {
            result.map_err(|error| SourceError::GgufKey {
                path: path.into(),
                error,
            })
        };
        let value = |field: &str, found: u32, expected: String| SourceError::Value {
            path: path.into(),
            field: field.into(),
            found: found.to_string(),
            expected,
        };
        // A file put together again keeps a count of 0.
        let Some(count) = key(header.u32_opt(COUNT))?.filter(|c| *c > 1) else {
            return Ok(None);
        };
        if count > u32::from(u16::MAX) {
            return Err(value(COUNT, count, format!("at most {}", u16::MAX)));
        }
        let Some(no) = key(header.u32_opt(NO))? else {
            return Err(SourceError::Missing {
                path: path.into(),
                field: NO.into(),
                expected: "this part's number",
            });
        };
        if no >= count {
            return Err(value(NO, no, format!("less than {COUNT}, {count}")));
        }
        let tensors = key(header.u32_opt(TENSORS))?;
        Ok(Some(Self { no, count, tensors }))
    }

    /// Checks that a file is this part; returns the number of tensors that all parts should have.
    fn expect(
        path: &Path,
        header: &Header<'_>,
        no: u32,
        count: u32,
    ) -> Result<Option<u32>, SourceError> {
        let Some(split) = Self::read(path, header)? else {
            return Err(SourceError::Missing {
                path: path.into(),
                field: COUNT.into(),
                expected: "the number of parts, as the file's name has it",
            });
        };
        for (field, found, expected) in [(COUNT, split.count, count), (NO, split.no, no)] {
            if found != expected {
                return Err(SourceError::Value {
                    path: path.into(),
                    field: field.into(),
                    found: found.to_string(),
                    expected: format!("{expected}, as the file's name has it"),
                });
            }
        }
        Ok(split.tensors)
    }
}
