//! Calls with parameters between tags.

use super::CallsError;
use super::lark::{Lark, literal, parameters};
use crate::grammar::MAX_SCHEMA;
use crate::reply::Tool;
use crate::reply::format::Tags;
use serde_json::{Map, Value, json};

/// Keywords that say nothing of a text.
const NOTES: [&str; 6] = [
    "type",
    "description",
    "title",
    "default",
    "examples",
    "deprecated",
];

pub(super) fn call(lark: &mut Lark<'_>, tags: &Tags, tool: &Tool) -> Result<String, CallsError> {
    let (pad, name) = (lark.syntax.format.pad, &tool.name);
    let schema = parameters(tool)?;
    let mut out = lark.text(&format!("{}{name}{}{pad}", tags.name.0, tags.name.1));
    for (name, property, required) in properties(lark, tool, &schema)? {
        let value = value(lark, tags, tool, &name, &property)?;
        let key = match tags.key.1 {
            // The tag says whether it is a text.
            ">" if tags.key.0.ends_with('"') => {
                let text = is_text(&property) || is_text_or_null(&property);
                lark.text(&format!("{}{name}\" string=\"{text}\">", tags.key.0))
            }
            end => lark.text(&format!("{}{name}{end}{}", tags.key.0, tags.value)),
        };
        let pad = lark.text(pad);
        let parameter = format!("{key} {value} {pad}");
        out += &match required {
            true => format!(" {parameter}"),
            false => format!(" ({parameter})?"),
        };
    }
    let close = lark.text(tags.close);
    Ok(format!("{out} {close}"))
}

/// The properties of an object: names, schemas and whether they have to be there.
pub(super) fn properties(
    lark: &Lark<'_>,
    tool: &Tool,
    schema: &Map<String, Value>,
) -> Result<Vec<(String, Value, bool)>, CallsError> {
    const KNOWN: [&str; 11] = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "description",
        "title",
        "$defs",
        "definitions",
        "$schema",
        "default",
        "examples",
    ];
    if let Some(other) = schema.keys().find(|k| !KNOWN.contains(&k.as_str())) {
        return Err(lark.unsupported(tool, format!("an object with '{other}'")));
    }
    let required = schema.get("required").and_then(Value::as_array);
    let required: Vec<&str> = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let all = schema.get("properties").and_then(Value::as_object);
    // Every property gets all definitions.
    let defs = ["$defs", "definitions"]
        .iter()
        .filter_map(|k| schema.get(*k));
    let bytes: usize = defs.map(|d| d.to_string().len()).sum();
    let copies = bytes.saturating_mul(all.map_or(0, Map::len));
    if copies > MAX_SCHEMA {
        let reason = format!("{bytes} bytes of definitions for each of its parameters");
        return Err(lark.unsupported(tool, reason));
    }
    let mut out = Vec::new();
    for (name, property) in all.into_iter().flatten() {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || !name.chars().all(fits) {
            return Err(lark.unsupported(tool, format!("the name '{name}' of a parameter")));
        }
        // References lead into the whole.
        let mut property = match property {
            Value::Object(property) => property.clone(),
            Value::Bool(true) => Map::new(),
            other => return Err(lark.unsupported(tool, format!("the schema {other}"))),
        };
        for key in ["$defs", "definitions"] {
            if let Some(defs) = schema.get(key) {
                property.entry(key).or_insert_with(|| defs.clone());
            }
        }
        let must = required.contains(&name.as_str());
        out.push((name.clone(), Value::Object(property), must));
    }
    let missing = required
        .iter()
        .find(|name| !out.iter().any(|p| p.0 == **name));
    match missing {
        Some(name) => Err(lark.unsupported(tool, format!("'{name}' is required and no property"))),
        None => Ok(out),
    }
}

/// Whether texts alone are allowed.
pub(super) fn is_text(schema: &Value) -> bool {
    schema.get("type") == Some(&json!("string"))
        || schema.get("type").is_none()
            && schema
                .get("enum")
                .and_then(Value::as_array)
                .is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string))
}

