//! A Carat file in memory: mapped or owned bytes, checked metadata, tensors in place.

mod adapters;
#[cfg(all(unix, feature = "mmap"))]
mod guard;
mod info;
#[cfg(feature = "mmap")]
mod map;
mod stream;
#[cfg(feature = "threads")]
mod verification;

#[cfg(all(unix, feature = "mmap"))]
pub use guard::install as guard_maps;
pub use info::ModelInfo;
pub use stream::{Head, Segments};
#[cfg(feature = "threads")]
pub use verification::Verification;

use crate::error::Error;
use crate::golden::Golden;
use carat_format::{Card, Directory, FormatError, ModelSpec, keys};
use carat_gguf::{Header, Parse};
use carat_text::tokenizer::{Tokenizer, TokenizerData};
#[cfg(feature = "mmap")]
use std::path::Path;
use std::sync::OnceLock;

/// How much of a file is checked when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Structure, and every tensor's blake3.
    Hashes,
    /// Structure only: shapes, sizes, exponents, tables.
    Structure,
}

enum Bytes {
    #[cfg(feature = "mmap")]
    Mapped(map::Map),
    /// A copy.
    #[cfg(feature = "mmap")]
    Read(memmap2::Mmap),
    /// Words, so that tensors can be read as words in place.
    Owned { words: Vec<u64>, len: usize },
    /// The header alone, of a file of `len` bytes.
    Head { bytes: Vec<u8>, len: u64 },
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            #[cfg(feature = "mmap")]
            Bytes::Mapped(map) => map,
            #[cfg(feature = "mmap")]
            Bytes::Read(copy) => copy,
            Bytes::Owned { words, len } => &bytemuck::cast_slice(words)[..*len],
            Bytes::Head { bytes, .. } => bytes,
        }
    }

    /// Bytes of the whole file.
    fn len(&self) -> u64 {
        match self {
            Bytes::Head { len, .. } => *len,
            _ => self.get().len() as u64,
        }
    }

    /// See [`Model::intact`].
    fn intact(&self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "mmap")]
            Bytes::Mapped(map) => map.intact(),
            _ => Ok(()),
        }
    }

    fn header(&self) -> Result<Header<'_>, Error> {
        let header = parse(self.get(), self.len());
        self.intact().and(header)
    }
}

/// A tensor's place, and the blake3 that the file states.
struct Stated {
    tensor: String,
    offset: u64,
    len: u64,
    hash: blake3::Hash,
}

/// Bytes of a tensor that are hashed at a time where something may interrupt it.
const PIECE: usize = 1 << 20;

/// An opened Carat file.
pub struct Model {
    bytes: Bytes,
    spec: ModelSpec,
    directory: Directory,
    tokenizer: OnceLock<Tokenizer>,
}

impl Model {
    /// Opens and maps a file. One that is shortened, or cannot be read, while it is open ends the process with SIGBUS, unless
    /// maps are guarded: see `carat::guard_maps` and [`Model::intact`].
    ///
    /// Errors: the file cannot be read, is no GGUF, is no Carat model, or is damaged.
    #[cfg(feature = "mmap")]
    pub fn open(path: &Path, verify: Verify) -> Result<Self, Error> {
        Self::new(Bytes::Mapped(map::Map::open(path)?), verify)
    }

    /// Opens a file and reads it into memory, in huge pages where the system has them: from there weights are read faster
    /// than through a map, whose pages are small. The memory is this process's alone, and not given back while it runs.
    ///
    /// Errors: as [`Model::open`]; no memory for the whole file.
    #[cfg(feature = "mmap")]
    pub fn read(path: &Path, verify: Verify) -> Result<Self, Error> {
        use std::io::Read;
        let io = |e| map::failed(path, e);
        let (mut file, len) = map::regular(path)?;
        let len = usize::try_from(len).map_err(|e| io(std::io::Error::other(e)))?;
        // Nothing cannot be mapped; one byte is no model either.
        let mut memory = memmap2::MmapMut::map_anon(len.max(1)).map_err(io)?;
        // Without them it is a copy all the same.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        file.read_exact(&mut memory[..len]).map_err(io)?;
        Self::new(Bytes::Read(memory.make_read_only().map_err(io)?), verify)
    }

