//! Texts of a batcher as files: what is kept of one goes out, and what comes back is kept for texts that begin in the same way.

use super::Batcher;
use crate::error::Error;
use crate::session::{Beside, Part};
use std::io::{Read, Write};

impl Batcher {
    /// Writes the tokens of a text and their keys and values; those that are not kept any more are computed again. Other texts
    /// wait meanwhile.
    ///
    /// Errors: a token outside the vocabulary, more tokens than the context or the pages that are left have room for, a device's
    /// failure, a writer that fails.
    pub async fn save(&mut self, tokens: &[u32], to: &mut dyn Write) -> Result<(), Error> {
        // All but one token of what is to be begun may be there already: the one is none of the text's.
        let begun = [tokens, &[0]].concat();
        let mut sequence = self.loaded.begin(&begun)?;
        let rows = self.loaded.plan().extent.batch as usize;
        let there = sequence.tokens().len();
        for piece in tokens[there..].chunks(rows) {
            let mut parts = [Part {
                sequence: &mut sequence,
                tokens: piece,
                outputs: 0,
            }];
            self.loaded.pass(&mut parts, false, &mut |_, _| ()).await?;
        }
        let saved = self.loaded.save(&sequence, &Beside::default(), to).await;
        self.loaded.publish(&mut sequence, true);
        saved
    }

    /// Keeps what was saved for texts that begin in the same way; returns its tokens. Other texts wait meanwhile.
    ///
    /// Errors: as of [`Loaded::open_saved`](crate::session::Loaded::open_saved).
    pub async fn restore(&mut self, from: &mut dyn Read) -> Result<Vec<u32>, Error> {
        let mut sequence = self.loaded.open_saved(from)?.sequence;
        // Of a file that is cut the rest is computed.
        self.loaded.restore(&mut sequence).await?;
        self.loaded.publish(&mut sequence, true);
        Ok(sequence.tokens().to_vec())
    }
}
