//! Reasoning that may take so many tokens.

use carat_text::reply::{Budget, Parser};
use carat_text::tokenizer::Tokenizer;
use std::collections::VecDeque;

/// Follows the text of an answer, and ends its reasoning where that takes too long: the tokens of the text that ends it are taken
/// instead of chosen ones.
#[derive(Clone, Debug)]
pub struct Reasoning {
    parser: Parser,
    budget: Budget,
    forced: VecDeque<u32>,
}

impl Reasoning {
    /// `parser` is to see the answer from its start.
    pub fn new(parser: Parser, budget: Budget) -> Self {
        Self {
            parser,
            budget,
            forced: VecDeque::new(),
        }
    }

    /// The token that comes next, where none is to be chosen.
    pub(super) fn next(&mut self, tokenizer: &Tokenizer) -> Option<u32> {
        if self.forced.is_empty()
            && let Some(text) = self.budget.before(self.parser.in_reasoning())
        {
            self.forced.extend(tokenizer.encode(text, true));
        }
        self.forced.pop_front()
    }

    /// More of the answer.
    pub(super) fn read(&mut self, text: &str) {
        self.parser.push(text);
    }
}
