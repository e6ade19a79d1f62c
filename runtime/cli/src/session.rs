//! A session that outlives the process: the file of `--session`.

use crate::term;
use anyhow::{Context, Result};
use carat::internals::{Beside, Relay, SavedHead};
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file, whether it exists or not.
pub struct SessionFile {
    path: PathBuf,
}

impl SessionFile {
    /// The file at a path, and what it begins with if it exists.
    ///
    /// Errors: it cannot be read, or is no session.
    pub fn new(path: &Path) -> Result<(Self, Option<SavedHead>)> {
        let file = Self { path: path.into() };
        let head = match std::fs::File::open(path) {
            Ok(from) => {
                let head = SavedHead::read(&mut BufReader::new(from));
                Some(head.with_context(|| file.shown())?)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| file.shown()),
        };
        Ok((file, head))
    }

    /// Its path, for a person.
    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Brings a session to what was saved; says so where the file is cut.
    ///
    /// Errors: the file is damaged, or of another model.
    pub fn open(&self, relay: &mut Relay) -> Result<Beside> {
        let from = std::fs::File::open(&self.path).with_context(|| self.shown())?;
        let session = relay.session();
        let opened = session.open_saved(&mut BufReader::new(from));
        let beside = opened.with_context(|| self.shown())?;
        let lost = session.tokens().len() - session.held();
        if lost > 0 {
            term::warn(&format!(
                "{}: the file is cut: {lost} of {} tokens are computed again",
                self.shown(),
                session.tokens().len()
            ));
        }
        Ok(beside)
    }

    /// Replaces the file, once the new one is whole.
    ///
    /// Errors: it cannot be written.
    pub fn save(&self, relay: &mut Relay, beside: &Beside) -> Result<()> {
        let mut file = term::beside(&self.path)?;
        let mut to = BufWriter::new(&mut file);
        let saved = relay.session().save(beside, &mut to);
        pollster::block_on(saved).with_context(|| self.shown())?;
        to.flush().with_context(|| self.shown())?;
        drop(to);
        file.persist(&self.path)
            .map_err(|e| e.error)
            .with_context(|| self.shown())?;
        Ok(())
    }
}
