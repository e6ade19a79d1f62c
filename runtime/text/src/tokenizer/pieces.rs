//! The bytes each token stands for.

use super::data::{Model, TokenType, TokenizerData};

/// The SentencePiece mark of a space.
const SPACE_MARK: char = '\u{2581}';

/// The byte spelled by a byte token's text, `<0x00>` to `<0xFF>`.
pub(super) fn byte_of_spelling(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let two_digits = hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if two_digits {
        u8::from_str_radix(hex, 16).ok()
    } else {
        None
    }
}

/// The byte that a character of a byte-level token stands for: printable Latin-1 characters stand for
/// themselves, the other 68 bytes in order for U+0100 and on (GPT-2's `bytes_to_unicode`).
pub(super) fn byte_of_char(c: char) -> Option<u8> {
    let code = u32::from(c);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The character that stands for a byte: see [`byte_of_char`].
pub(super) fn char_of_byte(byte: u8) -> char {
    let code = u32::from(byte);
    let code = match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
        0..=0x20 => code + 0x100,
        0x7F..=0xA0 => code - 0x7F + 0x121,
        0xAD => 0x143,
    };
    char::from_u32(code).unwrap_or_default()
}

/// Bytes of all tokens in one buffer.
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// End of each token's bytes; it begins where the one before ends.
    ends: Vec<usize>,
    /// Tokens that are not part of a text.
    hidden: Vec<bool>,
}

impl Pieces {
    pub(super) fn new(data: &TokenizerData, special: &[bool]) -> Self {
        let hashes = data.model == Model::Bert && data.tokens.iter().any(|t| t.starts_with("##"));
        let mut out = Self {
            bytes: Vec::with_capacity(data.tokens.iter().map(String::len).sum()),
            ends: Vec::with_capacity(data.tokens.len()),
            hidden: Vec::with_capacity(data.tokens.len()),
        };
        for (id, token) in data.tokens.iter().enumerate() {
            let ty = data.token_type(id);
            let hidden = special[id] || matches!(ty, TokenType::Unknown | TokenType::Unused);
            if !hidden && ty == TokenType::UserDefined && data.model.marks_spaces() {
                // Merges of spaces make such a token too.
                out.push_marked(token);
            } else if hidden || ty == TokenType::UserDefined {
                out.bytes.extend_from_slice(token.as_bytes());
            } else {
                out.push_text(data.model, ty, token, hashes);
            }
            out.ends.push(out.bytes.len());
            out.hidden.push(hidden);
        }
        out
    }

    fn push_text(&mut self, model: Model, ty: TokenType, token: &str, hashes: bool) {
        match model {
            Model::Gpt2 => {
                let start = self.bytes.len();
                for c in token.chars() {
                    let Some(byte) = byte_of_char(c) else {
                        // Not in the alphabet of bytes: the text is meant literally.
                        self.bytes.truncate(start);
                        self.bytes.extend_from_slice(token.as_bytes());
                        return;
                    };
                    self.bytes.push(byte);
                }
            }
            Model::Llama | Model::Gemma4 => match byte_of_spelling(token) {
                Some(byte) if matches!(ty, TokenType::Byte | TokenType::Undefined) => {
                    self.bytes.push(byte)
                }
                _ => self.push_marked(token),
            },
            Model::Bert if hashes => match token.strip_prefix("##") {
                Some(rest) => self.bytes.extend_from_slice(rest.as_bytes()),
                None => {
                    self.bytes.push(b' ');
                    self.bytes.extend_from_slice(token.as_bytes());
                }
            },
            Model::Bert => self.push_marked(token),
        }
    }

    fn push_marked(&mut self, token: &str) {
        let mut utf8 = [0u8; 4];
        for c in token.chars() {
            let c = if c == SPACE_MARK { ' ' } else { c };
            self.bytes
                .extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of a token; empty past the vocabulary, and for hidden tokens unless `special`.
    pub(super) fn get(&self, id: u32, special: bool) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        if self.hidden[id] && !special {
            return &[];
        }
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        assert!((0..=255).all(|b| byte_of_char(char_of_byte(b)) == Some(b)));
    }
}
