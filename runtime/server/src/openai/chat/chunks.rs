//! An answer piece by piece.

use super::answer::Head;
use crate::events::{Event, Writer};
use crate::openai::logprobs::Logprobs;
use crate::openai::usage::{Timings, Usage};
use crate::parts::{Answer, Reading, Said};
use carat::internals::sample::TokenMetrics;
use carat_text::reply::Delta;
use serde::Serialize;
use utoipa::ToSchema;

/// A piece of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatChunk {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_progress: Option<PromptProgress>,
}

/// How far a prompt is.
#[derive(Debug, Serialize, ToSchema)]
struct PromptProgress {
    /// Tokens of the prompt.
    total: usize,
    /// Of them, those that were kept of earlier texts.
    cache: usize,
    /// Tokens so far, those included.
    processed: usize,
    /// Milliseconds since the request began.
    time_ms: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice {
    index: usize,
    delta: ChunkDelta,
    #[schema(required)]
    finish_reason: Option<&'static str>,
    #[schema(required)]
    logprobs: Option<Logprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// What is new; a field that is not there has nothing new.
#[derive(Debug, Default, Serialize, ToSchema)]
struct ChunkDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    /// `null` beside the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ChunkCall>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkCall {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: ChunkFunction,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

/// Writes [`ChatChunk`]s.
pub struct Chunks {
    pub head: Head,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Whether it ends with its usage.
    pub with_usage: bool,
    /// Times with every piece.
    pub times: bool,
    /// How far the prompt is.
    pub progress: bool,
}

impl Chunks {
    fn chunk(&self, choices: Vec<ChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.clone(),
            system_fingerprint: self.head.hosted.fingerprint.clone(),
            choices,
            usage: None,
            timings: None,
            prompt_progress: None,
        }
    }

    fn piece(&self, index: usize, delta: ChunkDelta, logprobs: Option<Logprobs>) -> ChatChunk {
        self.chunk(vec![ChunkChoice {
            index,
            delta,
            finish_reason: None,
            logprobs,
            logits_hash: None,
            seed: None,
        }])
    }

    fn progress(&self, reading: &Reading, processed: usize) -> Event {
        let mut chunk = self.chunk(Vec::new());
        chunk.prompt_progress = Some(PromptProgress {
            total: reading.answer.prompt,
            cache: reading.answer.cached,
            processed,
            time_ms: reading.elapsed_ms(),
        });
        Event::data(&chunk)
    }

    fn parts(
        &mut self,
        i: usize,
        parts: &[Delta],
        metrics: Option<&TokenMetrics>,
        answer: &Answer,
    ) -> Vec<Event> {
        let logprobs = metrics.map(|m| Logprobs::of(&self.head.hosted, [m]));
        let mut deltas: Vec<ChunkDelta> = Vec::new();
        for part in parts {
            match part {
                Delta::Content(text) => deltas.push(ChunkDelta {
                    content: Some(Some(text.clone())),
                    ..ChunkDelta::default()
                }),
                Delta::Reasoning(text) => deltas.push(ChunkDelta {
                    reasoning_content: Some(text.clone()),
                    ..ChunkDelta::default()
                }),
                Delta::Call { index, name } => {
                    let id = answer.calls.get(*index).map(|c| c.id.clone());
                    deltas.push(call(*index, id, Some(name.clone()), String::new()));
                }
                Delta::Arguments { index, text } => {
                    deltas.push(call(*index, None, None, text.clone()));
                }
                Delta::End { .. } => {}
            }
        }
        // A token without text has its place in what the model thought all the same.
        if deltas.is_empty() && logprobs.is_some() {
            deltas.push(ChunkDelta {
                content: Some(Some(String::new())),
                ..ChunkDelta::default()
            });
        }
        let mut logprobs = logprobs;
        let pieces = deltas.into_iter().map(|delta| {
            let mut chunk = self.piece(i, delta, logprobs.take());
            if self.times {
                chunk.timings = Some(Timings::of(answer));
            }
            Event::data(&chunk)
        });
        pieces.collect()
    }
}

fn call(index: usize, id: Option<String>, name: Option<String>, arguments: String) -> ChunkDelta {
    ChunkDelta {
        tool_calls: vec![ChunkCall {
            index,
            kind: id.is_some().then_some("function"),
            id,
            function: ChunkFunction { name, arguments },
        }],
        ..ChunkDelta::default()
    }
}

impl Writer for Chunks {
    fn begin(&mut self, readings: &[Reading]) -> Vec<Event> {
        let roles = (0..readings.len()).map(|i| {
            let delta = ChunkDelta {
                role: Some("assistant"),
                content: Some(None),
                ..ChunkDelta::default()
            };
            Event::data(&self.piece(i, delta, None))
        });
        roles.collect()
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        let answer = &readings[i].answer;
        match said {
            Said::Prompt { done } if self.progress => vec![self.progress(&readings[i], *done)],
            Said::Prompt { .. } => Vec::new(),
            Said::Parts(parts, metrics) => {
                // With its first token a prompt is whole.
                let whole = self.progress && answer.ids.len() == 1;
                let mut events: Vec<Event> = match whole {
                    true => vec![self.progress(&readings[i], answer.prompt)],
                    false => Vec::new(),
                };
                events.extend(self.parts(i, parts, metrics.as_deref(), answer));
                events
            }
            Said::End(parts) => {
                let mut events = self.parts(i, parts, None, answer);
                let mut last = self.chunk(vec![ChunkChoice {
                    index: i,
                    delta: ChunkDelta::default(),
                    finish_reason: Some(answer.finish_reason()),
                    logprobs: None,
                    logits_hash: Some(answer.hash.clone()),
                    seed: Some(answer.seed),
                }]);
                last.timings = Some(Timings::of(answer));
                events.push(Event::data(&last));
                events
            }
        }
    }

    fn end(&mut self, readings: &[Reading]) -> Vec<Event> {
        let usage = self.with_usage.then(|| {
            let mut chunk = self.chunk(Vec::new());
            let answers = readings.iter().map(|r| &r.answer);
            chunk.usage = Some(Usage::of(answers, self.prompt));
            chunk.timings = readings.first().map(|r| Timings::of(&r.answer));
            Event::data(&chunk)
        });
        usage.into_iter().chain([Event::done()]).collect()
    }
}
