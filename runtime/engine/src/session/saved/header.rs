//! The header of a saved session: everything but keys and values.

use super::{Beside, MAGIC, SavedError, VERSION};
use crate::generate::Snapshot;
use crate::plan::{PAGE, Plan};
use crate::sample::SamplerState;
use carat_shaders::params::{NARROW_KEYS, NARROW_VALUES};
use std::io::Read;

/// Most bytes of a note.
pub(super) const MOST_NOTE: usize = 1 << 26;
/// Most bytes behind the header's hash: a note and as many tokens.
const MOST_BODY: u64 = 1 << 28;
/// Bytes before the body: magic, version, length of the body, its hash.
const START: usize = 8 + 4 + 4 + 32;

/// How a model keeps keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct CacheShape {
    /// As [`CacheBits::narrow`] has it.
    narrow: u32,
    /// Of each block with a cache: the positions that a row sees, [`u32::MAX`] for all, and the words of a position.
    caches: Vec<(u32, u32)>,
}

impl CacheShape {
    pub fn of(plan: &Plan) -> Self {
        let caches = plan.caches.iter();
        Self {
            narrow: plan.extent.cache.narrow(),
            caches: caches.map(|c| (c.window, c.page() / PAGE)).collect(),
        }
    }

    fn words(&self) -> String {
        let bits = |narrow: u32| if self.narrow & narrow == 0 { 8 } else { 4 };
        let (keys, values) = (bits(NARROW_KEYS), bits(NARROW_VALUES));
        format!("{keys} and {values} bits in {} blocks", self.caches.len())
    }
}

/// Everything but keys and values.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::session) struct Header {
    /// The model's [`identity`](crate::model::Model::identity).
    pub(super) identity: [u8; 32],
    pub(super) shape: CacheShape,
    /// Tokens of the sequence.
    pub(super) tokens: Vec<u32>,
    /// How many of them the segments have.
    pub(super) held: usize,
    pub(super) beside: Beside,
}

impl Header {
    /// Its bytes, and the hash that segments are bound to.
    pub fn encode(&self) -> Result<(Vec<u8>, [u8; 32]), SavedError> {
        let found = self.beside.note.len();
        if found > MOST_NOTE {
            let most = MOST_NOTE;
            return Err(SavedError::Note { found, most });
        }
        let mut body = Vec::new();
        body.extend(self.identity);
        let word = |body: &mut Vec<u8>, n: u32| body.extend(n.to_le_bytes());
        let long = |body: &mut Vec<u8>, n: u64| body.extend(n.to_le_bytes());
        word(&mut body, PAGE);
        word(&mut body, self.shape.narrow);
        word(&mut body, self.shape.caches.len() as u32);
        for (window, words) in &self.shape.caches {
            word(&mut body, *window);
            word(&mut body, *words);
        }
        let pending = &self.beside.pending;
        for n in [self.tokens.len(), self.held, pending.len()] {
            word(&mut body, n as u32);
        }
        self.tokens
            .iter()
            .chain(pending)
            .for_each(|t| word(&mut body, *t));
        let generations = self.beside.snapshot.iter();
        word(&mut body, generations.len() as u32);
        for Snapshot {
            ids,
            checksums,
            seed,
            sampler,
        } in generations
        {
            word(&mut body, ids.len() as u32);
            long(&mut body, *seed);
            long(&mut body, sampler.drawn);
            for x in [
                sampler.mirostat_mu,
                sampler.adaptive_sum,
                sampler.adaptive_weight,
            ] {
                long(&mut body, x.to_bits());
            }
            ids.iter().for_each(|id| word(&mut body, *id));
            checksums.iter().for_each(|c| long(&mut body, *c));
        }
        word(&mut body, found as u32);
        body.extend(&self.beside.note);
        let hash = *blake3::hash(&body).as_bytes();
        let mut bytes = Vec::with_capacity(START + body.len());
        bytes.extend(MAGIC);
        word(&mut bytes, VERSION);
        word(&mut bytes, body.len() as u32);
        bytes.extend(hash);
        bytes.extend(body);
        Ok((bytes, hash))
    }

