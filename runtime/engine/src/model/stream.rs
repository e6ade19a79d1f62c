//! A file that arrives by ranges: first its header, then segments, each checked against its hash.

use super::{Bytes, Model, Verify};
use crate::error::Error;
use carat_format::{FormatError, keys};
use carat_gguf::Parse;
use std::ops::Range;

/// What the first bytes of a file are enough for.
pub enum Head {
    /// So many bytes from its start are needed next; never more than the file has.
    NeedMore(u64),
    /// A model without its tensors' bytes: what reads them in place finds them missing.
    Whole(Box<Model>),
}

impl Model {
    /// Reads a file of `len` bytes of which `prefix` holds the first.
    ///
    /// Errors: no GGUF, no Carat model, or damaged.
    pub fn head(prefix: &[u8], len: u64) -> Result<Head, Error> {
        let start = match carat_gguf::parse(prefix, len)? {
            Parse::NeedMore(bytes) => return Ok(Head::NeedMore(bytes)),
            Parse::Complete(header) => header.data_start(),
        };
        let all = prefix.len();
        let kept = usize::try_from(start).map_or(all, |n| n.min(all));
        let bytes = Bytes::Head {
            bytes: prefix[..kept].to_vec(),
            len,
        };
        Self::new(bytes, Verify::Structure).map(|m| Head::Whole(Box::new(m)))
    }

    /// The same model with memory for the whole file, zero where nothing has arrived: see [`Model::fill`].
    ///
    /// Errors: no memory for it.
    pub fn hold(&self) -> Result<Self, Error> {
        let len = self.len();
        let memory = || Error::Memory {
            buffer: "the file".into(),
            bytes: len,
        };
        let size = usize::try_from(len).map_err(|_| memory())?;
        let words = bytemuck::try_zeroed_slice_box::<u64>(size.div_ceil(8));
        let mut words = words.map_err(|()| memory())?.into_vec();
        let have = self.bytes.get();
        bytemuck::cast_slice_mut(&mut words)[..have.len()].copy_from_slice(have);
        Self::new(Bytes::Owned { words, len: size }, Verify::Structure)
    }

    /// Puts tensor data that has arrived at byte `offset` of the file into memory. What lies outside it, or before the
    /// tensor data, is left out.
    pub fn fill(&mut self, offset: u64, bytes: &[u8]) {
        let Some(start) = self.tensors().map(|t| t.offset).min() else {
            return;
        };
        let Bytes::Owned { words, len } = &mut self.bytes else {
            return;
        };
        let file: &mut [u8] = &mut bytemuck::cast_slice_mut(words)[..*len];
        let end = offset.saturating_add(bytes.len() as u64).min(*len as u64);
        let from = offset.max(start);
        if from < end {
            let source = (from - offset) as usize..(end - offset) as usize;
            file[from as usize..end as usize].copy_from_slice(&bytes[source]);
        }
    }

    /// The file's segments.
    ///
    /// Errors: their keys missing, of another type or of another length than the file's.
    pub fn segments(&self) -> Result<Segments, Error> {
        let header = self.header()?;
        let bytes = header
            .u64_opt(keys::SEGMENT_BYTES)
            .map_err(FormatError::from)?;
        let range = |field: &str, found: String, expected: String| {
            Error::Format(FormatError::Range {
                field: field.into(),
                found,
                expected,
            })
        };
        if bytes != Some(keys::SEGMENT) {
            let found = bytes.map_or("nothing".into(), |b| b.to_string());
            let expected = keys::SEGMENT.to_string();
            return Err(range(keys::SEGMENT_BYTES, found, expected));
        }
        let hashes: Vec<u8> = header
            .array_of::<u8>(keys::SEGMENT_HASH)
            .map_err(FormatError::from)?
            .collect();
        let start = header.data_start();
        let count = self.len().saturating_sub(start).div_ceil(keys::SEGMENT);
        if hashes.len() as u64 != count * 32 {
            let found = format!("{} bytes", hashes.len());
            let expected = format!("32 for each of {count} segments");
            return Err(range(keys::SEGMENT_HASH, found, expected));
        }
        let whole = hashes.chunks_exact(32);
        let hash = |h: &[u8]| std::array::from_fn(|i| h[i]);
        Ok(Segments {
            hashes: whole.map(hash).collect(),
            start,
            end: self.len(),
        })
    }
}

/// The parts of a file's tensor data that have hashes of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    hashes: Vec<[u8; 32]>,
    start: u64,
    end: u64,
}

impl Segments {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes of the file that segment `index` is; empty past the last.
    pub fn range(&self, index: usize) -> Range<u64> {
        let at = (index as u64).saturating_mul(keys::SEGMENT);
        let start = self.start.saturating_add(at).min(self.end);
        start..start.saturating_add(keys::SEGMENT).min(self.end)
    }

    /// Compares a segment's bytes with the blake3 that the file states.
    ///
    /// Errors: they differ, there is no such segment.
    pub fn check(&self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let expected = self.hashes.get(index).copied().unwrap_or_default();
        let found = blake3::hash(bytes);
        if found.as_bytes() == &expected {
            return Ok(());
        }
        let range = self.range(index);
        Err(Error::Segment {
            index,
            start: range.start,
            end: range.end,
            expected: blake3::Hash::from_bytes(expected).to_hex().to_string(),
            found: found.to_hex().to_string(),
        })
    }
}
