//! Adapters of a model.

use super::Model;
use crate::error::Error;
use carat_adapter::{Adapter, AdapterFile};
use carat_format::{FormatError, keys};

impl Model {
    /// An adapter for this model.
    ///
    /// Errors: the file's matrices were changed so that the checkpoint's adapters do not fit; as [`AdapterFile::fit`].
    pub fn adapter(&self, file: &AdapterFile) -> Result<Adapter, Error> {
        let header = self.header()?;
        let folded = header.str_array_opt(keys::FOLDED);
        let folded = folded.map_err(FormatError::from)?;
        if let Some(method) = folded.and_then(|mut f| f.next()) {
            return Err(Error::Folded(method.into()));
        }
        Ok(file.fit(self.spec())?)
    }
}
