//! A tokenizer's tokens as a trie.

use super::error::{GrammarError, reason};
use crate::tokenizer::{MAX_WORD, NAME_MARK, Tokenizer, Words};
use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};
use std::sync::Arc;

// A word's mark is llguidance's own, and its nodes count up to 1,024 levels.
const _: () = assert!(TokTrie::SPECIAL_TOKEN_MARKER == NAME_MARK && MAX_WORD < 1024);
/// States of the lexer, 1 to 2 kB each.
const MAX_STATES: usize = 100_000;

/// The tokens of a model, ready for grammars. Cheap to clone.
#[derive(Clone)]
pub struct Vocabulary {
    pub(super) factory: Arc<ParserFactory>,
}

impl Vocabulary {
    /// Builds the trie: some hundred milliseconds for 128,000 tokens.
    ///
    /// Text is matched by ordinary tokens alone. Control tokens are known to grammars by their names
    /// (`<|im_end|>`). Tokens longer than 1,000 bytes and those with the byte 0xFF, which no UTF-8 text
    /// has, are never allowed.
    ///
    /// Errors: a vocabulary that makes no trie.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, GrammarError> {
        Self::of_words(&tokenizer.words())
    }

    /// [`Vocabulary::new`] where the tokenizer is elsewhere.
    pub fn of_words(words: &Words) -> Result<Self, GrammarError> {
        let ends = &words.ends;
        let words: Vec<Vec<u8>> = words.iter().map(<[u8]>::to_vec).collect();
        let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
        let build = || {
            let eos = ends.first().copied();
            let info = TokRxInfo::new(count, eos.unwrap_or(llguidance::toktrie::INVALID_TOKEN));
            let mut trie = TokTrie::from(&info, &words);
            if !ends.is_empty() {
                trie = trie.with_eos_tokens(ends);
            }
            let env: llguidance::toktrie::TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            // Nothing is forced: no fast-forward, no backtracking.
            let mut factory = ParserFactory::new(
                &env,
                InferenceCapabilities::default(),
                &SlicedBiasComputer::general_slices(),
            )?;
            factory.quiet();
            *factory.limits_mut() = ParserLimits {
                max_lexer_states: MAX_STATES,
                verbose_errors: false,
                ..ParserLimits::default()
            };
            Ok(factory)
        };
        let built = llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(build));
        let factory = built.map_err(|e| GrammarError::Vocabulary { reason: reason(e) })?;
        Ok(Self {
            factory: Arc::new(factory),
        })
    }
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary").finish_non_exhaustive()
    }
}
