//! From a source to its tokens, by the rules of jinja2's lexer with `trim_blocks` and `lstrip_blocks`.

use super::error::TemplateError;
use super::limits::{MAX_SOURCE, MAX_TOKENS};

/// A token and its line.
#[derive(Clone, Debug)]
pub(super) struct Token<'s> {
    pub(super) line: usize,
    pub(super) kind: TokenKind<'s>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'s> {
    Data(&'s str),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(&'s str),
    Text(String),
    Int(i128),
    Float(f64),
    Operator(&'static str),
}

const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// White space of Python's regular expressions.
pub(super) fn space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The source with `\n` at the end of each line, and none at its own end.
pub(super) fn normalized(source: &str) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::TooLong {
            found: source.len(),
        });
    }
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    /// The last match ended with a line, or nothing was matched yet.
    line_starts: bool,
    tokens: Vec<Token<'s>>,
}

type Res<T> = Result<T, TemplateError>;

/// The tokens of a normalized source.
pub(super) fn tokens(source: &str) -> Res<Vec<Token<'_>>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        line_starts: true,
        tokens: Vec::new(),
    };
    while lexer.at < source.len() {
        lexer.root()?;
    }
    Ok(lexer.tokens)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn fail<T>(&self, detail: impl Into<String>) -> Res<T> {
        Err(TemplateError::Syntax {
            line: self.line,
            detail: detail.into(),
        })
    }

    fn push(&mut self, kind: TokenKind<'s>) {
        let line = self.line;
        self.tokens.push(Token { line, kind });
    }

    fn advance(&mut self, bytes: usize) -> &'s str {
        let passed = &self.source[self.at..self.at + bytes];
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.at += bytes;
        self.line_starts = passed.ends_with('\n');
        passed
    }

    /// Passes white space.
    fn spaces(&mut self) {
        let rest = self.rest();
        let bytes = rest.len() - rest.trim_start_matches(space).len();
        let before = self.line_starts;
        self.advance(bytes);
        if bytes == 0 {
            self.line_starts = before;
        }
    }

    /// Text up to the next tag, and that tag.
    fn root(&mut self) -> Res<()> {
        let rest = self.rest();
        let mut from = 0;
        let found = loop {
            match rest[from..].find('{') {
                None => break None,
                Some(at) => {
                    let at = from + at;
                    match rest.as_bytes().get(at + 1) {
                        Some(kind @ (b'{' | b'%' | b'#')) => break Some((at, *kind)),
                        _ => from = at + 1,
                    }
                }
            }
        };
        let Some((at, kind)) = found else {
            self.push(TokenKind::Data(rest));
            self.advance(rest.len());
            return Ok(());
        };
        let sign = rest.as_bytes().get(at + 2).copied();
        let text = self.stripped(&rest[..at], sign, kind != b'{');
        if !text.is_empty() {
            self.push(TokenKind::Data(text));
        }
        self.advance(at);
        let signed = usize::from(matches!(sign, Some(b'-' | b'+')));
        match kind {
            b'{' => {
                self.push(TokenKind::PrintBegin);
                self.advance(2 + signed);
                self.tag(false)
            }
            b'#' => {
                self.advance(2 + signed);
                self.comment()
            }
            _ => {
                if let Some(length) = raw_begin(&rest[at + 2 + signed..]) {
                    self.advance(2 + signed + length);
                    return self.raw();
                }
                self.push(TokenKind::BlockBegin);
                self.advance(2 + signed);
                self.tag(true)
            }
        }
    }

    /// Text before a tag as its sign and `lstrip_blocks` leave it.
    fn stripped(&self, text: &'s str, sign: Option<u8>, block: bool) -> &'s str {
        if sign == Some(b'-') {
            return text.trim_end_matches(space);
        }
        if sign == Some(b'+') || !block {
            return text;
        }
        let line = text.rfind('\n').map_or(0, |i| i + 1);
        let alone = (line > 0 || self.line_starts) && text[line..].chars().all(space);
        if alone { &text[..line] } else { text }
    }

    /// What ends a tag: `-%}` with the white space behind it, `+%}`, or `%}` with one line break.
    fn end_of(rest: &str, end: &str) -> Option<usize> {
        if let Some(behind) = rest.strip_prefix('-').and_then(|r| r.strip_prefix(end)) {
            let more = behind.len() - behind.trim_start_matches(space).len();
            return Some(1 + end.len() + more);
        }
        let plus = rest.strip_prefix('+').and_then(|r| r.strip_prefix(end));
        if end != "}}" && plus.is_some() {
            return Some(1 + end.len());
        }
        let behind = rest.strip_prefix(end)?;
        Some(end.len() + usize::from(end != "}}" && behind.starts_with('\n')))
    }

    fn comment(&mut self) -> Res<()> {
        let rest = self.rest();
        // jinja2 takes nothing behind the beginning for an end.
        if rest.is_empty() {
            return Ok(());
        }
        let Some(end) = rest.find("#}") else {
            return self.fail("a comment without its end, '#}'");
        };
        let signed = rest[..end].ends_with(['-', '+']);
        let start = end - usize::from(signed);
        let length = Self::end_of(&rest[start..], "#}").unwrap_or(2);
        self.advance(start + length);
        Ok(())
    }

    fn raw(&mut self) -> Res<()> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let mut from = 0;
        while let Some(at) = rest[from..].find("{%") {
            let at = from + at;
            let tag = &rest[at + 2..];
            let sign = tag.bytes().next();
            let signed = usize::from(matches!(sign, Some(b'-' | b'+')));
            let inner = tag[signed..].trim_start_matches(space);
            if let Some(behind) = inner.strip_prefix("endraw") {
                let behind = behind.trim_start_matches(space);
                if let Some(end) = Self::end_of(behind, "%}") {
                    let text = self.stripped(&rest[..at], sign, true);
                    if !text.is_empty() {
                        self.push(TokenKind::Data(text));
                    }
                    self.advance(rest.len() - behind.len() + end);
                    return Ok(());
                }
            }
            from = at + 2;
        }
        self.fail("'raw' without its end, '{% endraw %}'")
    }

    /// The tokens inside of a tag, and its end.
    fn tag(&mut self, block: bool) -> Res<()> {
        let (end, token) = match block {
            true => ("%}", TokenKind::BlockEnd),
            false => ("}}", TokenKind::PrintEnd),
        };
        let start = self.line;
        let mut open: Vec<&str> = Vec::new();
        let mut count = 0;
        loop {
            self.spaces();
            let rest = self.rest();
            if open.is_empty()
                && let Some(length) = Self::end_of(rest, end)
            {
                self.push(token);
                self.advance(length);
                return Ok(());
            }
            count += 1;
            if count > MAX_TOKENS {
                return Err(TemplateError::Intricate { line: start });
            }
            let Some(first) = rest.chars().next() else {
                return self.fail(format!("a tag without its end, '{end}'"));
            };
            if first.is_ascii_digit() {
                self.number()?;
            } else if first == '_' || first.is_alphanumeric() {
                let length = rest
                    .find(|c: char| c != '_' && !c.is_alphanumeric())
                    .unwrap_or(rest.len());
                if !(first == '_' || first.is_alphabetic()) {
                    return self.fail(format!("'{}' is no name", &rest[..length]));
                }
                self.push(TokenKind::Name(&rest[..length]));
                self.advance(length);
            } else if first == '\'' || first == '"' {
                self.text(first)?;
            } else {
                let Some(operator) = OPERATORS.iter().find(|o| rest.starts_with(**o)) else {
                    return self.fail(format!("an unexpected '{first}'"));
                };
                match *operator {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    close @ (")" | "]" | "}") if open.pop() != Some(close) => {
                        return self.fail(format!("an unexpected '{close}'"));
                    }
                    _ => {}
                }
                self.push(TokenKind::Operator(operator));
                self.advance(operator.len());
            }
        }
    }

    fn number(&mut self) -> Res<()> {
        let rest = self.rest();
        let radix = match rest.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        if radix != 10 {
            let length = 2 + digits(&rest.as_bytes()[2..], radix, true);
            if length > 2 {
                return self.int(&rest[2..length], length, radix);
            }
            return self.fail(format!("'{}' is no number", &rest[..2]));
        }
        let bytes = rest.as_bytes();
        let whole = digits(bytes, 10, false);
        // A number right behind a dot is an index.
        let behind_dot = self.source[..self.at].ends_with('.');
        let mut length = whole;
        if !behind_dot {
            if bytes.get(length) == Some(&b'.') {
                let fraction = digits(&bytes[length + 1..], 10, false);
                if fraction > 0 {
                    length += 1 + fraction;
                }
            }
            if matches!(bytes.get(length), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
                let from = length + 1 + sign;
                let exponent = digits(bytes.get(from..).unwrap_or_default(), 10, false);
                if exponent > 0 {
                    length = from + exponent;
                }
            }
        }
        if length > whole {
            let plain = rest[..length].replace('_', "");
            return match plain.parse() {
                Ok(x) => {
                    self.push(TokenKind::Float(x));
                    self.advance(length);
                    Ok(())
                }
                Err(_) => self.fail(format!("'{plain}' is no number")),
            };
        }
        if bytes[0] == b'0' && rest[..whole].bytes().any(|b| b != b'0' && b != b'_') {
            return self.fail(format!(
                "'{}' is no number: it begins with 0",
                &rest[..whole]
            ));
        }
        self.int(&rest[..whole], whole, 10)
    }

    fn int(&mut self, digits: &str, length: usize, radix: u32) -> Res<()> {
        match i128::from_str_radix(&digits.replace('_', ""), radix) {
            Ok(n) => {
                self.push(TokenKind::Int(n));
                self.advance(length);
                Ok(())
            }
            Err(_) => self.fail("a number of more than 127 bits, which is not supported"),
        }
    }

    fn text(&mut self, quote: char) -> Res<()> {
        let rest = self.rest();
        let mut out = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.push(TokenKind::Text(out));
                self.advance(at + 1);
                return Ok(());
            }
            if c != '\\' {
                out.push(c);
                continue;
            }
            let Some((_, c)) = chars.next() else { break };
            match c {
                '\n' => {}
                '\\' | '\'' | '"' => out.push(c),
                'a' => out.push('\x07'),
                'b' => out.push('\x08'),
                'f' => out.push('\x0c'),
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'v' => out.push('\x0b'),
                'x' | 'u' | 'U' => {
                    let count = match c {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let digits: String = chars.by_ref().take(count).map(|d| d.1).collect();
                    let hex =
                        digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
                    let code = u32::from_str_radix(&digits, 16).ok().filter(|_| hex);
                    match code.and_then(char::from_u32) {
                        Some(c) => out.push(c),
                        None => {
                            return self.fail(format!("'\\{c}{digits}' is no character"));
                        }
                    }
                }
                '0'..='7' => {
                    let mut code = c.to_digit(8).unwrap_or(0);
                    for _ in 0..2 {
                        let next = chars.clone().next().and_then(|d| d.1.to_digit(8));
                        let Some(digit) = next else { break };
                        chars.next();
                        code = code * 8 + digit;
                    }
                    out.extend(char::from_u32(code));
                }
                'N' => return self.fail("'\\N' is not supported; write the character itself"),
                c if c.is_ascii() => out.extend(['\\', c]),
                // Python spells it in ASCII first.
                c => out.push_str(&match u32::from(c) {
                    n @ 0..=0xff => format!("\\x{n:02x}"),
                    n @ 0..=0xffff => format!("\\u{n:04x}"),
                    n => format!("\\U{n:08x}"),
                }),
            }
        }
        self.fail("a text without its closing quote")
    }
}

/// Length of `[-+]?\s*raw\s*-?%}` behind the sign.
fn raw_begin(tag: &str) -> Option<usize> {
    let inner = tag.trim_start_matches(space).strip_prefix("raw")?;
    let inner = inner.trim_start_matches(space);
    let behind = match inner.strip_prefix("-%}") {
        // The line break behind '%}' stays.
        Some(behind) => behind.trim_start_matches(space),
        None => inner.strip_prefix("%}")?,
    };
    Some(tag.len() - behind.len())
}

/// Length of digits, each of which but the first may have one `_` in front; the first where `lead` is set.
fn digits(bytes: &[u8], radix: u32, lead: bool) -> usize {
    let mut at = 0;
    loop {
        let gap = usize::from((at > 0 || lead) && bytes.get(at) == Some(&b'_'));
        match bytes.get(at + gap) {
            Some(b) if char::from(*b).is_digit(radix) => at += gap + 1,
            _ => return at,
        }
    }
}
