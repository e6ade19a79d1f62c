//! Items of an answer as they come.

use super::events::ResponseEvent;
use super::response::{OutputItem, OutputPart, cut};
use crate::ids;
use crate::parts::Answer;
use carat_text::reply::Delta;

/// The item that is open.
enum Open {
    Reasoning { id: String, text: String },
    Message { id: String, text: String },
    Call(Call),
}

#[derive(Default)]
struct Call {
    id: String,
    call_id: String,
    name: String,
    arguments: String,
}

/// What the model has done so far.
#[derive(Default)]
pub struct Output {
    done: Vec<OutputItem>,
    open: Option<Open>,
}

impl Output {
    /// The items of an answer that has ended.
    pub fn whole(answer: &Answer) -> Vec<OutputItem> {
        let mut this = Self::default();
        let mut out = Vec::new();
        let mut part = |part: Delta| this.part(&part, answer, &mut out);
        if !answer.reasoning.is_empty() {
            part(Delta::Reasoning(answer.reasoning.clone()));
        }
        if !answer.content.is_empty() {
            part(Delta::Content(answer.content.clone()));
        }
        for (index, call) in answer.calls.iter().enumerate() {
            let name = call.name.clone();
            part(Delta::Call { index, name });
            let text = call.arguments.clone();
            part(Delta::Arguments { index, text });
            if crate::values::arguments(&call.arguments).is_some() {
                part(Delta::End { index });
            }
        }
        this.end(answer, &mut out)
    }

    /// The items so far; the open one is left out.
    pub fn so_far(&mut self) -> Vec<OutputItem> {
        std::mem::take(&mut self.done)
    }

    fn index(&self) -> usize {
        self.done.len()
    }

    /// Takes a part in.
    pub fn part(&mut self, part: &Delta, answer: &Answer, out: &mut Vec<ResponseEvent>) {
        match part {
            Delta::Reasoning(delta) => {
                if !matches!(self.open, Some(Open::Reasoning { .. })) {
                    self.close("completed", out);
                    let id = ids::unique("rs_");
                    let text = String::new();
                    self.begin(Open::Reasoning { id, text }, out);
                }
                let output_index = self.index();
                if let Some(Open::Reasoning { id, text }) = &mut self.open {
                    text.push_str(delta);
                    out.push(ResponseEvent::ReasoningDelta {
                        item_id: id.clone(),
                        output_index,
                        content_index: 0,
                        delta: delta.clone(),
                    });
                }
            }
            Delta::Content(delta) => {
                if !matches!(self.open, Some(Open::Message { .. })) {
                    self.close("completed", out);
                    self.begin_message(out);
                }
                let output_index = self.index();
                if let Some(Open::Message { id, text }) = &mut self.open {
                    text.push_str(delta);
                    out.push(ResponseEvent::TextDelta {
                        item_id: id.clone(),
                        output_index,
                        content_index: 0,
                        delta: delta.clone(),
                        logprobs: [],
                    });
                }
            }
            Delta::Call { index, name } => {
                self.close("completed", out);
                let call_id = answer.calls.get(*index).map(|c| c.id.clone());
                let call = Call {
                    id: ids::unique("fc_"),
                    call_id: call_id.unwrap_or_default(),
                    name: name.clone(),
                    arguments: String::new(),
                };
                self.begin(Open::Call(call), out);
            }
            Delta::Arguments { text, .. } => {
                let output_index = self.index();
                if let Some(Open::Call(call)) = &mut self.open {
                    call.arguments.push_str(text);
                    out.push(ResponseEvent::ArgumentsDelta {
                        item_id: call.id.clone(),
                        output_index,
                        delta: text.clone(),
                    });
                }
            }
            Delta::End { .. } => self.close("completed", out),
        }
    }

    /// Ends the answer; gives its items. Without any it has an empty message.
    pub fn end(mut self, answer: &Answer, out: &mut Vec<ResponseEvent>) -> Vec<OutputItem> {
        if self.open.is_none() && self.done.is_empty() {
            self.begin_message(out);
        }
        let call = matches!(self.open, Some(Open::Call(_)));
        let status = match cut(answer) || call {
            true => "incomplete",
            false => "completed",
        };
        self.close(status, out);
        self.done
    }

    fn begin_message(&mut self, out: &mut Vec<ResponseEvent>) {
        let (id, text) = (ids::unique("msg_"), String::new());
        self.begin(Open::Message { id, text }, out);
    }

    fn begin(&mut self, open: Open, out: &mut Vec<ResponseEvent>) {
        let output_index = self.index();
        out.push(ResponseEvent::ItemAdded {
            output_index,
            item: open.item("in_progress", false),
        });
        if let Some((id, part)) = open.content() {
            out.push(ResponseEvent::PartAdded {
                item_id: id,
                output_index,
                content_index: 0,
                part,
            });
        }
        self.open = Some(open);
    }

