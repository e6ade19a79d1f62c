//! `carat template`: the prompt of a conversation, as a model would be sent it.

use crate::args::TemplateArgs;
use crate::prompt::{Template, conversation};
use crate::term;
use anyhow::{Context, Result};
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
    let template = Template::open(&args.model)?;
    let input = conversation(&args.messages, &template)?;
    let prompt = template
        .render(&input)
        .with_context(|| args.model.display().to_string())?;
    if args.json {
        return term::print_json(&Report {
            prompt: &prompt,
            bos_token: &input.bos_token,
            eos_token: &input.eos_token,
        });
    }
    term::print(&prompt)
}
