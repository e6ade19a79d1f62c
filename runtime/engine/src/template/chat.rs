//! A conversation as the tokens that a model is sent.

use super::{Clock, Input, Limits, TemplateError, Value, render};
use crate::text::{Tokenizer, free_mark, keys as text};
use carat_format::{FormatError, keys};
use carat_gguf::Header;

/// A chat template and the texts of two tokens that it may print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    /// Jinja.
    pub source: String,
    /// Text of the token that begins a text; empty if there is none.
    pub bos: String,
    /// Text of the token that ends a text; empty if there is none.
    pub eos: String,
}

impl ChatTemplate {
    /// The template that a GGUF or Carat file holds.
    ///
    /// Errors: a key of another type.
    pub fn of_header(header: &Header<'_>) -> Result<Option<Self>, FormatError> {
        let Some(source) = header.str_opt(keys::CHAT_TEMPLATE)? else {
            return Ok(None);
        };
        let token = |key: &str| -> Result<String, FormatError> {
            let Some(id) = header.u32_opt(key)? else {
                return Ok(String::new());
            };
            let tokens = header.str_array_opt(text::TOKENS)?;
            let found = tokens.and_then(|mut t| t.nth(id as usize));
            Ok(found.unwrap_or_default().to_owned())
        };
        Ok(Some(Self {
            source: source.to_owned(),
            bos: token(text::BOS)?,
            eos: token(text::EOS)?,
        }))
    }
}

/// A message of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, or what else a template knows.
    pub role: &'a str,
    /// Its text.
    pub content: &'a str,
}

/// Why a conversation has no prompt.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// No character is left to mark users' texts with.
    #[error("the conversation uses every private character of Unicode; remove some")]
    Marks,
    /// The template fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// The prompt of the answer that follows `messages`; without a template one text that goes on.
///
/// No message's text becomes a control token, nor a part of one: see [`Tokenizer::mask`].
///
/// Errors: those of the template.
pub fn chat_ids(
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
    messages: &[Message<'_>],
    clock: Clock,
) -> Result<Vec<u32>, ChatError> {
    let Some(template) = template else {
        return Ok(tokenizer.encode_prompt(&plain(messages), false));
    };
    let texts = messages.iter().map(|m| m.content);
    let mark = free_mark(texts.chain([template.source.as_str()])).ok_or(ChatError::Marks)?;
    let dict = |m: &Message<'_>| {
        let masked = tokenizer.mask(m.content, mark);
        let pairs = [("role", m.role), ("content", &masked)];
        Value::map(pairs.map(|(k, v)| (k.into(), v.into()))).unwrap_or_default()
    };
    let input = Input {
        messages: messages.iter().map(dict).collect::<Vec<_>>().into(),
        add_generation_prompt: true,
        bos_token: template.bos.clone(),
        eos_token: template.eos.clone(),
        clock,
        ..Input::default()
    };
    let prompt = render(&template.source, &input, &Limits::default())?;
    Ok(tokenizer.encode_masked(&prompt, mark))
}

/// A conversation for a model without a template: one text that goes on.
fn plain(messages: &[Message<'_>]) -> String {
    let mut out = String::new();
    for m in messages {
        out.push_str(m.content);
        match m.role {
            "system" => out.push_str("\n\n"),
            "assistant" => out.push('\n'),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_template_a_text_goes_on() {
        let messages = [
            ("system", "Be brief."),
            ("user", "Hi"),
            ("assistant", "Hello"),
            ("user", "Bye"),
        ];
        let messages = messages.map(|(role, content)| Message { role, content });
        assert_eq!(plain(&messages), "Be brief.\n\nHiHello\nBye");
    }
}
