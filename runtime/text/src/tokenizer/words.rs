//! The tokens of a model as what restricts a text sees them.

use super::codec::Tokenizer;

/// Begins a word that is a control token's name and no text. No UTF-8 text has this byte.
pub const NAME_MARK: u8 = 0xFF;

/// Longest word in bytes; longer tokens have none.
pub const MAX_WORD: usize = 1000;

/// A word for every token, and the tokens that end a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// The words one behind another.
    pub bytes: Vec<u8>,
    /// Bytes of each token's word; 0: it is never to be chosen.
    pub lengths: Vec<u32>,
    /// Tokens that end a text, in ascending order.
    pub ends: Vec<u32>,
}

impl Words {
    /// Each token's word.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |len| {
            let (word, after) = rest.split_at((*len as usize).min(rest.len()));
            rest = after;
            word
        })
    }
}

impl Tokenizer {
    /// Ordinary tokens by their bytes, control tokens by their names behind [`NAME_MARK`]. Tokens longer than [`MAX_WORD`] and
    /// those with that mark in their bytes have no word.
    pub fn words(&self) -> Words {
        let count = u32::try_from(self.vocab_size()).unwrap_or(u32::MAX);
        let mut words = Words::default();
        for id in 0..count {
            let begun = words.bytes.len();
            let text = self.decode_bytes(id, false);
            let name = self.decode_bytes(id, true);
            let (marked, word) = if text.is_empty() {
                (!name.is_empty(), name)
            } else {
                (false, text)
            };
            if !word.contains(&NAME_MARK) && word.len() + usize::from(marked) <= MAX_WORD {
                words.bytes.extend(marked.then_some(NAME_MARK));
                words.bytes.extend_from_slice(word);
            }
            words.lengths.push((words.bytes.len() - begun) as u32);
        }
        words.ends = self.ends().filter(|id| *id < count).collect();
        words.ends.sort_unstable();
        words
    }
}
