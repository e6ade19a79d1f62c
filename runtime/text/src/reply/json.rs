//! JSON that arrives character by character.

/// Most levels of objects and lists in the arguments of a call.
pub const MAX_DEPTH: usize = 128;

/// What a character means to a machine that reads a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It belongs to the part, which goes on.
    More,
    /// It belongs to the part and ends it.
    Last,
    /// It cannot be there.
    Bad,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    /// A value, or the end of an empty list.
    First,
    /// A key, or the end of an empty object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of a list or object.
    Next,
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    Hex {
        key: bool,
        left: u8,
    },
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static str),
}

/// What of a number was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    Power,
}

impl Number {
    fn is_whole(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Power
        )
    }

    fn next(self, c: char) -> Option<Self> {
        use Number::{Exponent, ExponentSign, Fraction, Point, Power, Sign, Whole, Zero};
        match (self, c) {
            (Sign, '0') => Some(Zero),
            (Sign, '1'..='9') | (Whole, '0'..='9') => Some(Whole),
            (Zero | Whole, '.') => Some(Point),
            (Point | Fraction, '0'..='9') => Some(Fraction),
            (Zero | Whole | Fraction, 'e' | 'E') => Some(Exponent),
            (Exponent, '+' | '-') => Some(ExponentSign),
            (Exponent | ExponentSign | Power, '0'..='9') => Some(Power),
            _ => None,
        }
    }
}

/// White space as JSON has it.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Reads one list, object or text of JSON; its last character ends it. White space in front of it is read, too.
///
/// Line breaks and other control characters within a text, which JSON forbids and models write, come out as their escapes.
#[derive(Clone, Debug)]
pub(super) struct Json {
    /// Of each open level whether it is an object.
    levels: Vec<bool>,
    expect: Expect,
}

impl Json {
    pub(super) fn new() -> Self {
        Self {
            levels: Vec::new(),
            expect: Expect::Value,
        }
    }

    /// Reads a character; what is to be passed on of it comes behind `out`.
    pub(super) fn feed(&mut self, c: char, out: &mut String) -> Step {
        // A number ends where something else begins.
        if let Expect::Number(number) = self.expect {
            if let Some(next) = number.next(c) {
                self.expect = Expect::Number(next);
                out.push(c);
                return Step::More;
            }
            if !number.is_whole() {
                return Step::Bad;
            }
            self.expect = Expect::Next;
        }
        if let Expect::Text { .. } = self.expect
            && c < ' '
        {
            push_escaped(c, out);
            return Step::More;
        }
        let step = self.step(c);
        if step != Step::Bad && !(self.levels.is_empty() && is_space(c)) {
            out.push(c);
        }
        step
    }

    fn step(&mut self, c: char) -> Step {
        let top = self.levels.last().copied();
        self.expect = match (self.expect, c) {
            (Expect::Text { key }, '"') if key => Expect::Colon,
            (Expect::Text { .. }, '"') => return self.ended(),
            (Expect::Text { key }, '\\') => Expect::Escape { key },
            (Expect::Text { key }, _) => Expect::Text { key },
            (Expect::Escape { key }, 'u') => Expect::Hex { key, left: 4 },
            (Expect::Escape { key }, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                Expect::Text { key }
            }
            (Expect::Hex { key, left: 1 }, c) if c.is_ascii_hexdigit() => Expect::Text { key },
            (Expect::Hex { key, left }, c) if c.is_ascii_hexdigit() => Expect::Hex {
                key,
                left: left - 1,
            },
            (Expect::Word(rest), c) if rest.starts_with(c) => match &rest[1..] {
                "" => return self.ended(),
                rest => Expect::Word(rest),
            },
            (
                Expect::Value
                | Expect::First
                | Expect::FirstKey
                | Expect::Key
                | Expect::Colon
                | Expect::Next,
                c,
            ) if is_space(c) => self.expect,
            (Expect::FirstKey | Expect::Key, '"') => Expect::Text { key: true },
            (Expect::Colon, ':') => Expect::Value,
            (Expect::FirstKey, '}') | (Expect::First, ']') => return self.close(),
            (Expect::Next, '}') if top == Some(true) => return self.close(),
            (Expect::Next, ']') if top == Some(false) => return self.close(),
            (Expect::Next, ',') if top == Some(true) => Expect::Key,
            (Expect::Next, ',') if top == Some(false) => Expect::Value,
            (Expect::Value | Expect::First, c) => match c {
                '{' | '[' if self.levels.len() < MAX_DEPTH => {
                    self.levels.push(c == '{');
                    if c == '{' {
                        Expect::FirstKey
                    } else {
                        Expect::First
                    }
                }
                '"' => Expect::Text { key: false },
                // Scalars are told from what follows them, so none stands alone.
                _ if top.is_none() => return Step::Bad,
                '-' => Expect::Number(Number::Sign),
                '0' => Expect::Number(Number::Zero),
                '1'..='9' => Expect::Number(Number::Whole),
                't' => Expect::Word("rue"),
                'f' => Expect::Word("alse"),
                'n' => Expect::Word("ull"),
                _ => return Step::Bad,
            },
            _ => return Step::Bad,
        };
        Step::More
    }

    fn close(&mut self) -> Step {
        self.levels.pop();
        self.ended()
    }

