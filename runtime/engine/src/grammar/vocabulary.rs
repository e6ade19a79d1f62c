//! A tokenizer's tokens as a trie.

use super::error::{GrammarError, reason};
use crate::text::Tokenizer;
use llguidance::ParserFactory;
use llguidance::api::ParserLimits;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokRxInfo, TokTrie};
use std::sync::Arc;

/// Longest token in the trie; llguidance's nodes count up to 1,024 levels. Longer ones are not offered.
const MAX_TOKEN: usize = 1000;
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
        let count = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        let words: Vec<Vec<u8>> = (0..count).map(|id| word(tokenizer, id)).collect();
        let mut ends: Vec<u32> = tokenizer.ends().filter(|id| *id < count).collect();
        ends.sort_unstable();
        let build = || {
            let eos = ends.first().copied();
            let info = TokRxInfo::new(count, eos.unwrap_or(llguidance::toktrie::INVALID_TOKEN));
            let mut trie = TokTrie::from(&info, &words);
            if !ends.is_empty() {
                trie = trie.with_eos_tokens(&ends);
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

/// What a token is in the trie: its bytes; after a mark, the name of one that is no text.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let mark = TokTrie::SPECIAL_TOKEN_MARKER;
    let text = tokenizer.decode_bytes(id, false);
    let word = if text.is_empty() {
        let name = tokenizer.decode_bytes(id, true);
        if name.is_empty() || name.contains(&mark) {
            return Vec::new();
        }
        [&[mark], name].concat()
    } else if text.contains(&mark) {
        return Vec::new();
    } else {
        text.to_vec()
    };
    if word.len() > MAX_TOKEN {
        return Vec::new();
    }
    word
}
