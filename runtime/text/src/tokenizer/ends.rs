//! Tokens that end a text, by what they are called: a file often names one of several.

use super::data::{TokenType, TokenizerData};
use std::collections::BTreeSet;

/// Names of tokens that end a turn of a conversation, in the order of preference.
const TURN_ENDS: [&str; 17] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|return|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[e~[",
    "<end_of_utterance>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<|endofturn|>",
    "[|endofturn|]",
    "<|eom_id|>",
    "<|eom|>",
];

/// Names of tokens that end a text, or a file of a repository behind which a model of code begins the next.
const TEXT_ENDS: [&str; 23] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|tool_response>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "<|eos|>",
    "<|end_of_sentence|>",
];

/// Names that end no text beside certain others: the name, sets of which one is there whole.
const UNLESS: [(&str, &[&[&str]]); 2] = [
    // Between the channels of one answer.
    (
        "<|end|>",
        &[
            &["<|return|>", "<|call|>"],
            &["<|call|>", "<|flush|>"],
            &["<|calls|>", "<|flush|>"],
        ],
    ),
    ("</s>", &[&["<|tool_response>"]]),
];

impl TokenizerData {
    /// The id of an end-of-turn token by its usual spellings, if the vocabulary has one that is not
    /// ordinary text.
    pub fn find_end_of_turn(&self) -> Option<u32> {
        let marker = |name: &&str| self.marker(name);
        let found = TURN_ENDS.iter().filter(|n| !self.is_no_end(n));
        found.copied().find_map(|n| marker(&n))
    }

    /// Every token that ends a text: those that the file names, and control tokens by their names.
    pub(super) fn ends(&self) -> BTreeSet<u32> {
        let named = self.eos.into_iter().chain(self.eot);
        let mut ends = BTreeSet::new();
        // Few, which are put in one by one: what is collected is sorted first, and a browser fetches the sort.
        named.chain(self.eos_ids.iter().copied()).for_each(|id| {
            ends.insert(id);
        });
        let known = TURN_ENDS.iter().chain(&TEXT_ENDS);
        let known: std::collections::HashSet<&str> = known.copied().collect();
        for (id, token) in (0u32..).zip(&self.tokens) {
            if known.contains(token.as_str()) && self.is_marker(id) && !self.is_no_end(token) {
                ends.insert(id);
            }
        }
        ends
    }

    fn is_no_end(&self, name: &str) -> bool {
        let rule = UNLESS.iter().find(|rule| rule.0 == name);
        let whole = |set: &&[&str]| set.iter().all(|n| self.marker(n).is_some());
        rule.is_some_and(|rule| rule.1.iter().any(whole))
    }

    /// The token of a name that is not ordinary text.
    fn marker(&self, name: &str) -> Option<u32> {
        let named = (0u32..).zip(&self.tokens).filter(|(_, t)| *t == name);
        named.map(|n| n.0).find(|id| self.is_marker(*id))
    }

    /// Whether a token marks structure, as far as the file says.
    fn is_marker(&self, id: u32) -> bool {
        let kind = self.token_type(id as usize);
        matches!(kind, TokenType::Control | TokenType::UserDefined) || self.token_types.is_empty()
    }
}
