//! Values of a template. They are immutable and know how deep they nest.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A value as Python has it: none, bool, int, float, str, list, dict.
///
/// Its `Deserialize` and `Serialize` read and write JSON and keep the order of dicts.
#[derive(Clone, Default)]
pub struct Value(pub(super) Kind);

#[derive(Clone, Default)]
pub(super) enum Kind {
    /// A name or an attribute that is not there.
    Undefined,
    #[default]
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    List(Arc<List>),
    Map(Arc<Map>),
    /// The loop variable of a `for`.
    Loop(Arc<Loop>),
    /// A function by its name.
    Function(&'static str),
    /// A method bound to its receiver.
    Method(Arc<(Value, &'static str)>),
    /// Index in the machine's table of macros.
    Macro(usize),
    /// Index in the machine's table of namespaces.
    Namespace(usize),
    /// Index in the machine's table of generators.
    Generator(usize),
    /// Index in the machine's table of joiners.
    Joiner(usize),
    /// Index in the machine's table of cyclers.
    Cycler(usize),
}

/// A str, or `Markup` where it is marked safe.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) text: Arc<str>,
    pub(super) safe: bool,
}

/// A list, or what else has elements that stay.
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) form: Form,
    depth: usize,
}

/// What Python has it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    List,
    Tuple,
    /// A tuple of `groupby`, whose parts have names.
    Group,
    /// `d.keys()`, `d.values()`, `d.items()`
    Keys,
    Values,
    Items,
    /// `range(start, stop, step)`
    Range([i128; 3]),
}

impl Form {
    /// Whether both are lists, or both tuples.
    pub(super) fn joins(self, other: Self) -> bool {
        let kind = |f| match f {
            Form::List => 1,
            Form::Tuple | Form::Group => 2,
            _ => 0,
        };
        kind(self) == kind(other) && kind(self) > 0
    }

    pub(super) fn is_tuple(self) -> bool {
        matches!(self, Self::Tuple | Self::Group)
    }

    /// Whether it has no elements of its own that an index could name.
    pub(super) fn is_view(self) -> bool {
        matches!(self, Self::Keys | Self::Values | Self::Items)
    }
}

/// A dict in order of insertion.
#[derive(Default)]
pub(super) struct Map {
    pub(super) entries: Vec<(Value, Value)>,
    texts: BTreeMap<Arc<str>, usize>,
    others: BTreeMap<Other, usize>,
    depth: usize,
}

/// A key that is no str. Python takes True, 1 and 1.0 for the same key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    None,
    Int(i128),
    Float(u64),
}

/// One turn of a `for`.
pub(super) struct Loop {
    pub(super) items: Value,
    pub(super) index: usize,
    pub(super) depth: usize,
    /// Index in the machine's table of recursive loops.
    pub(super) recursive: Option<usize>,
    /// Index in the machine's table of values last seen by `changed`.
    pub(super) changed: usize,
}

impl Loop {
    pub(super) fn all(&self) -> &[Value] {
        self.items.items().unwrap_or(&[])
    }
}

impl Value {
    pub(super) const UNDEFINED: Self = Self(Kind::Undefined);

    pub(super) fn tuple(items: Vec<Value>) -> Self {
        Self::formed(items, Form::Tuple)
    }

    pub(super) fn formed(items: Vec<Value>, form: Form) -> Self {
        Self(Kind::List(Arc::new(List::new(items, form))))
    }

    pub(super) fn safe(text: &str) -> Self {
        Self(Kind::Text(Text {
            text: text.into(),
            safe: true,
        }))
    }

    /// A dict; a key that occurs again replaces the value.
    ///
    /// `None` where a key is a list, a dict or a float that is no number.
    pub fn map(pairs: impl IntoIterator<Item = (Value, Value)>) -> Option<Self> {
        let mut map = Map::default();
        for (key, value) in pairs {
            map.insert(key, value)?;
        }
        Some(map.into())
    }

