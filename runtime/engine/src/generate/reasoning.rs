//! Reasoning that may take so many tokens.

use carat_text::reply::{Budget, Parser};
use carat_text::tokenizer::Tokenizer;
use std::collections::VecDeque;

/// Decides some tokens of a text instead of the sampler.
///
/// A generator holds one as an object, so that a program whose texts are never held to anything does not carry the parsers.
pub trait Forcing: Send {
    /// The token that comes next, where none is to be chosen.
    fn next(&mut self, tokenizer: &Tokenizer) -> Option<u32>;

    /// More of the text.
    fn read(&mut self, text: &str);

    /// A copy, as a generation between its steps has.
    fn copy(&self) -> Box<dyn Forcing>;
}

impl Clone for Box<dyn Forcing> {
    fn clone(&self) -> Self {
        self.copy()
    }
}

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
}

impl Forcing for Reasoning {
    fn next(&mut self, tokenizer: &Tokenizer) -> Option<u32> {
        if self.forced.is_empty()
            && let Some(text) = self.budget.before(self.parser.in_reasoning())
        {
            self.forced.extend(tokenizer.encode(text, true));
        }
        self.forced.pop_front()
    }

    fn read(&mut self, text: &str) {
        self.parser.push(text);
    }

    fn copy(&self) -> Box<dyn Forcing> {
        Box::new(self.clone())
    }
}
