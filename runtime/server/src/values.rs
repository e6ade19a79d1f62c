//! Data of requests: texts or lists, and what messages are made of.

use carat_text::template::Value;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use utoipa::ToSchema;

/// A text, or a list of something. Unlike an untagged enum of serde it says what is wrong within the list.
#[derive(Clone, Debug, ToSchema)]
#[serde(untagged)]
pub enum TextOr<T> {
    /// A text.
    Text(String),
    /// A list.
    List(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
        Ok(TextOr::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<TextOr<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(TextOr::List)
    }
}

/// A dict of texts and values.
pub fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    // Texts are keys.
    Value::map(pairs.map(|(key, value)| (key.into(), value))).unwrap_or_default()
}

/// A dict with one more value.
pub fn with(dict: &Value, key: &str, value: Value) -> Value {
    let pairs = dict.entries().unwrap_or_default().iter().cloned();
    Value::map(pairs.chain([(key.into(), value)])).unwrap_or_default()
}

/// A text, as content has it.
pub fn text_part(text: &str) -> Value {
    object([("type", "text".into()), ("text", text.into())])
}

/// A message in OpenAI's form of a role and parts: of one part its text alone, which every template reads.
pub fn message(role: &str, mut parts: Vec<Value>) -> Value {
    let content = match parts.as_slice() {
        [only] => only.get("text").cloned().unwrap_or_default(),
        _ => std::mem::take(&mut parts).into(),
    };
    object([("role", role.into()), ("content", content)])
}

/// A call of a tool in OpenAI's form. The arguments are a text of JSON.
pub fn call(id: &str, name: &str, arguments: &str) -> Value {
    let function = object([("name", name.into()), ("arguments", arguments.into())]);
    object([
        ("id", id.into()),
        ("type", "function".into()),
        ("function", function),
    ])
}

/// The result of a call, in OpenAI's form.
pub fn result(id: &str, text: &str) -> Value {
    object([
        ("role", "tool".into()),
        ("tool_call_id", id.into()),
        ("content", text.into()),
    ])
}

/// The arguments of a call as the object that they are; nothing where the call was broken off.
pub fn arguments(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.entries().is_some().then_some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::read;

    #[derive(Debug, Deserialize)]
    struct Outer {
        content: TextOr<u32>,
    }

    #[test]
    fn errors_within_a_list_name_their_place() {
        let one: Outer = read::json(br#"{"content": "a"}"#).unwrap();
        assert!(matches!(one.content, TextOr::Text(t) if t == "a"));
        let list: Outer = read::json(br#"{"content": [1, 2]}"#).unwrap();
        assert!(matches!(list.content, TextOr::List(l) if l == [1, 2]));
        let e = read::json::<Outer>(br#"{"content": [1, "x"]}"#).unwrap_err();
        assert_eq!(e.param.as_deref(), Some("content[1]"));
        let e = read::json::<Outer>(br#"{"content": 1}"#).unwrap_err();
        assert!(e.message.contains("a text or a list"), "{}", e.message);
    }

    #[test]
    fn arguments_are_objects_in_their_order() {
        let value = arguments(r#"{"b": 1, "a": [2]}"#).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"b":1,"a":[2]}"#);
        assert!(arguments("[1]").is_none());
        assert!(arguments(r#"{"a": "#).is_none());
    }
}
