//! What a context has room for, and what it holds already.

use crate::error::Error;
use crate::generate::GenerateOptions;
use crate::session::Session;

impl GenerateOptions {
    /// Allows no more tokens than a context of so many positions holds after a prompt of `prompt` tokens. Returns whether it is
    /// the context that ends the text, and not the number asked for.
    ///
    /// A session has whole pages of positions, so it would not end there by itself.
    ///
    /// Errors: the prompt alone does not fit.
    pub fn within(&mut self, context: u32, prompt: usize) -> Result<bool, Error> {
        let free = (context as usize).checked_sub(prompt);
        let free = free.ok_or(Error::ContextFull {
            asked: prompt,
            used: 0,
            context,
        })?;
        // The last token needs no position of its own.
        let most = free.saturating_add(1);
        let fills = self.max_tokens > most;
        self.max_tokens = self.max_tokens.min(most);
        Ok(fills)
    }
}

impl Session {
    /// Forgets what the cache holds beyond its common start with `ids`, and always their last token, whose logits are to come.
    /// Returns how many are kept: what follows them is to be computed.
    pub fn keep(&mut self, ids: &[u32]) -> usize {
        let kept = common(self.tokens(), ids).min(ids.len().saturating_sub(1));
        self.truncate(kept);
        kept
    }
}

/// Tokens at the start that both have.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
