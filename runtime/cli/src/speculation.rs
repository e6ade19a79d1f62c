//! Tokens that are computed in advance: how many, and who proposes them.

use crate::args::{CacheArgs, MemoryArgs, SpeculationArgs};
use crate::cache;
use anyhow::{Context, Result};
use carat::internals::{Drafter, Model, SessionOptions, Verify};
use std::sync::Arc;

/// A smaller model that is open.
pub struct Smaller {
    shown: String,
    model: Arc<Model>,
    most: usize,
}

impl SpeculationArgs {
    /// Tokens that the text itself proposes at most.
    pub fn lookup(&self) -> usize {
        self.lookup as usize
    }

    /// Positions of a pass that give outputs: one for each token that may be proposed, and one for the pending token.
    pub fn outputs(&self) -> u32 {
        let drafted = self.draft_model.as_ref().map_or(0, |_| self.draft_max);
        1 + self.lookup.max(drafted)
    }

    /// The smaller model, where one is named.
    ///
    /// Errors: as of opening a model.
    pub fn open(
        &self,
        cache: &CacheArgs,
        memory: &MemoryArgs,
        threads: Option<usize>,
    ) -> Result<Option<Smaller>> {
        let Some(path) = &self.draft_model else {
            return Ok(None);
        };
        let prepared = cache::prepare_to_generate(path, cache, threads)?;
        let prepared = prepared.in_memory(memory.map.no_mmap, memory.memory_limit);
        Ok(Some(Smaller {
            shown: path.display().to_string(),
            model: Arc::new(prepared.open(Verify::Hashes)?),
            most: self.draft_max as usize,
        }))
    }
}

impl Smaller {
    /// The model, and how many tokens it proposes at most.
    pub fn parts(&self) -> (Arc<Model>, usize) {
        (self.model.clone(), self.most)
    }

    /// What it leaves of a limit on memory.
    ///
    /// Errors: nothing is left, or it has no plan.
    pub fn limit(&self, larger: &SessionOptions) -> Result<Option<u64>> {
        let Some(limit) = larger.memory_limit else {
            return Ok(None);
        };
        let options = Drafter::options(larger);
        let needed = options
            .memory(&self.model)
            .with_context(|| self.shown.clone())?;
        let needed = needed.total();
        let left = limit.checked_sub(needed);
        let left = left.with_context(|| {
            format!(
                "{}: it takes {} beside the model, and --memory-limit allows {limit} bytes; raise it or leave out --draft-model",
                self.shown,
                crate::term::bytes(needed)
            )
        })?;
        Ok(Some(left))
    }

    /// What proposes tokens of a larger model.
    ///
    /// Errors: another vocabulary, no memory.
    pub fn drafter(&self, larger: &Model, session: &SessionOptions) -> Result<Drafter> {
        let options = Drafter::options(session);
        let drafter = Drafter::new(self.model.clone(), larger, &options, self.most);
        pollster::block_on(drafter).with_context(|| self.shown.clone())
    }
}
