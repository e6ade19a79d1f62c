//! Special ids, whether BOS is added, the chat template.

use super::error::HfTokenizerError;
use super::json::{self, Document, Node};
use carat::text::TokenizerData;
use std::path::Path;

/// Fills the ids of BOS, EOS, end of turn, unknown, padding, every id that ends a generation, and
/// whether BOS is added.
pub(super) fn fill(
    data: &mut TokenizerData,
    root: &Node<'_>,
    settings: Option<&Document>,
    generation: Option<&Document>,
    config: Option<&Document>,
) -> Result<(), HfTokenizerError> {
    let settings = settings.map(Document::root);
    // What the tokenizer says by text goes before what the model's configurations say by number.
    let numbers: Vec<Node<'_>> = generation
        .into_iter()
        .chain(config)
        .map(Document::root)
        .collect();
    let id = |name: &str| -> Result<Option<u32>, HfTokenizerError> {
        if let Some(settings) = &settings
            && let Some(id) = named_token(settings, &format!("{name}_token"), data)?
        {
            return Ok(Some(id));
        }
        for node in &numbers {
            if let Some(id) = ids(node, &format!("{name}_token_id"), data)?.first() {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    };
    let (bos, eos, pad, named_unk) = (id("bos")?, id("eos")?, id("pad")?, id("unk")?);
    let model = root.object("model")?;
    let unk = match model.get("unk_token")? {
        Some(text) => token_id(data, text.str()?),
        None => None,
    };
    let eot = data.find_end_of_turn();
    let mut ends: Vec<u32> = eos.into_iter().chain(eot).collect();
    for node in &numbers {
        ends.extend(ids(node, "eos_token_id", data)?);
    }
    ends.sort_unstable();
    ends.dedup();
    let flag = |name: &str| -> Result<Option<bool>, HfTokenizerError> {
        match &settings {
            Some(settings) => settings.get(name)?.map(|f| f.bool()).transpose(),
            None => Ok(None),
        }
    };
    let add_bos = flag("add_bos_token")?;
    let add_eos = flag("add_eos_token")?;
    let template = match root.get("post_processor")? {
        Some(node) => begins_with(&node, 0)?,
        None => None,
    };
    data.add_bos = Some(match (add_bos, template) {
        (Some(flag), _) => flag,
        (None, Some(text)) => bos.is_some() && token_id(data, text) == bos,
        (None, None) => false,
    });
    data.add_eos = add_eos;
    (data.bos, data.eos, data.eot, data.pad) = (bos, eos, eot, pad);
    data.unk = unk.or(named_unk);
    data.eos_ids = ends;
    Ok(())
}

fn token_id(data: &TokenizerData, text: &str) -> Option<u32> {
    data.tokens
        .iter()
        .zip(0u32..)
        .find(|(t, _)| *t == text)
        .map(|(_, id)| id)
}

/// The id of a token that a field spells, as a string or as an object with `content`.
fn named_token(
    settings: &Node<'_>,
    field: &str,
    data: &TokenizerData,
) -> Result<Option<u32>, HfTokenizerError> {
    let Some(node) = settings.get(field)? else {
        return Ok(None);
    };
    let text = if node.is_object() {
        node.required("content")?.str()?
    } else {
        node.str()?
    };
    match token_id(data, text) {
        Some(id) => Ok(Some(id)),
        None if text.is_empty() => Ok(None),
        None => Err(HfTokenizerError::NoSuchToken {
            file: settings.file(),
            text: text.into(),
        }),
    }
}

/// The ids of a field that holds one or a list; a negative one means none.
fn ids(node: &Node<'_>, field: &str, data: &TokenizerData) -> Result<Vec<u32>, HfTokenizerError> {
    let Some(node) = node.get(field)? else {
        return Ok(Vec::new());
    };
    let list = if node.is_array() {
        node.elements()?
    } else {
        vec![node]
    };
    list.iter()
        .filter(|id| !id.is_negative())
        .map(|id| id.number(data.tokens.len().saturating_sub(1)))
        .collect()
}

/// Nested post-processors that are followed.
const MAX_DEPTH: u32 = 8;

/// The special token that a post-processor puts in front of a single text.
fn begins_with<'a>(node: &Node<'a>, depth: u32) -> Result<Option<&'a str>, HfTokenizerError> {
    match node.kind()? {
        "TemplateProcessing" => {
            let first = match node.get("single")? {
                Some(parts) => parts.elements()?.into_iter().next(),
                None => None,
            };
            match first
                .map(|part| part.get("SpecialToken"))
                .transpose()?
                .flatten()
            {
                Some(special) => special.required("id")?.str().map(Some),
                None => Ok(None),
            }
        }
        "Sequence" if depth < MAX_DEPTH => {
            for part in node.required("processors")?.elements()? {
                if let Some(text) = begins_with(&part, depth + 1)? {
                    return Ok(Some(text));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The text of a special token, as `tokenizer_config.json` spells it; empty if it has none.
pub(super) fn token_text(
    settings: Option<&Document>,
    field: &str,
) -> Result<String, HfTokenizerError> {
    let Some(settings) = settings else {
        return Ok(String::new());
    };
    Ok(match settings.root().get(field)? {
        None => String::new(),
        Some(node) if node.is_object() => node.required("content")?.str()?.to_owned(),
        Some(node) => node.str()?.to_owned(),
    })
}

/// The chat template: `chat_template.jinja`, or the field of `tokenizer_config.json`, of whose several
/// named ones the one named `default`.
pub(super) fn chat_template(
    dir: &Path,
    settings: Option<&Document>,
) -> Result<Option<String>, HfTokenizerError> {
    if let Some(text) = json::read(&dir.join("chat_template.jinja"))? {
        return Ok(Some(text));
    }
    let Some(settings) = settings else {
        return Ok(None);
    };
    let Some(node) = settings.root().get("chat_template")? else {
        return Ok(None);
    };
    if !node.is_array() {
        return Ok(Some(node.str()?.to_owned()));
    }
    for template in node.elements()? {
        if template.required("name")?.str()? == "default" {
            return Ok(Some(template.required("template")?.str()?.to_owned()));
        }
    }
    Ok(None)
}