    /// Reads one, and no byte behind it.
    pub fn decode(from: &mut dyn Read) -> Result<(Self, [u8; 32]), SavedError> {
        let start = up_to(from, START as u64)?;
        if !start.starts_with(&MAGIC) {
            return Err(SavedError::Magic);
        }
        let mut fields = Fields(&start[MAGIC.len()..]);
        let version = fields.word().ok_or(cut(START as u64, start.len()))?;
        if version != VERSION {
            return Err(SavedError::Version(version));
        }
        let whole = (fields.word(), fields.array());
        let (Some(len), Some(stated)) = whole else {
            return Err(cut(START as u64, start.len()));
        };
        if u64::from(len) > MOST_BODY {
            let text = format!("it states {len} bytes, at most {MOST_BODY} are expected");
            return Err(SavedError::Header(text));
        }
        // Memory grows with what the file has, whatever it states.
        let body = up_to(from, len.into())?;
        if body.len() < len as usize {
            return Err(cut(START as u64 + u64::from(len), START + body.len()));
        }
        let hash = *blake3::hash(&body).as_bytes();
        if hash != stated {
            return Err(SavedError::Header("it does not have its hash".into()));
        }
        let mut fields = Fields(&body);
        let header = Self::fields(&mut fields).filter(|_| fields.0.is_empty());
        let header = header.ok_or_else(|| SavedError::Header("its fields contradict".into()))?;
        Ok((header, hash))
    }

    /// From the body.
    fn fields(f: &mut Fields<'_>) -> Option<Self> {
        let identity = f.array()?;
        if f.word()? != PAGE {
            return None;
        }
        let narrow = f.word()?;
        let caches = f.word()? as usize;
        let caches = f.list(caches, 8, |f| Some((f.word()?, f.word()?)))?;
        let [tokens, held, pending] = [f.word()?, f.word()?, f.word()?].map(|n| n as usize);
        let tokens = f.list(tokens, 4, Fields::word)?;
        let pending = f.list(pending, 4, Fields::word)?;
        let snapshot = match f.word()? {
            0 => None,
            1 => {
                let chosen = f.word()? as usize;
                let seed = f.long()?;
                let sampler = SamplerState {
                    drawn: f.long()?,
                    mirostat_mu: f64::from_bits(f.long()?),
                    adaptive_sum: f64::from_bits(f.long()?),
                    adaptive_weight: f64::from_bits(f.long()?),
                };
                Some(Snapshot {
                    ids: f.list(chosen, 4, Fields::word)?,
                    checksums: f.list(chosen, 8, Fields::long)?,
                    seed,
                    sampler,
                })
            }
            _ => return None,
        };
        let note = f.word()? as usize;
        let note = f.list(note, 1, Fields::byte)?;
        (held <= tokens.len()).then_some(Self {
            identity,
            shape: CacheShape { narrow, caches },
            tokens,
            held,
            beside: Beside {
                pending,
                snapshot,
                note,
            },
        })
    }

    /// Whether it is of this model, loaded so.
    pub fn check(&self, identity: &[u8; 32], shape: &CacheShape) -> Result<(), SavedError> {
        if self.identity != *identity {
            let hex = |bytes: &[u8; 32]| blake3::Hash::from_bytes(*bytes).to_hex().to_string();
            return Err(SavedError::Foreign {
                expected: hex(&self.identity),
                found: hex(identity),
            });
        }
        if self.shape != *shape {
            return Err(SavedError::Cache {
                expected: self.shape.words(),
                found: shape.words(),
            });
        }
        Ok(())
    }
}

fn cut(expected: u64, found: usize) -> SavedError {
    let found = found as u64;
    SavedError::Cut { expected, found }
}

/// The next `most` bytes, or as many as there are.
pub(super) fn up_to(from: &mut dyn Read, most: u64) -> Result<Vec<u8>, SavedError> {
    let mut bytes = Vec::new();
    let mut from = from.take(most);
    from.read_to_end(&mut bytes).map_err(SavedError::Read)?;
    Ok(bytes)
}

/// Bytes that are read from their start; `None` where they end too early.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `n` things of at least `bytes` bytes each.
    fn list<T>(
        &mut self,
        n: usize,
        bytes: usize,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        if n.checked_mul(bytes)? > self.0.len() {
            return None;
        }
        (0..n).map(|_| one(self)).collect()
    }
}
