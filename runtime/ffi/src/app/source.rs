//! Where a model's file comes from.

#[cfg(feature = "hub")]
use super::LoadStage;
use super::{Code, Failure, LoadOptions, OnLoad};
#[cfg(feature = "hub")]
use carat::internals::{Model as File, Verify};
use std::path::{Path, PathBuf};
#[cfg(feature = "hub")]
use std::sync::atomic::{AtomicBool, Ordering};

/// The file on this machine.
///
/// Errors: the network, no such model; cancelled.
pub(super) fn local(
    from: &str,
    options: &LoadOptions,
    progress: &OnLoad,
) -> Result<PathBuf, Failure> {
    let fetched = ["hf:", "https://", "http://"];
    if !fetched.iter().any(|prefix| from.starts_with(prefix)) {
        return Ok(from.into());
    }
    fetch(from, options, progress)
}

#[cfg(not(feature = "hub"))]
fn fetch(from: &str, _: &LoadOptions, _: &OnLoad) -> Result<PathBuf, Failure> {
    Err(Failure::new(
        Code::Format,
        format!("{from}: this build fetches nothing; give it the path of a file"),
    ))
}

#[cfg(feature = "hub")]
fn fetch(from: &str, options: &LoadOptions, progress: &OnLoad) -> Result<PathBuf, Failure> {
    use carat_hub::{Hub, Reference, Settings};
    let mut settings = match (Settings::from_env(), &options.cache_dir) {
        (Ok(settings), _) => settings,
        // On a phone there is no home.
        (Err(_), Some(folder)) => Settings::new(folder),
        (Err(e), None) => return Err(of_hub(&e)),
    };
    if let Some(folder) = &options.cache_dir {
        settings.cache = folder.into();
    }
    let watch = Watch {
        progress,
        stop: AtomicBool::new(false),
    };
    // An address of the hub's pages names a model of it.
    let named = from.starts_with("hf:") || from.starts_with(&format!("{}/", settings.endpoint));
    if let Some(model) = from.parse::<Reference>().ok().filter(|_| named) {
        let hub = Hub::new(settings).map_err(|e| of_hub(&e))?;
        let pulled = hub.pull(&model, &watch).map_err(|e| of_hub(&e))?;
        return Ok(pulled.path);
    }
    let fetched = carat_hub::fetch(&settings, from, &watch).map_err(|e| of_hub(&e))?;
    if fetched.fresh {
        let checked = File::open(&fetched.path, Verify::Hashes);
        if let Err(e) = checked {
            // The next try begins anew.
            let _ = std::fs::remove_file(&fetched.path);
            let mut failure = Failure::from(carat::Error::from(e));
            failure.message = format!("{from}: {}", failure.message);
            return Err(failure);
        }
    }
    Ok(fetched.path)
}

#[cfg(feature = "hub")]
struct Watch<'a> {
    progress: &'a OnLoad,
    stop: AtomicBool,
}

#[cfg(feature = "hub")]
impl carat_hub::Observer for Watch<'_> {
    fn advance(&self, done: u64, total: u64) {
        if !(self.progress)(LoadStage::Download, done, total) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "hub")]
fn of_hub(error: &carat_hub::Error) -> Failure {
    use carat_hub::Error as E;
    let code = match error {
        E::Cancelled { .. } => Code::Aborted,
        E::Name { .. } | E::Endpoint { .. } | E::Token { .. } => Code::Parameter,
        E::Io { .. } | E::NoCache | E::Certificates { .. } => Code::Storage,
        E::Verification { .. } => Code::Hash,
        _ => Code::Network,
    };
    Failure::new(code, error.to_string())
}

/// Lets a mapped file that is shortened give an error. Where that cannot be had the file is better copied.
pub(super) fn guard() -> bool {
    #[cfg(unix)]
    return carat::guard_maps().is_ok();
    #[cfg(not(unix))]
    return true;
}

/// Of a file that cannot be opened.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Code::Storage,
        format!("{}: cannot be read: {error}", path.display()),
    )
}
