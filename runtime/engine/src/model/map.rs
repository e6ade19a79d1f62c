//! A file that is mapped.
#![allow(unsafe_code)]

#[cfg(unix)]
use super::guard::{Entry, PAGE};
use crate::error::Error;
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// A file that is mapped.
pub(super) struct Map {
    /// Leaves the table before the memory goes: fields are dropped in this order.
    #[cfg(unix)]
    entry: Option<Entry>,
    map: Mmap,
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl Map {
    /// Errors: the file cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (file, _) = regular(path)?;
        // SAFETY: the map is read-only. If another process shortens the file, reading what is gone raises SIGBUS: the
        // system ends this process, or with `carat::guard_maps` zeros are there instead and `Map::intact` says so. If
        // another process rewrites the file, integers change, but every offset was checked against the length at opening
        // and every kernel is total over its inputs. Strings of the header were checked once: whoever opens a file must see
        // that nobody rewrites it meanwhile, as with every map.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| failed(path, e))?;
        // What is not in memory yet then comes there in huge pages, from which weights are read faster, where file
        // system and kernel have them. Without them it is a map all the same.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self {
            #[cfg(unix)]
            entry: Entry::new(&map, path),
            map,
        })
    }

    /// Whether everything that was read of it so far was the file's: to be asked after reading.
    ///
    /// Errors: the file was shortened, or a part of it could not be read. Where maps are not guarded nobody finds out.
    pub fn intact(&self) -> Result<(), Error> {
        #[cfg(unix)]
        if let Some(entry) = &self.entry {
            return entry.intact(&self.map);
        }
        Ok(())
    }

    /// Gives the pages that lie wholly in a range back to the system, which brings them in again where they are read.
    #[cfg(unix)]
    pub fn release(&self, offset: u64, len: u64) {
        let page = PAGE as u64;
        let start = offset.next_multiple_of(page);
        let end = (offset.saturating_add(len)).min(self.map.len() as u64) / page * page;
        if start < end {
            // SAFETY: the map is a read-only view of a file, never written, so dropped pages come back with the same
            // bytes; zeros that stand for lost ones come back as zeros.
            let advised = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    start as usize,
                    (end - start) as usize,
                )
            };
            if let Err(e) = advised {
                tracing::debug!("pages are kept: {e}");
            }
        }
    }
}

/// An error of the system about a file.
pub(super) fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.into(),
        source,
    }
}

/// A regular file and its length.
pub(super) fn regular(path: &Path) -> Result<(File, u64), Error> {
    let io = |e| failed(path, e);
    let file = File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "not a regular file; expected a .gguf file (convert a Hugging Face directory with `carat convert`)",
        )));
    }
    Ok((file, meta.len()))
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// Of a file that ends with zeros no byte changes: the fault alone tells.
    #[test]
    fn zeros_that_are_lost_show_too() {
        crate::model::guard_maps().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        for read in [true, false] {
            file.as_file().set_len(200_000).unwrap();
            let [map, other] = [(); 2].map(|()| Map::open(file.path()).unwrap());
            map.intact().unwrap();
            file.as_file().set_len(0).unwrap();
            if read {
                assert_eq!(black_box(map[100_000]), 0);
                // A fault in one map is none in another, even of the same file.
                file.as_file().set_len(200_000).unwrap();
                other.intact().unwrap();
            }
            assert!(matches!(map.intact(), Err(Error::Lost { path }) if path == file.path()));
        }
    }
}
