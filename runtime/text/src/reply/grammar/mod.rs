//! A grammar with which a model writes calls that are calls, in its own format: to be followed by a
//! [`Guide`](crate::grammar::Guide) with [`Kind::Lark`](crate::grammar::Kind::Lark).
//!
//! Names are those of the tools and arguments follow their schemas. Texts that formats write without quotes are free, except
//! where the schema lists them. What a format cannot express is an error that says so: nothing of a schema is ignored.

mod lark;
mod list;
mod tags;
mod words;

use super::format::Writing;
use super::{Syntax, Tools};
use crate::grammar::GrammarError;
use crate::tokenizer::Tokenizer;
use lark::Lark;

/// Which calls an answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Text, calls, or both.
    Auto,
    /// At least one call, and no text but reasoning.
    Required,
    /// A call of this tool, and no text but reasoning.
    Named(String),
}

/// What reasoning an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// None.
    None,
    /// The answer may begin with it.
    May,
    /// The prompt ends within it: [`Syntax::opens_reasoning`].
    Opened,
}

/// What an answer is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which calls it has.
    pub choice: Choice,
    /// Whether it may have more than one call. Harmony ends an answer at the first.
    pub parallel: bool,
    /// What reasoning it has.
    pub reasoning: Reasoning,
}

/// Calls that no grammar can be made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallsError {
    /// There is nothing to call.
    #[error("there are no tools to call; give at least one, or ask for no calls")]
    NoTools,
    /// A tool is asked for that is none.
    #[error("there is no tool '{name}' to call; the tools are: {names}")]
    NoTool {
        /// The name that is asked for.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// A schema that is none, or not supported.
    #[error("the parameters of tool '{tool}' cannot be followed: {error}")]
    Schema {
        /// The tool.
        tool: String,
        /// What is wrong.
        error: GrammarError,
    },
    /// What a format cannot express.
    #[error(
        "the format '{format}' of this model's calls cannot be held to the parameters of tool '{tool}': {reason}; simplify them, \
         or ask for calls that are not strict"
    )]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The tool.
        tool: String,
        /// What cannot be expressed.
        reason: String,
    },
}

/// The grammar of an answer that calls tools, in llguidance's variant of Lark's syntax.
///
/// Errors: no tools, or none of the name that is asked for; a schema that is not supported; one that the format cannot express.
pub fn grammar(
    syntax: &Syntax,
    tokenizer: &Tokenizer,
    tools: &Tools,
    rules: &Rules,
) -> Result<String, CallsError> {
    let chosen: Vec<&super::Tool> = match &rules.choice {
        Choice::Named(name) => tools.iter().filter(|t| t.name == *name).collect(),
        _ => tools.iter().collect(),
    };
    if let (Choice::Named(name), true) = (&rules.choice, chosen.is_empty()) {
        let names: Vec<&str> = tools.iter().map(|t| t.name.as_str()).collect();
        let names = names.join(", ");
        return Err(CallsError::NoTool {
            name: name.clone(),
            names,
        });
    }
    if chosen.is_empty() {
        return Err(CallsError::NoTools);
    }
    let mut lark = Lark::new(syntax, tokenizer);
    let mut calls = Vec::new();
    for tool in chosen {
        calls.push(call(&mut lark, tool)?);
    }
    let call = lark.rule("call", &calls.join(" | "));
    let start = match syntax.format.writing {
        Writing::Harmony => harmony(&mut lark, rules, &call),
        _ => answer(&mut lark, rules, &call),
    };
    Ok(lark.finish(&start))
}

/// One call, without what is around it.
fn call(lark: &mut Lark<'_>, tool: &super::Tool) -> Result<String, CallsError> {
    let name = tool.name.as_str();
    let quoted = super::json::quoted(name);
    Ok(match &lark.syntax.format.writing {
        Writing::Object {
            name: key,
            arguments,
            ..
        } => {
            let front = format!("{{\"{key}\": {quoted}, \"{}\": ", arguments[0]);
            let (front, back) = (lark.text(&front), lark.text("}"));
            format!("{front} {} {back}", lark.arguments(tool)?)
        }
        Writing::Named {
            before,
            id,
            between,
            after,
        } => {
            let front = lark.text(&format!("{before}{name}"));
            let id = id.map(|(mark, expression)| format!("{} /{expression}/", lark.text(mark)));
            let (between, after) = (lark.text(between), lark.text(after));
            let arguments = lark.arguments(tool)?;
            format!(
                "{front} {} {between} {arguments} {after}",
                id.unwrap_or_default()
            )
        }
        Writing::Harmony => {
            let front = lark.text(&format!("<|channel|>commentary to=functions.{name} "));
            let (constrain, message) = (lark.text("<|constrain|>"), lark.text("json<|message|>"));
            format!("{front} ({constrain})? {message} {}", lark.arguments(tool)?)
        }
        Writing::Words(words) => words::call(lark, words, tool)?,
        Writing::Tags(tags) => tags::call(lark, tags, tool)?,
    })
}

