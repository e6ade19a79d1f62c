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
}

/// A str, or `Markup` where it is marked safe.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) text: Arc<str>,
    pub(super) safe: bool,
}

/// A list or a tuple.
pub(super) struct List {
    pub(super) items: Vec<Value>,
    pub(super) tuple: bool,
    depth: usize,
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
        Self(Kind::List(Arc::new(List::new(items, true))))
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
            Kind::List(list) if list.tuple => "tuple",
            Kind::List(_) => "list",
            Kind::Map(_) => "dict",
            Kind::Loop(_) => "LoopContext",
            Kind::Function(_) | Kind::Method(_) => "function",
            Kind::Macro(_) => "Macro",
            Kind::Namespace(_) => "Namespace",
        }
    }
}

impl List {
    fn new(items: Vec<Value>, tuple: bool) -> Self {
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        Self {
            items,
            tuple,
            depth,
        }
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
        Self(Kind::List(Arc::new(List::new(items, false))))
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
