//! The expressions by which pre-tokenizers cut a text, matched without an engine for regular expressions.
//!
//! They are alternatives of runs of character classes, which is all that is understood here: characters, `\r`, `\n`, `\s`,
//! `\S`, `\p{X}` of a general category or its first letter, classes of these, `?`, `*`, `+`, `{m,n}`, `$` at the text's end,
//! `(?!…)` of one class, and a group `(?i:…)` of whole alternatives. The first alternative that matches wins; a run takes
//! as much as it can and gives back one character at a time.

use unicode_general_category::{GeneralCategory, get_general_category};

/// One expression.
pub(super) struct Pattern {
    alternatives: Vec<Vec<Item>>,
}

enum Item {
    /// `min` to `max` characters of a class.
    Run { class: Class, min: u32, max: u32 },
    /// No character of the class comes next.
    NotBefore(Class),
    /// The text ends.
    End,
}

/// A class of characters.
#[derive(Clone, Default)]
struct Class {
    /// The ASCII characters in it, a bit each.
    ascii: u128,
    /// General categories, a bit each.
    categories: u32,
    white_space: bool,
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Class {
    fn one(c: char, ignore_case: bool) -> Self {
        let mut class = Self::default();
        class.ranges.push((c, c));
        if ignore_case {
            let (lower, upper) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
            class.ranges.extend([(lower, lower), (upper, upper)]);
        }
        class
    }

    /// Fills in what is looked up most.
    fn finish(mut self) -> Self {
        self.ascii = (0..128u8).fold(0, |bits, c| {
            bits | u128::from(self.find(char::from(c))) << c
        });
        self
    }

    fn find(&self, c: char) -> bool {
        let category = || 1u32 << get_general_category(c) as u32;
        let inside = self.white_space && c.is_whitespace()
            || self.ranges.iter().any(|r| (r.0..=r.1).contains(&c))
            || self.categories != 0 && self.categories & category() != 0;
        inside != self.negated
    }

    fn has(&self, c: char) -> bool {
        if c.is_ascii() {
            self.ascii >> u32::from(c) & 1 == 1
        } else {
            self.find(c)
        }
    }
}

/// The general categories that `\p{name}` stands for.
fn categories(name: &str) -> Option<u32> {
    use GeneralCategory::*;
    let of: &[GeneralCategory] = match name {
        "L" => &[
            LowercaseLetter,
            UppercaseLetter,
            TitlecaseLetter,
            ModifierLetter,
            OtherLetter,
        ],
        "M" => &[NonspacingMark, SpacingMark, EnclosingMark],
        "N" => &[DecimalNumber, LetterNumber, OtherNumber],
        "P" => &[
            ConnectorPunctuation,
            DashPunctuation,
            OpenPunctuation,
            ClosePunctuation,
            InitialPunctuation,
            FinalPunctuation,
            OtherPunctuation,
        ],
        _ => return None,
    };
    Some(of.iter().fold(0, |bits, c| bits | 1 << *c as u32))
}

/// Reads an expression; `None` where something is not understood.
struct Reader<'a> {
    rest: &'a str,
    ignore_case: bool,
}

impl Reader<'_> {
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// What stands behind a backslash, put into a class.
    fn escape(&mut self, class: &mut Class) -> Option<()> {
        match self.next()? {
            's' => class.white_space = true,
            'p' => {
                let name = self.rest.strip_prefix('{')?.split('}').next()?;
                self.rest = &self.rest[name.len() + 2..];
                class.categories |= categories(name)?;
            }
            'r' => class.ranges.push(('\r', '\r')),
            'n' => class.ranges.push(('\n', '\n')),
            c if c.is_ascii_alphanumeric() => return None,
            c => class.ranges.push((c, c)),
        }
        Some(())
    }

    /// A class or a single character.
    fn class(&mut self) -> Option<Class> {
        let mut class = Class::default();
        if self.eat("\\S") {
            class.white_space = true;
            class.negated = true;
        } else if self.eat("\\") {
            self.escape(&mut class)?;
        } else if self.eat("[") {
            class.negated = self.eat("^");
            while !self.eat("]") {
                if self.eat("\\") {
                    self.escape(&mut class)?;
                    continue;
                }
                let first = self.next()?;
                let range = !self.rest.starts_with("-]") && self.eat("-");
                let last = if range { self.next()? } else { first };
                class.ranges.push((first, last));
            }
        } else {
            let c = self.next()?;
            if "()*+?{}|^.".contains(c) {
                return None;
            }
            class = Class::one(c, self.ignore_case);
        }
        Some(class.finish())
    }

    fn count(&mut self) -> Option<(u32, u32)> {
        Some(if self.eat("?") {
            (0, 1)
        } else if self.eat("*") {
            (0, u32::MAX)
        } else if self.eat("+") {
            (1, u32::MAX)
        } else if self.eat("{") {
            let (inside, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            let (min, max) = inside.split_once(',')?;
            (min.parse().ok()?, max.parse().ok()?)
        } else {
            (1, 1)
        })
    }

    fn alternatives(&mut self) -> Option<Vec<Vec<Item>>> {
        let mut all = vec![Vec::new()];
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            if self.eat("|") {
                all.push(Vec::new());
            } else if self.eat("(?i:") {
                // Only where a whole alternative may stand.
                if !all.pop()?.is_empty() {
                    return None;
                }
                self.ignore_case = true;
                all.extend(self.alternatives()?);
                self.ignore_case = false;
                if !self.eat(")") || !(self.rest.is_empty() || self.rest.starts_with('|')) {
                    return None;
                }
            } else {
                let item = self.item()?;
                all.last_mut()?.push(item);
            }
        }
        Some(all)
    }

    fn item(&mut self) -> Option<Item> {
        if self.eat("(?!") {
            let class = self.class()?;
            return self.eat(")").then_some(Item::NotBefore(class));
        }
        if self.eat("$") {
            return Some(Item::End);
        }
        let class = self.class()?;
        let (min, max) = self.count()?;
        Some(Item::Run { class, min, max })
    }
}

