//! How a model is opened.

use super::format::Words;
use super::gate::Gate;
use super::model::{Model, Shared};
use super::watch::Watch;
use super::{Cancel, Cause, Error, Progress, Verdict};
use crate::error::Error as Fault;
use crate::model::{Head, Model as File, Verify};
use crate::session::{CacheBits, DeviceChoice as Device, SessionOptions};
use carat_adapter::{AdapterFile, Applied, Strength};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

/// Positions of a context where nobody asks for another number.
const CONTEXT: u32 = 4096;
/// Bytes that are read between two looks at progress and cancellation.
const PIECE: usize = 4 << 20;

/// How a model is opened: device, context, memory, threads.
///
/// ```
/// # let path = carat_examples::bundled()?;
/// use carat::{Device, Load, Progress};
/// let model = Load::new()
///     .device(Device::Cpu)
///     .context(2048)
///     .memory_limit(512 << 20)
///     .on_progress(|p| if let Progress::Prompt { done, total } = p { eprintln!("{done} of {total} tokens") })
///     .open(path)?;
/// assert_eq!(model.context(), 2048);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Load {
    device: Device,
    context: Option<u32>,
    memory_limit: Option<u64>,
    cache: CacheBits,
    threads: Option<usize>,
    verify: bool,
    adapters: Vec<(PathBuf, f64)>,
    watch: Watch,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            context: None,
            memory_limit: None,
            cache: CacheBits::default(),
            threads: None,
            verify: true,
            adapters: Vec::new(),
            watch: Watch::default(),
        }
    }
}

impl Load {
    /// The CPU, and a GPU if there is one that is faster; a context of 4,096 positions or those that the model was trained for, if
    /// they are fewer; every core; no limit on memory; the file's hashes compared.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to compute. A GPU that is named here takes over from the CPU as soon as it is ready, without a comparison of
    /// their speeds.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Positions of the context: the most tokens of a prompt and its text together. Memory of the keys and values grows with it.
    pub fn context(mut self, positions: u32) -> Self {
        self.context = Some(positions);
        self
    }

    /// Most bytes of memory that the model and one text at a time take, weights included, on the CPU and the GPU together: the
    /// context becomes as short as that takes, which [`Model::context`] tells. Each further text or chat that is open at the same
    /// time takes its own account.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Bits of the keys and values that are kept of a text, 8 of both by default. With 4 their memory is half as large, and the
    /// texts are others: values of 4 bits cost a model little, keys of 4 bits cost small models much.
    pub fn cache(mut self, bits: CacheBits) -> Self {
        self.cache = bits;
        self
    }

    /// Threads of the CPU.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Whether the file is compared with its hashes, beside the first text. Without, a damaged file gives wrong text, and harms
    /// nothing.
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Adds a LoRA adapter to the model: a directory that PEFT saved, or a GGUF file. `strength` is from -16 to 16; 1 is the
    /// adapter as it was trained. May be called several times.
    ///
    /// Opening then also fails where the adapter cannot be read or is for another model.
    pub fn adapter(mut self, path: impl AsRef<std::path::Path>, strength: f64) -> Self {
        self.adapters.push((path.as_ref().into(), strength));
        self
    }

