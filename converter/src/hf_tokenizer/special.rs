//! Special ids, whether BOS is added, the chat template.

use super::added::text_of;
use super::error::HfTokenizerError;
use super::json::{self, Document, Node};
use carat_text::template::{ChatTemplate, DEFAULT, TOKEN_VARIABLES};
use carat_text::tokenizer::TokenizerData;
use std::path::Path;

/// Fills the ids of BOS, EOS, end of turn, unknown, padding, every id that ends a generation, and what stands around a
/// whole text. An id that nothing needs may be anything.
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
    let flag = |name: &str| -> Result<Option<bool>, HfTokenizerError> {
        match &settings {
            Some(settings) => settings.get(name)?.map(|f| f.bool()).transpose(),
            None => Ok(None),
        }
    };
    let (add_bos, add_eos) = (flag("add_bos_token")?, flag("add_eos_token")?);
    let around = match root.get("post_processor")? {
        Some(node) => around(&node, data, 0)?,
        None => Around::default(),
    };
    let id = |name: &str, needed: bool| -> Result<Option<u32>, HfTokenizerError> {
        if let Some(settings) = &settings
            && let Some(id) = named_token(settings, &format!("{name}_token"), data, needed)?
        {
            return Ok(Some(id));
        }
        for node in &numbers {
            if let Some(id) = ids(node, &format!("{name}_token_id"), data, needed)?.first() {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    };
    let bos = id("bos", add_bos == Some(true) || !around.before.is_empty())?;
    let (eos, pad, named_unk) = (id("eos", true)?, id("pad", false)?, id("unk", false)?);
    let model = root.object("model")?;
    let unk = match model.get("unk_token")? {
        Some(text) => token_id(data, text.str()?),
        None => None,
    };
    let eot = data.find_end_of_turn();
    let mut ends: Vec<u32> = eos.into_iter().chain(eot).collect();
    for node in &numbers {
        ends.extend(ids(node, "eos_token_id", data, true)?);
    }
    ends.sort_unstable();
    ends.dedup();
    let Around { mut before, after } = around;
    data.bos = match add_bos {
        None => bos.or(before.first().copied()),
        Some(_) => bos,
    };
    match add_bos {
        Some(add) => data.add_bos = Some(add),
        None => {
            let leads = data.bos.is_some() && before.first() == data.bos.as_ref();
            data.add_bos = Some(leads);
            data.prefix = before.split_off(usize::from(leads));
        }
    }
    data.add_eos = add_eos;
    if add_eos.is_none() {
        match (after.as_slice(), eos) {
            ([one], Some(eos)) if *one == eos => data.add_eos = Some(true),
            _ => data.suffix = after,
        }
    }
    (data.eos, data.eot, data.pad) = (eos, eot, pad);
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
    needed: bool,
) -> Result<Option<u32>, HfTokenizerError> {
    let Some(node) = settings.get(field)? else {
        return Ok(None);
    };
    let text = text_of(&node)?;
    match token_id(data, text) {
        Some(id) => Ok(Some(id)),
        None if text.is_empty() || !needed => Ok(None),
        None => Err(HfTokenizerError::NoSuchToken {
            file: settings.file(),
            text: text.into(),
        }),
    }
}

/// The ids of a field that holds one or a list; a negative one means none, and so does one past the vocabulary that is not
/// needed.
fn ids(
    node: &Node<'_>,
    field: &str,
    data: &TokenizerData,
    needed: bool,
) -> Result<Vec<u32>, HfTokenizerError> {
    let Some(node) = node.get(field)? else {
        return Ok(Vec::new());
    };
    let list = if node.is_array() {
        node.elements()?
    } else {
        vec![node]
    };
    let last = data.tokens.len().saturating_sub(1);
    list.iter()
        .filter(|id| !id.is_negative())
        .filter(|id| needed || id.number(usize::MAX).is_err() || id.number(last).is_ok())
        .map(|id| id.number(last))
        .collect()
}

/// Nested post-processors that are followed.
const MAX_DEPTH: u32 = 8;

/// The special tokens that a post-processor puts around a single text.
#[derive(Default)]
struct Around {
    before: Vec<u32>,
    after: Vec<u32>,
}

fn around(node: &Node<'_>, data: &TokenizerData, depth: u32) -> Result<Around, HfTokenizerError> {
    let last = data.tokens.len().saturating_sub(1);
    let mut all = Around::default();
    match node.kind()? {
        "TemplateProcessing" => {
            let names = node.get("special_tokens")?;
            let mut behind = false;
            let parts = node.get("single")?;
            for part in parts.map_or(Ok(Vec::new()), |parts| parts.elements())? {
                let Some(special) = part.get("SpecialToken")? else {
                    behind = true;
                    continue;
                };
                let name = special.required("id")?;
                let token = match &names {
                    Some(names) => names.get(name.str()?)?,
                    None => None,
                };
                let list = match behind {
                    true => &mut all.after,
                    false => &mut all.before,
                };
                // A name stands for tokens; without its definition it is the text of one.
                match token {
                    Some(token) => {
                        for id in token.required("ids")?.elements()? {
                            list.push(id.number(last)?);
                        }
                    }
                    None => match token_id(data, name.str()?) {
                        Some(id) => list.push(id),
                        None => return Err(name.wrong("a name of special_tokens, or a token")),
                    },
                }
            }
        }
        "BertProcessing" | "RobertaProcessing" => {
            for (name, list) in [("cls", &mut all.before), ("sep", &mut all.after)] {
                // A text and its id.
                if let Some(id) = node.required(name)?.elements()?.get(1) {
                    list.push(id.number(last)?);
                }
            }
        }
        "Sequence" if depth < MAX_DEPTH => {
            for part in node.required("processors")?.elements()? {
                let inner = around(&part, data, depth + 1)?;
                all.before.splice(0..0, inner.before);
                all.after.extend(inner.after);
            }
        }
        _ => {}
    }
    Ok(all)
}

/// Names of the files and the folder with templates.
const TEMPLATE: &str = "chat_template.jinja";
const TEMPLATE_JSON: &str = "chat_template.json";
const MORE_TEMPLATES: &str = "additional_chat_templates";
/// Most templates of a folder.
const MAX_TEMPLATES: usize = 100;

/// The chat templates of a directory, as `transformers` finds them: files, or else the field of
/// `tokenizer_config.json`, or else that of `chat_template.json`.
pub(super) fn chat_template(
    dir: &Path,
    settings: Option<&Document>,
) -> Result<Option<ChatTemplate>, HfTokenizerError> {
    let mut sources = template_files(dir)?;
    if sources.is_empty()
        && let Some(settings) = settings
        && let Some(node) = settings.root().get("chat_template")?
    {
        sources = named_templates(&node)?;
    }
    if sources.is_empty()
        && let Some(file) = Document::optional(dir, TEMPLATE_JSON)?
        && let Some(node) = file.root().get("chat_template")?
    {
        sources = named_templates(&node)?;
    }
    if sources.is_empty() {
        return Ok(None);
    }
    Ok(Some(ChatTemplate {
        sources,
        tokens: token_texts(dir, settings)?,
    }))
}

fn template_files(dir: &Path) -> Result<Vec<(String, String)>, HfTokenizerError> {
    let mut sources = Vec::new();
    if let Some(text) = json::read(&dir.join(TEMPLATE))? {
        sources.push((DEFAULT.to_owned(), text));
    }
    let folder = dir.join(MORE_TEMPLATES);
    let failed = |error| HfTokenizerError::Read {
        file: folder.clone(),
        error,
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(sources),
        Err(e) => return Err(failed(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        let name = file.file_name().and_then(|n| n.to_str());
        if let Some(name) = name.and_then(|n| n.strip_suffix(".jinja")) {
            files.push((name.to_owned(), file));
        }
        if files.len() > MAX_TEMPLATES {
            return Err(HfTokenizerError::Templates {
                file: folder,
                max: MAX_TEMPLATES,
            });
        }
    }
    // The system lists them in any order.
    files.sort();
    for (name, file) in files {
        if let Some(text) = json::read(&file)? {
            sources.retain(|s: &(String, String)| s.0 != name);
            sources.push((name, text));
        }
    }
    Ok(sources)
}

/// One template, a list of named ones, or an object of them.
fn named_templates(node: &Node<'_>) -> Result<Vec<(String, String)>, HfTokenizerError> {
    if !node.is_array() && !node.is_object() {
        return Ok(vec![(DEFAULT.to_owned(), node.str()?.to_owned())]);
    }
    let mut sources = Vec::new();
    let mut add = |name: &str, text: &str| {
        // The last one of a name counts, as in a dict.
        sources.retain(|s: &(String, String)| s.0 != name);
        sources.push((name.to_owned(), text.to_owned()));
    };
    if node.is_object() {
        for (name, template) in node.entries()? {
            add(name, template.str()?);
        }
    } else {
        for template in node.elements()? {
            let name = template.required("name")?.str()?;
            add(name, template.required("template")?.str()?);
        }
    }
    Ok(sources)
}

/// The special tokens that templates see as variables, with `tokenizer_config.json`'s own names of further
/// ones. What is null or empty there is no token, whatever the model's configuration says; what is not there
/// at all an older checkpoint has in `special_tokens_map.json`.
fn token_texts(
    dir: &Path,
    settings: Option<&Document>,
) -> Result<Vec<(String, String)>, HfTokenizerError> {
    let older = match settings {
        Some(s) if s.root().has("added_tokens_decoder")? => None,
        _ => Document::optional(dir, "special_tokens_map.json")?,
    };
    let mut tokens = Vec::new();
    for name in TOKEN_VARIABLES {
        let mut found = None;
        let own = settings.map(Document::root);
        let map = older.as_ref().map(Document::root);
        for root in own.into_iter().chain(map) {
            if root.has(name)? {
                found = root.get(name)?;
                break;
            }
        }
        if let Some(node) = found {
            tokens.push((name.to_owned(), text_of(&node)?.to_owned()));
        }
    }
    if let Some(settings) = settings
        && let Some(more) = settings.root().get("extra_special_tokens")?
        && more.is_object()
    {
        for (name, node) in more.entries()? {
            tokens.retain(|t: &(String, String)| t.0 != name);
            tokens.push((name.to_owned(), text_of(&node)?.to_owned()));
        }
    }
    tokens.retain(|t| !t.1.is_empty());
    Ok(tokens)
}
