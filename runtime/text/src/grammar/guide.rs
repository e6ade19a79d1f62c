//! One text under one grammar.

use super::compile::{Kind, compile};
use super::error::{GrammarError, reason};
use super::vocabulary::Vocabulary;
use crate::constraint::{Constraint, ConstraintError, Mask};
use llguidance::Matcher;
use llguidance::api::StopReason;

/// The state of a text that follows a grammar.
pub struct Guide {
    matcher: Matcher,
    kind: Kind,
    /// The last mask.
    mask: Option<Mask>,
    /// Tokens accepted.
    at: usize,
    /// The text is whole and nothing can follow.
    ended: bool,
}

impl Guide {
    /// A guide at the start of a text.
    ///
    /// Errors: a grammar that is too large, too deep, takes too long or is none; what of a schema is not
    /// supported; one that no text can follow.
    pub fn new(vocabulary: &Vocabulary, kind: Kind, text: &str) -> Result<Self, GrammarError> {
        Ok(Self {
            matcher: compile(&vocabulary.factory, kind, text)?,
            kind,
            mask: None,
            at: 0,
            ended: false,
        })
    }

    /// A guide at the start of another text under the same grammar.
    pub fn fresh(&self) -> Result<Self, ConstraintError> {
        let mut matcher = self.matcher.deep_clone();
        matcher.reset().map_err(|e| self.too_complex(e))?;
        Ok(Self {
            matcher,
            kind: self.kind,
            mask: None,
            at: 0,
            ended: false,
        })
    }

    fn too_complex(&self, error: impl std::fmt::Display) -> ConstraintError {
        ConstraintError::TooComplex {
            what: self.kind.name(),
            at: self.at,
            reason: reason(error),
        }
    }
}

impl Constraint for Guide {
    fn mask(&mut self) -> Result<Option<Mask>, ConstraintError> {
        if self.ended {
            return Ok(None);
        }
        match self.matcher.compute_mask() {
            Ok(mask) => {
                self.mask = Some(Mask::from_words(mask.as_slice()));
                Ok(self.mask.clone())
            }
            // The stop reason is lost with the error's text alone left.
            Err(e)
                if e.to_string()
                    .starts_with(&StopReason::NoExtensionBias.to_string()) =>
            {
                Err(ConstraintError::DeadEnd {
                    what: self.kind.name(),
                    at: self.at,
                })
            }
            Err(e) => Err(self.too_complex(e)),
        }
    }

    fn accept(&mut self, id: u32) -> Result<(), ConstraintError> {
        if self.mask.take().is_none_or(|m| !m.allows(id)) {
            let what = self.kind.name();
            return Err(ConstraintError::Refused { what, id });
        }
        if let Err(e) = self.matcher.consume_token(id) {
            return Err(self.too_complex(e));
        }
        self.at += 1;
        self.ended = self.matcher.is_stopped();
        Ok(())
    }

    fn is_complete(&mut self) -> bool {
        self.ended || self.matcher.is_accepting().unwrap_or(false)
    }
}

impl std::fmt::Debug for Guide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guide")
            .field("kind", &self.kind)
            .field("at", &self.at)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
