//! Items as messages, which templates read.

use super::request::{InputItem, Part, ResponsesRequest};
use crate::openai::chat::choice;
use crate::refusal::Refusal;
use crate::tools::{Talk, format};
use crate::values::{TextOr, call, message, object, result, text_part, with};
use carat_text::template::Value;

impl ResponsesRequest {
    /// The conversation.
    ///
    /// Errors: no items, one that is none, a tool that is no function.
    pub fn talk(self) -> Result<Talk, Refusal> {
        let mut messages = Vec::new();
        if let Some(instructions) = &self.instructions {
            messages.push(message("system", vec![text_part(instructions)]));
        }
        match self.input {
            TextOr::Text(text) => messages.push(message("user", vec![text_part(&text)])),
            TextOr::List(items) => add_all(items, &mut messages)?,
        }
        let mut variables = Vec::new();
        if let Some(effort) = self.reasoning.and_then(|r| r.effort) {
            variables.push(("reasoning_effort".to_owned(), effort.as_str().into()));
        }
        let asked = self.text.map(|t| t.format);
        let asked = format(asked.as_ref(), None).map_err(|mut e| {
            e.param = Some("text.format".into());
            e
        })?;
        let mut talk = Talk {
            messages,
            tools: tools(&self.tools)?,
            choice: choice(&self.tool_choice)?,
            parallel: self.parallel_tool_calls,
            variables,
            ..Talk::default()
        };
        talk.format = asked;
        Ok(talk)
    }
}

/// Tools of this API's form in that of chats.
///
/// Errors: a tool that is no function.
fn tools(given: &Value) -> Result<Option<Value>, Refusal> {
    if given.is_none() {
        return Ok(None);
    }
    let wrong = |text: String| Refusal::invalid(text).at("tools");
    let items = given.items().ok_or_else(|| {
        wrong("'tools' is no list; expected [{\"type\": \"function\", …}]".into())
    })?;
    let mut all = Vec::with_capacity(items.len());
    for tool in items {
        let kind = tool.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind != "function" {
            return Err(wrong(format!(
                "a tool is of type '{kind}', and this server runs no tools; expected 'function'"
            )));
        }
        let mut function = object([]);
        for key in ["name", "description", "parameters", "strict"] {
            if let Some(value) = tool.get(key).filter(|v| !v.is_none()) {
                function = with(&function, key, value.clone());
            }
        }
        all.push(object([
            ("type", "function".into()),
            ("function", function),
        ]));
    }
    Ok(Some(all.into()))
}

/// What the model did between two others: one message.
#[derive(Default)]
struct Turn {
    reasoning: Vec<String>,
    parts: Vec<Value>,
    calls: Vec<Value>,
}

impl Turn {
    /// The message, if there is anything in it.
    fn end(&mut self, messages: &mut Vec<Value>) {
        let Self {
            reasoning,
            parts,
            calls,
        } = std::mem::take(self);
        if reasoning.is_empty() && parts.is_empty() && calls.is_empty() {
            return;
        }
        let mut said = match parts.is_empty() {
            true => object([("role", "assistant".into()), ("content", "".into())]),
            false => message("assistant", parts),
        };
        if !reasoning.is_empty() {
            let text = reasoning.join("\n\n");
            said = with(&said, "reasoning_content", text.as_str().into());
        }
        if !calls.is_empty() {
            said = with(&said, "tool_calls", calls.into());
        }
        messages.push(said);
    }
}

fn add_all(items: Vec<InputItem>, messages: &mut Vec<Value>) -> Result<(), Refusal> {
    if items.is_empty() {
        return Err(Refusal::invalid(
            "'input' is empty; expected a text, or [{\"role\": \"user\", \"content\": \"Hello\"}]",
        )
        .at("input"));
    }
    let mut turn = Turn::default();
    for (i, item) in items.into_iter().enumerate() {
        add(item, &mut turn, messages).map_err(|text| {
            Refusal::invalid(format!("item {i} {text}")).at(format!("input[{i}]"))
        })?;
    }
    turn.end(messages);
    Ok(())
}