    /// Calls `progress` on the thread that opens the model or waits for a text.
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.watch.progress = Some(Arc::new(progress));
        self
    }

    /// Ends opening when `cancel` says so, also that of a GPU while the CPU answers.
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.watch.cancel = cancel.clone();
        self
    }

    /// Opens the file at `path`, and maps it. Of a file that another process rewrites meanwhile the text is wrong. One that it
    /// shortens, or that cannot be read any more, ends the program, unless `carat::guard_maps` was called: then
    /// every text after that is an error. A file that is replaced by renaming another one over it stays as it was opened.
    ///
    /// Errors: the file is missing, no Carat model or contradicts itself; no such device; a context that the device or the
    /// memory limit does not hold; cancelled. Damage that only the hashes show is an error of the first text.
    #[cfg(feature = "mmap")]
    pub fn open(self, path: impl AsRef<std::path::Path>) -> Result<Model, Error> {
        let path = path.as_ref();
        let file = File::open(path, Verify::Structure).map_err(|fault| match fault {
            // It names the path.
            Fault::Io { .. } => Cause::Engine(fault),
            fault => Cause::File {
                path: path.into(),
                fault,
            },
        })?;
        self.with(file)
    }

    /// Opens a file that is in memory, of which it makes a copy.
    ///
    /// Errors: as [`Load::open`].
    pub fn open_bytes(self, bytes: &[u8]) -> Result<Model, Error> {
        let file = File::from_bytes(bytes, Verify::Structure)?;
        self.with(file)
    }

    /// Reads a file into memory, once and from its start.
    ///
    /// Errors: as [`Load::open`]; the reader's.
    pub fn open_reader(self, mut reader: impl Read + Seek) -> Result<Model, Error> {
        let file = self.read(&mut reader)?;
        self.with(file)
    }

    fn read(&self, reader: &mut (impl Read + Seek)) -> Result<File, Error> {
        let total = reader.seek(SeekFrom::End(0)).map_err(Cause::Read)?;
        reader.rewind().map_err(Cause::Read)?;
        let mut done = 0;
        // How many bytes come next: as many as asked for, or as the file has.
        let mut take = |into: &mut Vec<u8>, most: u64| -> Result<u64, Error> {
            if self.watch.cancel.is_cancelled() {
                return Err(Fault::Cancelled.into());
            }
            let before = into.len();
            let some = reader.take(most).read_to_end(into).map_err(Cause::Read)?;
            debug_assert_eq!(into.len(), before + some);
            done += some as u64;
            self.watch.tell(Progress::Reading { done, total });
            Ok(some as u64)
        };
        let (mut prefix, mut needed) = (Vec::new(), 1 << 16);
        let head = loop {
            let most = needed.min(total).saturating_sub(prefix.len() as u64);
            let some = take(&mut prefix, most)?;
            match File::head(&prefix, total)? {
                Head::Whole(head) => break head,
                Head::NeedMore(more) if some > 0 || more.min(total) > needed => needed = more,
                Head::NeedMore(_) => return Err(cut()),
            }
        };
        let mut file = head.hold()?;
        file.fill(0, &prefix);
        let (mut at, mut piece) = (prefix.len() as u64, Vec::new());
        drop(prefix);
        while at < total {
            piece.clear();
            let some = take(&mut piece, PIECE as u64)?;
            if some == 0 {
                return Err(cut());
            }
            file.fill(at, &piece);
            at += some;
        }
        Ok(file)
    }

    fn with(self, file: File) -> Result<Model, Error> {
        let file = Arc::new(file);
        let trained = file.spec().context_length;
        let mut options = SessionOptions {
            device: self.device,
            context: self.context.unwrap_or(CONTEXT.min(trained)),
            threads: self.threads,
            memory_limit: self.memory_limit,
            cache: self.cache,
            adapters: adapters(&file, &self.adapters)?,
            ..SessionOptions::default()
        };
        if options.memory_limit.is_some() {
            let fits = options.plan(&file)?.extent.context;
            options.context = options.context.min(fits);
        }
        let verdict = match self.verify {
            true => Verdict::start(file.clone(), options.threads)?,
            false => Verdict::default(),
        };
        let model = Model {
            shared: Arc::new(Shared {
                file,
                options,
                verdict,
                watch: Arc::new(self.watch),
                words: Words::default(),
                dialect: OnceLock::new(),
                gate: Gate::default(),
                idle: Mutex::new(None),
            }),
        };
        // A browser's device cannot be waited for: it is opened with the first text.
        #[cfg(not(target_arch = "wasm32"))]
        model.give(pollster::block_on(model.take())?);
        Ok(model)
    }
}

/// Reads the adapters of a model.
fn adapters(file: &File, named: &[(PathBuf, f64)]) -> Result<Vec<Applied>, Fault> {
    let adapters = named.iter().map(|(path, strength)| {
        Ok(Applied {
            strength: Strength::new(*strength).ok_or(Fault::Strength(*strength))?,
            adapter: file.adapter(&AdapterFile::open(path)?)?.into(),
        })
    });
    adapters.collect()
}

/// The reader ended before the file.
fn cut() -> Error {
    let kind = std::io::ErrorKind::UnexpectedEof;
    Cause::Read(std::io::Error::from(kind)).into()
}
