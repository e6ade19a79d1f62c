//! Adapters that a command adds to a model.

use crate::args::LoraArgs;
use anyhow::{Context, Result};
use carat::internals::adapter::{AdapterFile, Applied};
use carat::internals::{Error, Model};

/// Reads the adapters of the command line for a model.
///
/// Errors: one that cannot be read, or that is for another model.
pub fn load(args: &LoraArgs, model: &Model) -> Result<Vec<Applied>> {
    let adapters = args.lora.iter().map(|lora| {
        let shown = || format!("--lora {}", lora.path.display());
        let file = AdapterFile::open(&lora.path).map_err(Error::from);
        let file = file.with_context(shown)?;
        let adapter = model.adapter(&file).with_context(shown)?;
        Ok(Applied {
            adapter: adapter.into(),
            strength: lora.strength,
        })
    });
    adapters.collect()
}
