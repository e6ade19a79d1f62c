//! Answers as they come.

use super::message::{ContentBlock, Head, Message, MessageUsage, signature, stop};
use crate::events::{Event, Writer};
use crate::openai::usage::Facts;
use crate::parts::{Answer, Reading, Said};
use crate::refusal::Refusal;
use crate::values::object;
use carat_text::reply::Delta;
use serde::Serialize;
use utoipa::ToSchema;

/// An event of an answer that comes piece by piece.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessageEvent {
    /// The prompt is read.
    MessageStart {
        /// The answer without content.
        message: Message,
    },
    /// A block begins.
    ContentBlockStart {
        /// Its place.
        index: usize,
        /// The block without content.
        content_block: ContentBlock,
    },
    /// A block goes on.
    ContentBlockDelta {
        /// Its place.
        index: usize,
        /// What is new.
        delta: BlockDelta,
    },
    /// A block ends.
    ContentBlockStop {
        /// Its place.
        index: usize,
    },
    /// The answer ends.
    MessageDelta {
        /// Why.
        delta: MessageEnd,
        /// Tokens of the request.
        usage: MessageUsage,
        /// What is known now.
        #[serde(flatten)]
        facts: Facts,
    },
    /// Nothing follows.
    MessageStop,
    /// Nothing happened, and the connection is there.
    Ping,
}

/// What is new of a block.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum BlockDelta {
    /// Of a text.
    #[serde(rename = "text_delta")]
    Text {
        /// What follows.
        text: String,
    },
    /// Of reasoning.
    #[serde(rename = "thinking_delta")]
    Thinking {
        /// What follows.
        thinking: String,
    },
    /// Of reasoning that has ended.
    #[serde(rename = "signature_delta")]
    Signature {
        /// The hash of all of it.
        signature: String,
    },
    /// Of arguments.
    #[serde(rename = "input_json_delta")]
    InputJson {
        /// What follows of the JSON.
        partial_json: String,
    },
}

/// Why an answer ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageEnd {
    stop_reason: &'static str,
    /// The text that ended it.
    #[schema(required)]
    stop_sequence: Option<String>,
}

impl MessageEvent {
    fn event(&self) -> Event {
        let name = match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
            Self::Ping => "ping",
        };
        Event::named(name, self)
    }
}

/// The block that is open.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    /// With its text, for the signature.
    Thinking(String),
    Text,
    Call(usize),
}

/// Writes [`MessageEvent`]s.
pub struct Events {
    head: Head,
    begun: bool,
    open: Option<Open>,
    /// Blocks that have ended.
    index: usize,
}

