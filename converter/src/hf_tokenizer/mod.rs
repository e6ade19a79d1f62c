//! The tokenizer of a Hugging Face directory as [`TokenizerData`].
//!
//! `tokenizer.json` describes a pipeline of parts. Each is mapped to a step that the engine has; anything else
//! is refused by name, since a pipeline that is only nearly the same gives other tokens without anyone noticing.

mod added;
mod error;
mod json;
mod special;
mod structure;
mod vocabulary;

pub use error::HfTokenizerError;

use added::Files;
use carat_format::keys;
use carat_gguf::OwnedValue;
use carat_text::template::ChatTemplate;
use carat_text::tokenizer::{Tokenizer, TokenizerData};
use json::Document;
use std::path::Path;

/// A tokenizer with what else a file stores about text.
#[derive(Clone, Debug)]
pub struct HfTokenizer {
    /// Vocabulary, merges, special ids: builds a [`Tokenizer`].
    pub data: TokenizerData,
    /// The whole text of `tokenizer.json`.
    pub json: String,
    /// The chat templates.
    pub chat_template: Option<ChatTemplate>,
    /// What of the tokenizer is left out.
    pub notes: Vec<String>,
}

/// The chat templates of a directory, whose tokenizer need not be one that is known: `chat_template.jinja` and
/// the folder `additional_chat_templates`, or the field of `tokenizer_config.json` or `chat_template.json`.
/// `None` if the directory has none.
///
/// # Errors
/// A file that cannot be read, is not JSON, or has a field of another type.
pub fn chat_template(dir: &Path) -> Result<Option<ChatTemplate>, HfTokenizerError> {
    let settings = Document::optional(dir, "tokenizer_config.json")?;
    special::chat_template(dir, settings.as_ref())
}

impl HfTokenizer {
    /// Reads `tokenizer.json` and, where they exist, `tokenizer_config.json`, `generation_config.json`,
    /// `config.json` and the chat templates of a directory. Embedding rows without a token, up to
    /// `vocab_size` of `config.json`, become unused tokens `[PAD{id}]`; tokens past these rows are left out.
    ///
    /// # Errors
    /// A file that cannot be read, is not JSON, or has a field of another type, range or meaning; a
    /// pipeline that is not known. Every error names the file.
    pub fn load(dir: &Path) -> Result<Self, HfTokenizerError> {
        let (json, tokenizer) = Document::required(dir, "tokenizer.json")?;
        let settings = Document::optional(dir, "tokenizer_config.json")?;
        let generation = Document::optional(dir, "generation_config.json")?;
        let config = Document::optional(dir, "config.json")?;
        let map = Document::optional(dir, "special_tokens_map.json")?;
        let texts = Document::optional(dir, "added_tokens.json")?;

        let root = tokenizer.root();
        let model = root.object("model")?;
        let structure = structure::read(&root, &model)?;
        let mut data = TokenizerData::new(structure.model, Vec::new());
        data.pre = structure.pre.into();
        data.steps.clone_from(&structure.steps);
        data.normalizers.clone_from(&structure.normalizers);
        data.space_prefix = structure.space_prefix;
        data.ignore_merges = Some(structure.ignore_merges);
        let files = Files {
            settings: settings.as_ref(),
            map: map.as_ref(),
            texts: texts.as_ref(),
        };
        let notes = vocabulary::fill(
            &mut data,
            &root,
            &model,
            &structure,
            config.as_ref(),
            &files,
        )?;
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
            notes,
        })
    }

    /// The metadata of a file: the tokenizer's, the whole `tokenizer.json`, the chat template.
    pub fn to_gguf(&self) -> Vec<(String, OwnedValue)> {
        let mut out = self.data.to_gguf();
        out.push((keys::TOKENIZER_JSON.into(), self.json.as_str().into()));
        if let Some(template) = &self.chat_template {
            out.extend(template.to_gguf());
        }
        out
    }
}