/// An answer with blocks of calls.
fn answer(lark: &mut Lark<'_>, rules: &Rules, call: &str) -> String {
    let format = lark.syntax.format;
    let wrap = |lark: &mut Lark<'_>, open: &str, inner: &str, close: &str| {
        let (open, close) = (lark.text(open), lark.text(close));
        format!("{open} {inner} {close}")
    };
    // Behind the marker that opens a block.
    let (back, next);
    let brackets = match &format.writing {
        Writing::Object { list: true, .. } => ("[", "]"),
        Writing::Words(words) if words.list.is_some() => ("[", "]"),
        _ => ("", ""),
    };
    let pad = |open: &str| format!("{open}{}", format.pad);
    // What no marker opens, none closes.
    let close = if format.open.is_empty() {
        ""
    } else {
        format.close
    };
    let close = format!("{}{}{close}", brackets.1, format.pad);
    if format.single {
        let block = wrap(lark, format.pad, call, &close);
        let again = wrap(
            lark,
            &pad(&format!("{}{}", format.between, format.open)),
            call,
            &close,
        );
        back = block;
        next = again;
    } else {
        let item = wrap(lark, format.item.0, call, format.item.1);
        let item = lark.rule("item", &item);
        let between = lark.text(format.between);
        let more = if rules.parallel {
            format!("({between} {item})*")
        } else {
            String::new()
        };
        back = wrap(
            lark,
            &format!("{}{}", format.pad, brackets.0),
            &format!("{item} {more}"),
            &close,
        );
        next = String::new();
    }
    let more = match rules.parallel && format.single {
        true => format!("({next})*"),
        false => String::new(),
    };
    let back = lark.rule("calls", &format!("{back} {more}"));

    let space = lark.rule("space", "(/\\n{1,2}/)?");
    let open = lark.text(format.open);
    let parts = match (&rules.choice, format.open) {
        // An object in front is a call.
        (Choice::Auto, "") => format!("/[ \\n]*[^ \\n{{](.|\\n)*/ | {back} |"),
        (Choice::Auto, marker) => {
            let (plain, until) = (lark.without(marker), lark.until(marker, false));
            format!("({plain})? | {until} {back}")
        }
        _ => format!("{space} {open} {back}"),
    };
    let parts = lark.rule("parts", &parts);
    behind_reasoning(lark, rules.reasoning, &parts)
}

/// An answer that may begin with reasoning.
fn behind_reasoning(lark: &mut Lark<'_>, reasoning: Reasoning, answer: &str) -> String {
    let Some(thought) = lark.syntax.thought else {
        return answer.into();
    };
    let end = lark.until(thought.close, false);
    let open = lark.text(thought.open);
    match reasoning {
        Reasoning::None => answer.into(),
        Reasoning::May => format!("({open} {end})? {answer}"),
        Reasoning::Opened => format!("{end} {answer}"),
    }
}

/// The grammar of an answer that is JSON of a schema, behind reasoning if there is any.
///
/// Errors: a schema that is none, or not supported.
pub fn json(
    syntax: &Syntax,
    tokenizer: &Tokenizer,
    schema: &str,
    reasoning: Reasoning,
) -> Result<String, GrammarError> {
    let schema = crate::grammar::schema(schema)?;
    let mut lark = Lark::new(syntax, tokenizer);
    let json = lark.rule("json", &format!("%json {schema}"));
    let start = match syntax.format.writing {
        Writing::Harmony => {
            let thoughts = harmony_thoughts(&mut lark, reasoning);
            let last = lark.text("<|channel|>final<|message|>");
            format!("{thoughts} {last} {json}")
        }
        _ => {
            let space = lark.rule("space", "(/\\n{1,2}/)?");
            behind_reasoning(&mut lark, reasoning, &format!("{space} {json}"))
        }
    };
    Ok(lark.finish(&start))
}

/// Messages of reasoning, and the start of the one that follows.
fn harmony_thoughts(lark: &mut Lark<'_>, reasoning: Reasoning) -> String {
    let end = lark.until("<|end|>", false);
    let start = lark.text("<|start|>assistant");
    let analysis = lark.text("<|channel|>analysis<|message|>");
    let thought = format!("{analysis} {end} {start}");
    match reasoning {
        Reasoning::None => String::new(),
        Reasoning::May => format!("({thought})*"),
        Reasoning::Opened => format!("{end} {start} ({thought})*"),
    }
}

/// An answer of messages.
fn harmony(lark: &mut Lark<'_>, rules: &Rules, call: &str) -> String {
    let end = lark.until("<|end|>", false);
    let start = lark.text("<|start|>assistant");
    let before = harmony_thoughts(lark, rules.reasoning);
    let commentary = lark.text("<|channel|>commentary<|message|>");
    let last = lark.text("<|channel|>final<|message|>");
    let text = lark.without("<|");
    match rules.choice {
        Choice::Auto => {
            format!("{before} ({commentary} {end} {start})? ({last} ({text})? | {call})")
        }
        _ => format!("{before} {call}"),
    }
}
