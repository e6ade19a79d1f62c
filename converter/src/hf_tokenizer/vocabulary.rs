//! Tokens, merges, added tokens.

use super::error::HfTokenizerError;
use super::json::{Document, Node};
use super::structure::Structure;
use carat::text::{MAX_TOKENS, Model, TokenType, TokenizerData};
use std::collections::HashMap;

/// Most merges: their indices are exact as f32 scores.
const MAX_MERGES: usize = 1 << 22;
/// The SentencePiece mark of a space.
const MARK: char = '\u{2581}';

/// Fills tokens, types, scores or merges, and the strip lists.
pub(super) fn fill(
    data: &mut TokenizerData,
    root: &Node<'_>,
    model: &Node<'_>,
    structure: &Structure,
    config: Option<&Document>,
) -> Result<(), HfTokenizerError> {
    let mut tokens = Tokens::default();
    for (text, id) in model.object("vocab")?.entries()? {
        tokens.put(root, id.number(MAX_TOKENS - 1)?, text)?;
    }
    let mut types = HashMap::new();
    if let Some(added) = root.get("added_tokens")? {
        for token in added.elements()? {
            let id = token.required("id")?.number(MAX_TOKENS - 1)?;
            tokens.put(root, id, token.required("content")?.str()?)?;
            if token.flag("single_word", false)? {
                return Err(token.wrong("a token without single_word, which is not supported"));
            }
            if token.flag("lstrip", false)? {
                data.strip_left.push(id);
            }
            if token.flag("rstrip", false)? {
                data.strip_right.push(id);
            }
            let special = token.flag("special", false)?;
            types.insert(
                id,
                if special {
                    TokenType::Control
                } else {
                    TokenType::UserDefined
                },
            );
        }
    }
    let rows = match config {
        Some(config) => rows(config, tokens.texts.len())?,
        None => tokens.texts.len(),
    };
    tokens.texts.resize(rows, None);
    let merges = merges(model)?;
    let mut made: HashMap<String, u32> = HashMap::with_capacity(merges.len());
    for ((left, right), rank) in merges.iter().zip(0u32..) {
        made.entry([*left, *right].concat()).or_insert(rank);
    }
    for (id, text) in (0u32..).zip(tokens.texts) {
        let Some(text) = text else {
            data.tokens.push(format!("[PAD{id}]"));
            data.token_types.push(TokenType::Unused as i32);
            data.scores.push(0.0);
            continue;
        };
        let ty = match types.get(&id) {
            Some(ty) => *ty,
            None if structure.model == Model::Llama => piece_type(&text, &made),
            None => TokenType::Normal,
        };
        // SentencePiece merges the pair with the highest score first.
        data.scores
            .push(made.get(&text).map_or(0.0, |rank| -(*rank as f32)));
        data.tokens.push(text);
        data.token_types.push(ty as i32);
    }
    match structure.model {
        Model::Llama => check_pieces(data, root, structure),
        Model::Gpt2 | Model::Bert => {
            data.scores.clear();
            data.merges = merges.iter().map(|(l, r)| format!("{l} {r}")).collect();
            Ok(())
        }
    }
}

/// Tokens by id.
#[derive(Default)]
struct Tokens {
    texts: Vec<Option<String>>,
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
}

/// Rows of the embedding by `config.json`, at least the number of tokens.
fn rows(config: &Document, tokens: usize) -> Result<usize, HfTokenizerError> {
    let root = config.root();
    let node = match root.get("vocab_size")? {
        Some(node) => Some(node),
        // Models of text and images nest what is about text.
        None => root
            .get("text_config")?
            .map(|t| t.get("vocab_size"))
            .transpose()?
            .flatten(),
    };
    let Some(node) = node else { return Ok(tokens) };
    let rows = node.number(MAX_TOKENS)? as usize;
    if rows < tokens {
        return Err(node.wrong(format!("at least {tokens}, the number of tokens")));
    }
    Ok(rows)
}

/// Left and right of every merge.
fn merges<'a>(model: &Node<'a>) -> Result<Vec<(&'a str, &'a str)>, HfTokenizerError> {
    let list = model.required("merges")?;
    let merges = list.elements()?;
    if merges.len() > MAX_MERGES {
        return Err(list.wrong(format!("at most {MAX_MERGES} merges")));
    }
    merges
        .iter()
        .map(|merge| {
            let expected = || merge.wrong("two tokens: \"left right\" or [\"left\", \"right\"]");
            if !merge.is_array() {
                return merge.str()?.split_once(' ').ok_or_else(expected);
            }
            match merge.elements()?.as_slice() {
                [left, right] => Ok((left.str()?, right.str()?)),
                _ => Err(expected()),
            }
        })
        .collect()
}

/// The type of a SentencePiece token that is not an added one.
fn piece_type(text: &str, made: &HashMap<String, u32>) -> TokenType {
    if is_byte(text) {
        TokenType::Byte
    } else if text.chars().nth(1).is_some() && !made.contains_key(text) {
        // No merge makes it: scores would, wherever two tokens put together spell it.
        TokenType::Unused
    } else {
        TokenType::Normal
    }
}

fn is_byte(text: &str) -> bool {
    let hex = text.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|h| {
        h.len() == 2
            && h.bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
    })
}

fn check_pieces(
    data: &TokenizerData,
    root: &Node<'_>,
    structure: &Structure,
) -> Result<(), HfTokenizerError> {
    let known: std::collections::HashSet<&str> = data.tokens.iter().map(String::as_str).collect();
    for byte in 0..=255u8 {
        let text = format!("<0x{byte:02X}>");
        if !known.contains(text.as_str()) {
            return Err(HfTokenizerError::NoByteToken {
                file: root.file(),
                text,
            });
        }
    }
    let across = |(token, ty): &(&String, &i32)| {
        **ty == TokenType::Normal as i32 && token.chars().skip(1).any(|c| c == MARK)
    };
    match data.tokens.iter().zip(&data.token_types).find(across) {
        Some((token, _)) if structure.splits_words => Err(HfTokenizerError::Structure {
            file: root.file(),
            part: "pre_tokenizer Metaspace that splits, beside the token",
            found: format!("{token:?}"),
            known: "a vocabulary without marks inside tokens, or \"split\": false",
        }),
        _ => Ok(()),
    }
}