    /// The text of a str.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Kind::Text(t) => Some(&t.text),
            _ => None,
        }
    }

    /// The elements of a list.
    pub fn items(&self) -> Option<&[Value]> {
        match &self.0 {
            Kind::List(list) => Some(&list.items),
            _ => None,
        }
    }

    /// The value of a dict's key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Kind::Map(map) => map.get_text(key),
            _ => None,
        }
    }

    /// The keys and values of a dict, in order.
    pub fn entries(&self) -> Option<&[(Value, Value)]> {
        match &self.0 {
            Kind::Map(map) => Some(&map.entries),
            _ => None,
        }
    }

    /// Whether this is Python's `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }

    /// The truth of a bool; nothing for other values.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Kind::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The number of an int that fits; nothing for other values.
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Kind::Int(n) => i64::try_from(n).ok(),
            _ => None,
        }
    }

    /// The value with `change` applied to every text in it, keys included; what a template compares with
    /// words of its own, keys, roles and types, stays as it is where it is a word.
    pub(super) fn each_text(&self, change: &dyn Fn(&str) -> String) -> Self {
        match &self.0 {
            Kind::Text(t) => {
                let text = change(&t.text);
                Self(Kind::Text(Text {
                    text: text.into(),
                    safe: t.safe,
                }))
            }
            Kind::List(list) => {
                let items = list.items.iter().map(|v| v.each_text(change)).collect();
                Self::formed(items, list.form)
            }
            Kind::Map(map) => {
                let pair = |(k, v): &(Value, Value)| {
                    let key = if k.is_word() {
                        k.clone()
                    } else {
                        k.each_text(change)
                    };
                    let kept = matches!(k.as_str(), Some("role" | "type")) && v.is_word();
                    let value = if kept { v.clone() } else { v.each_text(change) };
                    (key, value)
                };
                // Keys were keys before.
                Self::map(map.entries.iter().map(pair)).unwrap_or_default()
            }
            _ => self.clone(),
        }
    }

    /// Whether it is a text of ASCII letters, digits, `_` and `-`.
    fn is_word(&self) -> bool {
        let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        self.as_str().is_some_and(|t| t.bytes().all(part))
    }

    /// Every text in it.
    pub(super) fn texts<'a>(&'a self, out: &mut Vec<&'a str>) {
        match &self.0 {
            Kind::Text(t) => out.push(&t.text),
            Kind::List(list) => list.items.iter().for_each(|v| v.texts(out)),
            Kind::Map(map) => {
                for (key, value) in &map.entries {
                    key.texts(out);
                    value.texts(out);
                }
            }
            _ => {}
        }
    }

    pub(super) fn is_undefined(&self) -> bool {
        matches!(self.0, Kind::Undefined)
    }

    pub(super) fn is_safe(&self) -> bool {
        matches!(&self.0, Kind::Text(t) if t.safe)
    }

    /// A bool or an int.
    pub(super) fn as_int(&self) -> Option<i128> {
        match self.0 {
            Kind::Bool(b) => Some(b.into()),
            Kind::Int(n) => Some(n),
            _ => None,
        }
    }

    /// A bool, an int or a float.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self.0 {
            Kind::Float(x) => Some(x),
            _ => self.as_int().map(|n| n as f64),
        }
    }

    /// Whether Python takes it for true.
    pub(super) fn truth(&self) -> bool {
        match &self.0 {
            Kind::Undefined | Kind::None => false,
            Kind::Bool(b) => *b,
            Kind::Int(n) => *n != 0,
            Kind::Float(x) => *x != 0.0,
            Kind::Text(t) => !t.text.is_empty(),
            Kind::List(list) => !list.items.is_empty(),
            Kind::Map(map) => !map.entries.is_empty(),
            _ => true,
        }
    }

    /// Levels of lists and dicts; 0 of a scalar.
    pub(super) fn depth(&self) -> usize {
        match &self.0 {
            Kind::List(list) => list.depth,
            Kind::Map(map) => map.depth,
            Kind::Loop(l) => l.items.depth() + 1,
            Kind::Method(m) => m.0.depth() + 1,
            _ => 0,
        }
    }

    /// The name of its type in Python.
    pub(super) fn kind(&self) -> &'static str {
        match &self.0 {
            Kind::Undefined => "Undefined",
            Kind::None => "NoneType",
            Kind::Bool(_) => "bool",
            Kind::Int(_) => "int",
            Kind::Float(_) => "float",
            Kind::Text(_) => "str",
            Kind::List(list) => match list.form {
                Form::List => "list",
                Form::Tuple | Form::Group => "tuple",
                Form::Keys => "dict_keys",
                Form::Values => "dict_values",
                Form::Items => "dict_items",
                Form::Range(_) => "range",
            },
            Kind::Map(_) => "dict",
            Kind::Loop(_) => "LoopContext",
            Kind::Function(_) | Kind::Method(_) => "function",
            Kind::Macro(_) => "Macro",
            Kind::Namespace(_) => "Namespace",
            Kind::Generator(_) => "generator",
            Kind::Joiner(_) => "Joiner",
            Kind::Cycler(_) => "Cycler",
        }
    }
}

impl List {
    fn new(items: Vec<Value>, form: Form) -> Self {
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        Self { items, form, depth }
    }
}

