//! JSON to a value.

use super::limits::MAX_NESTING;
use super::value::{Kind, Value};

/// The value of a JSON text; nothing where it is none, or nested too deeply.
pub(super) fn json(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Whether the text goes on with `word`, which is then read.
    fn take(&mut self, word: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(word);
        self.at += if there { word.len() } else { 0 };
        there
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth >= MAX_NESTING {
            return None;
        }
        self.space();
        match self.rest().bytes().next()? {
            b'{' => self.map(depth),
            b'[' => self.list(depth),
            b'"' => Some(self.string()?.as_str().into()),
            b't' => self.take("true").then(|| true.into()),
            b'f' => self.take("false").then(|| false.into()),
            b'n' => self.take("null").then(Value::default),
            _ => self.number(),
        }
    }

    fn map(&mut self, depth: usize) -> Option<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        self.take("{");
        while !self.take("}") {
            if !pairs.is_empty() && !self.take(",") {
                return None;
            }
            self.space();
            let key = self.string()?;
            if !self.take(":") {
                return None;
            }
            pairs.push((key.as_str().into(), self.value(depth + 1)?));
        }
        Value::map(pairs)
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.take("[");
        while !self.take("]") {
            if !items.is_empty() && !self.take(",") {
                return None;
            }
            items.push(self.value(depth + 1)?);
        }
        Some(items.into())
    }

    fn string(&mut self) -> Option<String> {
        let inner = self.rest().strip_prefix('"')?;
        let mut escaped = false;
        let end = inner.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        self.at += end + 2;
        crate::reply::decoded(&inner[..end])
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')));
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
        // What Rust reads and JSON has not.
        let plain = digits.starts_with(|c: char| c.is_ascii_digit())
            && (whole.len() == 1 || !whole.starts_with('0'))
            && !digits.ends_with('.');
        if !plain {
            return None;
        }
        match text.parse::<i128>() {
            Ok(n) => Some(Value(Kind::Int(n))),
            Err(_) => text.parse::<f64>().ok().map(Value::from),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn json_is_read() {
        for text in [
            "{}",
            r#"{"a": [1, -2.5, 1e3, true, false, null, "x\u00e4\n"], "b": {"c": []}}"#,
            "\"\"",
            "0",
        ] {
            let known: Value = serde_json::from_str(text).unwrap();
            let found = json(&format!(" {text}\n")).unwrap();
            assert_eq!(format!("{found:?}"), format!("{known:?}"));
        }
        for wrong in [
            "", "{", "[1 2]", "{a: 1}", "[1,]", "{,}", "{\"a\"}", "01", "1.", "+1", "nan", "\"a",
            "1 1", "\"\\x\"",
        ] {
            assert!(json(wrong).is_none(), "{wrong}");
        }
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(json(&deep(MAX_NESTING)).is_some() && json(&deep(MAX_NESTING + 1)).is_none());
    }
}