    fn ended(&mut self) -> Step {
        self.expect = Expect::Next;
        match self.levels.is_empty() {
            true => Step::Last,
            false => Step::More,
        }
    }
}

/// The text within the quotes of a JSON text, or nothing where an escape is none.
pub(crate) fn decoded(inner: &str) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = hex(&mut chars)?;
                match unit {
                    0xD800..0xDC00 => {
                        let low = match (chars.next()?, chars.next()?) {
                            ('\\', 'u') => hex(&mut chars)?,
                            _ => return None,
                        };
                        let low = low.checked_sub(0xDC00).filter(|l| *l < 0x400)?;
                        char::from_u32(0x10000 + ((unit - 0xD800) << 10) + low)?
                    }
                    _ => char::from_u32(unit)?,
                }
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        });
    }
    Some(out)
}

fn hex(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |n, _| Some(n * 16 + chars.next()?.to_digit(16)?))
}

/// Puts a character of a text as JSON has it within quotes.
pub(super) fn push_escaped(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c < ' ' || c == '\u{7f}' => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let code = c as usize;
            out.push_str("\\u00");
            out.push(char::from(HEX[code >> 4 & 15]));
            out.push(char::from(HEX[code & 15]));
        }
        c => out.push(c),
    }
}

/// A text in JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    text.chars().for_each(|c| push_escaped(c, &mut out));
    out.push('"');
    out
}

/// The JSON value that a whole text is, without white space around it; nothing where it is none.
pub(super) fn value(text: &str) -> Option<String> {
    // In a list, where scalars have an end.
    let mut json = Json::new();
    let mut out = String::new();
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return None;
    }
    json.feed('[', &mut out);
    for c in text.chars() {
        // A second value, or one bracket too many, is no single value.
        let second = json.levels.len() == 1 && c == ',';
        if second || json.feed(c, &mut out) != Step::More {
            return None;
        }
    }
    match json.feed(']', &mut out) {
        Step::Last => Some(out[1..out.len() - 1].to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// The end of the value in bytes, and what comes out; nothing where it is bad or open.
    fn read(text: &str) -> Option<(usize, String)> {
        let (mut json, mut out) = (Json::new(), String::new());
        for (at, c) in text.char_indices() {
            match json.feed(c, &mut out) {
                Step::More => {}
                Step::Last => return Some((at + c.len_utf8(), out)),
                Step::Bad => return None,
            }
        }
        None
    }

    #[test]
    fn objects_end_where_they_end() {
        for whole in [
            "{}",
            "[]",
            r#""a\"b\u00e4\\""#,
            r#"{"a": [1, -0.5e+10, true, false, null, {"b": {}}], "c":"}"}"#,
            "{ \"a\" :\n[ ] }",
        ] {
            assert_eq!(
                read(&format!("{whole}x")),
                Some((whole.len(), whole.into()))
            );
        }
        assert_eq!(read(" \n{} "), Some((4, "{}".into())));
        assert_eq!(read("{\"a\": \"1\n2\"}").unwrap().1, r#"{"a": "1\n2"}"#);
        for wrong in [
            "1",
            "true",
            "{a",
            "{,",
            "{]",
            "[}",
            "[1 2",
            "[01",
            "[1.]",
            "[-]",
            "[+",
            "[.5",
            "[tru]",
            "[1,]",
            "{\"a\" 1",
            "{\"a\":}",
            "{\"a\":1,}",
            "[\"\\x",
            "[\"\\u00g",
            "[1e]",
        ] {
            assert_eq!(read(&format!("{wrong}}}]")), None, "{wrong}");
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(read(&deep(MAX_DEPTH)).is_some() && read(&deep(MAX_DEPTH + 1)).is_none());
    }

    #[test]
    fn single_values() {
        for whole in ["5", "true", "\"a\"", "[1, 2]", "{\"a\": 1}", "-1e3"] {
            assert_eq!(value(&format!(" {whole}\n")).as_deref(), Some(whole));
        }
        for wrong in ["", " ", "1, 2", "1]", "[1", "True", "a", "1 2", "\"a"] {
            assert_eq!(value(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn serde_reads_the_same(text in r#"[\[\]{}:," 0-9a\\u.eE+truefalsn-]{0,30}"#) {
            let text = format!("[{text}");
            if let Some((end, out)) = read(&text) {
                prop_assert_eq!(&text[..end], &out);
                let known = serde_json::from_str::<serde_json::Value>(&out);
                let fine = known.as_ref().map(|_| ()).map_err(|e| e.to_string());
                // Numbers and lone surrogates that serde_json cannot hold are JSON by its grammar.
                let beyond = fine.as_ref().is_err_and(|e| e.contains("range") || e.contains("surrogate") || e.contains("hex"));
                prop_assert!(fine.is_ok() || beyond, "{:?} {}", fine, out);
            } else {
                let mut whole = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
                prop_assert!(whole.next().is_none_or(|v| v.is_err()), "{}", text);
            }
        }

        #[test]
        fn texts_survive(text in any::<String>()) {
            let shown = quoted(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text.clone());
            prop_assert_eq!(decoded(&shown[1..shown.len() - 1]), Some(text.clone()));
            let other = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decoded(&other[1..other.len() - 1]), Some(text));
        }
    }
}
