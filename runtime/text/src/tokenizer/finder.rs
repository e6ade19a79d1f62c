//! Cuts a text at special tokens.

use super::matcher::Matcher;
use std::collections::HashSet;
use unicode_general_category::{GeneralCategory, get_general_category};

/// What is found in a text: first in the text as it is, then in what its parts become by normalization.
pub(super) struct Finder {
    pub(super) literal: Matcher,
    pub(super) normalized: Matcher,
}

/// How single tokens are found.
pub(super) struct Rules {
    pub(super) strip_left: HashSet<u32>,
    pub(super) strip_right: HashSet<u32>,
    pub(super) single_word: HashSet<u32>,
}

/// A part of a text that was cut.
pub(super) enum Part<'t> {
    /// Text that begins at this byte.
    Text(&'t str, usize),
    /// A token.
    Token(u32),
}

impl Rules {
    /// Cuts a text where the matcher finds something. A `mark` inside of a token's text keeps it from being found.
    pub(super) fn cut<'t>(
        &self,
        text: &'t str,
        matcher: &Matcher,
        mark: Option<char>,
        part: &mut dyn FnMut(Part<'t>),
    ) {
        let mut from = 0;
        let mut search = 0;
        while let Some((start, end, id)) = matcher.find(text, search) {
            search = end;
            // A token of one character has no inside: behind it a mark stands for the same.
            let marked = mark.is_some_and(|m| text[end..].starts_with(m))
                && text[start..end].chars().count() == 1;
            if marked || self.single_word.contains(&id) && touches_word(text, start, end) {
                continue;
            }
            let before = text.get(from..start).unwrap_or_default();
            let kept = match self.strip_left.contains(&id) {
                true => before.trim_end(),
                false => before,
            };
            if !kept.is_empty() {
                part(Part::Text(kept, from));
            }
            part(Part::Token(id));
            from = end;
            if self.strip_right.contains(&id) {
                from = text.len() - text[end..].trim_start().len();
            }
        }
        let rest = text.get(from..).unwrap_or_default();
        if !rest.is_empty() {
            part(Part::Text(rest, from));
        }
    }
}

/// Whether a character of a word stands right before or behind a part of a text.
fn touches_word(text: &str, start: usize, end: usize) -> bool {
    let joins = |c: char| in_word(c) || matches!(c, '\u{200c}' | '\u{200d}');
    text[..start].chars().next_back().is_some_and(joins)
        || text[end..].chars().next().is_some_and(joins)
}

/// Whether a character is a part of words, as the Rust crate regex has it, but for what joins others.
fn in_word(c: char) -> bool {
    use GeneralCategory::{
        ConnectorPunctuation, DecimalNumber, EnclosingMark, NonspacingMark, SpacingMark,
    };
    let others = [
        ConnectorPunctuation,
        DecimalNumber,
        EnclosingMark,
        NonspacingMark,
        SpacingMark,
    ];
    c.is_alphabetic() || others.contains(&get_general_category(c))
}
