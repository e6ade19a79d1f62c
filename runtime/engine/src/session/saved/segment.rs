//! A segment: the keys and values of a page's positions, in every block of the model.

use super::SavedError;
use super::header::up_to;
use crate::plan::{CacheBuffer, PAGE};
use std::io::Read;

/// Bytes of a segment's hash.
const HASH: usize = 32;

/// Words of one segment, on their way into a file or out of it: of each block that sees the page from the end, in the model's order,
/// each head's parts, only the positions that are held.
pub(super) struct Segment {
    key: [u8; 32],
    index: u32,
    positions: usize,
    bytes: Vec<u8>,
    /// Bytes that were taken.
    at: usize,
}

impl Segment {
    /// One to be written.
    pub fn new(key: &[u8; 32], index: usize, positions: usize) -> Self {
        Self {
            key: *key,
            index: index as u32,
            positions,
            bytes: Vec::new(),
            at: 0,
        }
    }

    /// Appends the positions that are held of a page.
    pub fn put(&mut self, cache: &CacheBuffer, page: &[u32]) {
        for head in page.chunks_exact(cache.layout.page(1) as usize) {
            let parts = cache.layout.split(head);
            for (part, words) in parts.into_iter().zip(cache.layout.strides()) {
                let held = &part[..words * self.positions];
                self.bytes.extend(held.iter().flat_map(|w| w.to_le_bytes()));
            }
        }
    }

    /// Its bytes, with their hash.
    pub fn finish(mut self) -> Vec<u8> {
        let hash = self.hash();
        self.bytes.extend(hash);
        self.bytes
    }

    /// Of the header, the index and the bytes: no segment takes another one's place.
    fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.key);
        hasher.update(&self.index.to_le_bytes());
        hasher.update(&self.bytes);
        *hasher.finalize().as_bytes()
    }

    /// The next one, of the pages of `caches`; `None` where the file ends before it does.
    pub fn read<'a>(
        mut self,
        caches: impl Iterator<Item = &'a CacheBuffer>,
        from: &mut dyn Read,
    ) -> Result<Option<Self>, SavedError> {
        let words: u64 = caches.map(|c| u64::from(c.page() / PAGE)).sum();
        let len = words * 4 * self.positions as u64;
        self.bytes = up_to(from, len + HASH as u64)?;
        if (self.bytes.len() as u64) < len + HASH as u64 {
            return Ok(None);
        }
        let stated = self.bytes.split_off(len as usize);
        if self.hash() != *stated {
            let first = self.index as usize * PAGE as usize;
            return Err(SavedError::Segment {
                first,
                end: first + self.positions,
            });
        }
        Ok(Some(self))
    }

    /// The next page that it has, with zeros where nothing is held.
    pub fn take(&mut self, cache: &CacheBuffer, page: &mut Vec<u32>) {
        page.clear();
        page.resize(cache.page() as usize, 0);
        for head in page.chunks_exact_mut(cache.layout.page(1) as usize) {
            let parts = cache.layout.split_mut(head);
            for (part, words) in parts.into_iter().zip(cache.layout.strides()) {
                let held = &mut part[..words * self.positions];
                let bytes = self.bytes.get(self.at..).unwrap_or_default();
                let words = bytes.chunks_exact(4).zip(held.iter_mut());
                words.for_each(|(b, w)| *w = u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                self.at += 4 * held.len();
            }
        }
    }
}

/// Errors: bytes follow the last segment.
pub(super) fn ends(from: &mut dyn Read) -> Result<(), SavedError> {
    match up_to(from, 1)?.is_empty() {
        true => Ok(()),
        false => Err(SavedError::Trailing),
    }
}
