//! Events of an answer that comes piece by piece.

use super::output::Output;
use super::response::{Head, OutputItem, OutputPart, Response, cut};
use crate::events::{Event, Writer};
use crate::parts::{Reading, Said};
use crate::refusal::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

/// An event with its number.
#[derive(Debug, Serialize, ToSchema)]
pub struct NumberedEvent {
    #[serde(flatten)]
    event: ResponseEvent,
    /// From 0.
    sequence_number: u64,
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type")]
#[allow(missing_docs)]
pub enum ResponseEvent {
    #[serde(rename = "response.created")]
    Created { response: Box<Response> },
    #[serde(rename = "response.in_progress")]
    InProgress { response: Box<Response> },
    #[serde(rename = "response.completed")]
    Completed { response: Box<Response> },
    #[serde(rename = "response.incomplete")]
    Incomplete { response: Box<Response> },
    #[serde(rename = "response.failed")]
    Failed { response: Box<Response> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        output_index: usize,
        item: OutputItem,
    },
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        output_index: usize,
        item: OutputItem,
    },
    #[serde(rename = "response.content_part.added")]
    PartAdded {
        item_id: String,
        output_index: usize,
        content_index: usize,
        part: OutputPart,
    },
    #[serde(rename = "response.content_part.done")]
    PartDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        part: OutputPart,
    },
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        item_id: String,
        output_index: usize,
        content_index: usize,
        delta: String,
        #[schema(value_type = Vec<Object>)]
        logprobs: [(); 0],
    },
    #[serde(rename = "response.output_text.done")]
    TextDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        text: String,
        #[schema(value_type = Vec<Object>)]
        logprobs: [(); 0],
    },
    #[serde(rename = "response.reasoning_text.delta")]
    ReasoningDelta {
        item_id: String,
        output_index: usize,
        content_index: usize,
        delta: String,
    },
    #[serde(rename = "response.reasoning_text.done")]
    ReasoningDone {
        item_id: String,
        output_index: usize,
        content_index: usize,
        text: String,
    },
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta {
        item_id: String,
        output_index: usize,
        delta: String,
    },
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        item_id: String,
        output_index: usize,
        name: String,
        arguments: String,
    },
}

impl ResponseEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
            Self::Failed { .. } => "response.failed",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::ReasoningDelta { .. } => "response.reasoning_text.delta",
            Self::ReasoningDone { .. } => "response.reasoning_text.done",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
        }
    }
}

/// Writes [`NumberedEvent`]s.
pub struct Events {
    head: Head,
    output: Output,
    number: u64,
}

impl Events {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            output: Output::default(),
            number: 0,
        }
    }

    fn number(&mut self, events: Vec<ResponseEvent>) -> Vec<Event> {
        let events = events.into_iter().map(|event| {
            let name = event.name();
            let sequence_number = self.number;
            self.number += 1;
            let numbered = NumberedEvent {
                event,
                sequence_number,
            };
            Event::named(name, &numbered)
        });
        events.collect()
    }
}

impl Writer for Events {
    fn begin(&mut self, _: &[Reading]) -> Vec<Event> {
        let of = || Box::new(self.head.begun());
        let events = vec![
            ResponseEvent::Created { response: of() },
            ResponseEvent::InProgress { response: of() },
        ];
        self.number(events)
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        let (Said::Parts(parts, _) | Said::End(parts)) = said else {
            return Vec::new();
        };
        let answer = &readings[i].answer;
        let mut out = Vec::new();
        for part in parts {
            self.output.part(part, answer, &mut out);
        }
        if let Said::End(_) = said {
            let items = std::mem::take(&mut self.output).end(answer, &mut out);
            let response = Box::new(self.head.ended(items, answer));
            out.push(match cut(answer) {
                true => ResponseEvent::Incomplete { response },
                false => ResponseEvent::Completed { response },
            });
        }
        self.number(out)
    }

    fn end(&mut self, _: &[Reading]) -> Vec<Event> {
        Vec::new()
    }

    fn failed(&mut self, refusal: &Refusal) -> Vec<Event> {
        let output = self.output.so_far();
        let response = Box::new(self.head.failed(output, refusal));
        self.number(vec![ResponseEvent::Failed { response }])
    }
}
