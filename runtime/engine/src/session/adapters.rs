//! How strongly adapters act on a sequence.

use super::prefixes::{Key, ROOT};
use super::{Loaded, Sequence, Session};
use crate::error::Error;
use carat_adapter::{Applied, Strength};

/// The key before the first block of texts that adapters act on so: what is kept of a text is for texts with the same strengths.
/// An adapter that does not act makes no difference.
pub(super) fn root(adapters: &[Applied], strengths: &[Strength]) -> Key {
    let acting = adapters.iter().zip(strengths);
    let mut acting = acting.filter(|(_, s)| !s.is_zero()).peekable();
    if acting.peek().is_none() {
        return ROOT;
    }
    let mut hasher = blake3::Hasher::new();
    for (applied, strength) in acting {
        hasher.update(applied.adapter.hash());
        hasher.update(&strength.units().to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

impl Loaded {
    /// The adapters, and how strongly each acts on sequences that say nothing else.
    pub fn adapters(&self) -> &[Applied] {
        &self.plan.adapters
    }

    /// Sets how strongly each adapter acts on sequences that say nothing else, from now on.
    ///
    /// Errors: other strengths than there are adapters.
    pub fn set_defaults(&mut self, strengths: &[Strength]) -> Result<(), Error> {
        self.check_strengths(strengths)?;
        let adapters = self.plan.adapters.iter_mut().zip(strengths);
        adapters.for_each(|(a, s)| a.strength = *s);
        Ok(())
    }

    /// Sets how strongly each adapter acts on a sequence. Where that is another strength than before, its tokens are computed
    /// again when it goes on.
    ///
    /// Errors: other strengths than there are adapters.
    pub fn set_strengths(
        &self,
        sequence: &mut Sequence,
        strengths: &[Strength],
    ) -> Result<(), Error> {
        self.check_strengths(strengths)?;
        let root = root(&self.plan.adapters, strengths);
        sequence.set_strengths(strengths, root);
        Ok(())
    }

    /// Names the model and its adapters: the same for the same bytes of all of them.
    ///
    /// Errors: none for a model that is open.
    pub fn identity(&self) -> Result<blake3::Hash, Error> {
        let own = self.model.identity()?;
        if self.plan.adapters.is_empty() {
            return Ok(own);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(own.as_bytes());
        for applied in &self.plan.adapters {
            hasher.update(applied.adapter.hash());
        }
        Ok(hasher.finalize())
    }

    /// Names what keys and values are made with: the model, and the adapters that act on a text.
    pub(super) fn identity_with(&self, strengths: &[Strength]) -> Result<[u8; 32], Error> {
        let own = self.model.identity()?;
        let root = root(&self.plan.adapters, strengths);
        if root == ROOT {
            return Ok(*own.as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(own.as_bytes());
        hasher.update(&root);
        Ok(*hasher.finalize().as_bytes())
    }

    fn check_strengths(&self, strengths: &[Strength]) -> Result<(), Error> {
        let (found, expected) = (strengths.len(), self.plan.adapters.len());
        match found == expected {
            true => Ok(()),
            false => Err(Error::Strengths { found, expected }),
        }
    }
}

impl Session {
    /// Sets how strongly each adapter acts: see [`Loaded::set_strengths`].
    ///
    /// Errors: as there; a device's failure.
    pub fn set_strengths(&mut self, strengths: &[Strength]) -> Result<(), Error> {
        self.forget_ahead()?;
        self.loaded.set_strengths(&mut self.sequence, strengths)
    }

    /// How strongly each adapter acts.
    pub fn strengths(&self) -> &[Strength] {
        self.sequence.strengths()
    }
}