/// The texts that a schema lists.
pub(super) fn texts(schema: &Value) -> Option<Vec<&str>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(all), _) => all.as_array()?.iter().map(Value::as_str).collect(),
        (None, Some(one)) => Some(vec![one.as_str()?]),
        _ => None,
    }
}

/// What of a text's schema is no note.
pub(super) fn narrows(schema: &Value) -> Option<&str> {
    let more = ["$defs", "definitions", "enum", "const"];
    let keys = schema.as_object()?.keys().map(String::as_str);
    keys.into_iter()
        .find(|k| !NOTES.contains(k) && !more.contains(k))
}

/// A value and the tag that ends it.
fn value(
    lark: &mut Lark<'_>,
    tags: &Tags,
    tool: &Tool,
    name: &str,
    schema: &Value,
) -> Result<String, CallsError> {
    let line = if tags.lines { "\n" } else { "" };
    let (open, end) = (lark.text(line), format!("{line}{}", tags.end));
    if is_text(schema) {
        if let Some(key) = narrows(schema) {
            let reason = format!("the text '{name}' with '{key}'");
            return Err(lark.unsupported(tool, reason));
        }
        let texts: Option<Vec<String>> =
            texts(schema).map(|t| t.into_iter().map(String::from).collect());
        return Ok(match texts {
            Some(texts) => {
                let end = lark.text(&end);
                if texts.iter().any(|t| t.contains(tags.end)) {
                    return Err(
                        lark.unsupported(tool, format!("a text of '{name}' with '{}'", tags.end))
                    );
                }
                let texts: Vec<String> = texts.iter().map(|t| literal(t)).collect();
                format!("{open} ({}) {end}", texts.join(" | "))
            }
            None => format!("{open} {}", lark.until(tags.end, tags.lines)),
        });
    }
    if is_text_or_null(schema) {
        return Ok(format!("{open} {}", lark.until(tags.end, tags.lines)));
    }
    if may_be_text(schema) {
        // Without quotes a text cannot be told from what else may be there.
        let reason = format!("'{name}' may be a text or something else");
        return Err(lark.unsupported(tool, reason));
    }
    let value = lark.json(tool, schema)?;
    let end = lark.text(&end);
    Ok(format!("{open} {value} {end}"))
}

fn may_be_text(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(|k| k == "string"),
        Some(_) => false,
        None => match options(schema) {
            Some(options) => options.iter().any(|o| is_text(o) || may_be_text(o)),
            None => match schema.get("enum").or(schema.get("const")) {
                Some(Value::Array(all)) => all.iter().any(Value::is_string),
                Some(one) => one.is_string(),
                // Nobody says.
                None => true,
            },
        },
    }
}

/// Whether it is any text or null, which `null` is then.
fn is_text_or_null(schema: &Value) -> bool {
    let free = |s: &Value| narrows(s).is_none() && texts(s).is_none() && s.get("enum").is_none();
    let is = |s: &Value, name: &str| s.get("type") == Some(&json!(name));
    match (schema.get("type"), options(schema)) {
        (Some(Value::Array(kinds)), None) => {
            free(schema) && kinds.iter().all(|k| k == "string" || k == "null")
        }
        (None, Some(options)) => {
            let known = schema.as_object().into_iter().flat_map(Map::keys);
            let known = known.into_iter().all(|k| {
                let more = ["anyOf", "oneOf", "$defs", "definitions"];
                NOTES.contains(&k.as_str()) || more.contains(&k.as_str())
            });
            known
                && options
                    .iter()
                    .all(|o| is(o, "null") || is(o, "string") && free(o))
        }
        _ => false,
    }
}

fn options(schema: &Value) -> Option<&Vec<Value>> {
    ["anyOf", "oneOf"]
        .iter()
        .find_map(|k| schema.get(k)?.as_array())
}
