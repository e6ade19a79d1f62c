//! Text of a user inside of a template's: it cannot spell a control token.
//!
//! A rendered chat template is tokenized with its control tokens. What a user wrote is marked before it is
//! rendered, with a character that occurs nowhere else: inside of every control token that it spells, and
//! at its ends where a control token could begin or end there. A marked text is cut at control tokens
//! first, and the marks are taken out of the parts between, which no longer become control tokens.

use super::codec::Tokenizer;

/// Characters that a mark is chosen from: the first private-use area, which ordinary text does not use.
const MARKS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{f8ff}';

/// A character that occurs in none of the texts; `None` if they use all of a private-use area.
pub fn free_mark<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<char> {
    MARKS
        .into_iter()
        .find(|mark| !texts.clone().any(|t| t.contains(*mark)))
}

impl Tokenizer {
    /// `text` with marks, such that [`Tokenizer::encode_masked`] finds no control token in it, or partly in
    /// it and partly in what is put before or behind it. White space at the ends stays there, so that it
    /// can still be taken off.
    ///
    /// A program that cuts the text and joins its parts may join what is no longer marked.
    pub fn mask(&self, text: &str, mark: char) -> String {
        let inner =
            text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c));
        let (before, after) = text.split_once(inner).unwrap_or(("", text));
        let mut out = String::with_capacity(text.len());
        out.push_str(before);
        if inner.is_empty() {
            out.push_str(after);
            return out;
        }
        if self.control.iter().any(|t| tail_of(t, inner)) {
            out.push(mark);
        }
        let mut plain = 0;
        let mut from = 0;
        while let Some((start, ..)) = self.controls.find(inner, from) {
            let first = inner[start..].chars().next().map_or(1, char::len_utf8);
            from = start + first;
            out.push_str(&inner[plain..from]);
            out.push(mark);
            plain = from;
        }
        out.push_str(&inner[plain..]);
        if !out.ends_with(mark) && self.control.iter().any(|t| head_of(t, inner)) {
            out.push(mark);
        }
        out.push_str(after);
        out
    }

    /// Tokens of a rendered template whose users' texts are masked. BOS is put in front as for a prompt.
    pub fn encode_masked(&self, text: &str, mark: char) -> Vec<u32> {
        let ids = self.encode_with(text, &self.masked, Some(mark));
        self.with_front(ids)
    }
}

/// Whether a text begins as the rest of a token, which might have begun before it.
fn tail_of(token: &str, text: &str) -> bool {
    token
        .char_indices()
        .skip(1)
        .any(|(at, _)| text.starts_with(&token[at..]))
}

/// Whether a text ends as a token begins.
fn head_of(token: &str, text: &str) -> bool {
    token
        .char_indices()
        .skip(1)
        .any(|(at, _)| text.ends_with(&token[..at]))
}