/// Errors: what is wrong with the item.
fn add(item: InputItem, turn: &mut Turn, messages: &mut Vec<Value>) -> Result<(), String> {
    let missing = |field: &str| format!("has no '{field}'; give it");
    match item.kind.as_deref().unwrap_or("message") {
        "message" => {
            let role = item.role.ok_or_else(|| missing("role"))?;
            let parts = texts(item.content.ok_or_else(|| missing("content"))?)?;
            match role.as_str() {
                "assistant" => {
                    // A message after calls begins a turn of its own.
                    if !turn.calls.is_empty() {
                        turn.end(messages);
                    }
                    turn.parts.extend(parts.iter().map(|t| text_part(t)));
                }
                "user" | "system" | "developer" => {
                    turn.end(messages);
                    let parts = parts.iter().map(|t| text_part(t)).collect();
                    messages.push(message(&role, parts));
                }
                other => {
                    return Err(format!(
                        "has the role '{other}'; expected 'user', 'assistant', 'system' or 'developer'"
                    ));
                }
            }
        }
        "reasoning" => {
            let content = item.content.map(texts).transpose()?.unwrap_or_default();
            let summary = texts(TextOr::List(item.summary.unwrap_or_default()))?;
            let of = if content.is_empty() { summary } else { content };
            turn.reasoning.extend(of);
        }
        "function_call" => {
            let id = item.call_id.ok_or_else(|| missing("call_id"))?;
            let name = item.name.ok_or_else(|| missing("name"))?;
            let arguments = item.arguments.ok_or_else(|| missing("arguments"))?;
            turn.calls.push(call(&id, &name, &arguments));
        }
        "function_call_output" => {
            turn.end(messages);
            let id = item.call_id.ok_or_else(|| missing("call_id"))?;
            let output = texts(item.output.ok_or_else(|| missing("output"))?)?;
            messages.push(result(&id, &output.join("\n")));
        }
        "item_reference" => {
            return Err("refers to another, and this server keeps none; send the item".into());
        }
        other => {
            return Err(format!(
                "is of type '{other}'; expected 'message', 'function_call', 'function_call_output' or 'reasoning'"
            ));
        }
    }
    Ok(())
}

/// The texts of parts.
///
/// Errors: a part that is no text.
fn texts(content: TextOr<Part>) -> Result<Vec<String>, String> {
    let parts = match content {
        TextOr::Text(text) => return Ok(vec![text]),
        TextOr::List(parts) => parts,
    };
    let texts = parts.into_iter().map(|part| {
        part.text.ok_or_else(|| {
            format!(
                "has a part of type '{}'; this model reads texts alone",
                part.kind
            )
        })
    });
    texts.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::read;
    use crate::tools::Choice;
    use serde_json::json;

    fn talk(body: serde_json::Value) -> Result<Talk, Refusal> {
        let request: ResponsesRequest = read::json(body.to_string().as_bytes())?;
        request.check()?;
        request.talk()
    }

    #[test]
    fn items_are_messages() {
        let talk = talk(json!({
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": "6 * 7?"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
                {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                 "content": [{"type": "output_text", "text": "I ask.", "annotations": []}]},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "42"},
                {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "x"}]},
                {"role": "developer", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true, "description": null}],
            "tool_choice": {"type": "function", "name": "f"},
            "parallel_tool_calls": false,
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_object"}},
        }))
        .unwrap();
        assert_eq!(
            serde_json::to_value(&talk.messages).unwrap(),
            json!([
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "6 * 7?"},
                {"role": "assistant", "content": "I ask.", "reasoning_content": "Hm.", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
                {"role": "tool", "tool_call_id": "c2", "content": "x"},
                {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ])
        );
        assert_eq!(
            serde_json::to_value(&talk.tools).unwrap(),
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true}}])
        );
        assert_eq!(talk.choice, Choice::Named("f".into()));
        assert_eq!(talk.parallel, Some(false));
        assert_eq!(talk.format, carat::Format::Json);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let param = |body: serde_json::Value| talk(body).unwrap_err().param.unwrap_or_default();
        assert_eq!(param(json!({"input": []})), "input");
        assert_eq!(param(json!({"input": 1})), "input");
        assert_eq!(
            param(
                json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]})
            ),
            "input[0]"
        );
        assert_eq!(
            param(json!({"input": [{"type": "item_reference", "id": "x"}]})),
            "input[0]"
        );
        assert_eq!(
            param(json!({"input": [{"role": "user", "content": [1]}]})),
            "input[0].content[0]"
        );
        assert_eq!(
            param(json!({"input": "x", "previous_response_id": "resp_1"})),
            "previous_response_id"
        );
        assert_eq!(
            param(json!({"input": "x", "tools": [{"type": "web_search"}]})),
            "tools"
        );
        assert_eq!(
            param(json!({"input": "x", "text": {"format": {"type": "xml"}}})),
            "text.format"
        );
        assert!(talk(json!({"input": "x", "store": true, "background": false})).is_ok());
    }
}
