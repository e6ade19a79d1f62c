//! `tojson` as Hugging Face defines it: Python's `json.dumps(value, ensure_ascii=False)`, no HTML escapes.

use super::python;
use super::render::{Fault, MAX_NESTING};
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

struct Writer<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    out: String,
    /// Bytes that are not yet paid for.
    unpaid: usize,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
}

/// The filter `tojson(indent, ensure_ascii, separators, sort_keys)`.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    args: Kwargs,
) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => args.get::<Option<Value>>("indent")?,
    };
    let indent = match indent {
        None => None,
        Some(v) if v.is_none() || v.is_undefined() => None,
        Some(v) => Some(match v.as_str() {
            Some(text) => text.to_owned(),
            None => {
                let n = i64::try_from(v)?.max(0);
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                state.consume_fuel(n as u64 / 64)?;
                " ".repeat(n)
            }
        }),
    };
    let separators = args
        .get::<Option<Vec<String>>>("separators")?
        .unwrap_or_default();
    let (item, key) = match separators.as_slice() {
        [item, key] => (item.clone(), key.clone()),
        _ if indent.is_some() => (",".into(), ": ".into()),
        _ => (", ".into(), ": ".into()),
    };
    let mut writer = Writer {
        state,
        out: String::new(),
        unpaid: 0,
        indent,
        item,
        key,
        ascii: args.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort: args.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    args.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(Value::from_safe_string(writer.out))
}

impl Writer<'_, '_, '_> {
    /// Adds text, paid for before.
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.unpaid += text.len();
        if self.unpaid >= 64 {
            self.state.consume_fuel(self.unpaid as u64 / 64)?;
            self.unpaid %= 64;
        }
        self.out.push_str(text);
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.state.consume_fuel(1)?;
        if depth > MAX_NESTING {
            return Err(Fault::Nesting.into());
        }
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.push("[")?;
                let mut empty = true;
                for item in value.try_iter()? {
                    self.next(empty, depth + 1)?;
                    empty = false;
                    self.value(&item, depth + 1)?;
                }
                self.end(empty, depth)?;
                self.push("]")
            }
            ValueKind::Map => self.map(value, depth),
            kind => Err(Error::new(
                ErrorKind::BadSerialization,
                format!("tojson of a value of the type {kind}"),
            )),
        }
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut pairs = Vec::new();
        let object = value.as_object();
        for (key, item) in object.iter().flat_map(|o| o.try_iter_pairs()).flatten() {
            self.state.consume_fuel(1)?;
            let name = match key.kind() {
                ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
                ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
                ValueKind::None => "null".into(),
                ValueKind::Number => number(&key),
                kind => {
                    return Err(Error::new(
                        ErrorKind::BadSerialization,
                        format!("tojson of a map with a key of the type {kind}"),
                    ));
                }
            };
            pairs.push((name, item));
        }
        if self.sort {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
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
    fn next(&mut self, first: bool, depth: usize) -> Result<(), Error> {
        if !first {
            self.push(&self.item.clone())?;
        }
        self.line(depth)
    }

    /// After the last element.
    fn end(&mut self, empty: bool, depth: usize) -> Result<(), Error> {
        if empty {
            return Ok(());
        }
        self.line(depth)
    }

    fn line(&mut self, depth: usize) -> Result<(), Error> {
        if let Some(indent) = self.indent.clone() {
            self.push("\n")?;
            for _ in 0..depth {
                self.push(&indent)?;
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
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

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(x) if x.is_nan() => "NaN".into(),
        Ok(x) if x.is_infinite() && x > 0.0 => "Infinity".into(),
        Ok(x) if x.is_infinite() => "-Infinity".into(),
        Ok(x) => python::float(x),
        Err(_) => value.to_string(),
    }
}
