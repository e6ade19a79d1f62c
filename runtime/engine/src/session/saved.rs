//! Sessions that outlive the process: the tokens of a sequence, its keys and values, and what its owner keeps beside them, as a
//! file. One that is written on one device goes on on every other: pages have one layout. `docs/sessions.md` has the format.
//!
//! The header has every token, so a file that is cut behind it costs time alone: what its pages lack is computed again.

mod error;
mod header;
mod segment;

pub use error::SavedError;

use super::{Loaded, Sequence};
use crate::error::Error;
use crate::generate::Snapshot;
use crate::plan::{CacheBuffer, PAGE};
use header::{CacheShape, Header};
use segment::Segment;
use std::io::{Read, Write};

/// What a file begins with.
pub const MAGIC: [u8; 8] = *b"caratses";
/// The version of the format.
pub const VERSION: u32 = 1;

/// What is saved beside a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// Tokens behind those of the sequence, which no pass has seen yet: a prompt's rest, or the last token chosen.
    pub pending: Vec<u32>,
    /// The generation that is under way.
    pub snapshot: Option<Snapshot>,
    /// Whatever the owner needs, at most 64 MiB.
    pub note: Vec<u8>,
}

/// What a file begins with, whatever the model is.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHead {
    /// Tokens of the sequence.
    pub tokens: Vec<u32>,
    /// What is beside it.
    pub beside: Beside,
}

impl SavedHead {
    /// Reads the beginning of a file.
    ///
    /// Errors: a file of another type or version; one that is damaged, or cut within its header; a reader that fails.
    pub fn read(from: &mut dyn Read) -> Result<Self, Error> {
        let (Header { tokens, beside, .. }, _) = Header::decode(from)?;
        Ok(Self { tokens, beside })
    }
}

/// What was saved.
pub struct Saved {
    /// A sequence of the tokens that were saved.
    pub sequence: Sequence,
    /// What was beside it.
    pub beside: Beside,
}

impl Loaded {
    /// Writes a sequence: its tokens, the pages that it still has, and what goes beside it. The same state gives the same bytes, on
    /// every device.
    ///
    /// Errors: a sequence of another model, a note that is too long, a device's failure, a writer that fails.
    pub async fn save(
        &mut self,
        sequence: &Sequence,
        beside: &Beside,
        to: &mut dyn Write,
    ) -> Result<(), Error> {
        self.owns(sequence)?;
        // Pages that the next row sees, of each block by its own window: whatever else there is depends on how it was computed.
        let last = sequence.held();
        let sees = |cache: &&CacheBuffer, block: usize| block >= cache.oldest(last);
        let blocks = last.div_ceil(PAGE as usize);
        let there = (0..blocks).all(|block| {
            let pages = sequence.intact(block);
            let mut caches = self.plan.caches.iter().filter(|c| sees(c, block));
            caches.all(|c| pages.get(c.kind).is_some_and(Option::is_some))
        });
        let held = if there { last } else { 0 };
        let header = Header {
            identity: self.identity_with(sequence.strengths())?,
            shape: CacheShape::of(&self.plan),
            tokens: sequence.tokens().to_vec(),
            held,
            beside: beside.clone(),
        };
        let (bytes, key) = header.encode()?;
        to.write_all(&bytes).map_err(SavedError::Write)?;
        let mut page = Vec::new();
        for block in 0..held.div_ceil(PAGE as usize) {
            let pages = sequence.intact(block);
            let mut segment = Segment::new(&key, block, positions(held, block));
            for cache in self.plan.caches.iter().filter(|c| sees(c, block)) {
                let Some(id) = pages.get(cache.kind).copied().flatten() else {
                    continue;
                };
                let words = u64::from(cache.page());
                let at = u64::from(id) * words;
                self.executor
                    .read_at(cache.buffer, at, words, &mut page)
                    .await?;
                segment.put(cache, &page);
            }
            to.write_all(&segment.finish()).map_err(SavedError::Write)?;
        }
        to.flush().map_err(SavedError::Write)?;
        Ok(())
    }

    /// A sequence that was saved, on whatever device. Pages behind the end of a file that was cut are not there: its tokens are,
    /// and the next pass computes those again.
    ///
    /// Errors: a file of another type, version, model or cache; one that is damaged, or cut within its header; more tokens than
    /// the context or the pool holds; a reader or a device that fails.
    pub fn open_saved(&mut self, from: &mut dyn Read) -> Result<Saved, Error> {
        let header = self.read_header(from)?;
        self.read_pages(header, from)
    }

    /// The beginning of what was saved, if it is of this model.
    pub(super) fn read_header(&self, from: &mut dyn Read) -> Result<(Header, [u8; 32]), Error> {
        let (header, key) = Header::decode(from)?;
        // It goes on with the strengths that sequences have which say nothing else.
        let strengths = self.plan.adapters.iter().map(|a| a.strength);
        let identity = self.identity_with(&strengths.collect::<Vec<_>>())?;
        header.check(&identity, &CacheShape::of(&self.plan))?;
        self.check(&header.tokens)?;
        self.check(&header.beside.pending)?;
        let (tokens, context) = (header.tokens.len(), self.plan.extent.context);
        if tokens > context as usize {
            return Err(SavedError::Context { tokens, context }.into());
        }
        Ok((header, key))
    }

    /// What follows the beginning.
    pub(super) fn read_pages(
        &mut self,
        (header, key): (Header, [u8; 32]),
        from: &mut dyn Read,
    ) -> Result<Saved, Error> {
        let Header {
            tokens,
            held: saved,
            beside,
            ..
        } = header;
        let mut sequence = self.sequence();
        self.reserve(&mut sequence, saved)?;
        if let Some(last) = saved.checked_sub(1) {
            sequence.touch(last);
        }
        let mut held = 0;
        let mut page = Vec::new();
        for block in 0..saved.div_ceil(PAGE as usize) {
            let sees = |cache: &&CacheBuffer| block >= cache.oldest(saved);
            let segment = Segment::new(&key, block, positions(saved, block));
            let read = segment.read(self.plan.caches.iter().filter(sees), from)?;
            let Some(mut segment) = read else {
                break;
            };
            let pages = sequence.intact(block);
            for cache in self.plan.caches.iter().filter(sees) {
                segment.take(cache, &mut page);
                // Where fewer pages of a window are kept than the file has, nobody sees them.
                if let Some(id) = pages.get(cache.kind).copied().flatten() {
                    let at = u64::from(id) * u64::from(cache.page());
                    self.executor.write_at(cache.buffer, at, &page)?;
                }
            }
            held += positions(saved, block);
        }
        if held == saved {
            segment::ends(from)?;
        }
        let missing = |kind: usize| {
            let caches = self.plan.caches.iter().filter(|c| c.kind == kind);
            let mut bases = Vec::new();
            for base in caches.map(|c| (c.window, c.oldest(saved))) {
                if base.1 > 0 && !bases.contains(&base) {
                    bases.push(base);
                }
            }
            bases
        };
        let missing = (0..self.plan.pages.len()).map(missing).collect();
        sequence.filled(&tokens, held, missing);
        Ok(Saved { sequence, beside })
    }
}

/// Positions of a block that are held.
fn positions(held: usize, block: usize) -> usize {
    (held - block * PAGE as usize).min(PAGE as usize)
}
