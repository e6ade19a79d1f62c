//! `carat template`: the prompt of a conversation, as a model would be sent it.

use crate::args::TemplateArgs;
use crate::prompt;
use crate::term;
use anyhow::{Context, Result};
use carat_text::template::{ChatTemplate, Clock, Conversation};
use serde::Serialize;

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    prompt: &'a str,
    bos_token: &'a str,
    eos_token: &'a str,
}

/// Runs the command.
pub fn run(args: TemplateArgs) -> Result<()> {
    let template = prompt::template(&args.model)?;
    let talk = prompt::conversation(&args.messages)?;
    let text = template
        .render(&talk, Clock::now(), &str::to_owned)
        .map_err(prompt::advised)
        .with_context(|| args.model.display().to_string())?;
    prompt::note_unread(&template, &talk)?;
    if args.json {
        return term::print_json(&Report {
            prompt: &text,
            bos_token: token(&template, &talk, "bos_token"),
            eos_token: token(&template, &talk, "eos_token"),
        });
    }
    term::print(&text)
}

/// The text of a token as the template saw it; empty where there was none.
fn token<'a>(template: &'a ChatTemplate, talk: &'a Conversation, name: &str) -> &'a str {
    let own = template.tokens.iter().find(|t| t.0 == name);
    let said = talk.variables.iter().find(|v| v.0 == name);
    match said {
        Some((_, value)) => value.as_str().unwrap_or_default(),
        None => own.map_or("", |t| &t.1),
    }
}
