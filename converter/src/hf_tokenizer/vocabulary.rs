//! Tokens, merges, added tokens.

use super::added::{self, Added, Files};
use super::error::HfTokenizerError;
use super::json::{Document, Node};
use super::structure::Structure;
use carat_text::tokenizer::{MAX_TOKENS, Model, TokenType, TokenizerData};
use std::collections::{HashMap, HashSet};

/// Most merges.
const MAX_MERGES: usize = 1 << 22;
/// The SentencePiece mark of a space.
const MARK: char = '\u{2581}';

/// Fills tokens, types, merges, and the lists of how tokens are found. Notes say what is left out.
pub(super) fn fill(
    data: &mut TokenizerData,
    root: &Node<'_>,
    model: &Node<'_>,
    structure: &Structure,
    config: Option<&Document>,
    files: &Files<'_>,
) -> Result<Vec<String>, HfTokenizerError> {
    let mut tokens = Tokens::default();
    let mut vocabulary = HashMap::new();
    for (text, id) in model.object("vocab")?.entries()? {
        let id = id.number(MAX_TOKENS - 1)?;
        tokens.put(root, id, text)?;
        vocabulary.insert(text, id);
    }
    let mut added = added::all(root, &vocabulary, files)?;
    for id in added.iter().filter_map(|a| Some((a.id?, a.text))) {
        tokens.put(root, id.0, id.1)?;
    }
    let rows = rows(config, tokens.texts.len())?;
    // Without rows to go by, what has no id has no row.
    added.retain(|a| a.id.is_some() || rows.is_some());
    for added in added.iter_mut().filter(|a| a.id.is_none()) {
        let next = u32::try_from(tokens.texts.len()).ok();
        let next = next.filter(|n| (*n as usize) < MAX_TOKENS);
        let next = next.ok_or_else(|| added.node.wrong("fewer tokens"))?;
        tokens.put(root, next, added.text)?;
        added.id = Some(next);
    }
    let kind = |a: &Added<'_>| match a.special {
        true => TokenType::Control,
        false => TokenType::UserDefined,
    };
    let types: HashMap<u32, TokenType> = added
        .iter()
        .filter_map(|a| Some((a.id?, kind(a))))
        .collect();
    let count = tokens.texts.len();
    let (rows, notes) = match rows {
        Some((rows, node)) if rows < count => {
            let note = tokens.cut(rows, &node, structure)?;
            (rows, vec![note])
        }
        Some((rows, _)) => (rows, Vec::new()),
        None => (count, Vec::new()),
    };
    let merges = merges(model)?;
    tokens.check(&merges)?;
    data.merges = merges
        .iter()
        .filter(|m| m.parts().iter().all(|t| !tokens.dropped.contains(*t)))
        .map(|m| format!("{} {}", m.left, m.right))
        .collect();
    found(data, &added, structure, rows)?;
    tokens.texts.resize(rows, None);
    for (id, text) in (0u32..).zip(tokens.texts) {
        let Some(text) = text else {
            data.tokens.push(format!("[PAD{id}]"));
            data.token_types.push(TokenType::Unused as i32);
            continue;
        };
        let ty = match types.get(&id) {
            Some(ty) => *ty,
            None if structure.model == Model::Gemma4 && is_byte(&text) => TokenType::Byte,
            None => TokenType::Normal,
        };
        data.tokens.push(text);
        data.token_types.push(ty as i32);
    }
    if structure.model == Model::Gemma4 {
        check_bytes(data, root)?;
    }
    Ok(notes)
}

