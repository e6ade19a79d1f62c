//! Text of a grammar.

use super::CallsError;
use crate::reply::syntax::pieces;
use crate::reply::{Syntax, Tool};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value};
use std::fmt::Write;

/// A grammar that grows.
pub(super) struct Lark<'a> {
    pub(super) syntax: &'a Syntax,
    tokenizer: &'a Tokenizer,
    rules: String,
    count: usize,
}

impl<'a> Lark<'a> {
    pub(super) fn new(syntax: &'a Syntax, tokenizer: &'a Tokenizer) -> Self {
        Self {
            syntax,
            tokenizer,
            rules: String::new(),
            count: 0,
        }
    }

    /// The name of a new rule.
    pub(super) fn rule(&mut self, kind: &str, body: &str) -> String {
        let name = self.name(kind);
        self.define(&name, body);
        name
    }

    /// A name that no rule has yet.
    pub(super) fn name(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_{}", self.count)
    }

    pub(super) fn define(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.rules, "{name}: {body}");
    }

    pub(super) fn finish(self, start: &str) -> String {
        format!("start: {start}\n{}", self.rules)
    }

    /// A text in which control tokens are tokens.
    pub(super) fn text(&self, text: &str) -> String {
        let pieces = pieces(text, self.tokenizer).into_iter();
        let all: Vec<String> = pieces.map(|piece| self.piece(piece)).collect();
        match all.is_empty() {
            true => "\"\"".into(),
            false => all.join(" "),
        }
    }

    fn piece(&self, piece: Result<&str, u32>) -> String {
        match piece {
            // The lexer takes the longest literal, so line breaks must not be a part of one and a whole of another.
            Ok(text) => match text.trim_start_matches('\n') {
                "" => literal(text),
                rest if rest.len() < text.len() => {
                    let lines = &text[..text.len() - rest.len()];
                    format!("{} {}", literal(lines), literal(rest))
                }
                rest => literal(rest),
            },
            Err(id) => format!("<[{id}]>"),
        }
    }

    /// Any text up to a marker, and the marker. With `line` the text is lines.
    pub(super) fn until(&mut self, marker: &str, line: bool) -> String {
        let pieces = pieces(marker, self.tokenizer);
        let rest = pieces.get(1..).unwrap_or_default().iter();
        let rest: Vec<String> = rest.map(|piece| self.piece(*piece)).collect();
        let body = if line { "(.|\\n)*\\n" } else { "(.|\\n)*" };
        let front = match pieces.first() {
            None => return "\"\"".into(),
            Some(Err(id)) if line => {
                let text = self.terminal(&format!("/{body}/"), marker);
                format!("{text} <[{id}]>")
            }
            Some(Err(id)) => format!("({})? <[{id}]>", self.without(marker)),
            Some(Ok(text)) if !rest.is_empty() => {
                let text = format!("/{body}{}/", expression(text));
                self.terminal(&text, marker)
            }
            Some(Ok(text)) => {
                let name = self.name("until");
                let (suffix, without) = (literal(text), expression(marker));
                let _ = writeln!(
                    self.rules,
                    "{name}[suffix={suffix}]: /{body}/ & ~/(.|\\n)*{without}(.|\\n)*/"
                );
                name
            }
        };
        format!("{front} {}", rest.join(" "))
    }

    /// Text of at least one character in which a marker does not occur, nor what spells it where it is a control token.
    pub(super) fn without(&mut self, marker: &str) -> String {
        self.terminal("/(.|\\n)+/", marker)
    }

    fn terminal(&mut self, text: &str, without: &str) -> String {
        self.count += 1;
        let name = format!("TEXT_{}", self.count);
        let without = expression(without);
        let _ = writeln!(self.rules, "{name}: {text} & ~/(.|\\n)*{without}(.|\\n)*/");
        name
    }

    /// The arguments of a tool as a JSON object.
    pub(super) fn arguments(&mut self, tool: &Tool) -> Result<String, CallsError> {
        let mut schema = Value::Object(parameters(tool)?);
        close(&mut schema);
        self.json(tool, &schema)
    }

    /// A value that follows a schema.
    pub(super) fn json(&mut self, tool: &Tool, schema: &Value) -> Result<String, CallsError> {
        let schema = crate::grammar::schema(&schema.to_string()).map_err(|error| {
            let tool = tool.name.clone();
            CallsError::Schema { tool, error }
        })?;
        Ok(self.rule("json", &format!("%json {schema}")))
    }

    pub(super) fn unsupported(&self, tool: &Tool, reason: impl Into<String>) -> CallsError {
        CallsError::Unsupported {
            format: self.syntax.format.name,
            tool: tool.name.clone(),
            reason: reason.into(),
        }
    }
}

/// Words of a schema beside which others may name properties.
const COMBINED: [&str; 8] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "$ref",
    "patternProperties",
    "additionalProperties",
];

/// Leaves no room for arguments that no tool has asked for: small models make some up without end. A schema that says what further
/// ones may be is left as it is.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let open = !COMBINED.iter().any(|word| object.contains_key(*word));
            if open && object.get("properties").is_some_and(Value::is_object) {
                object.insert("additionalProperties".into(), false.into());
            }
            for (word, inner) in object.iter_mut() {
                match (word.as_str(), inner) {
                    // The names within are no words of a schema.
                    ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                        named.values_mut().for_each(close);
                    }
                    ("items" | "prefixItems" | "anyOf" | "oneOf", inner) => close(inner),
                    _ => {}
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// A text as Lark has it.
pub(super) fn literal(text: &str) -> String {
    // JSON's escapes are Lark's.
    crate::reply::json::quoted(text)
}

/// A text within a regular expression.
fn expression(text: &str) -> String {
    regex_syntax::escape(text)
        .replace('/', "\\/")
        .replace('\n', "\\n")
}

/// The schema of a tool's arguments, which are an object.
pub(super) fn parameters(tool: &Tool) -> Result<Map<String, Value>, CallsError> {
    let wrong = |reason: String| {
        let error = crate::grammar::GrammarError::Json { reason };
        let tool = tool.name.clone();
        CallsError::Schema { tool, error }
    };
    let schema = serde_json::to_value(&tool.parameters).map_err(|e| wrong(e.to_string()))?;
    let mut schema = match schema {
        Value::Object(schema) => schema,
        Value::Null => {
            let mut none = Map::new();
            none.insert("additionalProperties".into(), false.into());
            none
        }
        other => return Err(wrong(format!("it is {other}, no object"))),
    };
    schema.insert("type".into(), "object".into());
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_have_the_properties_that_are_listed() {
        let mut schema = json!({
            "type": "object",
            "properties": {
                "properties": {"type": "string"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
                "free": {"type": "object"},
                "open": {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
                "either": {"anyOf": [{"type": "object", "properties": {"y": {}}}, {"type": "null"}]},
            }
        });
        close(&mut schema);
        let of = |pointer: &str| {
            schema
                .pointer(pointer)
                .and_then(|s| s.get("additionalProperties"))
        };
        let closed = Some(&json!(false));
        assert_eq!(of(""), closed);
        assert_eq!(of("/properties/list/items"), closed);
        assert_eq!(of("/properties/either/anyOf/0"), closed);
        assert_eq!(of("/properties/either"), None);
        assert_eq!(of("/properties/free"), None);
        assert_eq!(of("/properties/open"), Some(&json!({"type": "string"})));
    }
}
