//! Where BPE cuts a text into words, which merges do not cross.

use super::error::TokenizerError;
use super::names;
use super::pattern::Pattern;
use super::pieces::char_of_byte;
use super::step::{Behavior, Step};
use std::borrow::Cow;

/// Whether an expression is of the kind that is understood.
pub fn is_understood(pattern: &str) -> bool {
    Pattern::new(pattern).is_some()
}

/// Cuts texts into words.
pub(super) struct Split {
    passes: Vec<Pass>,
}

enum Pass {
    Cut(Pattern, Behavior, bool),
    Bytes,
    Prefix,
}

impl Split {
    /// The split of a pre-tokenizer: one that has a name, or steps that a file spells out.
    pub(super) fn new(pre: &str, own: &[Step]) -> Result<Self, TokenizerError> {
        let named = names::steps(pre);
        let steps = match &named {
            Some(steps) => steps,
            None if pre == names::OWN_PRE => own,
            None => return Err(TokenizerError::UnknownPre { found: pre.into() }),
        };
        let pass = |step: &Step| match step {
            Step::Bytes => Ok(Pass::Bytes),
            Step::Prefix => Ok(Pass::Prefix),
            Step::Cut(cut) => match Pattern::new(&cut.pattern) {
                Some(pattern) => Ok(Pass::Cut(pattern, cut.behavior, cut.invert)),
                None => Err(TokenizerError::Pattern {
                    text: cut.pattern.clone(),
                }),
            },
        };
        let mut passes: Vec<Pass> = steps.iter().map(pass).collect::<Result<_, _>>()?;
        // Behind the last cut who looks the words up knows their bytes without.
        if matches!(passes.last(), Some(Pass::Bytes)) {
            passes.pop();
        }
        Ok(Self { passes })
    }

    /// Whether words come with a character for each byte.
    pub(super) fn writes_bytes(&self) -> bool {
        self.passes.iter().any(|pass| matches!(pass, Pass::Bytes))
    }

    /// Words of a text in order.
    pub(super) fn words<'t>(&self, text: &'t str) -> Vec<Cow<'t, str>> {
        let mut words = vec![Cow::Borrowed(text)];
        for pass in &self.passes {
            match pass {
                Pass::Cut(pattern, behavior, invert) => {
                    let mut finer = Vec::with_capacity(words.len());
                    for word in words {
                        cut(word, pattern, *behavior, *invert, &mut finer);
                    }
                    words = finer;
                }
                Pass::Bytes => {
                    for word in &mut words {
                        let written = word.bytes().map(char_of_byte);
                        *word = written.collect::<String>().into();
                    }
                }
                Pass::Prefix => {
                    for word in &mut words {
                        if !word.starts_with(' ') {
                            word.to_mut().insert(0, ' ');
                        }
                    }
                }
            }
        }
        words
    }
}

/// Cuts a word.
fn cut<'t>(
    word: Cow<'t, str>,
    pattern: &Pattern,
    behavior: Behavior,
    invert: bool,
    out: &mut Vec<Cow<'t, str>>,
) {
    // Start and end of each piece, and whether it matches.
    let mut pieces: Vec<(usize, usize, bool)> = Vec::new();
    let mut from = 0;
    for (start, end) in pattern.matches(&word) {
        if start > from {
            pieces.push((from, start, invert));
        }
        pieces.push((start, end, !invert));
        from = end;
    }
    if from < word.len() {
        pieces.push((from, word.len(), invert));
    }
    let merged = match behavior {
        Behavior::Isolated | Behavior::Removed => pieces,
        Behavior::Contiguous => merge(pieces, |before, piece| before.2 == piece.2),
        Behavior::MergedWithPrevious => merge(pieces, |before, piece| piece.2 && !before.2),
        Behavior::MergedWithNext => {
            pieces.reverse();
            let mut merged = merge(pieces, |behind, piece| piece.2 && !behind.2);
            merged.reverse();
            merged
        }
    };
    for (start, end, matches) in merged {
        if start == end || matches && behavior == Behavior::Removed {
            continue;
        }
        out.push(match &word {
            Cow::Borrowed(text) => Cow::Borrowed(&text[start..end]),
            Cow::Owned(text) => Cow::Owned(text[start..end].to_owned()),
        });
    }
}

type Piece = (usize, usize, bool);

/// Joins a piece to the one it follows where `joins` says so of the two as they were.
fn merge(pieces: Vec<Piece>, joins: impl Fn(&Piece, &Piece) -> bool) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut before: Option<Piece> = None;
    for piece in pieces {
        match (before.as_ref(), out.last_mut()) {
            (Some(b), Some(last)) if joins(b, &piece) => {
                last.0 = last.0.min(piece.0);
                last.1 = last.1.max(piece.1);
            }
            _ => out.push(piece),
        }
        before = Some(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(steps: &[Step], text: &str) -> Vec<String> {
        let split = Split::new(names::OWN_PRE, steps).unwrap();
        split.words(text).into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn every_known_name_has_a_split_that_keeps_the_text() {
        let text = "It's 12345 naïve\u{301} 汉字 …\r\n \t x🙂  ";
        for pre in names::known_pre() {
            let split = Split::new(pre, &[]).unwrap();
            let words = split.words(text);
            assert!(words.iter().all(|w| !w.is_empty()));
            assert_eq!(words.concat(), text, "{pre}");
            assert!(split.words("").concat().is_empty());
            let steps = names::steps(pre).unwrap();
            let again: Vec<Step> = steps
                .iter()
                .map(|s| Step::from_text(&s.text()).unwrap())
                .collect();
            assert_eq!(again, steps);
            let name = names::pre_of_steps(&steps);
            assert!(name.is_none_or(|n| names::steps(n) == Some(steps)), "{pre}");
        }
        assert!(Split::new("no such", &[]).is_err());
        assert!(Split::new(names::OWN_PRE, &[Step::isolate("(")]).is_err());
    }

    #[test]
    fn matches_are_kept_as_the_step_says() {
        let step = |text: &str| [Step::from_text(text).unwrap()];
        assert_eq!(
            words(&step("isolated -"), "a--b-"),
            ["a", "-", "-", "b", "-"]
        );
        assert_eq!(words(&step("removed -"), "a--b-"), ["a", "b"]);
        assert_eq!(words(&step("!removed -"), "a--b-"), ["-", "-", "-"]);
        assert_eq!(words(&step("previous -"), "-a--b"), ["-", "a-", "-", "b"]);
        assert_eq!(words(&step("next -"), "a--b-"), ["a", "-", "-b", "-"]);
        assert_eq!(words(&step("contiguous -"), "a--b-"), ["a", "--", "b", "-"]);
        assert_eq!(
            words(&step(r"isolated (?=(\d{3})+$)"), "1234567"),
            ["1", "234", "567"]
        );
        assert_eq!(
            words(
                &[Step::Prefix, Step::Bytes, step("isolated Ġ")[0].clone()],
                "a é"
            ),
            ["Ġ", "a", "Ġ", "Ã©"]
        );
        assert_eq!(
            words(&[Step::digits(true), Step::Prefix], "a1"),
            [" a", " 1"]
        );
    }
}
