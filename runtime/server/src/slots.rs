//! Slots: names of texts whose keys and values are written to files, and read again, by llama.cpp's API.
//!
//! No text has a fixed place here. A slot is the last text that named it.

use crate::hosted::Hosted;
use crate::refusal::{Kind, Refusal};
use carat::internals::adapter::Strength;
use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What unfinished files begin with.
const UNFINISHED: &str = ".carat-";

/// The last texts of the slots.
#[derive(Default)]
pub struct Slots(Mutex<BTreeMap<u32, Text>>);

/// A text that has ended.
#[derive(Clone, Default)]
pub struct Text {
    /// Its tokens that were computed.
    pub tokens: Vec<u32>,
    /// How strongly adapters act on it, where that was said.
    pub strengths: Option<Vec<Strength>>,
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Text>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text of a slot has ended.
    pub fn put(&self, slot: u32, text: Text) {
        self.lock().insert(slot, text);
    }

    /// The last text of a slot.
    pub fn get(&self, slot: u32) -> Option<Text> {
        self.lock().get(&slot).cloned()
    }

    /// Forgets it; returns how many tokens it had.
    pub fn take(&self, slot: u32) -> usize {
        self.lock()
            .remove(&slot)
            .map_or(0, |text| text.tokens.len())
    }
}

/// The folder of the files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// That at a path. What a server that was killed left unfinished there is removed.
    ///
    /// Errors: there is no such folder.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            if unfinished && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(Self(path.into()))
    }

    /// The file of a name that a client gives.
    ///
    /// Errors: a name that is none of a file in this folder.
    fn file(&self, name: &str) -> Result<PathBuf, Refusal> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let good = !name.is_empty() && name.len() <= 128 && name.chars().all(plain);
        if !good || name.starts_with('.') {
            let text = format!(
                "'filename' is {name:?}; expected at most 128 letters, digits, '-', '_' and '.', the first of them no '.'"
            );
            return Err(Refusal::invalid(text).at("filename"));
        }
        Ok(self.0.join(name))
    }

    /// Writes a text. Returns the file's bytes.
    ///
    /// Errors: a name that is none of a file in this folder; it cannot be written; the engine fails.
    pub async fn save(&self, hosted: &Hosted, text: Text, name: &str) -> Result<u64, Refusal> {
        let path = self.file(name)?;
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.0)
            .map_err(|e| failed(name, &e))?;
        let (file, saved) = hosted
            .between(move |batcher| {
                let mut to = BufWriter::new(&mut file);
                let saved = batcher.save(&text.tokens, text.strengths.as_deref(), &mut to);
                let saved = pollster::block_on(saved);
                let flushed = saved.map(|()| to.flush());
                drop(to);
                Ok((file, flushed))
            })
            .await?;
        saved?.map_err(|e| failed(name, &e))?;
        let bytes = file.as_file().metadata().map_err(|e| failed(name, &e))?;
        file.persist(path).map_err(|e| failed(name, &e.error))?;
        Ok(bytes.len())
    }

    /// Keeps a text of a file for those that begin in the same way. Returns it and the file's bytes.
    ///
    /// Errors: a name that is none of a file in this folder; there is no such file, or it is damaged or of another model; the engine
    /// fails.
    pub async fn restore(&self, hosted: &Hosted, name: &str) -> Result<(Text, u64), Refusal> {
        let path = self.file(name)?;
        let file = std::fs::File::open(path).map_err(|e| failed(name, &e))?;
        let bytes = file.metadata().map_err(|e| failed(name, &e))?.len();
        let mut from = BufReader::new(file);
        let restore =
            move |b: &mut carat::internals::Batcher| pollster::block_on(b.restore(&mut from));
        let (tokens, strengths) = hosted.between(restore).await?;
        let strengths = Some(strengths);
        Ok((Text { tokens, strengths }, bytes))
    }
}

fn failed(name: &str, e: &std::io::Error) -> Refusal {
    let kind = match e.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Engine,
    };
    Refusal::new(kind, format!("'{name}': {e}")).at("filename")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let folder = Folder("slots".into());
        assert!(folder.file("a-1_b.session").is_ok());
        for bad in [
            "", ".", "..", ".carat-x", "../x", "a/b", "a\\b", "ä", "a\0", "c:x",
        ] {
            assert!(folder.file(bad).is_err(), "{bad:?}");
        }
        assert!(folder.file(&"x".repeat(129)).is_err());
    }

    #[test]
    fn what_was_left_unfinished_goes() {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
        for name in [".carat-ab12", "whole", ".other"] {
            std::fs::write(dir.path().join(name), "x").unwrap_or_else(|e| panic!("{e}"));
        }
        assert!(Folder::new(dir.path()).is_ok());
        let left = |name: &str| dir.path().join(name).exists();
        assert!(!left(".carat-ab12") && left("whole") && left(".other"));
        assert!(Folder::new(&dir.path().join("none")).is_err());
    }
}
