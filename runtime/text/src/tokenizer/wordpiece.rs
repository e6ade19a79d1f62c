//! WordPiece: words are taken apart from the left, the longest token first.

use super::data::TokenizerData;
use super::matcher::Matcher;
use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

/// Characters of a word beyond which it is unknown.
const MAX_WORD: usize = 200;

/// A vocabulary of beginnings of words and of what goes on behind them.
pub(super) struct WordPiece {
    initial: Matcher,
    /// `None`: the vocabulary makes no difference.
    continuation: Option<Matcher>,
    unknown: u32,
    lower_case: bool,
}

impl WordPiece {
    /// `hidden` tokens never come out of a text.
    pub(super) fn new(data: &TokenizerData, hidden: &[bool], unknown: u32) -> Self {
        let visible: Vec<(u32, &str)> = (0u32..)
            .zip(&data.tokens)
            .filter(|t| !hidden[t.0 as usize])
            .map(|(id, t)| (id, t.as_str()))
            .collect();
        let hashes = visible.iter().any(|t| t.1.starts_with("##"));
        // llama.cpp's conversion marks what begins a word instead.
        let marked = !hashes && visible.iter().any(|t| t.1.starts_with('\u{2581}'));
        let (mut initial, mut continuation) = (Vec::new(), Vec::new());
        for (id, token) in visible {
            let whole = token.starts_with('[') && token.ends_with(']');
            let (begins, text) = match (token.strip_prefix("##"), token.strip_prefix('\u{2581}')) {
                (Some(rest), _) if hashes => (false, rest),
                (_, Some(rest)) if marked => (true, rest),
                _ => (!marked || whole, token),
            };
            let list = if begins {
                &mut initial
            } else {
                &mut continuation
            };
            list.push((text.into(), id));
        }
        let has = |text: &str| initial.iter().any(|t: &(Box<str>, u32)| &*t.0 == text);
        let lower_case = has("the") && !has("The");
        let differ = hashes || marked;
        Self {
            lower_case,
            initial: Matcher::new(initial.into_iter()),
            continuation: differ.then(|| Matcher::new(continuation.into_iter())),
            unknown,
        }
    }

    pub(super) fn encode(&self, text: &str, out: &mut Vec<u32>) {
        let text = self.normal(text);
        for word in text.split_whitespace() {
            let mut start = 0;
            for (at, c) in word.char_indices().filter(|(_, c)| is_punctuation(*c)) {
                let end = at + c.len_utf8();
                self.word(&word[start..at], out);
                self.word(&word[at..end], out);
                start = end;
            }
            self.word(&word[start..], out);
        }
    }

    fn word(&self, word: &str, out: &mut Vec<u32>) {
        let begun = out.len();
        let mut rest = word;
        while !rest.is_empty() {
            let matcher = match &self.continuation {
                Some(continuation) if rest.len() < word.len() => continuation,
                _ => &self.initial,
            };
            let found = matcher.at(rest.as_bytes());
            let Some((len, id)) = found.filter(|_| word.chars().nth(MAX_WORD).is_none()) else {
                out.truncate(begun);
                out.push(self.unknown);
                return;
            };
            out.push(id);
            rest = &rest[len..];
        }
    }

    /// A text without control characters, ideographs apart; where the vocabulary has small letters alone, with these and without
    /// accents.
    fn normal(&self, text: &str) -> String {
        use GeneralCategory::{Control, Format, NonspacingMark, PrivateUse, SpaceSeparator};
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            match get_general_category(c) {
                _ if matches!(c, '\t' | '\n' | '\r') => clean.push(' '),
                _ if c == '\u{fffd}' => {}
                _ if is_ideograph(c) => clean.extend([' ', c, ' ']),
                Control | Format | PrivateUse => {}
                SpaceSeparator => clean.push(' '),
                _ => clean.push(c),
            }
        }
        if !self.lower_case {
            return clean;
        }
        let marks = |c: &char| get_general_category(*c) != NonspacingMark;
        clean
            .nfd()
            .filter(marks)
            .flat_map(char::to_lowercase)
            .collect()
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2ceaf}'
        | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

fn is_punctuation(c: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation,
        InitialPunctuation, OpenPunctuation, OtherPunctuation,
    };
    c.is_ascii_punctuation()
        || matches!(
            get_general_category(c),
            ConnectorPunctuation
                | DashPunctuation
                | OpenPunctuation
                | ClosePunctuation
                | InitialPunctuation
                | FinalPunctuation
                | OtherPunctuation
        )
}
