//! The file under its temporary name: written at offsets by several threads, then renamed.

use super::{ConvertError, Options};
use crate::source::Checkpoint;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile, TempPath};

/// The file being written.
#[derive(Debug)]
pub(super) struct Output {
    file: NamedTempFile,
    target: PathBuf,
    len: u64,
}

impl Output {
    /// Whether a file may be written at the target.
    pub fn check(options: &Options, source: &Checkpoint) -> Result<(), ConvertError> {
        let target = options.output.clone();
        if target.is_dir() {
            return Err(ConvertError::TargetIsDirectory { path: target });
        }
        if target.exists() {
            // Also when forced, and whatever it is called: any file of the source, or under its directory.
            let own = target.canonicalize().ok();
            let within = |place: &Path| own.as_ref().zip(place.canonicalize().ok());
            if source
                .places()
                .filter_map(within)
                .any(|(own, place)| own.starts_with(place))
            {
                return Err(ConvertError::TargetIsSource { path: target });
            }
            if !options.force {
                return Err(ConvertError::TargetExists { path: target });
            }
        }
        Ok(())
    }

    /// Checks the target and creates a file of `len` zeros beside it.
    pub fn create(options: &Options, source: &Checkpoint, len: u64) -> Result<Self, ConvertError> {
        Self::check(options, source)?;
        let target = options.output.clone();
        let directory = directory(&target);
        let mut builder = Builder::new();
        builder.prefix(".carat-").suffix(".part");
        // What any new file gets; the default is readable by its owner only.
        #[cfg(unix)]
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        #[cfg(unix)]
        builder.permissions(permissions);
        let file = builder.tempfile_in(&directory);
        let file = file.map_err(|error| ConvertError::TargetDirectory {
            path: directory,
            error,
        })?;
        let output = Self { file, target, len };
        output
            .file
            .as_file()
            .set_len(len)
            .map_err(|e| output.error(e))?;
        Ok(output)
    }

    /// The same of a file that stays where it is until it is published: `path`, whose content counts if `keep`.
    pub fn resume(
        options: &Options,
        source: &Checkpoint,
        len: u64,
        (path, keep): (&Path, bool),
    ) -> Result<Self, ConvertError> {
        Self::check(options, source)?;
        let fault = |error| ConvertError::TargetDirectory {
            path: path.into(),
            error,
        };
        let mut open = std::fs::OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(!keep);
        let file = open.open(path).map_err(fault)?;
        let mut kept = TempPath::try_from_path(path).map_err(fault)?;
        kept.disable_cleanup(true);
        let output = Self {
            file: NamedTempFile::from_parts(file, kept),
            target: options.output.clone(),
            len,
        };
        let sized = output.file.as_file().set_len(len);
        sized.map_err(|e| output.error(e))?;
        Ok(output)
    }

    /// Puts what is written on the disk.
    pub fn sync(&self) -> Result<(), ConvertError> {
        self.file.as_file().sync_data().map_err(|e| self.error(e))
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), ConvertError> {
        write_all_at(self.file.as_file(), bytes, offset).map_err(|e| self.error(e))
    }

    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), ConvertError> {
        read_exact_at(self.file.as_file(), buffer, offset).map_err(|e| self.error(e))
    }

    /// Puts the file on the disk and gives it its name.
    pub fn publish(self, options: &Options) -> Result<(), ConvertError> {
        self.file.as_file().sync_all().map_err(|e| self.error(e))?;
        // What was written lies in the cache in small pages. Forgotten there, it comes back at its first use in huge ones,
        // from which the runtime reads faster; where that fails it is in memory all the same.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(self.file.as_file(), 0, None, rustix::fs::Advice::DontNeed);
        let Self { file, target, len } = self;
        let renamed = if options.force {
            file.persist(&target)
        } else {
            file.persist_noclobber(&target)
        };
        match renamed {
            Ok(_) => {}
            Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ConvertError::TargetExists { path: target });
            }
            Err(e) => return Err(write_error(target, len, e.error)),
        }
        // The new name reaches the disk with its directory; where that cannot be synced it does so later.
        #[cfg(unix)]
        if let Ok(d) = File::open(directory(&target)) {
            d.sync_all().ok();
        }
        Ok(())
    }

    fn error(&self, error: io::Error) -> ConvertError {
        write_error(self.target.clone(), self.len, error)
    }
}

pub(super) fn write_error(path: PathBuf, needed: u64, error: io::Error) -> ConvertError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ConvertError::DiskFull { path, needed }
        }
        _ => ConvertError::Write { path, error },
    }
}

fn directory(target: &Path) -> PathBuf {
    match target.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.into(),
        _ => Path::new(".").into(),
    }
}

#[cfg(unix)]
pub(super) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(not(unix))]
static POSITION: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The position is shared by all threads.
#[cfg(not(unix))]
pub(super) fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, Write};
    let _guard = POSITION.lock();
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    let _guard = POSITION.lock();
    file.seek(io::SeekFrom::Start(offset))?;
    file.read_exact(buffer)
}