/// How the added tokens with a row are found.
fn found(
    data: &mut TokenizerData,
    added: &[Added<'_>],
    structure: &Structure,
    rows: usize,
) -> Result<(), HfTokenizerError> {
    for token in added {
        let Some(id) = token.id.filter(|id| (*id as usize) < rows) else {
            continue;
        };
        let flags = [
            ("lstrip", &mut data.strip_left),
            ("rstrip", &mut data.strip_right),
            ("single_word", &mut data.single_word),
            ("normalized", &mut data.normalized),
        ];
        for (flag, list) in flags {
            if token.flag(flag)? && !list.contains(&id) {
                list.push(id);
            }
        }
        if structure.marks_late && token.text.contains([' ', MARK]) && data.normalized.contains(&id)
        {
            return Err(token.node.wrong(
                "a token without spaces, or one with \"normalized\": false, beside Metaspace",
            ));
        }
    }
    Ok(())
}

/// Tokens by id.
#[derive(Default)]
struct Tokens {
    texts: Vec<Option<String>>,
    /// Those past the embedding.
    dropped: HashSet<String>,
}

impl Tokens {
    fn put(&mut self, root: &Node<'_>, id: u32, text: &str) -> Result<(), HfTokenizerError> {
        let index = id as usize;
        if index >= self.texts.len() {
            self.texts.resize(index + 1, None);
        }
        match &self.texts[index] {
            Some(other) if other != text => Err(HfTokenizerError::SharedId {
                file: root.file(),
                id,
                text: text.into(),
                other: other.clone(),
            }),
            _ => {
                self.texts[index] = Some(text.into());
                Ok(())
            }
        }
    }

    /// Leaves out what has no row; says so. The tokens of single bytes every text may need.
    fn cut(
        &mut self,
        rows: usize,
        node: &Node<'_>,
        structure: &Structure,
    ) -> Result<String, HfTokenizerError> {
        let count = self.texts.len();
        let past = self.texts.split_off(rows);
        let past: Vec<String> = past.into_iter().flatten().collect();
        let of_byte = |text: &&String| match structure.model {
            Model::Gpt2 => text.chars().nth(1).is_none() && text.chars().all(|c| c < '\u{144}'),
            _ => is_byte(text),
        };
        if let Some(needed) = past.iter().find(of_byte) {
            return Err(node.wrong(format!(
                "at least {count}, the number of tokens: {needed:?} is needed"
            )));
        }
        let first = past.first().map_or("", String::as_str);
        let note = format!(
            "{}: {} tokens lie past the {rows} rows of the embedding and are left out, from {first:?} on; no text becomes them",
            node.file().display(),
            past.len(),
        );
        self.dropped.extend(past);
        Ok(note)
    }

    /// Whether every merge is of tokens.
    fn check(&self, merges: &[Merge<'_>]) -> Result<(), HfTokenizerError> {
        let known: HashSet<&str> = self.texts.iter().flatten().map(String::as_str).collect();
        let is_token = |t: &&str| known.contains(*t) || self.dropped.contains(*t);
        match merges.iter().find(|m| !m.parts().iter().all(is_token)) {
            Some(merge) => Err(merge
                .node
                .wrong("two tokens of the vocabulary that make a third")),
            None => Ok(()),
        }
    }
}

/// Rows of the embedding by `config.json`, and the field that says so.
fn rows(
    config: Option<&Document>,
    tokens: usize,
) -> Result<Option<(usize, Node<'_>)>, HfTokenizerError> {
    let Some(root) = config.map(Document::root) else {
        return Ok(None);
    };
    let node = match root.get("vocab_size")? {
        Some(node) => Some(node),
        // Models of text and images nest what is about text.
        None => root
            .get("text_config")?
            .map(|t| t.get("vocab_size"))
            .transpose()?
            .flatten(),
    };
    let Some(node) = node else { return Ok(None) };
    match node.number(MAX_TOKENS)? as usize {
        0 => Err(node.wrong(format!("at least one row; there are {tokens} tokens"))),
        rows => Ok(Some((rows, node))),
    }
}

/// A merge of two tokens.
struct Merge<'a> {
    left: &'a str,
    right: &'a str,
    union: String,
    node: Node<'a>,
}

impl Merge<'_> {
    fn parts(&self) -> [&str; 3] {
        [self.left, self.right, &self.union]
    }
}

fn merges<'a>(model: &Node<'a>) -> Result<Vec<Merge<'a>>, HfTokenizerError> {
    let list = model.required("merges")?;
    let merges = list.elements()?;
    if merges.len() > MAX_MERGES {
        return Err(list.wrong(format!("at most {MAX_MERGES} merges")));
    }
    let read = |node: Node<'a>| {
        let expected = || node.wrong("two tokens: \"left right\" or [\"left\", \"right\"]");
        let (left, right) = if node.is_array() {
            match node.elements()?.as_slice() {
                [left, right] => (left.str()?, right.str()?),
                _ => return Err(expected()),
            }
        } else {
            node.str()?.split_once(' ').ok_or_else(expected)?
        };
        Ok(Merge {
            left,
            right,
            union: [left, right].concat(),
            node,
        })
    };
    merges.into_iter().map(read).collect()
}

fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|h| {
        h.len() == 2
            && h.bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    })
}

fn check_bytes(data: &TokenizerData, root: &Node<'_>) -> Result<(), HfTokenizerError> {
    let known: HashSet<&str> = data.tokens.iter().map(String::as_str).collect();
    for byte in 0..=255u8 {
        let text = format!("<0x{byte:02X}>");
        if !known.contains(text.as_str()) {
            return Err(HfTokenizerError::NoByteToken {
                file: root.file(),
                text,
            });
        }
    }
    Ok(())
}
