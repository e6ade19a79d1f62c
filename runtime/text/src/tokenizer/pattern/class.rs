//! Classes of characters.

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_script::{Script, UnicodeScript};

/// A class of characters.
#[derive(Clone, Default)]
pub(super) struct Class {
    /// The ASCII characters in it, a bit each.
    pub(super) ascii: u128,
    /// General categories, a bit each.
    pub(super) categories: u32,
    pub(super) white_space: bool,
    pub(super) ranges: Vec<(char, char)>,
    pub(super) scripts: Vec<Script>,
    /// Classes that are parts of this one.
    pub(super) parts: Vec<Class>,
    /// What is in this one must be in all of these.
    pub(super) within: Vec<Class>,
    pub(super) negated: bool,
}

impl Class {
    pub(super) fn one(c: char) -> Self {
        Self {
            ranges: vec![(c, c)],
            ..Self::default()
        }
    }

    /// Takes in what differs in case alone; `None` where that is more than letters of ASCII and what folds to them.
    pub(super) fn ignore_case(&mut self) -> Option<()> {
        if self.parts.iter().any(|p| !p.ranges.is_empty()) {
            return None;
        }
        for (first, last) in self.ranges.clone() {
            if first != last && !(first.is_ascii() && last.is_ascii())
                || !first.is_ascii() && first.is_alphabetic()
            {
                return None;
            }
            for c in (first..=last).filter(char::is_ascii_alphabetic) {
                let (lower, upper) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
                self.ranges.extend([(lower, lower), (upper, upper)]);
                self.ranges.extend(match lower {
                    's' => Some(('\u{17f}', '\u{17f}')),
                    'k' => Some(('\u{212a}', '\u{212a}')),
                    _ => None,
                });
            }
        }
        Some(())
    }

    /// Fills in what is looked up most.
    pub(super) fn finish(mut self) -> Self {
        self.ascii = (0..128u8).fold(0, |bits, c| {
            bits | u128::from(self.find(char::from(c))) << c
        });
        self
    }

    fn find(&self, c: char) -> bool {
        let category = || 1u32 << get_general_category(c) as u32;
        let inside = self.white_space && c.is_whitespace()
            || self.ranges.iter().any(|r| (r.0..=r.1).contains(&c))
            || self.categories != 0 && self.categories & category() != 0
            || self.scripts.iter().any(|s| c.script() == *s)
            || self.parts.iter().any(|p| p.find(c));
        (inside && self.within.iter().all(|w| w.find(c))) != self.negated
    }

    pub(super) fn has(&self, c: char) -> bool {
        if c.is_ascii() {
            self.ascii >> u32::from(c) & 1 == 1
        } else {
            self.find(c)
        }
    }

    /// Takes in `\p{name}`: a general category, its first letter, or a script.
    pub(super) fn property(&mut self, name: &str) -> Option<()> {
        match categories(name) {
            Some(bits) => self.categories |= bits,
            None => self.scripts.push(Script::from_full_name(name)?),
        }
        Some(())
    }
}

/// Whether a character is a part of words: `\w`.
pub(super) fn in_word(c: char) -> bool {
    let words = WORD.iter().filter_map(|name| categories(name));
    words.fold(0, |all, bits| all | bits) & 1 << get_general_category(c) as u32 != 0
}

/// The categories of `\w`.
pub(super) const WORD: [&str; 4] = ["L", "M", "N", "Pc"];

/// The general categories that `\p{name}` stands for.
fn categories(name: &str) -> Option<u32> {
    use GeneralCategory::*;
    const ALL: [(&str, GeneralCategory); 29] = [
        ("Lu", UppercaseLetter),
        ("Ll", LowercaseLetter),
        ("Lt", TitlecaseLetter),
        ("Lm", ModifierLetter),
        ("Lo", OtherLetter),
        ("Mn", NonspacingMark),
        ("Mc", SpacingMark),
        ("Me", EnclosingMark),
        ("Nd", DecimalNumber),
        ("Nl", LetterNumber),
        ("No", OtherNumber),
        ("Pc", ConnectorPunctuation),
        ("Pd", DashPunctuation),
        ("Ps", OpenPunctuation),
        ("Pe", ClosePunctuation),
        ("Pi", InitialPunctuation),
        ("Pf", FinalPunctuation),
        ("Po", OtherPunctuation),
        ("Sm", MathSymbol),
        ("Sc", CurrencySymbol),
        ("Sk", ModifierSymbol),
        ("So", OtherSymbol),
        ("Zs", SpaceSeparator),
        ("Zl", LineSeparator),
        ("Zp", ParagraphSeparator),
        ("Cc", Control),
        ("Cf", Format),
        ("Co", PrivateUse),
        ("Cs", Surrogate),
    ];
    let of = |(_, category): &(&str, GeneralCategory)| 1u32 << *category as u32;
    let wanted = ALL
        .iter()
        .filter(|c| c.0 == name || name.len() == 1 && c.0.starts_with(name));
    let bits = wanted.map(of).fold(0, |all, bit| all | bit);
    // What has no category is a part of C.
    let rest = match name {
        "C" | "Cn" => 1 << Unassigned as u32,
        _ => 0,
    };
    Some(bits | rest).filter(|bits| *bits != 0)
}
