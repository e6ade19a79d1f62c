//! The tools that a model may call.

use crate::template::Value;

/// A list of tools that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolsError {
    /// Something else.
    #[error(
        "the tools are no list; expected [{{\"type\": \"function\", \"function\": {{\"name\": \"…\", \"parameters\": {{…}}}}}}]"
    )]
    NoList,
    /// A tool without a name.
    #[error("tool {at} has no 'name'; give every function a name of at least one character")]
    NoName {
        /// Its place, from 1.
        at: usize,
    },
    /// Two of a name.
    #[error("two tools are called '{name}'; give each function another name")]
    Twice {
        /// The name.
        name: String,
    },
}

/// A tool that a model may call.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The JSON schema of its arguments; null where it has none.
    pub parameters: Value,
}

/// The tools that a model may call.
#[derive(Clone, Debug, Default)]
pub struct Tools(Vec<Tool>);

/// What a parameter takes, as far as formats need it that write texts without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Texts alone.
    Text,
    /// No texts.
    Data,
    /// Both, or nobody says.
    Any,
}

impl Tools {
    /// Reads a list of functions as the APIs of OpenAI and Anthropic have it: each an object with `name` and `parameters` or
    /// `input_schema`, or with these within `function`. Tools of another `type` than `function` are left out.
    ///
    /// Errors: no list; a function without a name; two of a name.
    pub fn new(list: &Value) -> Result<Self, ToolsError> {
        let list = list.items().ok_or(ToolsError::NoList)?;
        let mut tools: Vec<Tool> = Vec::with_capacity(list.len());
        let mut seen = std::collections::HashSet::new();
        for (i, tool) in list.iter().enumerate() {
            let kind = tool.get("type").and_then(Value::as_str);
            if kind.is_some_and(|k| k != "function" && k != "custom") {
                continue;
            }
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name").and_then(Value::as_str);
            let Some(name) = name.filter(|n| !n.is_empty()) else {
                return Err(ToolsError::NoName { at: i + 1 });
            };
            if !seen.insert(name) {
                return Err(ToolsError::Twice { name: name.into() });
            }
            let schema = ["parameters", "input_schema"];
            let schema = schema.iter().find_map(|k| function.get(k));
            tools.push(Tool {
                name: name.into(),
                parameters: schema.cloned().unwrap_or_default(),
            });
        }
        Ok(Self(tools))
    }

    /// The tools in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.0.iter()
    }

    /// The tool of a name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.0.iter().find(|t| t.name == name)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a call of that name may be one: without a list of tools, any.
    pub(super) fn may_be(&self, name: &str) -> bool {
        self.is_empty() || self.get(name).is_some()
    }

    /// What a parameter takes.
    pub(super) fn takes(&self, tool: &str, parameter: &str) -> Takes {
        let schema = self
            .get(tool)
            .and_then(|t| t.parameters.get("properties"))
            .and_then(|p| p.get(parameter));
        schema.map_or(Takes::Any, takes)
    }
}

fn takes(schema: &Value) -> Takes {
    let is_text = |v: &Value| v.as_str() == Some("string");
    let both = |texts: usize, all: usize| match texts {
        0 if all > 0 => Takes::Data,
        n if n == all && all > 0 => Takes::Text,
        _ => Takes::Any,
    };
    if let Some(kind) = schema.get("type") {
        return match kind.items() {
            Some(kinds) => both(kinds.iter().filter(|k| is_text(k)).count(), kinds.len()),
            None if is_text(kind) => Takes::Text,
            None => Takes::Data,
        };
    }
    let values = schema.get("enum").and_then(Value::items);
    if let Some(values) = values.or(schema.get("const").map(std::slice::from_ref)) {
        let texts = values.iter().filter(|v| v.as_str().is_some()).count();
        return both(texts, values.len());
    }
    let options = ["anyOf", "oneOf"]
        .iter()
        .find_map(|k| schema.get(k)?.items());
    // One level: what is deeper may be anything.
    let options = options.unwrap_or_default();
    let text = options
        .iter()
        .filter(|o| o.get("type").is_some_and(is_text));
    let named = options.iter().all(|o| o.get("type").is_some());
    match named {
        true => both(text.count(), options.len()),
        false => Takes::Any,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tools(json: &str) -> Result<Tools, ToolsError> {
        Tools::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn lists_of_both_apis() {
        let openai = tools(
            r#"[{"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}, {"type": "web_search"}]"#,
        )
        .unwrap();
        assert_eq!(openai.iter().count(), 1);
        assert!(openai.get("a").unwrap().parameters.get("type").is_some());
        let anthropic = tools(r#"[{"name": "a", "input_schema": {}}, {"name": "b"}]"#).unwrap();
        assert!(anthropic.get("b").unwrap().parameters.is_none());
        assert!(anthropic.may_be("a") && !anthropic.may_be("c"));
        assert!(Tools::default().may_be("c"));
        for (json, error) in [
            ("{}", ToolsError::NoList),
            (r#"[{"function": {}}]"#, ToolsError::NoName { at: 1 }),
            (
                r#"[{"name": "a"}, {"name": ""}]"#,
                ToolsError::NoName { at: 2 },
            ),
            (
                r#"[{"name": "a"}, {"name": "a"}]"#,
                ToolsError::Twice { name: "a".into() },
            ),
        ] {
            assert_eq!(tools(json).unwrap_err(), error);
        }
    }

    #[test]
    fn what_parameters_take() {
        let tools = tools(
            r##"[{"name": "f", "parameters": {"properties": {
            "t": {"type": "string"}, "d": {"type": ["integer", "null"]}, "b": {"type": ["string", "null"]},
            "e": {"enum": ["x", "y"]}, "m": {"enum": ["x", 1]}, "c": {"const": 3}, "u": {},
            "o": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "r": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "n": {"oneOf": [{"type": "integer"}, {"type": "null"}]}}}}]"##,
        )
        .unwrap();
        let found: Vec<Takes> = "tdbemcuornx"
            .chars()
            .map(|c| tools.takes("f", &c.to_string()))
            .collect();
        use Takes::{Any, Data, Text};
        assert_eq!(
            found,
            [Text, Data, Any, Text, Any, Data, Any, Any, Any, Data, Any]
        );
        assert_eq!(tools.takes("g", "t"), Any);
    }
}
