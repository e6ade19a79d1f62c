//! Files read at an offset, from several threads at once, without a map of them in memory.

use super::{SourceError, unfit};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// An open file of a checkpoint.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub path: PathBuf,
    pub len: u64,
    file: File,
}

impl SourceFile {
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let error = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::NotFound { path: path.into() },
            _ => SourceError::Io {
                path: path.into(),
                error,
            },
        };
        // Before it is opened: a pipe would wait for someone to write.
        if !std::fs::metadata(path).map_err(error)?.is_file() {
            let fault = "not a regular file";
            return Err(error(io::Error::new(io::ErrorKind::InvalidInput, fault)));
        }
        let file = File::open(path).map_err(error)?;
        let len = file.metadata().map_err(error)?.len();
        Ok(Self {
            path: path.into(),
            len,
            file,
        })
    }

    /// Fills `buffer` from byte `offset`.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SourceError> {
        let mut done = 0usize;
        while done < buffer.len() {
            match read_at(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => {
                    let expected = offset.saturating_add(buffer.len() as u64);
                    let found = offset + done as u64;
                    return Err(SourceError::Length {
                        path: self.path.clone(),
                        expected,
                        found,
                    });
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(SourceError::Io {
                        path: self.path.clone(),
                        error,
                    });
                }
            }
        }
        Ok(())
    }

    /// The first `len` bytes, or the whole file where it is shorter.
    pub fn prefix(&self, len: u64) -> Result<Vec<u8>, SourceError> {
        let len = len.min(self.len);
        let size = usize::try_from(len).map_err(|_| SourceError::TooLarge {
            path: self.path.clone(),
            found: len,
            limit: usize::MAX as u64,
        })?;
        let mut bytes = vec![0; size];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(not(any(unix, windows)))]
fn read_at(mut file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Read, Seek};
    // The position is shared by all threads.
    static POSITION: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = POSITION.lock();
    file.seek(io::SeekFrom::Start(offset))?;
    file.read(buffer)
}

/// A whole file of at most `limit` bytes, which is no pointer to another.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let file = SourceFile::open(path)?;
    if file.len > limit {
        return Err(SourceError::TooLarge {
            path: path.into(),
            found: file.len,
            limit,
        });
    }
    let bytes = file.prefix(limit)?;
    unfit::refuse_pointer(path, &bytes)?;
    Ok(bytes)
}