impl Map {
    /// `None` where the key is not hashable.
    pub(super) fn insert(&mut self, key: Value, value: Value) -> Option<()> {
        let next = self.entries.len();
        let at = match &key.0 {
            Kind::Text(t) => *self.texts.entry(t.text.clone()).or_insert(next),
            _ => *self.others.entry(Other::new(&key)?).or_insert(next),
        };
        self.depth = self.depth.max(value.depth() + 1);
        if at == next {
            self.entries.push((key, value));
        } else {
            self.entries[at].1 = value;
        }
        Some(())
    }

    pub(super) fn get_text(&self, key: &str) -> Option<&Value> {
        self.texts.get(key).map(|i| &self.entries[*i].1)
    }

    /// `Err` where the key is not hashable.
    pub(super) fn get(&self, key: &Value) -> Result<Option<&Value>, ()> {
        let at = match &key.0 {
            Kind::Text(t) => self.texts.get(&*t.text),
            _ => self.others.get(&Other::new(key).ok_or(())?),
        };
        Ok(at.map(|i| &self.entries[*i].1))
    }
}

impl Other {
    fn new(key: &Value) -> Option<Self> {
        match key.0 {
            Kind::None => Some(Self::None),
            Kind::Float(x) if x.is_nan() => None,
            Kind::Float(x) if x == x.trunc() && x.abs() < 1e18 => Some(Self::Int(x as i128)),
            Kind::Float(x) => Some(Self::Float(x.to_bits())),
            _ => key.as_int().map(Self::Int),
        }
    }
}

impl From<Map> for Value {
    fn from(mut map: Map) -> Self {
        map.depth = map.depth.max(1);
        Self(Kind::Map(Arc::new(map)))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(Kind::Bool(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self(Kind::Int(value.into()))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self(Kind::Int(value as i128))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self(Kind::Float(value))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(Kind::Text(Text {
            text: text.into(),
            safe: false,
        }))
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self(Kind::Text(Text { text, safe: false }))
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::formed(items, Form::List)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::None => f.write_str("None"),
            Kind::Bool(b) => b.fmt(f),
            Kind::Int(n) => n.fmt(f),
            Kind::Float(x) => x.fmt(f),
            Kind::Text(t) => t.text.fmt(f),
            Kind::List(list) => list.items.fmt(f),
            Kind::Map(map) => f
                .debug_map()
                .entries(map.entries.iter().map(|(k, v)| (k, v)))
                .finish(),
            _ => f.write_str(self.kind()),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Kind::None => serializer.serialize_unit(),
            Kind::Bool(b) => serializer.serialize_bool(*b),
            Kind::Int(n) => match i64::try_from(*n) {
                Ok(n) => serializer.serialize_i64(n),
                Err(_) => serializer.serialize_i128(*n),
            },
            Kind::Float(x) => serializer.serialize_f64(*x),
            Kind::Text(t) => serializer.serialize_str(&t.text),
            Kind::List(list) => serializer.collect_seq(&list.items),
            Kind::Map(map) => serializer.collect_map(map.entries.iter().map(|(k, v)| (k, v))),
            _ => Err(S::Error::custom(format!("a {} is no data", self.kind()))),
        }
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value(Kind::None))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value(Kind::None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value(Kind::Int(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::default();
        while let Some((key, value)) = entries.next_entry::<Value, Value>()? {
            map.insert(key, value)
                .ok_or_else(|| A::Error::custom("a key that is no text"))?;
        }
        Ok(map.into())
    }
}

/// The first int of a JSON text that has more than 64 bits: readers of JSON make the nearest float of it.
pub fn wide_int(json: &str) -> Option<&str> {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c.is_ascii_digit()) {
        let sign = rest[..at].ends_with('-');
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = inner.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &inner[end + 1..]);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let (number, behind) = rest.split_at(end.unwrap_or(rest.len()));
        rest = behind;
        let fits = match (sign, number.parse::<u64>()) {
            (_, Err(_)) => false,
            (true, Ok(n)) => n <= 1 << 63,
            (false, Ok(_)) => true,
        };
        if !fits && number.bytes().all(|b| b.is_ascii_digit()) {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_of_more_than_64_bits() {
        for good in [
            "18446744073709551615",
            "-9223372036854775808",
            "[1e400]",
            "\"99999999999999999999\\\"99999999999999999999\"",
            "1.99999999999999999999999",
            "é",
        ] {
            assert_eq!(wide_int(good), None, "{good}");
        }
        for bad in [
            "18446744073709551616",
            "-9223372036854775809",
            "{\"a\":[-99999999999999999999]}",
        ] {
            assert!(wide_int(bad).is_some(), "{bad}");
        }
    }
}
