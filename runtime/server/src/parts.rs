//! An answer in parts, as it comes and when it is whole.

use crate::ask::Ask;
use crate::hosted::Hosted;
use crate::ids;
use crate::refusal::Refusal;
use crate::texts::{Texts, Times};
use carat::internals::News;
use carat::internals::sample::TokenMetrics;
use carat_text::reply::{Delta, Parser};
use carat_text::stop::StopReason;

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Its name among all calls.
    pub id: String,
    /// The tool.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// An answer so far.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Why it ended; nothing while it goes on.
    pub reason: Option<StopReason>,
    /// The context ended it.
    pub reasoning: String,
    /// What the user sees.
    pub content: String,
    /// Calls of tools.
    pub calls: Vec<Call>,
    /// Tokens of the prompt that were kept.
    pub cached: usize,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens chosen.
    pub ids: Vec<u32>,
    /// Of them, tokens of reasoning.
    pub reasoning_tokens: usize,
    /// What the model thought of each, where that was asked for.
    pub metrics: Vec<TokenMetrics>,
    /// The hash of its logits.
    pub hash: String,
    /// Milliseconds to the first token, and from there on.
    pub ms: (f64, f64),
    /// The seed.
    pub seed: u64,
    /// The stop string that ended it.
    pub stop: Option<String>,
}

/// What news say of an answer.
#[derive(Debug)]
pub enum Said {
    /// The prompt is so far computed.
    Prompt {
        /// Tokens so far, kept ones included.
        done: usize,
    },
    /// Parts, in order, and what the model thought of the token that they came with.
    Parts(Vec<Delta>, Option<Box<TokenMetrics>>),
    /// It has ended, after these last parts.
    End(Vec<Delta>),
}

/// An answer under way.
pub struct Reading {
    /// What is there.
    pub answer: Answer,
    parser: Option<Parser>,
    raw: bool,
    times: Times,
    fills: bool,
    stops: Vec<String>,
}

impl Reading {
    /// Of what is asked for.
    pub fn new(hosted: &Hosted, ask: &Ask) -> Self {
        Self {
            answer: Answer {
                prompt: ask.ids.len(),
                seed: ask.options.sampling.seed,
                ..Answer::default()
            },
            parser: ask.parser(hosted),
            raw: ask.raw,
            times: Times::default(),
            fills: ask.fills,
            stops: ask.options.stops.clone(),
        }
    }

    /// Takes news in.
    ///
    /// Errors: the text failed.
    pub fn take(&mut self, news: News) -> Result<Said, Refusal> {
        let answer = &mut self.answer;
        match news {
            News::Begun { cached } => {
                answer.cached = cached;
                Ok(Said::Prompt { done: cached })
            }
            News::Prompt { done, .. } => Ok(Said::Prompt {
                done: answer.cached + done,
            }),
            News::Token { id, text, metrics } => {
                self.times.token();
                answer.ids.push(id);
                let parts = self.parts(&text);
                if self.parser.as_ref().is_some_and(Parser::in_reasoning) {
                    self.answer.reasoning_tokens += 1;
                }
                if let Some(metrics) = &metrics {
                    self.answer.metrics.push((**metrics).clone());
                }
                Ok(Said::Parts(parts, metrics))
            }
            News::End { generation, tail } => {
                let mut parts = self.parts(&tail);
                if let Some(parser) = &mut self.parser {
                    let last = unified(parser.finish(), self.raw);
                    self.answer.add(&last);
                    parts.extend(last);
                }
                let answer = &mut self.answer;
                answer.hash = generation.logits_hash;
                answer.ms = self.times.ms();
                answer.reason = Some(match generation.reason {
                    StopReason::Length if self.fills => StopReason::Context,
                    StopReason::StopString { index } => {
                        answer.stop = self.stops.get(index).cloned();
                        StopReason::StopString { index }
                    }
                    reason => reason,
                });
                Ok(Said::End(parts))
            }
            News::Failed(e) => Err(e.into()),
        }
    }

    /// Milliseconds since it was asked for.
    pub fn elapsed_ms(&self) -> f64 {
        self.times.ms().0
    }

    fn parts(&mut self, text: &str) -> Vec<Delta> {
        let parts = match &mut self.parser {
            Some(parser) => unified(parser.push(text), self.raw),
            None if text.is_empty() => Vec::new(),
            None => vec![Delta::Content(text.to_owned())],
        };
        self.answer.add(&parts);
        parts
    }
}

/// With `raw` reasoning is content.
fn unified(mut parts: Vec<Delta>, raw: bool) -> Vec<Delta> {
    for part in parts.iter_mut().filter(|_| raw) {
        if let Delta::Reasoning(text) = part {
            *part = Delta::Content(std::mem::take(text));
        }
    }
    parts
}

impl Answer {
    fn add(&mut self, parts: &[Delta]) {
        for part in parts {
            match part {
                Delta::Reasoning(text) => self.reasoning += text,
                Delta::Content(text) => self.content += text,
                Delta::Call { name, .. } => self.calls.push(Call {
                    id: ids::unique("call_"),
                    name: name.clone(),
                    arguments: String::new(),
                }),
                Delta::Arguments { index, text } => {
                    if let Some(call) = self.calls.get_mut(*index) {
                        call.arguments += text;
                    }
                }
                Delta::End { .. } => {}
            }
        }
    }

    /// Tokens chosen.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// OpenAI's word for why it ended.
    pub fn finish_reason(&self) -> &'static str {
        match &self.reason {
            Some(StopReason::Length | StopReason::Context | StopReason::Cancelled) => "length",
            _ if !self.calls.is_empty() => "tool_calls",
            _ => "stop",
        }
    }
}

/// Every choice, when all have ended.
///
/// Errors: a text failed, or the engine.
pub async fn all(mut texts: Texts, mut readings: Vec<Reading>) -> Result<Vec<Answer>, Refusal> {
    while let Some((i, news)) = texts.next().await? {
        readings[i].take(news)?;
    }
    Ok(readings.into_iter().map(|r| r.answer).collect())
}
