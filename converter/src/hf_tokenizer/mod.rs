//! The tokenizer of a Hugging Face directory as [`TokenizerData`].
//!
//! `tokenizer.json` describes a pipeline of parts. It is mapped, by comparing those parts with known
//! structures, to one of the pre-tokenizers that the engine has; anything else is refused by name, since
//! a pipeline that is only nearly the same gives other tokens without anyone noticing.

mod error;
mod json;
mod special;
mod structure;
mod vocabulary;

pub use error::HfTokenizerError;

use carat::text::{Model, Tokenizer, TokenizerData};
use carat_format::keys;
use carat_gguf::OwnedValue;
use json::Document;
use std::path::Path;

/// A tokenizer with what else a file stores about text.
#[derive(Clone, Debug)]
pub struct HfTokenizer {
    /// Vocabulary, merges, special ids: builds a [`Tokenizer`].
    pub data: TokenizerData,
    /// The whole text of `tokenizer.json`.
    pub json: String,
    /// The chat template, Jinja.
    pub chat_template: Option<String>,
}

/// The chat template of a directory, whose tokenizer need not be one that is known.
#[derive(Clone, Debug)]
pub struct HfTemplate {
    /// Jinja.
    pub template: String,
    /// Text of the token that begins a text; empty if there is none.
    pub bos: String,
    /// Text of the token that ends a text; empty if there is none.
    pub eos: String,
}

impl HfTemplate {
    /// Reads `chat_template.jinja`, or the field of `tokenizer_config.json`; of several named templates the
    /// one named `default`. `None` if the directory has none.
    ///
    /// # Errors
    /// A file that cannot be read, is not JSON, or has a field of another type.
    pub fn load(dir: &Path) -> Result<Option<Self>, HfTokenizerError> {
        let settings = Document::optional(dir, "tokenizer_config.json")?;
        let settings = settings.as_ref();
        let Some(template) = special::chat_template(dir, settings)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            template,
            bos: special::token_text(settings, "bos_token")?,
            eos: special::token_text(settings, "eos_token")?,
        }))
    }
}

impl HfTokenizer {
    /// Reads `tokenizer.json` and, where they exist, `tokenizer_config.json`, `generation_config.json`,
    /// `config.json` and `chat_template.jinja` of a directory. Embedding rows without a token, up to
    /// `vocab_size` of `config.json`, become unused tokens `[PAD{id}]`.
    ///
    /// # Errors
    /// A file that cannot be read, is not JSON, or has a field of another type, range or meaning; a
    /// pipeline that is not known. Every error names the file.
    pub fn load(dir: &Path) -> Result<Self, HfTokenizerError> {
        let (json, tokenizer) = Document::required(dir, "tokenizer.json")?;
        let settings = Document::optional(dir, "tokenizer_config.json")?;
        let generation = Document::optional(dir, "generation_config.json")?;
        let config = Document::optional(dir, "config.json")?;

        let root = tokenizer.root();
        let model = root.object("model")?;
        let structure = structure::classify(&root, &model)?;
        let mut data = TokenizerData::new(structure.model, Vec::new());
        data.pre = structure.pre.into();
        data.nfc = structure.nfc;
        data.space_prefix = structure.space_prefix;
        if structure.model == Model::Gpt2 {
            data.ignore_merges = Some(structure.ignore_merges);
        }
        vocabulary::fill(&mut data, &root, &model, &structure, config.as_ref())?;
        special::fill(
            &mut data,
            &root,
            settings.as_ref(),
            generation.as_ref(),
            config.as_ref(),
        )?;
        // Whoever opens the file builds this: a fault shows now.
        Tokenizer::new(&data).map_err(|error| HfTokenizerError::Definition {
            file: tokenizer.file().into(),
            error,
        })?;
        let chat_template = special::chat_template(dir, settings.as_ref())?;
        Ok(Self {
            data,
            json,
            chat_template,
        })
    }

    /// The metadata of a file: the tokenizer's, the whole `tokenizer.json`, the chat template.
    pub fn to_gguf(&self) -> Vec<(String, OwnedValue)> {
        let mut out = self.data.to_gguf();
        out.push((keys::TOKENIZER_JSON.into(), self.json.as_str().into()));
        if let Some(template) = &self.chat_template {
            out.push((keys::CHAT_TEMPLATE.into(), template.as_str().into()));
        }
        out
    }
}
