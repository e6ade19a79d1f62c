//! The parts of an answer: what a user reads, reasoning, and calls of tools.

use carat_text::reply::{Delta, Parser};
use std::collections::VecDeque;

/// A part of an answer, as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// More of the text that the user reads, at least one character.
    Text(String),
    /// More of the model's reasoning, at least one character.
    Reasoning(String),
    /// A call of a tool, whole.
    Call(Call),
}

/// A call of a tool: [`Chat::answer_calls`](crate::Chat::answer_calls) takes what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the call in its chat.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, a JSON object.
    pub arguments: String,
}

/// Makes parts of a text that comes in pieces.
#[derive(Default)]
pub(super) struct Parts {
    parser: Option<Parser>,
    /// Calls in this chat before this answer.
    before: usize,
    /// The call that is being read.
    call: Option<Call>,
    queue: VecDeque<Part>,
}

impl Parts {
    /// Of an answer in a chat that has had so many calls. Without a parser all is text.
    pub(super) fn new(parser: Option<Parser>, before: usize) -> Self {
        Self {
            parser,
            before,
            ..Self::default()
        }
    }

    /// Takes text.
    pub(super) fn push(&mut self, text: String) {
        match &mut self.parser {
            Some(parser) => {
                let deltas = parser.push(&text);
                self.take(deltas);
            }
            None if text.is_empty() => {}
            None => self.queue.push_back(Part::Text(text)),
        }
    }

    /// The text has ended. What was read of a call that has no end is text.
    pub(super) fn finish(&mut self) {
        if let Some(mut parser) = self.parser.take() {
            let deltas = parser.finish();
            self.take(deltas);
        }
        self.spill();
    }

    /// The next part that is known.
    pub(super) fn pop(&mut self) -> Option<Part> {
        self.queue.pop_front()
    }

    fn spill(&mut self) {
        if let Some(call) = self.call.take() {
            let text = format!("{} {}", call.name, call.arguments);
            self.queue.push_back(Part::Text(text));
        }
    }

    fn take(&mut self, deltas: Vec<Delta>) {
        for delta in deltas {
            match delta {
                Delta::Content(text) => {
                    self.spill();
                    self.queue.push_back(Part::Text(text));
                }
                Delta::Reasoning(text) => self.queue.push_back(Part::Reasoning(text)),
                Delta::Call { index, name } => {
                    self.spill();
                    self.call = Some(Call {
                        id: format!("call_{}", self.before + index),
                        name,
                        arguments: String::new(),
                    });
                }
                Delta::Arguments { text, .. } => {
                    if let Some(call) = &mut self.call {
                        call.arguments += &text;
                    }
                }
                Delta::End { .. } => self.queue.extend(self.call.take().map(Part::Call)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carat_text::reply::{Options, Syntax};

    fn parts(text: &str) -> Vec<Part> {
        let options = Options {
            calls: true,
            ..Options::default()
        };
        let syntax = Syntax::of_template("<think></think> <tool_call> {\"name\"");
        let mut parts = Parts::new(Some(Parser::new(&syntax, options)), 3);
        for c in text.chars() {
            parts.push(c.to_string());
        }
        parts.finish();
        let mut all: Vec<Part> = Vec::new();
        while let Some(part) = parts.pop() {
            match (all.last_mut(), part) {
                (Some(Part::Text(all)), Part::Text(t))
                | (Some(Part::Reasoning(all)), Part::Reasoning(t)) => all.push_str(&t),
                (_, part) => all.push(part),
            }
        }
        all
    }

    #[test]
    fn calls_come_whole() {
        let call = |id: &str, name: &str, arguments: &str| {
            Part::Call(Call {
                id: id.into(),
                name: name.into(),
                arguments: arguments.into(),
            })
        };
        let text = "<think>\nHm.\n</think>\nSo.<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>";
        assert_eq!(
            parts(text),
            [
                Part::Reasoning("Hm.".into()),
                Part::Text("So.".into()),
                call("call_3", "add", "{\"a\": 1}"),
                call("call_4", "now", "{}"),
            ]
        );
    }

    #[test]
    fn a_call_without_an_end_is_text() {
        let text = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": ";
        let found = parts(text);
        assert_eq!(found, [Part::Text("add {\"a\": ".into())]);
    }
}
