//! `tojson` as Hugging Face defines it: Python's `json.dumps(value, ensure_ascii=False)`, no HTML escapes.

use super::machine::{Args, Meter, Res, fail};
use super::value::{Form, Kind, Map, Value};
use super::{lists, python};
use std::cell::Cell;

struct Writer<'a> {
    m: &'a Meter,
    out: String,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
}

/// The filter `tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn tojson(value: &Value, args: Args, m: &Meter) -> Res<Value> {
    let [ascii, indent, separators, sort] = args.bind(
        "tojson",
        ["ensure_ascii", "indent", "separators", "sort_keys"],
    )?;
    let indent = match indent {
        Some(v) if !v.is_none() && !v.is_undefined() => Some(match (v.as_str(), v.as_int()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(n)) => {
                let n = usize::try_from(n.max(0)).unwrap_or(usize::MAX);
                m.pay_text(n)?;
                " ".repeat(n)
            }
            _ => return fail("tojson: indent is a number or a text"),
        }),
        _ => None,
    };
    let pair: Vec<Option<&str>> = separators
        .as_ref()
        .and_then(Value::items)
        .map(|items| items.iter().map(Value::as_str).collect())
        .unwrap_or_default();
    let (item, key) = match pair.as_slice() {
        [Some(item), Some(key)] => (*item, *key),
        _ if indent.is_some() => (",", ": "),
        _ => (", ", ": "),
    };
    m.pay_text(item.len() + key.len())?;
    let mut writer = Writer {
        m,
        out: String::new(),
        indent,
        item: item.into(),
        key: key.into(),
        ascii: ascii.is_some_and(|v| v.truth()),
        sort: sort.is_some_and(|v| v.truth()),
    };
    writer.value(value, 0)?;
    m.text(&writer.out)
}

/// A value as `tojson` writes it; nothing where it is no data.
pub(super) fn plain(value: &Value) -> Option<String> {
    let meter = Meter(Cell::new(u64::MAX));
    let mut writer = Writer {
        m: &meter,
        out: String::new(),
        indent: None,
        item: ", ".into(),
        key: ": ".into(),
        ascii: false,
        sort: false,
    };
    writer.value(value, 0).ok()?;
    Some(writer.out)
}

impl Writer<'_> {
    fn push(&mut self, text: &str) -> Res<()> {
        self.m.pay_text(text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Res<()> {
        match &value.0 {
            Kind::None => self.push("null"),
            Kind::Bool(b) => self.push(if *b { "true" } else { "false" }),
            Kind::Int(n) => self.push(&n.to_string()),
            Kind::Float(x) => self.push(&number(*x)),
            Kind::Text(t) => self.string(&t.text),
            Kind::List(list) if list.form == Form::List || list.form.is_tuple() => {
                self.push("[")?;
                for (i, item) in list.items.iter().enumerate() {
                    self.next(i == 0, depth + 1)?;
                    self.value(item, depth + 1)?;
                }
                self.end(list.items.is_empty(), depth)?;
                self.push("]")
            }
            Kind::Map(map) => self.map(map, depth),
            _ => fail(format!(
                "Object of type {} is not JSON serializable",
                value.kind()
            )),
        }
    }

    fn map(&mut self, map: &Map, depth: usize) -> Res<()> {
        let mut pairs = Vec::new();
        let mut entries: Vec<&(Value, Value)> = map.entries.iter().collect();
        if self.sort {
            let m = self.m;
            entries = lists::sort(entries, &mut |a, b| lists::order(&a.0, &b.0, m))?;
        }
        for (key, item) in entries {
            self.m.pay_text(64 + key.as_str().map_or(0, str::len))?;
            let name = match &key.0 {
                Kind::Text(t) => t.text.to_string(),
                Kind::Bool(b) => if *b { "true" } else { "false" }.into(),
                Kind::None => "null".into(),
                Kind::Int(n) => n.to_string(),
                Kind::Float(x) => number(*x),
                _ => return fail(format!("tojson of a key of the type {}", key.kind())),
            };
            pairs.push((name, item));
        }
        self.push("{")?;
        let empty = pairs.is_empty();
        for (i, (name, item)) in pairs.iter().enumerate() {
            self.next(i == 0, depth + 1)?;
            self.string(name)?;
            self.push(&self.key.clone())?;
            self.value(item, depth + 1)?;
        }
        self.end(empty, depth)?;
        self.push("}")
    }

    /// Before an element.
    fn next(&mut self, first: bool, depth: usize) -> Res<()> {
        if !first {
            self.push(&self.item.clone())?;
        }
        self.line(depth)
    }

    /// After the last element.
    fn end(&mut self, empty: bool, depth: usize) -> Res<()> {
        if empty {
            return Ok(());
        }
        self.line(depth)
    }

    fn line(&mut self, depth: usize) -> Res<()> {
        if let Some(indent) = self.indent.clone() {
            self.push("\n")?;
            for _ in 0..depth {
                self.push(&indent)?;
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Res<()> {
        self.push("\"")?;
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                c if c < ' ' || (self.ascii && c > '~') => "",
                _ => continue,
            };
            self.push(&text[plain..at])?;
            plain = at + c.len_utf8();
            if short.is_empty() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.push(&format!("\\u{unit:04x}"))?;
                }
            } else {
                self.push(short)?;
            }
        }
        self.push(&text[plain..])?;
        self.push("\"")
    }
}

fn number(x: f64) -> String {
    if x.is_nan() {
        "NaN".into()
    } else if x.is_infinite() {
        if x > 0.0 { "Infinity" } else { "-Infinity" }.into()
    } else {
        python::float(x)
    }
}