    /// Takes a file's bytes.
    ///
    /// Errors: no GGUF, no Carat model, or damaged.
    pub fn from_bytes(bytes: &[u8], verify: Verify) -> Result<Self, Error> {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self::new(
            Bytes::Owned {
                words,
                len: bytes.len(),
            },
            verify,
        )
    }

    fn new(bytes: Bytes, verify: Verify) -> Result<Self, Error> {
        let (spec, directory) = {
            let header = bytes.header()?;
            let spec = ModelSpec::from_header(&header);
            let read = spec.and_then(|s| Ok((Directory::from_header(&header, &s)?, s)));
            bytes.intact()?;
            let (directory, spec) = read?;
            (spec, directory)
        };
        let model = Self {
            bytes,
            spec,
            directory,
            tokenizer: OnceLock::new(),
        };
        let mut tensors = model.tensors();
        if let Some(t) = tensors.find(|t| t.offset % 256 != 0) {
            return Err(Error::Alignment {
                tensor: t.tensor,
                offset: t.offset,
            });
        }
        drop(tensors);
        if verify == Verify::Hashes {
            model.verify()?;
        }
        Ok(model)
    }

    /// Every tensor.
    fn tensors(&self) -> impl Iterator<Item = Stated> + '_ {
        let matrices = self.directory.matrices.iter().map(|e| Stated {
            tensor: e.tensor.name(),
            offset: e.offset,
            len: e.layout.payload_bytes(),
            hash: e.hash.into(),
        });
        matrices.chain(self.directory.vectors.iter().map(|v| Stated {
            tensor: v.tensor.name(),
            offset: v.offset,
            len: v.len * 4,
            hash: v.hash.into(),
        }))
    }

    /// The blake3 of the file's header. The header has the hashes of everything else, so it names all bytes of the file.
    ///
    /// Errors: none for a file that is open.
    pub fn identity(&self) -> Result<blake3::Hash, Error> {
        let end = self.header()?.data_start();
        let hash = blake3::hash(self.slice(0, end));
        self.intact()?;
        Ok(hash)
    }

    /// Whether everything that was read of a mapped file so far was the file's. What is lost reads as zeros, so this is to be
    /// asked after reading, and before anybody relies on it. It costs a few loads.
    ///
    /// Errors: [`Error::Lost`], where maps are guarded (`carat::guard_maps`).
    pub fn intact(&self) -> Result<(), Error> {
        self.bytes.intact()
    }

    /// Compares every tensor with the blake3 that the file states. Errors: the first that differs; as [`Model::intact`].
    pub fn verify(&self) -> Result<(), Error> {
        let check = |tensor: Stated| self.check(&tensor, || true);
        #[cfg(feature = "threads")]
        {
            use rayon::prelude::*;
            let tensors: Vec<_> = self.tensors().collect();
            // The first damaged tensor in file order, whatever the threads.
            let found: Vec<_> = tensors.into_par_iter().map(check).collect();
            found.into_iter().collect()
        }
        #[cfg(not(feature = "threads"))]
        self.tensors().try_for_each(check)
    }

    /// Compares a tensor with the blake3 that the file states. Before each piece `go_on` may end it, with no fault.
    fn check(&self, stated: &Stated, go_on: impl Fn() -> bool) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        for piece in self.slice(stated.offset, stated.len).chunks(PIECE) {
            if !go_on() {
                return Ok(());
            }
            hasher.update(piece);
        }
        let found = hasher.finalize();
        // Says more than what zeros hash to.
        self.intact()?;
        if found == stated.hash {
            return Ok(());
        }
        Err(Error::Hash {
            tensor: stated.tensor.clone(),
            expected: stated.hash.to_hex().to_string(),
            found: found.to_hex().to_string(),
        })
    }

    /// Hyper-parameters.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Refuses a model that predicts no tokens. Errors: [`Error::NoHead`].
    pub fn check_head(&self) -> Result<(), Error> {
        match self.spec.headless {
            true => Err(Error::NoHead),
            false => Ok(()),
        }
    }

    /// Tensors.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> u64 {
        self.bytes.len()
    }

    /// Never: a file of no bytes does not open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The container's header. Errors: for a model that opened, as [`Model::intact`].
    pub fn header(&self) -> Result<Header<'_>, Error> {
        self.bytes.header()
    }

    /// The tokenizer, built at the first call. Errors: keys missing, damaged or of an unknown kind.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        if let Some(t) = self.tokenizer.get() {
            return Ok(t);
        }
        let header = self.header()?;
        let key = carat_text::tokenizer::keys::TOKENS;
        let tokens = header
            .array_opt(key)
            .map_err(FormatError::from)?
            .map_or(0, |a| a.len());
        if tokens as u64 > u64::from(self.spec.vocab_size) {
            return Err(Error::Format(FormatError::Range {
                field: key.into(),
                found: format!("{tokens} tokens"),
                expected: format!("at most the embedding's {} rows", self.spec.vocab_size),
            }));
        }
        let built = TokenizerData::from_gguf(&header).and_then(|data| Tokenizer::new(&data));
        self.intact()?;
        let built = built?;
        Ok(self.tokenizer.get_or_init(|| built))
    }

    /// The prompt and the checksums of the file's golden vectors, if it has them.
    pub fn golden(&self) -> Result<Option<Golden>, Error> {
        let header = self.header()?;
        let prompt = header
            .array_of_opt::<u32>(keys::GOLDEN_PROMPT)
            .map_err(FormatError::from)?;
        let sums = header
            .array_of_opt::<u64>(keys::GOLDEN_CHECKSUMS)
            .map_err(FormatError::from)?;
        Ok(prompt.zip(sums).map(|(p, s)| Golden {
            prompt: p.collect(),
            checksums: s.collect(),
        }))
    }

    /// The quality card that the file carries, if it has one.
    ///
    /// Errors: keys of it missing, of the wrong type, or out of range. A file with a damaged card runs all the same.
    pub fn card(&self) -> Result<Option<Card>, Error> {
        let spec = &self.spec;
        let card = Card::from_header(&self.header()?, spec.vocab_size, spec.context_length);
        Ok(card?)
    }

    /// `len` bytes at `offset`, empty where that is outside the file or not in memory.
    pub fn slice(&self, offset: u64, len: u64) -> &[u8] {
        let bytes = self.bytes.get();
        let range = usize::try_from(offset).ok().zip(
            offset
                .checked_add(len)
                .and_then(|e| usize::try_from(e).ok()),
        );
        range.and_then(|(a, b)| bytes.get(a..b)).unwrap_or(&[])
    }

    /// Whether the process has a copy of its own, which is not given back.
    pub fn is_copied(&self) -> bool {
        match self.bytes {
            #[cfg(feature = "mmap")]
            Bytes::Mapped(_) => false,
            _ => true,
        }
    }

    /// Gives the pages that lie wholly in a range of a mapped file back to the system; a later read brings
    /// them in again. Does nothing for owned bytes and where the system has no such call.
    pub fn release(&self, offset: u64, len: u64) {
        #[cfg(all(unix, feature = "mmap"))]
        if let Bytes::Mapped(map) = &self.bytes {
            map.release(offset, len);
        }
        let _ = (offset, len);
    }

    /// `words` words at `offset`, a multiple of 256; empty where that is outside the file.
    pub fn words(&self, offset: u64, words: u64) -> &[u32] {
        // The map starts at a page and owned bytes at a word of 8 bytes, so a multiple of 256 is aligned.
        bytemuck::try_cast_slice(self.slice(offset, words.saturating_mul(4))).unwrap_or(&[])
    }
}

fn parse(bytes: &[u8], len: u64) -> Result<Header<'_>, Error> {
    match carat_gguf::parse(bytes, len)? {
        Parse::Complete(header) => Ok(header),
        // With the whole header as prefix the parser never asks for more.
        Parse::NeedMore(needed) => Err(Error::Format(FormatError::Range {
            field: "the header's length".into(),
            found: needed.to_string(),
            expected: format!("at most {len}"),
        })),
    }
}