impl Events {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            begun: false,
            open: None,
            index: 0,
        }
    }

    fn part(&mut self, part: &Delta, answer: &Answer, out: &mut Vec<MessageEvent>) {
        match part {
            Delta::Reasoning(thinking) => {
                if !matches!(self.open, Some(Open::Thinking(_))) {
                    let block = ContentBlock::Thinking {
                        thinking: String::new(),
                        signature: String::new(),
                    };
                    self.open(Open::Thinking(String::new()), block, out);
                }
                if let Some(Open::Thinking(all)) = &mut self.open {
                    all.push_str(thinking);
                }
                if !self.head.omits {
                    let thinking = thinking.clone();
                    self.delta(BlockDelta::Thinking { thinking }, out);
                }
            }
            Delta::Content(text) => {
                if self.open != Some(Open::Text) {
                    let block = ContentBlock::Text {
                        text: String::new(),
                    };
                    self.open(Open::Text, block, out);
                }
                self.delta(BlockDelta::Text { text: text.clone() }, out);
            }
            Delta::Call { index, name } => {
                let id = answer.calls.get(*index).map(|c| c.id.clone());
                let block = ContentBlock::ToolUse {
                    id: id.unwrap_or_default(),
                    name: name.clone(),
                    input: object([]),
                };
                self.open(Open::Call(*index), block, out);
            }
            Delta::Arguments { text, .. } => {
                let partial_json = text.clone();
                self.delta(BlockDelta::InputJson { partial_json }, out);
            }
            Delta::End { .. } => self.close(out),
        }
    }

    fn open(&mut self, open: Open, content_block: ContentBlock, out: &mut Vec<MessageEvent>) {
        self.close(out);
        self.open = Some(open);
        out.push(MessageEvent::ContentBlockStart {
            index: self.index,
            content_block,
        });
    }

    fn delta(&self, delta: BlockDelta, out: &mut Vec<MessageEvent>) {
        out.push(MessageEvent::ContentBlockDelta {
            index: self.index,
            delta,
        });
    }

    fn close(&mut self, out: &mut Vec<MessageEvent>) {
        let Some(open) = self.open.take() else { return };
        if let Open::Thinking(all) = open {
            let signature = signature(&all);
            self.delta(BlockDelta::Signature { signature }, out);
        }
        out.push(MessageEvent::ContentBlockStop { index: self.index });
        self.index += 1;
    }

    /// The events of news of an answer.
    fn told(&mut self, said: &Said, answer: &Answer) -> Vec<MessageEvent> {
        let mut out = Vec::new();
        if !self.begun {
            // Only now it is known how much of the prompt was kept.
            self.begun = true;
            let message = self.head.begun(answer);
            out.push(MessageEvent::MessageStart { message });
            out.push(MessageEvent::Ping);
        }
        if let Said::Parts(parts, _) | Said::End(parts) = said {
            for part in parts {
                self.part(part, answer, &mut out);
            }
        }
        if let Said::End(_) = said {
            self.close(&mut out);
            let (stop_reason, stop_sequence) = stop(answer);
            out.push(MessageEvent::MessageDelta {
                delta: MessageEnd {
                    stop_reason,
                    stop_sequence,
                },
                usage: MessageUsage::of(answer),
                facts: Facts::of(answer),
            });
            out.push(MessageEvent::MessageStop);
        }
        out
    }
}

impl Writer for Events {
    fn begin(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        let told = self.told(said, &readings[i].answer);
        told.iter().map(MessageEvent::event).collect()
    }

    fn end(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        vec![Event::named("error", &refusal.anthropic())]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::parts::Call;

    #[test]
    fn blocks_open_and_close() {
        let mut events = Events::new(Head {
            id: "msg_1".into(),
            model: "m".into(),
            omits: false,
        });
        let answer = Answer {
            calls: vec![Call {
                id: "c".into(),
                name: "f".into(),
                arguments: "{}".into(),
            }],
            ..Answer::default()
        };
        let parts = vec![
            Delta::Reasoning("Hm".into()),
            Delta::Reasoning(".".into()),
            Delta::Content("So".into()),
            Delta::Call {
                index: 0,
                name: "f".into(),
            },
            Delta::Arguments {
                index: 0,
                text: "{}".into(),
            },
            Delta::End { index: 0 },
        ];
        let mut told = events.told(&Said::Prompt { done: 0 }, &answer);
        told.extend(events.told(&Said::Parts(parts, None), &answer));
        told.extend(events.told(&Said::End(Vec::new()), &answer));
        let told = serde_json::to_value(&told).unwrap();
        let told = told.as_array().unwrap();
        let of = |key: &str| {
            let of = told.iter().map(|e| match key {
                "delta" => e["delta"]["type"].as_str().unwrap_or("-").to_owned(),
                key => e[key].to_string(),
            });
            of.collect::<Vec<_>>().join(" ").replace('"', "")
        };
        assert_eq!(
            of("type"),
            "message_start ping content_block_start content_block_delta content_block_delta content_block_delta \
             content_block_stop content_block_start content_block_delta content_block_stop content_block_start \
             content_block_delta content_block_stop message_delta message_stop"
        );
        assert_eq!(of("index"), "null null 0 0 0 0 0 1 1 1 2 2 2 null null");
        assert_eq!(
            of("delta"),
            "- - - thinking_delta thinking_delta signature_delta - - text_delta - - input_json_delta - - -"
        );
        assert_eq!(told[5]["delta"]["signature"], signature("Hm."));
        assert_eq!(told[13]["delta"]["stop_reason"], "tool_use");
    }
}
