//! A chat that outlives the process: the file of `--session`.

use super::Chat;
use crate::session::SessionFile;
use anyhow::{Result, anyhow};
use carat::internals::{Beside, TalkNote};

impl Chat<'_> {
    /// Goes on with the conversation of a file.
    pub(super) fn resume(&mut self, file: SessionFile, exists: bool) -> Result<()> {
        if exists {
            file.open(&mut self.relay)?;
            self.kept = Some(self.state()?);
            self.note(&match self.talk.spoken() {
                1 => format!("[{}: 1 message]", file.shown()),
                n => format!("[{}: {n} messages]", file.shown()),
            })?;
        }
        self.session = Some(file);
        Ok(())
    }

    /// What goes beside the session.
    fn state(&self) -> Result<Vec<u8>> {
        let note = TalkNote::new(&self.talk, self.answers).to_bytes();
        note.map_err(|e| anyhow!("{e}"))
    }

    /// Writes the session's file, if it has not what was said.
    pub(super) fn keep(&mut self) -> Result<()> {
        let note = self.state()?;
        let Some(file) = self
            .session
            .as_ref()
            .filter(|_| self.kept.as_ref() != Some(&note))
        else {
            return Ok(());
        };
        let beside = Beside {
            note: note.clone(),
            ..Beside::default()
        };
        file.save(&mut self.relay, &beside)?;
        self.kept = Some(note);
        Ok(())
    }
}
