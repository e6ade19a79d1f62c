//! What a text must follow.

use super::error::Cause;
use crate::model::Model;
use carat_text::constraint::Constraint;
#[cfg(feature = "grammar")]
use carat_text::grammar::{Guide, Kind, Vocabulary};
#[cfg(feature = "grammar")]
use std::sync::OnceLock;

/// What a text must follow, token by token: what does not fit is never chosen. The prompt should ask for it too.
///
/// A text that [`Sampling::max_tokens`](crate::Sampling::max_tokens) or the context ends early is the beginning of one that
/// fits: see [`Generation::is_complete`](crate::Generation::is_complete). A build without the feature `grammar` refuses all
/// but [`Format::Text`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Anything.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// JSON that fits this JSON schema (draft 4 to 2020-12), given as its text. Keywords that are not understood are refused.
    JsonSchema(String),
    /// A text of this grammar in llguidance's variant of Lark's syntax, from the rule `start`.
    Lark(String),
}

/// A model's tokens as grammars see them, once they have been asked for.
#[derive(Default)]
pub struct Words {
    #[cfg(feature = "grammar")]
    vocabulary: OnceLock<Vocabulary>,
}

/// What restricts a text under way.
pub type Restriction = Box<dyn Constraint + Send>;

impl Format {
    /// The restriction at the start of a text; none where anything may come.
    ///
    /// Errors: a schema or grammar that cannot be used.
    #[cfg(feature = "grammar")]
    pub fn restriction(&self, model: &Model, words: &Words) -> Result<Option<Restriction>, Cause> {
        let (kind, text) = match self {
            Self::Text => return Ok(None),
            Self::Json => (Kind::JsonSchema, r#"{"type": "object"}"#),
            Self::JsonSchema(text) => (Kind::JsonSchema, text.as_str()),
            Self::Lark(text) => (Kind::Lark, text.as_str()),
        };
        let vocabulary = match words.vocabulary.get() {
            Some(vocabulary) => vocabulary,
            None => {
                let made = Vocabulary::new(model.tokenizer()?)?;
                words.vocabulary.get_or_init(|| made)
            }
        };
        Ok(Some(Box::new(Guide::new(vocabulary, kind, text)?)))
    }

    /// The same in a build that has no grammars.
    #[cfg(not(feature = "grammar"))]
    pub fn restriction(&self, _: &Model, _: &Words) -> Result<Option<Restriction>, Cause> {
        match self {
            Self::Text => Ok(None),
            _ => Err(Cause::NoGrammar),
        }
    }
}