    fn close(&mut self, status: &'static str, out: &mut Vec<ResponseEvent>) {
        let Some(open) = self.open.take() else { return };
        // A call that something else follows was broken off.
        let broken =
            matches!(&open, Open::Call(c) if crate::values::arguments(&c.arguments).is_none());
        let status = if broken { "incomplete" } else { status };
        let output_index = self.index();
        out.push(match &open {
            Open::Reasoning { id, text } => ResponseEvent::ReasoningDone {
                item_id: id.clone(),
                output_index,
                content_index: 0,
                text: text.clone(),
            },
            Open::Message { id, text } => ResponseEvent::TextDone {
                item_id: id.clone(),
                output_index,
                content_index: 0,
                text: text.clone(),
                logprobs: [],
            },
            Open::Call(call) => ResponseEvent::ArgumentsDone {
                item_id: call.id.clone(),
                output_index,
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            },
        });
        if let Some((id, part)) = open.content() {
            out.push(ResponseEvent::PartDone {
                item_id: id,
                output_index,
                content_index: 0,
                part,
            });
        }
        let item = open.item(status, true);
        self.done.push(item.clone());
        out.push(ResponseEvent::ItemDone { output_index, item });
    }
}

impl Open {
    /// The item, with its content or without.
    fn item(&self, status: &'static str, full: bool) -> OutputItem {
        let content = |part: OutputPart| match full {
            true => vec![part],
            false => Vec::new(),
        };
        match self {
            Self::Reasoning { id, text } => OutputItem::Reasoning {
                id: id.clone(),
                summary: Vec::new(),
                content: content(OutputPart::thought(text)),
                status,
            },
            Self::Message { id, text } => OutputItem::Message {
                id: id.clone(),
                role: "assistant",
                content: content(OutputPart::said(text)),
                status,
            },
            Self::Call(call) => OutputItem::FunctionCall {
                id: call.id.clone(),
                call_id: call.call_id.clone(),
                name: call.name.clone(),
                arguments: call.arguments.clone(),
                status,
            },
        }
    }

    /// The name of the item and its part so far; a call has none.
    fn content(&self) -> Option<(String, OutputPart)> {
        match self {
            Self::Reasoning { id, text } => Some((id.clone(), OutputPart::thought(text))),
            Self::Message { id, text } => Some((id.clone(), OutputPart::said(text))),
            Self::Call(_) => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parts::Call;
    use carat_text::stop::StopReason;

    fn answer(arguments: &str, reason: StopReason) -> Answer {
        Answer {
            reasoning: "Hm.".into(),
            content: "So.".into(),
            calls: vec![Call {
                id: "call_1".into(),
                name: "f".into(),
                arguments: arguments.into(),
            }],
            reason: Some(reason),
            ..Answer::default()
        }
    }

    #[test]
    fn items_come_in_order() {
        let mut output = Output::default();
        let mut out = Vec::new();
        let answer = answer("{}", StopReason::End { id: 1 });
        for part in [
            Delta::Reasoning("Hm".into()),
            Delta::Reasoning(".".into()),
            Delta::Content("So.".into()),
            Delta::Call {
                index: 0,
                name: "f".into(),
            },
            Delta::Arguments {
                index: 0,
                text: "{}".into(),
            },
            Delta::End { index: 0 },
        ] {
            output.part(&part, &answer, &mut out);
        }
        let items = output.end(&answer, &mut out);
        let told = serde_json::to_value(&out).unwrap();
        let names = told.as_array().unwrap().iter();
        let names = names.map(|e| e["type"].as_str().unwrap().replace("response.", ""));
        assert_eq!(
            names.collect::<Vec<_>>().join(" "),
            "output_item.added content_part.added reasoning_text.delta reasoning_text.delta reasoning_text.done \
             content_part.done output_item.done output_item.added content_part.added output_text.delta \
             output_text.done content_part.done output_item.done output_item.added function_call_arguments.delta \
             function_call_arguments.done output_item.done"
        );
        // What comes piece by piece is what is given whole, but for the names.
        let plain = |items: &[OutputItem]| {
            let mut items = serde_json::to_value(items).unwrap();
            for item in items.as_array_mut().unwrap() {
                item["id"] = "".into();
            }
            items
        };
        assert_eq!(plain(&items), plain(&Output::whole(&answer)));
    }

    #[test]
    fn a_call_that_was_broken_off_is_incomplete() {
        let items = Output::whole(&answer("{\"a\":", StopReason::Length));
        let items = serde_json::to_value(&items).unwrap();
        let status = |i: usize| items[i]["status"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            [status(0), status(1), status(2)],
            ["completed", "completed", "incomplete"]
        );
    }

    #[test]
    fn nothing_is_an_empty_message() {
        let items = serde_json::to_value(Output::whole(&Answer::default())).unwrap();
        assert_eq!(items[0]["content"][0]["text"], "");
        assert_eq!(items.as_array().unwrap().len(), 1);
    }
}
