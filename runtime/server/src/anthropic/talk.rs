//! Messages of Anthropic's form in OpenAI's, which templates read.

use super::request::{
    InputBlock, InputMessage, Prompted, Role, TextBlock, Thinking, ToolChoice, ToolDefinition,
};
use crate::refusal::Refusal;
use crate::tools::{Choice, Talk};
use crate::values::{TextOr, call, message, object, result, text_part, with};
use carat_text::template::Value;

impl Prompted {
    /// The conversation.
    ///
    /// Errors: no messages, a tool of a kind that only Anthropic's servers run.
    pub fn talk(self) -> Result<Talk, Refusal> {
        if self.messages.is_empty() {
            return Err(Refusal::invalid(
                "'messages' is empty; expected [{\"role\": \"user\", \"content\": \"Hello\"}]",
            )
            .at("messages"));
        }
        let mut messages = Vec::new();
        if let Some(system) = &self.system {
            messages.push(message("system", texts(system)));
        }
        for said in self.messages {
            add(said, &mut messages)?;
        }
        let mut variables = Vec::new();
        if let Some(thinking) = &self.thinking {
            let thinks = !matches!(thinking, Thinking::Disabled {});
            variables.push(("enable_thinking".to_owned(), thinks.into()));
        }
        let (choice, single) = choice(self.tool_choice);
        let tools: Result<Vec<Value>, Refusal> =
            self.tools.into_iter().enumerate().map(tool).collect();
        Ok(Talk {
            messages,
            tools: Some(tools?.into()),
            choice,
            parallel: single.then_some(false),
            variables,
            ..Talk::default()
        })
    }
}

fn texts(content: &TextOr<TextBlock>) -> Vec<Value> {
    match content {
        TextOr::Text(text) => vec![text_part(text)],
        TextOr::List(blocks) => blocks.iter().map(|b| text_part(b.text())).collect(),
    }
}

/// The text of a result.
fn joined(content: Option<TextOr<TextBlock>>) -> String {
    match content {
        None => String::new(),
        Some(TextOr::Text(text)) => text,
        Some(TextOr::List(blocks)) => {
            let texts: Vec<&str> = blocks.iter().map(TextBlock::text).collect();
            texts.join("\n")
        }
    }
}

/// Adds what someone said: results of tools are messages of their own.
///
/// Errors: a block of the other side.
fn add(said: InputMessage, messages: &mut Vec<Value>) -> Result<(), Refusal> {
    let blocks = match said.content {
        TextOr::Text(text) => vec![InputBlock::Text { text }],
        TextOr::List(blocks) => blocks,
    };
    match said.role {
        Role::Assistant => messages.push(answer(blocks)?),
        Role::User => from_user(blocks, "user", messages)?,
        Role::System => from_user(blocks, "system", messages)?,
    }
    Ok(())
}

fn from_user(
    blocks: Vec<InputBlock>,
    role: &str,
    messages: &mut Vec<Value>,
) -> Result<(), Refusal> {
    let mut parts = Vec::new();
    let empty = blocks.is_empty();
    for block in blocks {
        match block {
            InputBlock::Text { text } => parts.push(text_part(&text)),
            InputBlock::ToolResult {
                tool_use_id,
                content,
            } => {
                if !parts.is_empty() {
                    messages.push(message(role, std::mem::take(&mut parts)));
                }
                messages.push(result(&tool_use_id, &joined(content)));
            }
            _ => {
                return Err(wrong(
                    "a message of the user has a block of the assistant; expected 'text' and 'tool_result'",
                ));
            }
        }
    }
    if !parts.is_empty() || empty {
        messages.push(message(role, parts));
    }
    Ok(())
}

fn answer(blocks: Vec<InputBlock>) -> Result<Value, Refusal> {
    let mut parts = Vec::new();
    let mut reasoning = String::new();
    let mut calls = Vec::new();
    for block in blocks {
        match block {
            InputBlock::Text { text } => parts.push(text_part(&text)),
            InputBlock::Thinking { thinking } => reasoning += &thinking,
            InputBlock::RedactedThinking {} => {}
            InputBlock::ToolUse { id, name, input } => {
                let arguments = match input.is_none() {
                    true => Ok("{}".into()),
                    false => serde_json::to_string(&input),
                };
                let arguments =
                    arguments.map_err(|e| wrong(&format!("an 'input' is no JSON: {e}")))?;
                calls.push(call(&id, &name, &arguments));
            }
            InputBlock::ToolResult { .. } => {
                return Err(wrong(
                    "a message of the assistant has a 'tool_result'; results stand in messages of the user",
                ));
            }
        }
    }
    let mut said = match parts.is_empty() {
        true => object([("role", "assistant".into()), ("content", "".into())]),
        false => message("assistant", parts),
    };
    if !reasoning.is_empty() {
        said = with(&said, "reasoning_content", reasoning.as_str().into());
    }
    if !calls.is_empty() {
        said = with(&said, "tool_calls", calls.into());
    }
    Ok(said)
}

