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

/// The kinds of JSON values that a parameter takes, for formats that write texts without quotes: a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Takes(u8);

impl Takes {
    pub(super) const TEXT: Self = Self(1);
    const NUMBER: u8 = 2;
    const BOOL: u8 = 4;
    const NULL: u8 = 8;
    const LIST: u8 = 16;
    const OBJECT: u8 = 32;
    /// Nobody says.
    pub(super) const ANY: Self = Self(63);
    pub(super) const DATA: Self = Self(62);

    fn of_type(name: &str) -> Self {
        Self(match name {
            "string" => 1,
            "number" | "integer" => Self::NUMBER,
            "boolean" => Self::BOOL,
            "null" => Self::NULL,
            "array" => Self::LIST,
            "object" => Self::OBJECT,
            _ => 63,
        })
    }

    /// Whether it takes values as JSON text begins them that way.
    pub(super) fn takes(self, json: &str) -> bool {
        let kind = match json.bytes().next() {
            Some(b'"') => 1,
            Some(b't' | b'f') => Self::BOOL,
            Some(b'n') => Self::NULL,
            Some(b'[') => Self::LIST,
            Some(b'{') => Self::OBJECT,
            _ => Self::NUMBER,
        };
        self.0 & kind != 0
    }

    /// Whether it takes texts.
    pub(super) fn texts(self) -> bool {
        self.0 & 1 != 0
    }
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
        schema.map_or(Takes::ANY, takes)
    }
}

fn takes(schema: &Value) -> Takes {
    let all = |kinds: &mut dyn Iterator<Item = Takes>| Takes(kinds.fold(0, |all, k| all | k.0));
    if let Some(kind) = schema.get("type") {
        return match kind.items() {
            Some(kinds) => all(&mut kinds
                .iter()
                .map(|k| Takes::of_type(k.as_str().unwrap_or_default()))),
            None => Takes::of_type(kind.as_str().unwrap_or_default()),
        };
    }
    let values = schema.get("enum").and_then(Value::items);
    if let Some(values) = values.or(schema.get("const").map(std::slice::from_ref)) {
        return all(&mut values.iter().map(|v| {
            Takes(match v {
                v if v.as_str().is_some() => 1,
                v if v.is_none() => Takes::NULL,
                v if v.as_bool().is_some() => Takes::BOOL,
                v if v.items().is_some() => Takes::LIST,
                v if v.entries().is_some() => Takes::OBJECT,
                _ => Takes::NUMBER,
            })
        }));
    }
    let options = ["anyOf", "oneOf"]
        .iter()
        .find_map(|k| schema.get(k)?.items());
    match options {
        // One level: what is deeper may be anything.
        Some(options) => all(&mut options.iter().map(|o| {
            let kind = o.get("type").and_then(Value::as_str);
            kind.map_or(Takes::ANY, Takes::of_type)
        })),
        None => Takes::ANY,
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
        let found = ["t", "d", "b", "e", "m", "c", "u", "o", "r", "x", "n", "y"];
        let found = found.map(|name| tools.takes("f", name));
        let (number, null) = (Takes::NUMBER, Takes::NULL);
        assert_eq!(
            found.map(|t| t.0),
            [
                1,
                number | null,
                1 | null,
                1,
                1 | number,
                number,
                63,
                1 | null,
                63,
                63,
                number | null,
                63
            ]
        );
        assert_eq!(tools.takes("g", "t"), Takes::ANY);
        assert!(
            Takes(1 | null).takes("null") && !Takes(1 | null).takes("5") && Takes::ANY.takes("[1]")
        );
    }
}
