//! What is read as templates have it, without a type: its form, for the description alone.
#![allow(dead_code)]

use super::anything;
use crate::values::TextOr;
use utoipa::ToSchema;

/// What someone said. Further fields reach the template.
#[derive(ToSchema)]
pub struct ChatMessageForm {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    role: String,
    /// What. Beside calls there may be nothing.
    content: Option<TextOr<ContentPartForm>>,
    /// What the assistant thought.
    reasoning_content: Option<String>,
    /// What the assistant called.
    tool_calls: Option<Vec<ToolCallForm>>,
    /// Of a tool: the name of the call.
    tool_call_id: Option<String>,
    /// Who, where there are several.
    name: Option<String>,
}

/// A part of a message.
#[derive(ToSchema)]
pub struct ContentPartForm {
    /// `text`: models here read texts alone.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The text.
    text: String,
}

/// A call.
#[derive(ToSchema)]
pub struct ToolCallForm {
    /// Its name.
    id: Option<String>,
    /// `function`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The function.
    function: FunctionCallForm,
}

/// A function that is called.
#[derive(ToSchema)]
pub struct FunctionCallForm {
    /// Its name.
    name: String,
    /// A text of JSON, or an object.
    #[schema(schema_with = anything)]
    arguments: String,
}

/// A function that may be called.
#[derive(ToSchema)]
pub struct ToolForm {
    /// `function`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The function.
    function: FunctionForm,
}

/// A function.
#[derive(ToSchema)]
pub struct FunctionForm {
    /// Its name.
    name: String,
    /// What it does.
    description: Option<String>,
    /// The JSON schema of its arguments.
    #[schema(schema_with = anything)]
    parameters: Option<String>,
    /// Ignored: calls always have the form of the schema where the server can make them have it.
    strict: Option<bool>,
}

/// Whether functions are called.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum ToolChoiceForm {
    /// `none`, `auto` or `required`.
    Word(String),
    /// This one.
    Function(NamedForm),
}

/// `{"type": "function", "function": {"name": …}}`, or with the name beside the type.
#[derive(ToSchema)]
pub struct NamedForm {
    /// `function`.
    #[serde(rename = "type")]
    kind: String,
    /// The function.
    function: Option<NameForm>,
    /// Its name.
    name: Option<String>,
}

/// A name.
#[derive(ToSchema)]
pub struct NameForm {
    /// The name.
    name: String,
}

/// What an answer follows.
#[derive(ToSchema)]
pub struct ResponseFormatForm {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    kind: String,
    /// Of `json_schema`.
    json_schema: Option<SchemaForm>,
    /// The JSON schema itself, as llama.cpp takes it.
    #[schema(schema_with = anything)]
    schema: Option<String>,
}

/// A schema with a name.
#[derive(ToSchema)]
pub struct SchemaForm {
    /// Its name.
    name: Option<String>,
    /// Ignored: answers always follow the schema.
    strict: Option<bool>,
    /// The JSON schema.
    #[schema(schema_with = anything)]
    schema: String,
}
