//! Checkpoints converted once and kept, so that commands that run a Carat file take any checkpoint.

mod command;
mod source;
mod store;
#[cfg(feature = "gpu")]
mod tunings;

pub use command::run;
#[cfg(feature = "gpu")]
pub use tunings::{keep_tuning, tune};

use crate::args::CacheArgs;
use crate::failure::{Interrupted, Usage};
use crate::input::{self, Input};
use crate::quality::{self, Asked};
use crate::verdict::Verdict;
use crate::{convert, interrupt, term};
use anyhow::{Context, Result, bail};
use carat::internals::{Model, Verify};
use carat_converter::budget::Target;
use carat_converter::calibrate::Calibration;
use carat_converter::convert::{CardText, ConvertError, Options, Summary, is_busy};
use carat_converter::source::Checkpoint;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Entry, Store};
use tempfile::TempDir;

/// Bits per weight where the user does not say.
const BITS: f64 = 4.0;

/// Between two looks whether another process has written the file.
const WAIT: Duration = Duration::from_millis(200);

/// Temporary directories that cannot go before the process ends.
static LEFT: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

/// A Carat file that is ready to be opened: the user's own, or one made of the checkpoint.
pub struct Prepared {
    options: Options,
    place: Place,
    /// Read it instead of mapping it.
    copy: bool,
    /// Bytes that a copy may have.
    limit: Option<u64>,
}

enum Place {
    Own,
    Cached(Store, Entry),
    Temporary(TempDir),
}

/// Finds or makes the Carat file of `path`.
///
/// Errors: nothing there that can be read or converted; no place for the converted file; Ctrl-C.
pub fn prepare(path: &Path, args: &CacheArgs, threads: Option<usize>) -> Result<Prepared> {
    let mut options = Options {
        source: path.into(),
        output: PathBuf::new(),
        bits: args.bits.unwrap_or(BITS),
        calibration: (!args.fast).then(|| Calibration {
            tokens: Calibration::FEW,
            ..Calibration::default()
        }),
        target: Target::usual(args.bits).filter(|_| !args.fast),
        card: Some(CardText::default()),
        threads,
        force: true,
        ..Options::default()
    };
    if input::kind(path)? == Input::Carat {
        if args.bits.is_some() || args.fast {
            let option = if args.fast { "--fast" } else { "--bits" };
            return Err(Usage(format!(
                "{}: this is a Carat file already; {option} applies only to checkpoints, which are converted",
                path.display()
            ))
            .into());
        }
        return Ok(Prepared {
            options,
            place: Place::Own,
            copy: false,
            limit: None,
        });
    }
    let checkpoint = input::open_checkpoint(path)?;
    if args.no_cache {
        let place = temporary(&mut options)?;
        return Ok(Prepared {
            options,
            place,
            copy: false,
            limit: None,
        });
    }
    let place = match cached(&checkpoint, &mut options) {
        Ok(place) => place,
        Err(e) if is_about_the_cache(&e) => {
            term::warn(&format!(
                "the cache cannot be used ({}); a temporary file takes its place. \
                 CARAT_CACHE=DIRECTORY names another cache",
                crate::failure::describe(&e)
            ));
            temporary(&mut options)?
        }
        Err(e) => return Err(e),
    };
    Ok(Prepared {
        options,
        place,
        copy: false,
        limit: None,
    })
}

/// As [`prepare`], for a command that generates text.
///
/// Errors: also a checkpoint without a head, before anything is converted.
pub fn prepare_to_generate(
    path: &Path,
    args: &CacheArgs,
    threads: Option<usize>,
) -> Result<Prepared> {
    input::check_head(path)?;
    prepare(path, args, threads)
}

impl Prepared {
    /// The file will be read into memory rather than mapped, if `copy`; refused where it alone is above `limit`.
    pub fn in_memory(self, copy: bool, limit: Option<u64>) -> Self {
        Self {
            copy,
            limit: limit.filter(|_| copy),
            ..self
        }
    }

