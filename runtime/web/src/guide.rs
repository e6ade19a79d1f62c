//! Which tokens a JSON schema or a grammar allows next. The module of the engine has the tokens and takes the masks.

use crate::error::coded;
use carat_text::constraint::Constraint;
use carat_text::grammar::{self, Kind};
use carat_text::tokenizer::Words;
use wasm_bindgen::prelude::*;

/// The tokens of a model, ready for grammars.
#[wasm_bindgen]
pub struct Vocabulary {
    inner: grammar::Vocabulary,
}

#[wasm_bindgen]
impl Vocabulary {
    /// From what the engine's `File.words` gives.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: Vec<u8>, lengths: Vec<u32>, ends: Vec<u32>) -> Result<Vocabulary, JsValue> {
        let words = Words {
            bytes,
            lengths,
            ends,
        };
        let inner = grammar::Vocabulary::of_words(&words);
        Ok(Self {
            inner: inner.map_err(|e| coded("parameter", e))?,
        })
    }

    /// A guide at the start of a text that follows a JSON schema, or else a grammar in Lark's syntax.
    pub fn guide(&self, schema: bool, text: &str) -> Result<Guide, JsValue> {
        let kind = if schema { Kind::JsonSchema } else { Kind::Lark };
        let inner = grammar::Guide::new(&self.inner, kind, text);
        Ok(Guide {
            inner: inner.map_err(|e| coded("parameter", e))?,
        })
    }
}

/// A text under a grammar.
#[wasm_bindgen]
pub struct Guide {
    inner: grammar::Guide,
}

#[wasm_bindgen]
impl Guide {
    /// The tokens allowed next, a bit each; none where the text is complete and nothing can follow.
    pub fn mask(&mut self) -> Result<Vec<u32>, JsValue> {
        let mask = self.inner.mask().map_err(|e| coded("parameter", e))?;
        Ok(mask.map_or_else(Vec::new, |m| m.words().to_vec()))
    }

    /// Takes the token that was chosen from the last mask.
    pub fn accept(&mut self, id: u32) -> Result<(), JsValue> {
        self.inner.accept(id).map_err(|e| coded("parameter", e))
    }

    /// Whether the text may end here.
    pub fn complete(&mut self) -> bool {
        self.inner.is_complete()
    }
}
