//! Added tokens, in whichever file of a directory they are declared. `transformers` adds those of
//! `tokenizer_config.json` to those of `tokenizer.json`, and so do older checkpoints with two further files.

use super::error::HfTokenizerError;
use super::json::{Document, Node};
use carat_text::template::TOKEN_VARIABLES;
use carat_text::tokenizer::MAX_TOKENS;
use std::collections::{HashMap, HashSet};

/// Special tokens that a field lists.
const LISTED: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// A text that is found in others before they are cut into words.
pub(super) struct Added<'a> {
    /// `None` where the vocabulary does not have it: it comes behind all others.
    pub id: Option<u32>,
    pub text: &'a str,
    pub special: bool,
    /// Where it is declared: an object with flags, or the text alone.
    pub node: Node<'a>,
}

impl Added<'_> {
    /// A flag of how the text is found.
    pub fn flag(&self, name: &str) -> Result<bool, HfTokenizerError> {
        match self.node.is_object() {
            true => self.node.flag(name, false),
            false => Ok(false),
        }
    }
}

/// The files beside `tokenizer.json` that may declare some.
pub(super) struct Files<'a> {
    pub settings: Option<&'a Document>,
    /// `special_tokens_map.json` and `added_tokens.json`, which count where the settings list no added tokens.
    pub map: Option<&'a Document>,
    pub texts: Option<&'a Document>,
}

/// All of them, the tokenizer's own first.
pub(super) fn all<'a>(
    root: &Node<'a>,
    vocabulary: &HashMap<&str, u32>,
    files: &Files<'a>,
) -> Result<Vec<Added<'a>>, HfTokenizerError> {
    let mut all = Vec::new();
    for node in match root.get("added_tokens")? {
        Some(added) => added.elements()?,
        None => Vec::new(),
    } {
        all.push(Added {
            id: Some(node.required("id")?.number(MAX_TOKENS - 1)?),
            text: node.required("content")?.str()?,
            special: node.flag("special", false)?,
            node,
        });
    }
    let mut known: HashSet<&str> = all.iter().map(|a| a.text).collect();
    for (text, special, listed, node) in declared(files)? {
        let id = vocabulary.get(text).copied();
        // A single character is one of any text's, whatever stands for padding; and what is only named need not exist.
        if text.chars().nth(1).is_some() && (id.is_some() || listed) && known.insert(text) {
            all.push(Added {
                id,
                text,
                special,
                node,
            });
        }
    }
    Ok(all)
}

/// Text, whether it is special, whether a list has it, where.
type Declared<'a> = (&'a str, bool, bool, Node<'a>);

fn declared<'a>(files: &Files<'a>) -> Result<Vec<Declared<'a>>, HfTokenizerError> {
    let mut out = Vec::new();
    let settings = files.settings.map(Document::root);
    let decoder = match &settings {
        Some(settings) => settings.get("added_tokens_decoder")?,
        None => None,
    };
    if let Some(decoder) = &decoder {
        let mut tokens = Vec::new();
        for (id, node) in decoder.entries()? {
            let Ok(id) = id.parse::<u64>() else {
                return Err(node.wrong("an integer as its name: the id of the token"));
            };
            tokens.push((id, node));
        }
        tokens.sort_by_key(|t| t.0);
        for (_, node) in tokens {
            let text = node.required("content")?.str()?;
            out.push((text, node.flag("special", false)?, true, node));
        }
    }
    let map = files.map.filter(|_| decoder.is_none()).map(Document::root);
    for root in settings.iter().chain(&map) {
        for name in TOKEN_VARIABLES {
            if let Some(node) = root.get(name)? {
                out.push((text_of(&node)?, true, false, node));
            }
        }
        for name in LISTED {
            let Some(list) = root.get(name)? else {
                continue;
            };
            let nodes = match list.is_object() {
                true => list.entries()?.map(|(_, node)| node).collect(),
                false => list.elements()?,
            };
            for node in nodes {
                out.push((text_of(&node)?, true, true, node));
            }
        }
    }
    if let Some(texts) = files.texts.filter(|_| decoder.is_none()) {
        for (text, node) in texts.root().entries()? {
            out.push((text, false, true, node));
        }
    }
    Ok(out)
}

/// A token as a text, or as an object with one.
pub(super) fn text_of<'a>(node: &Node<'a>) -> Result<&'a str, HfTokenizerError> {
    match node.is_object() {
        true => node.required("content")?.str(),
        false => node.str(),
    }
}
