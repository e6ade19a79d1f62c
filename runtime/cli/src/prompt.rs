//! Chat templates and conversations as the command line names them.

use crate::input::{self, Input, Start};
use crate::term;
use anyhow::{Context, Result, anyhow};
use carat_converter::hf_tokenizer;
use carat_text::template::{ChatError, ChatTemplate, Conversation, TemplateError, Value, wide_int};
use std::io::Read;
use std::path::Path;

/// The templates of a Carat file, of any GGUF, of a Hugging Face directory, or a file that is one.
///
/// Errors: nothing there, none of these, or a model without a template.
pub fn template(path: &Path) -> Result<ChatTemplate> {
    let none = || {
        anyhow!(
            "{}: the model has no chat template; give a file with one (carat template FILE.jinja …)",
            path.display()
        )
    };
    if is_text(path) {
        // Whose tokens they are is not known: they print nothing, unless the conversation says what.
        let tokens = ["bos_token", "eos_token"].map(|t| (t.to_owned(), String::new()));
        return Ok(ChatTemplate::of_source(
            input::read_text(path)?,
            tokens.into(),
        ));
    }
    let found = match input::kind(path)? {
        Input::Directory => hf_tokenizer::chat_template(path)?,
        Input::Carat | Input::Gguf(_) => {
            let start = Start::read(path)?;
            let found = ChatTemplate::of_header(&start.header()?);
            found.with_context(|| path.display().to_string())?
        }
    };
    found.ok_or_else(none)
}

/// A file that is a template by its name.
fn is_text(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    ["jinja", "jinja2", "j2", "txt"]
        .iter()
        .any(|e| extension.eq_ignore_ascii_case(e))
        && !path.is_dir()
}

/// The error with what to try behind it.
pub fn advised(error: ChatError) -> anyhow::Error {
    let ChatError::Template(fault) = &error else {
        return error.into();
    };
    let advice = match fault {
        TemplateError::Refused { .. } => "; change the messages",
        TemplateError::Failed { .. } => {
            "; compare the messages and tools with what that line reads"
        }
        TemplateError::Syntax { .. } => "; mend the template",
        _ => return error.into(),
    };
    let text = format!("{error}{advice}");
    anyhow::Error::from(error).context(text)
}

/// Notes what of a conversation the template does not read.
///
/// Errors: those of the template.
pub fn note_unread(template: &ChatTemplate, talk: &Conversation) -> Result<()> {
    if let Some(what) = template.unread(talk).map_err(advised)? {
        term::note(&format!(
            "note: the chat template does not read {what}: the model is not told of it"
        ));
    }
    Ok(())
}

/// What is given for a conversation is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoConversation(String);

/// A conversation of a JSON file, `-` for standard input: an object with `messages`, or a list of them.
///
/// Errors: no such file, not JSON, other types; each names the file, and the line where there is one.
pub fn conversation(path: &Path) -> Result<Conversation> {
    let text = match path.as_os_str() == "-" {
        true => stdin()?,
        false => input::read_text(path)?,
    };
    parse(&text).with_context(|| shown(path))
}

/// The name of a conversation's file in messages.
pub fn shown(path: &Path) -> String {
    match path.as_os_str() == "-" {
        true => "standard input".into(),
        false => path.display().to_string(),
    }
}

fn parse(text: &str) -> Result<Conversation> {
    let root: Value = serde_json::from_str(text).map_err(|e| {
        NoConversation(format!(
            "not JSON: {e}; expected {}",
            r#"{"messages": [{"role": "user", "content": "Hello"}]}"#
        ))
    })?;
    if let Some(number) = wide_int(text) {
        let number: String = number.chars().take(30).collect();
        return Err(NoConversation(format!(
            "the number {number} has more than 64 bits, and would be rounded; give it as a text"
        ))
        .into());
    }
    Ok(Conversation::new(root)?)
}

/// All of standard input. Errors: it cannot be read, or is not UTF-8.
pub fn stdin() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .context("standard input")?;
    input::utf8(bytes).context("standard input")
}