    /// Refuses a copy that the limit has no room for, before it is made.
    fn check_limit(&self) -> Result<()> {
        let path = match self.place {
            Place::Own => &self.options.source,
            _ => &self.options.output,
        };
        let Some(limit) = self.limit else {
            return Ok(());
        };
        // A file that is not there is told when it is opened.
        let len = std::fs::metadata(path).map_or(0, |m| m.len());
        if len > limit {
            bail!(
                "{}: --no-mmap reads {} into memory, --memory-limit allows {}; leave out --no-mmap, or raise the limit",
                path.display(),
                term::bytes(len),
                term::bytes(limit)
            );
        }
        Ok(())
    }

    /// Opens the file, and compares one of the user's own with its hashes beside what follows, on `threads`; one from the
    /// cache is compared at once, as [`Prepared::open`] says.
    ///
    /// Errors: as [`Model::open`].
    pub fn open_with_verdict(self, threads: Option<usize>) -> Result<(Arc<Model>, Verdict)> {
        let Place::Own = self.place else {
            return Ok((Arc::new(self.open(Verify::Hashes)?), Verdict::default()));
        };
        let path = self.options.source.clone();
        let model = Arc::new(self.open(Verify::Structure)?);
        let verdict = Verdict::start(model.clone(), &path, threads)?;
        Ok((model, verdict))
    }

    /// Opens the file. One from the cache that is damaged is made anew.
    ///
    /// Errors: as [`Model::open`].
    pub fn open(mut self, verify: Verify) -> Result<Model> {
        self.check_limit()?;
        let load = if self.copy { Model::read } else { Model::open };
        match self.place {
            Place::Own => load(&self.options.source, verify)
                .with_context(|| self.options.source.display().to_string()),
            Place::Temporary(directory) => {
                let model = load(&self.options.output, verify)?;
                // Where a file may go while it is mapped, nothing is left behind however the process ends.
                if cfg!(unix) {
                    drop(directory);
                } else if let Ok(mut left) = LEFT.lock() {
                    left.push(directory);
                }
                Ok(model)
            }
            Place::Cached(store, entry) => match load(&self.options.output, verify) {
                Ok(model) => Ok(model),
                Err(e) => {
                    term::warn(&format!(
                        "a damaged file of the cache is made anew: {}: {e}",
                        self.options.output.display()
                    ));
                    store.remove(&entry)?;
                    make(&store, &entry, &mut self.options)?;
                    Ok(load(&self.options.output, verify)?)
                }
            },
        }
    }
}

/// Removes what could not go before: called at the end of the process.
pub fn clean_up() {
    if let Ok(mut left) = LEFT.lock() {
        left.clear();
    }
}

/// The cached file of a checkpoint, made where it is not there yet.
fn cached(checkpoint: &Checkpoint, options: &mut Options) -> Result<Place> {
    let store = Store::open()?;
    let content = source::content(checkpoint, &store)?;
    let entry = store.entry(checkpoint, &content, options);
    match store.find(&entry) {
        Ok(Some(bytes)) => {
            options.output = entry.file();
            term::note(&format!(
                "{}: using its cached conversion to {} bits ({})",
                options.source.display(),
                options.bits,
                term::bytes(bytes)
            ));
            return Ok(Place::Cached(store, entry));
        }
        Ok(None) => {}
        Err(fault) => {
            term::warn(&format!(
                "a damaged file of the cache is made anew: {fault:#}"
            ));
            store.remove(&entry)?;
        }
    }
    make(&store, &entry, options)?;
    Ok(Place::Cached(store, entry))
}

