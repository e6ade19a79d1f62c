//! What a pre-tokenizer does to a text, step by step, as plain data.

pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(super) const DIGIT: &str = r"\p{N}";
pub(super) const DIGITS: &str = r"\p{N}+";

/// A step of a pre-tokenizer, done to the pieces that those before it have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Cuts at an expression.
    Cut(Cut),
    /// Writes every byte as the character that stands for it in byte-level tokens.
    Bytes,
    /// Puts a space in front of what begins with none.
    Prefix,
}

/// An expression that cuts, as Oniguruma reads it with Ruby's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The expression.
    pub pattern: String,
    /// What becomes of its matches.
    pub behavior: Behavior,
    /// What does not match takes the part of what does.
    pub invert: bool,
}

/// What becomes of the matches of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// A piece each.
    Isolated,
    /// Nothing.
    Removed,
    /// The end of what is before.
    MergedWithPrevious,
    /// The start of what is behind.
    MergedWithNext,
    /// One piece of all that touch.
    Contiguous,
}

impl Behavior {
    const NAMES: [(Self, &'static str, &'static str); 5] = [
        (Self::Isolated, "isolated", "Isolated"),
        (Self::Removed, "removed", "Removed"),
        (Self::MergedWithPrevious, "previous", "MergedWithPrevious"),
        (Self::MergedWithNext, "next", "MergedWithNext"),
        (Self::Contiguous, "contiguous", "Contiguous"),
    ];

    /// The behavior of a name in tokenizer.json.
    pub fn from_hugging_face(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|n| n.2 == name).map(|n| n.0)
    }
}

impl Step {
    /// A cut that makes a piece of every match.
    pub fn isolate(pattern: &str) -> Self {
        Self::Cut(Cut {
            pattern: pattern.into(),
            behavior: Behavior::Isolated,
            invert: false,
        })
    }

    /// The steps of GPT-2.
    pub fn gpt2() -> Self {
        Self::isolate(GPT2)
    }

    /// A piece for each number character, or for all that touch.
    pub fn digits(each: bool) -> Self {
        Self::isolate(if each { DIGIT } else { DIGITS })
    }

    /// The step as a file has it: `bytes`, `prefix`, or `BEHAVIOR EXPRESSION`, a `!` in front of what is inverted.
    pub fn text(&self) -> String {
        match self {
            Self::Bytes => "bytes".into(),
            Self::Prefix => "prefix".into(),
            Self::Cut(cut) => {
                let of = |n: &&(Behavior, &str, &str)| n.0 == cut.behavior;
                let name = Behavior::NAMES.iter().find(of).map_or("", |n| n.1);
                let invert = if cut.invert { "!" } else { "" };
                format!("{invert}{name} {}", cut.pattern)
            }
        }
    }

    /// The step of a text; `None` if it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "bytes" => return Some(Self::Bytes),
            "prefix" => return Some(Self::Prefix),
            _ => {}
        }
        let (name, pattern) = text.split_once(' ')?;
        let plain = name.strip_prefix('!');
        let named = |n: &&(Behavior, &str, &str)| n.1 == plain.unwrap_or(name);
        Some(Self::Cut(Cut {
            pattern: pattern.into(),
            behavior: Behavior::NAMES.iter().find(named)?.0,
            invert: plain.is_some(),
        }))
    }
}
