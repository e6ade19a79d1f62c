//! Checks of a tokenizer's definition before anything is built from it.

use super::data::{MAX_TOKEN_BYTES, MAX_TOKENS, Model, TokenType, TokenizerData};
use super::error::TokenizerError;
use super::keys;
use super::pieces::byte_of_spelling;
use std::collections::HashMap;

/// Bound on the sum of squared lengths of tokens: each may be compared with every token that it begins with. Real vocabularies
/// stay below 2^25.
const MAX_WORK: u64 = 1 << 30;

/// Checks everything that a file can get wrong.
pub(super) fn validate(data: &TokenizerData) -> Result<(), TokenizerError> {
    let count = data.tokens.len();
    if count == 0 {
        return Err(TokenizerError::NoTokens);
    }
    if count > MAX_TOKENS {
        return Err(TokenizerError::TooManyTokens { found: count });
    }
    types(data)?;
    tokens(data)?;
    special_ids(data)?;
    match data.model {
        Model::Llama => scores(data),
        Model::Gpt2 | Model::Gemma4 => merges(data),
        Model::Bert if data.unk.is_none() => Err(TokenizerError::NoUnknown),
        Model::Bert => Ok(()),
    }
}

fn types(data: &TokenizerData) -> Result<(), TokenizerError> {
    let types = &data.token_types;
    if !types.is_empty() && types.len() != data.tokens.len() {
        return Err(TokenizerError::Length {
            key: keys::TOKEN_TYPES,
            expected: data.tokens.len(),
            found: types.len(),
        });
    }
    for (id, &raw) in types.iter().enumerate() {
        let ty = TokenType::from_raw(raw).ok_or(TokenizerError::TokenType { id, found: raw })?;
        if ty == TokenType::Byte && byte_of_spelling(&data.tokens[id]).is_none() {
            return Err(TokenizerError::ByteToken {
                id,
                text: data.tokens[id].clone(),
            });
        }
    }
    Ok(())
}

fn tokens(data: &TokenizerData) -> Result<(), TokenizerError> {
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(data.tokens.len());
    let mut work = 0u64;
    for (id, token) in data.tokens.iter().enumerate() {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenizerError::TokenTooLong {
                id,
                found: token.len(),
            });
        }
        work += (token.len() as u64) * (token.len() as u64);
        if token.is_empty() {
            // An empty text token can never be produced and is let be.
            if matches!(
                data.token_type(id),
                TokenType::Control | TokenType::UserDefined
            ) {
                return Err(TokenizerError::EmptySpecialToken { id });
            }
            continue;
        }
        // What no text becomes may be there more than once.
        if data.token_type(id) == TokenType::Unused {
            continue;
        }
        if let Some(first) = first.insert(token, id) {
            return Err(TokenizerError::DuplicateToken {
                text: token.clone(),
                first,
                second: id,
            });
        }
    }
    if work > MAX_WORK {
        return Err(TokenizerError::TokensTooLong {
            found: work,
            max: MAX_WORK,
        });
    }
    Ok(())
}

fn special_ids(data: &TokenizerData) -> Result<(), TokenizerError> {
    let tokens = data.tokens.len();
    let single = [
        (keys::BOS, data.bos),
        (keys::EOS, data.eos),
        (keys::EOT, data.eot),
        (keys::UNKNOWN, data.unk),
        (keys::PADDING, data.pad),
    ];
    let lists = [
        (keys::EOS_IDS, &data.eos_ids),
        (keys::PREFIX, &data.prefix),
        (keys::SUFFIX, &data.suffix),
        (keys::NORMALIZED, &data.normalized),
        (keys::SINGLE_WORD, &data.single_word),
        (keys::STRIP_LEFT, &data.strip_left),
        (keys::STRIP_RIGHT, &data.strip_right),
    ];
    let all = single
        .into_iter()
        .filter_map(|(key, id)| Some((key, id?)))
        .chain(
            lists
                .into_iter()
                .flat_map(|(key, ids)| ids.iter().map(move |&id| (key, id))),
        );
    for (key, found) in all {
        if found as usize >= tokens {
            return Err(TokenizerError::IdOutOfRange { key, found, tokens });
        }
        // These are found in texts as special tokens are, so an empty one would be found everywhere.
        if data.tokens[found as usize].is_empty() {
            return Err(TokenizerError::EmptySpecialToken { id: found as usize });
        }
    }
    Ok(())
}

fn scores(data: &TokenizerData) -> Result<(), TokenizerError> {
    if data.scores.len() != data.tokens.len() {
        return Err(TokenizerError::Length {
            key: keys::SCORES,
            expected: data.tokens.len(),
            found: data.scores.len(),
        });
    }
    match data.scores.iter().position(|s| !s.is_finite()) {
        Some(id) => Err(TokenizerError::Score {
            id,
            found: data.scores[id],
        }),
        None => Ok(()),
    }
}

/// A merge of what is no token is none; files have such.
fn merges(data: &TokenizerData) -> Result<(), TokenizerError> {
    if data.merges.is_empty() {
        return Err(TokenizerError::NoMerges { model: data.model });
    }
    let two = |text: &String| match text.split_once(' ') {
        Some((left, right)) => !left.is_empty() && !right.is_empty() && !right.contains(' '),
        None => false,
    };
    match data.merges.iter().position(|text| !two(text)) {
        Some(index) => Err(TokenizerError::Merge {
            index,
            text: data.merges[index].clone(),
        }),
        None => Ok(()),
    }
}