/// Converts into the cache.
fn make(store: &Store, entry: &Entry, options: &mut Options) -> Result<()> {
    store.remove_stale();
    options.output = entry.file();
    announce(options, "for the cache");
    let Some(summary) = convert_or_wait(store, entry, options)? else {
        return Ok(());
    };
    // The checkpoint was read twice, for its name in the cache and for its weights.
    let again = Checkpoint::open(&options.source)?;
    if store.entry(&again, &source::content(&again, store)?, options) != *entry {
        store.remove(entry)?;
        anyhow::bail!(
            "{}: changed while it was converted; run the command again",
            options.source.display()
        );
    }
    if let Err(e) = store.publish(entry, options) {
        let _ = store.remove(entry);
        return Err(store::NoStore(crate::failure::describe(&e)).into());
    }
    term::note(&format!(
        "kept in {}\n({}, {:.2} bits per weight; --bits N changes the bits, --no-cache keeps nothing)",
        options.output.display(),
        term::bytes(summary.bytes),
        summary.payload_bpw,
    ));
    Ok(())
}

/// Converts, unless another process does so already: its file is waited for. `None` where that came.
fn convert_or_wait(store: &Store, entry: &Entry, options: &Options) -> Result<Option<Summary>> {
    loop {
        let result = convert(options);
        let folder = match &result {
            Err(e) => match e.downcast_ref() {
                Some(ConvertError::Busy { path }) => path,
                _ => return result.map(Some),
            },
            _ => return result.map(Some),
        };
        term::note("another carat converts it already; waiting for its file");
        while is_busy(folder) {
            if interrupt::requested() {
                return Err(Interrupted("; nothing was written".into()).into());
            }
            std::thread::sleep(WAIT);
        }
        // Between a file and its description.
        std::thread::sleep(WAIT);
        // A damaged one is made anew by the next turn.
        if let Ok(Some(_)) = store.find(entry) {
            return Ok(None);
        }
    }
}

/// Converts and says how well, also where the command's own output is JSON.
fn convert(options: &Options) -> Result<Summary> {
    let summary =
        convert::convert(options).map_err(|e| quality::explain(e, options, Asked::Runner))?;
    quality::tell(&summary, options);
    Ok(summary)
}

/// Converts into a temporary directory.
fn temporary(options: &mut Options) -> Result<Place> {
    // A signal finds someone who takes the directory away.
    interrupt::install();
    let advice = "no temporary file can be made; TMPDIR=DIRECTORY names another place";
    let directory = tempfile::Builder::new()
        .prefix("carat-")
        .tempdir()
        .context(advice)?;
    options.output = directory.path().join("model.gguf");
    // The directory goes with this process; nothing could be gone on with.
    options.save_every = Duration::MAX;
    announce(options, "into a temporary file");
    match convert(options) {
        Err(e) if is_about_the_cache(&e) => Err(e.context(advice)),
        Err(e) => Err(e),
        Ok(_) => Ok(Place::Temporary(directory)),
    }
}

fn announce(options: &Options, place: &str) {
    let how = match options.calibration {
        Some(_) => match minutes(options) {
            Some(n) if n >= 1.5 => {
                format!("calibrated, some {n:.0} minutes (--fast takes seconds)")
            }
            _ => "calibrated (--fast leaves that out)".into(),
        },
        None => "without calibration".into(),
    };
    term::note(&format!(
        "{}: not a Carat file; converting it to {} bits {place}, {how}",
        options.source.display(),
        options.bits,
    ));
}

/// How long a conversion takes here.
fn minutes(options: &Options) -> Option<f64> {
    let weights = Checkpoint::open(&options.source).ok()?.hyper().weights();
    let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = options.threads.unwrap_or_else(all);
    Some(carat_converter::convert::seconds(options, weights, threads) / 60.0)
}

/// Whether a fault is of the place where the converted file should go, not of the checkpoint.
fn is_about_the_cache(error: &anyhow::Error) -> bool {
    let target = matches!(
        error.downcast_ref::<ConvertError>(),
        Some(
            ConvertError::TargetDirectory { .. }
                | ConvertError::DiskFull { .. }
                | ConvertError::Write { .. }
        )
    );
    (target || error.is::<store::NoStore>()) && !error.is::<Interrupted>()
}