impl Pattern {
    /// An expression; `None` if it is not of the kind that is understood.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut reader = Reader {
            rest: text,
            ignore_case: false,
        };
        let alternatives = reader.alternatives()?;
        reader.rest.is_empty().then_some(Self { alternatives })
    }

    /// Where the first match at or behind byte `from` begins and ends. An empty match is none.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        while let Some(c) = text[at..].chars().next() {
            let found = self.alternatives.iter().find_map(|a| end(a, text, at));
            if let Some(end) = found.filter(|end| *end > at) {
                return Some((at, end));
            }
            at += match &self.alternatives[..] {
                // What such a run was tried with, it would be tried with again from within.
                [only] => failed_run(only, &text[at..]),
                _ => 0,
            }
            .max(c.len_utf8());
        }
        None
    }
}

/// Bytes of a run of any length that an alternative begins with.
fn failed_run(items: &[Item], rest: &str) -> usize {
    match items.first() {
        Some(Item::Run {
            class,
            min: 1,
            max: u32::MAX,
        }) => rest.find(|c| !class.has(c)).unwrap_or(rest.len()),
        _ => 0,
    }
}

/// The end of a match of all items from `at` on.
fn end(items: &[Item], text: &str, at: usize) -> Option<usize> {
    let Some((item, rest)) = items.split_first() else {
        return Some(at);
    };
    let (class, min, max) = match item {
        Item::End => return (at == text.len()).then(|| end(rest, text, at))?,
        Item::NotBefore(class) => {
            let next = text[at..].chars().next();
            return (!next.is_some_and(|c| class.has(c))).then(|| end(rest, text, at))?;
        }
        Item::Run { class, min, max } => (class, *min, *max),
    };
    let mut count = 0;
    let mut to = at;
    for c in text[at..].chars() {
        if count == max || !class.has(c) {
            break;
        }
        count += 1;
        to += c.len_utf8();
    }
    loop {
        if count < min {
            return None;
        }
        if let Some(end) = end(rest, text, to) {
            return Some(end);
        }
        to -= text[at..to].chars().next_back()?.len_utf8();
        count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
        let pattern = Pattern::new(pattern).unwrap();
        let mut out = Vec::new();
        let mut from = 0;
        while let Some((start, end)) = pattern.find(text, from) {
            out.push(&text[start..end]);
            from = end;
        }
        out
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "a(b)", "(?:a)", "(?=a)", "a(?i:b)", "(?i:a)b", "\\d", "\\p{Xx}", "[a", "a**", "^a",
            "(?i:a", "a{2}", ".", "a)",
        ] {
            assert!(Pattern::new(text).is_none(), "{text}");
        }
    }

    #[test]
    fn runs_give_back_and_the_first_alternative_wins() {
        assert_eq!(all("a+ab|b", "aaab b"), ["aaab", "b"]);
        assert_eq!(all(r"\s+(?!\S)|\s+", "x   y  "), ["  ", " ", "  "]);
        assert_eq!(all("a|ab", "ab"), ["a"]);
        assert_eq!(all("(?i:'s|'re)|'", "'S'rE'x"), ["'S", "'rE", "'"]);
        assert_eq!(all(r"\s+$", " a  "), ["  "]);
        assert_eq!(all(r"\p{N}{1,3}", "1234५"), ["123", "4५"]);
        assert_eq!(all(r"[^\s\p{L}]+", "a-é– 1"), ["-", "–", "1"]);
        assert_eq!(all("[a-c-]+", "-ad-"), ["-a", "-"]);
        assert_eq!(all("a*", "baa"), ["aa"]);
    }
}
