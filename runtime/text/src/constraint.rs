//! Which tokens may be chosen, and what decides it from token to token.

/// A set of token ids: one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u32>,
}

impl Mask {
    /// The set of the ids whose bits are set: id `i` is bit `i % 32` of word `i / 32`.
    pub fn from_words(words: &[u32]) -> Self {
        Self {
            words: words.to_vec(),
        }
    }

    /// The bits, as [`Mask::from_words`] takes them.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Whether a token is in the set; no id past the last word is.
    pub fn allows(&self, id: u32) -> bool {
        self.words
            .get(id as usize / 32)
            .is_some_and(|w| w >> (id % 32) & 1 == 1)
    }

    /// Takes a token out.
    pub fn remove(&mut self, id: u32) {
        if let Some(w) = self.words.get_mut(id as usize / 32) {
            *w &= !(1 << (id % 32));
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }
}

impl FromIterator<u32> for Mask {
    fn from_iter<T: IntoIterator<Item = u32>>(ids: T) -> Self {
        let mut words = Vec::new();
        for id in ids {
            let word = id as usize / 32;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (id % 32);
        }
        Self { words }
    }
}

/// A constraint that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// It met one of its limits.
    #[error("the {what} takes too much work at token {at}: {reason}; simplify it")]
    TooComplex {
        /// Grammar or schema.
        what: &'static str,
        /// Tokens accepted before.
        at: usize,
        /// Which limit.
        reason: String,
    },
    /// No token of the vocabulary continues the text, which is no whole sentence.
    #[error(
        "no token of this model continues the text as the {what} asks after {at} tokens; its characters may be missing in the vocabulary"
    )]
    DeadEnd {
        /// Grammar or schema.
        what: &'static str,
        /// Tokens accepted before.
        at: usize,
    },
    /// A token was given to it that its last mask does not have.
    #[error("token {id} is none that the {what} allows; choose it from the last mask")]
    Refused {
        /// Grammar or schema.
        what: &'static str,
        /// The token.
        id: u32,
    },
}

/// Restricts every token of a generation by those before it. What it says must depend on nothing but
/// the tokens accepted, so that every device gets the same text.
pub trait Constraint {
    /// The tokens allowed next, those that end the text among them exactly where it may end; `None`
    /// where the text is complete and nothing can follow.
    ///
    /// Errors: a limit of the constraint, or no token that fits.
    fn mask(&mut self) -> Result<Option<Mask>, ConstraintError>;

    /// Takes the token that was chosen from the last mask.
    ///
    /// Errors: a token that the mask does not have, or a limit of the constraint.
    fn accept(&mut self, id: u32) -> Result<(), ConstraintError>;

    /// Whether the tokens accepted are a complete text.
    fn is_complete(&mut self) -> bool;
}
