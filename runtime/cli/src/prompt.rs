//! Chat templates and conversations as the command line names them.

use crate::input::{self, Input, Start};
use anyhow::{Context, Result, anyhow, bail};
use carat::template::{self, ChatTemplate, Clock, Limits, TemplateError, Value};
use carat_converter::hf_tokenizer::HfTemplate;
use carat_gguf::Header;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A chat template and the texts of two tokens that it may print.
#[derive(Clone, Debug)]
pub struct Template {
    /// Jinja.
    pub source: String,
    /// Text of the token that begins a text; empty if there is none.
    pub bos: String,
    /// Text of the token that ends a text; empty if there is none.
    pub eos: String,
}

impl Template {
    /// The template of a Carat file, of any GGUF, of a Hugging Face directory, or a file that is one.
    ///
    /// Errors: nothing there, none of these, or a model without a template.
    pub fn open(path: &Path) -> Result<Self> {
        let none = || {
            anyhow!(
                "{}: the model has no chat template; give a file with one (carat template FILE.jinja …)",
                path.display()
            )
        };
        if is_text(path) {
            return Ok(Self {
                source: input::read_text(path)?,
                bos: String::new(),
                eos: String::new(),
            });
        }
        match input::kind(path)? {
            Input::Directory => {
                let found = HfTemplate::load(path)?.ok_or_else(none)?;
                Ok(Self {
                    source: found.template,
                    bos: found.bos,
                    eos: found.eos,
                })
            }
            Input::Carat | Input::Gguf(_) => {
                let start = Start::read(path)?;
                let found = Self::of_header(&start.header()?);
                found
                    .with_context(|| path.display().to_string())?
                    .ok_or_else(none)
            }
        }
    }

    /// The template that a GGUF or Carat file holds.
    ///
    /// Errors: a key of another type.
    pub fn of_header(header: &Header<'_>) -> Result<Option<Self>> {
        let found = ChatTemplate::of_header(header)?;
        Ok(found.map(|t| Self {
            source: t.source,
            bos: t.bos,
            eos: t.eos,
        }))
    }

    /// The prompt of a conversation.
    ///
    /// Errors: those of the template, with its line and what to try.
    pub fn render(&self, input: &template::Input) -> Result<String> {
        template::render(&self.source, input, &Limits::default())
            .map_err(|e| anyhow!("{e}{}", advice(&e)))
    }
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

/// What to try, to be put behind the error.
pub fn advice(error: &TemplateError) -> &'static str {
    match error {
        TemplateError::Refused { .. } => "; change the messages",
        TemplateError::Failed { .. } => {
            "; compare the messages and tools with what that line reads"
        }
        TemplateError::Syntax { .. } => "; mend the template",
        _ => "",
    }
}

/// A conversation of a JSON file, `-` for standard input: an object with `messages`, or a list of them.
///
/// Errors: no such file, not JSON, other types; each names the file, and the line where there is one.
pub fn conversation(path: &Path, template: &Template) -> Result<template::Input> {
    let text = if path.as_os_str() == "-" {
        stdin()?
    } else {
        input::read_text(path)?
    };
    parse(&text, template).with_context(|| match path.as_os_str() == "-" {
        true => "standard input".into(),
        false => path.display().to_string(),
    })
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

const EXPECTED: &str = r#"expected {"messages": [{"role": "user", "content": "Hello"}]}"#;

fn parse(text: &str, template: &Template) -> Result<template::Input> {
    let root: Value =
        serde_json::from_str(text).map_err(|e| anyhow!("not JSON: {e}; {EXPECTED}"))?;
    let mut input = template::Input {
        add_generation_prompt: true,
        bos_token: template.bos.clone(),
        eos_token: template.eos.clone(),
        clock: now(),
        ..template::Input::default()
    };
    if root.items().is_some() {
        input.messages = root;
    } else {
        let Some(entries) = root.entries() else {
            bail!("neither an object nor a list; {EXPECTED}");
        };
        let mut messages = None;
        for (key, value) in entries {
            let key = key.as_str().unwrap_or_default();
            let text = || match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(anyhow!("'{key}' is {value:?}; expected a text")),
            };
            match key {
                "messages" => messages = Some(value.clone()),
                "tools" if value.is_none() => {}
                "tools" if value.items().is_some() => input.tools = Some(value.clone()),
                "tools" => bail!("'tools' is no list; give a list of functions, or leave it out"),
                "add_generation_prompt" => match value.as_bool() {
                    Some(flag) => input.add_generation_prompt = flag,
                    None => bail!("'{key}' is {value:?}; expected true or false"),
                },
                "bos_token" => input.bos_token = text()?,
                "eos_token" => input.eos_token = text()?,
                "date" => input.clock = Clock::Text(text()?),
                _ => input.variables.push((key.to_owned(), value.clone())),
            }
        }
        input.messages = messages.ok_or_else(|| anyhow!("there is no 'messages'; {EXPECTED}"))?;
    }
    let Some(messages) = input.messages.items() else {
        bail!("'messages' is no list; {EXPECTED}");
    };
    for (i, message) in messages.iter().enumerate() {
        if message.entries().is_none() {
            bail!("message {} is no object; {EXPECTED}", i + 1);
        }
        if message.get("role").and_then(Value::as_str).is_none() {
            bail!("message {} has no 'role'; {EXPECTED}", i + 1);
        }
    }
    Ok(input)
}

/// The messages of a conversation's file. Errors: as for [`conversation`].
pub fn messages(text: &str) -> Result<Value> {
    let none = Template {
        source: String::new(),
        bos: String::new(),
        eos: String::new(),
    };
    parse(text, &none).map(|input| input.messages)
}

/// What `strftime_now` tells: this time, in UTC.
pub fn now() -> Clock {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Clock::Unix(now.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0)))
}
