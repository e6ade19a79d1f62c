//! Calls in words that are nearly JSON.

use super::CallsError;
use super::lark::{Lark, literal, parameters};
use super::list::members;
use super::tags::{is_text, narrows, properties, texts};
use crate::reply::Tool;
use crate::reply::format::Words;
use serde_json::{Map, Value};

/// Most levels of a schema without references.
const MAX_DEPTH: usize = 32;

pub(super) fn call(lark: &mut Lark<'_>, words: &Words, tool: &Tool) -> Result<String, CallsError> {
    let schema = parameters(tool)?;
    let front = lark.text(&format!("{}{}{}", words.before, tool.name, words.open));
    let back = lark.text(&words.close.to_string());
    let arguments = object(lark, words, tool, &schema, 0)?;
    Ok(format!("{front} {arguments} {back}"))
}

fn object(
    lark: &mut Lark<'_>,
    words: &Words,
    tool: &Tool,
    schema: &Map<String, Value>,
    depth: usize,
) -> Result<String, CallsError> {
    let assign = if depth == 0 { words.assign } else { ':' };
    let mut all = Vec::new();
    for (name, property, required) in properties(lark, tool, schema)? {
        let key = literal(&format!("{name}{assign}"));
        let value = match words.escapes {
            // JSON is among what it writes.
            true => lark.json(tool, &property)?,
            false => value(lark, words, tool, &property, depth + 1)?,
        };
        all.push((format!("{key} {value}"), required));
    }
    // As templates write calls.
    let separator = if words.escapes { ", " } else { "," };
    Ok(members(lark, &all, separator))
}

/// A value where texts have quotes of their own.
fn value(
    lark: &mut Lark<'_>,
    words: &Words,
    tool: &Tool,
    schema: &Value,
    depth: usize,
) -> Result<String, CallsError> {
    if depth > MAX_DEPTH {
        return Err(lark.unsupported(tool, format!("more than {MAX_DEPTH} levels")));
    }
    let kind = schema.get("type").and_then(Value::as_str);
    if is_text(schema) {
        if let Some(key) = narrows(schema) {
            return Err(lark.unsupported(tool, format!("a text with '{key}'")));
        }
        let quote = words.quotes[0];
        let mark = lark.text(quote);
        return Ok(match texts(schema) {
            Some(texts) if texts.iter().any(|t| t.contains(quote)) => {
                return Err(lark.unsupported(tool, format!("a text with '{quote}'")));
            }
            Some(texts) => {
                let texts: Vec<String> = texts.into_iter().map(literal).collect();
                format!("{mark} ({}) {mark}", texts.join(" | "))
            }
            None => format!("{mark} {}", lark.until(quote, false)),
        });
    }
    match kind {
        Some("integer" | "number" | "boolean" | "null") => lark.json(tool, schema),
        Some("array") => {
            let known = [
                "type",
                "items",
                "description",
                "title",
                "default",
                "$defs",
                "definitions",
            ];
            let keys = schema.as_object().into_iter().flat_map(Map::keys);
            if let Some(other) = keys.into_iter().find(|k| !known.contains(&k.as_str())) {
                return Err(lark.unsupported(tool, format!("a list with '{other}'")));
            }
            let Some(items) = schema.get("items").filter(|i| i.is_object()) else {
                return Err(lark.unsupported(tool, "a list of anything"));
            };
            let item = value(lark, words, tool, items, depth + 1)?;
            let item = lark.rule("item", &item);
            Ok(format!("\"[\" ({item} (\",\" {item})*)? \"]\""))
        }
        Some("object") => {
            let empty = Map::new();
            let schema = schema.as_object().unwrap_or(&empty);
            if !schema.contains_key("properties")
                && schema.get("additionalProperties") != Some(&false.into())
            {
                return Err(lark.unsupported(tool, "an object of anything"));
            }
            let inner = object(lark, words, tool, schema, depth)?;
            Ok(format!("\"{{\" {inner} \"}}\""))
        }
        _ => {
            let shown: String = schema.to_string().chars().take(80).collect();
            Err(lark.unsupported(tool, format!("the schema {shown}")))
        }
    }
}