fn wrong(text: &str) -> Refusal {
    Refusal::invalid(text).at("messages")
}

/// A tool in OpenAI's form.
fn tool((i, tool): (usize, ToolDefinition)) -> Result<Value, Refusal> {
    let wrong = |text: String| Err(Refusal::invalid(text).at(format!("tools[{i}]")));
    if let Some(kind) = tool.kind.filter(|k| k != "custom") {
        return wrong(format!(
            "the tool '{}' is of type '{kind}', and this server runs no tools; describe it with an 'input_schema' and run it yourself",
            tool.name
        ));
    }
    if tool.input_schema.entries().is_none() {
        return wrong(format!(
            "the tool '{}' has no 'input_schema'; expected a JSON schema as {{\"type\": \"object\", \"properties\": {{}}}}",
            tool.name
        ));
    }
    let mut function = object([("name", tool.name.as_str().into())]);
    if let Some(description) = &tool.description {
        function = with(&function, "description", description.as_str().into());
    }
    let function = with(&function, "parameters", tool.input_schema);
    Ok(object([
        ("type", "function".into()),
        ("function", function),
    ]))
}

/// Whether tools are called, and whether one at most.
fn choice(given: Option<ToolChoice>) -> (Choice, bool) {
    match given {
        None => (Choice::Auto, false),
        Some(ToolChoice::None {}) => (Choice::None, false),
        Some(ToolChoice::Auto {
            disable_parallel_tool_use: single,
        }) => (Choice::Auto, single),
        Some(ToolChoice::Any {
            disable_parallel_tool_use: single,
        }) => (Choice::Required, single),
        Some(ToolChoice::Tool {
            name,
            disable_parallel_tool_use: single,
        }) => (Choice::Named(name), single),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::read;
    use serde_json::json;

    fn talk(body: serde_json::Value) -> Result<Talk, Refusal> {
        read::json::<Prompted>(body.to_string().as_bytes())?.talk()
    }

    fn plain(value: &[Value]) -> serde_json::Value {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn blocks_are_messages_of_openai() {
        let talk = talk(json!({
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I ask."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"z": 1, "a": "x"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]},
                    {"type": "text", "text": "And?"},
                ]},
            ],
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
            "thinking": {"type": "enabled", "budget_tokens": 100},
        }))
        .unwrap();
        assert_eq!(
            plain(&talk.messages),
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": "I ask.", "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"z\":1,\"a\":\"x\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "t1", "content": "4\n2"},
                {"role": "user", "content": "And?"},
            ])
        );
        assert_eq!(
            plain(&[talk.tools.unwrap()]),
            json!([[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]])
        );
        assert_eq!(talk.choice, Choice::Required);
        assert_eq!(talk.parallel, Some(false));
        assert_eq!(talk.variables[0].0, "enable_thinking");
        assert_eq!(talk.variables[0].1.as_bool(), Some(true));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let of = |content: serde_json::Value| {
            talk(json!({"messages": [{"role": "user", "content": content}]})).unwrap_err()
        };
        let e = of(json!([{"type": "image", "source": {}}]));
        assert_eq!(e.param.as_deref(), Some("messages[0].content[0].type"));
        assert!(e.message.contains("image"), "{}", e.message);
        assert!(of(json!(1)).message.contains("a text or a list"));
        let e = of(json!([{"type": "tool_use", "id": "x", "name": "f", "input": {}}]));
        assert_eq!(e.param.as_deref(), Some("messages"));
        assert!(talk(json!({"messages": []})).is_err());
        let e = talk(json!({
            "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        }));
        assert_eq!(e.unwrap_err().param.as_deref(), Some("tools[0]"));
    }

    #[test]
    fn a_budget_leaves_room_for_an_answer() {
        let prompted: Prompted = read::json(
            br#"{"messages": [], "thinking": {"type": "enabled", "budget_tokens": 10, "display": "omitted"}}"#,
        )
        .unwrap();
        assert!(prompted.check_budget(10).is_err());
        assert!(prompted.check_budget(11).is_ok());
        assert!(prompted.omits_thinking());
    }
}
