//! How many tokens reasoning may take.

use super::Syntax;

/// Counts the tokens of reasoning and tells the text that ends it when they are used up. It chooses no token: the caller
/// encodes the text, with control tokens, and gives these tokens to the model instead of sampled ones.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Tokens left; nothing where reasoning was ended.
    left: Option<usize>,
    ending: String,
}

impl Budget {
    /// At most `tokens` tokens of reasoning; 0 ends it where it begins. Nothing where the format has no reasoning.
    pub fn new(syntax: &Syntax, tokens: usize) -> Option<Self> {
        syntax.thought.map(|thought| Self {
            left: Some(tokens),
            ending: thought.ending.into(),
        })
    }

    /// With a sentence in front of the end, from which the model goes on better.
    pub fn with_message(mut self, message: &str) -> Self {
        self.ending.insert_str(0, message);
        self
    }

    /// To be called before every token is chosen, with [`Parser::in_reasoning`](super::Parser::in_reasoning). Where reasoning
    /// is to end, the text that ends it, once; the tokens of that text are not counted.
    pub fn before(&mut self, in_reasoning: bool) -> Option<&str> {
        if !in_reasoning {
            return None;
        }
        match self.left {
            None => None,
            Some(0) => {
                self.left = None;
                Some(&self.ending)
            }
            Some(n) => {
                self.left = Some(n - 1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reasoning_ends_once() {
        let syntax = Syntax::of_template("<think></think>");
        let mut budget = Budget::new(&syntax, 2).unwrap().with_message("Enough.");
        assert_eq!(budget.before(false), None);
        assert_eq!(budget.before(true), None);
        assert_eq!(budget.before(true), None);
        assert_eq!(budget.before(true), Some("Enough.\n</think>\n\n"));
        assert_eq!(budget.before(true), None);
        let mut none = Budget::new(&syntax, 0).unwrap();
        assert_eq!(none.before(true), Some("\n</think>\n\n"));
        assert!(Budget::new(&Syntax::of_template(""), 1).is_none());
    }
}
