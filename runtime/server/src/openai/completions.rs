//! `/v1/completions`.

use super::logprobs::token;
use super::usage::{Timings, Usage};
use crate::app::App;
use crate::ask::Ask;
use crate::describe::forms::ResponseFormatForm;
use crate::events::{Event, Writer, stream};
use crate::hosted::Hosted;
use crate::parts::{Answer, Reading, Said, all};
use crate::refusal::Refusal;
use crate::sampling::{MOST_TOP, SamplingFields, choices};
use crate::texts::Texts;
use crate::tools::format;
use crate::{ids, read};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carat::internals::PLAIN_LENGTH;
use carat::internals::sample::TokenMetrics;
use carat_text::reply::Delta;
use carat_text::template::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// Most prompts of a request.
const MOST_PROMPTS: usize = 256;

/// A text or tokens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Prompt {
    /// A text. What it spells may be control tokens.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// The tokens of one.
    Tokens(Vec<u32>),
    /// The tokens of several.
    ManyTokens(Vec<Vec<u32>>),
}

impl Prompt {
    /// The tokens of each.
    ///
    /// Errors: none, or too many.
    pub fn ids(self, hosted: &Hosted) -> Result<Vec<Vec<u32>>, Refusal> {
        let tokenizer = hosted.tokenizer()?;
        let encode = |text: &String| tokenizer.encode_prompt(text, true);
        let all: Vec<Vec<u32>> = match self {
            Self::Text(text) => vec![encode(&text)],
            Self::Texts(texts) => texts.iter().map(encode).collect(),
            Self::Tokens(ids) => vec![ids],
            Self::ManyTokens(all) => all,
        };
        match all.len() {
            1..=MOST_PROMPTS => Ok(all),
            n => Err(Refusal::invalid(format!(
                "'prompt' has {n} texts; expected 1 to {MOST_PROMPTS}"
            ))
            .at("prompt")),
        }
    }
}

/// A text that is to go on.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CompletionRequest {
    model: Option<String>,
    prompt: Prompt,
    /// Whether it comes piece by piece.
    stream: Option<bool>,
    stream_options: Option<super::chat::StreamOptions>,
    n: Option<i64>,
    /// As `n`: the best are all.
    best_of: Option<i64>,
    /// Tell what the model thought of each token, with so many of the likeliest ones.
    logprobs: Option<u32>,
    /// Begin with the prompt; with `logprobs` what the model thought of it, too.
    echo: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<ResponseFormatForm>)]
    response_format: Value,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    json_schema: Value,
}

/// For the description alone: both are read from one object.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct CompletionBody {
    #[serde(flatten)]
    completion: CompletionRequest,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// A text, or a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Completion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

#[derive(Debug, Serialize, ToSchema)]
struct CompletionChoice {
    index: usize,
    text: String,
    #[schema(required)]
    finish_reason: Option<&'static str>,
    #[schema(required)]
    logprobs: Option<LegacyLogprobs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// What the model thought of the tokens, in lists beside each other.
#[derive(Debug, Default, Serialize, ToSchema)]
struct LegacyLogprobs {
    tokens: Vec<String>,
    /// The first token of a prompt has none.
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<BTreeMap<String, f64>>>,
    text_offset: Vec<usize>,
}

impl LegacyLogprobs {
    fn push(&mut self, hosted: &Hosted, id: u32, metrics: Option<&TokenMetrics>, at: &mut usize) {
        let (text, _) = token(hosted, id);
        self.text_offset.push(*at);
        *at += text.chars().count();
        self.tokens.push(text);
        self.token_logprobs.push(metrics.map(|m| m.logprob));
        self.top_logprobs.push(metrics.map(|m| {
            let top = m.top.iter();
            top.map(|t| (token(hosted, t.id).0, t.logprob)).collect()
        }));
    }
}

/// `POST /v1/completions`.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let request: CompletionRequest = read::json(&body)?;
    let sampling: SamplingFields = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let n = choices(request.n.or(request.best_of))?;
    let metrics = match request.logprobs {
        Some(n) if n > MOST_TOP => {
            return Err(Refusal::invalid(format!(
                "'logprobs' is {n}; expected at most {MOST_TOP}"
            ))
            .at("logprobs"));
        }
        n => n.map(|n| n as usize),
    };
    let strengths = sampling.strengths(&hosted)?;
    let slot = sampling.slot(&hosted)?;
    let mut options = sampling.options(&hosted, PLAIN_LENGTH)?;
    options.metrics = metrics;
    let format = format(Some(&request.response_format), Some(&request.json_schema))?;
    let prompts = request.prompt.ids(&hosted)?;
    let echo = request.echo.unwrap_or(false);
    let mut echoes = Vec::new();
    let mut asks = Vec::new();
    let mut tokens = 0;
    for ids in prompts {
        tokens += ids.len();
        let mut echoed = Echo::default();
        if echo {
            echoed.ids = ids.clone();
            if let Some(top) = metrics {
                let _place = app.place()?;
                echoed.metrics = hosted.score(ids.clone(), top).await?;
            }
        }
        let mut ask = Ask::new(&hosted, ids, options.clone())?;
        ask.format = format.clone();
        ask.strengths = strengths.clone();
        ask.slot = slot;
        for ask in ask.choices(n) {
            asks.push(ask);
            echoes.push(echoed.clone());
        }
    }
    let readings: Vec<Reading> = asks.iter().map(|a| Reading::new(&hosted, a)).collect();
    let texts = Texts::begin(&app, hosted.clone(), asks)?;
    let head = Head {
        id: ids::unique("cmpl-"),
        created: ids::now(),
        hosted,
        tokens,
    };
    if request.stream.unwrap_or(false) {
        let options = request.stream_options.unwrap_or_default();
        let writer = Chunks {
            offsets: echoes
                .iter()
                .map(|e| e.text(&head.hosted).chars().count())
                .collect(),
            head,
            echoes,
            with_usage: options.usage(),
        };
        return Ok(stream(texts, readings, writer));
    }
    let answers = all(texts, readings).await?;
    Ok(head.whole(answers, echoes, metrics.is_some()))
}

/// A prompt that the answer begins with.
#[derive(Clone, Default)]
struct Echo {
    ids: Vec<u32>,
    metrics: Vec<TokenMetrics>,
}

impl Echo {
    fn text(&self, hosted: &Hosted) -> String {
        hosted.model().detokenize(&self.ids).unwrap_or_default()
    }
}

struct Head {
    id: String,
    created: u64,
    hosted: Arc<Hosted>,
    tokens: usize,
}

impl Head {
    fn completion(&self, choices: Vec<CompletionChoice>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.hosted.name.clone(),
            system_fingerprint: self.hosted.fingerprint.clone(),
            choices,
            usage: None,
            timings: None,
        }
    }

    fn whole(self, answers: Vec<Answer>, echoes: Vec<Echo>, logprobs: bool) -> Response {
        let hosted = &self.hosted;
        let usage = Usage::of(answers.iter(), self.tokens);
        let hash: Vec<String> = answers.iter().map(|a| a.hash.clone()).collect();
        let timings = answers.first().map(Timings::of);
        let choices = answers.iter().zip(&echoes).enumerate();
        let choices = choices.map(|(index, (answer, echo))| {
            let logprobs = logprobs.then(|| {
                let mut all = LegacyLogprobs::default();
                let mut at = 0;
                for (i, id) in echo.ids.iter().enumerate() {
                    let metrics = i.checked_sub(1).and_then(|i| echo.metrics.get(i));
                    all.push(hosted, *id, metrics, &mut at);
                }
                for metrics in &answer.metrics {
                    all.push(hosted, metrics.id, Some(metrics), &mut at);
                }
                all
            });
            CompletionChoice {
                index,
                text: echo.text(hosted) + &answer.content,
                finish_reason: Some(answer.finish_reason()),
                logprobs,
                logits_hash: Some(answer.hash.clone()),
                seed: Some(answer.seed),
            }
        });
        let mut body = self.completion(choices.collect());
        body.usage = Some(usage);
        body.timings = timings;
        let headers = [(crate::http::HASH_HEADER, hash.join(","))];
        (headers, Json(body)).into_response()
    }
}

/// Writes [`Completion`]s of pieces.
struct Chunks {
    head: Head,
    echoes: Vec<Echo>,
    /// Characters of each text so far.
    offsets: Vec<usize>,
    with_usage: bool,
}

impl Chunks {
    fn piece(&self, index: usize, text: String, logprobs: Option<LegacyLogprobs>) -> Completion {
        self.head.completion(vec![CompletionChoice {
            index,
            text,
            finish_reason: None,
            logprobs,
            logits_hash: None,
            seed: None,
        }])
    }

    fn parts(&mut self, i: usize, parts: &[Delta], metrics: Option<&TokenMetrics>) -> Vec<Event> {
        let texts = parts.iter().filter_map(|p| match p {
            Delta::Content(text) => Some(text.as_str()),
            _ => None,
        });
        let text: String = texts.collect();
        let logprobs = metrics.map(|m| {
            let mut all = LegacyLogprobs::default();
            let mut at = self.offsets[i];
            all.push(&self.head.hosted, m.id, Some(m), &mut at);
            self.offsets[i] = at;
            all
        });
        match text.is_empty() && logprobs.is_none() {
            true => Vec::new(),
            false => vec![Event::data(&self.piece(i, text, logprobs))],
        }
    }
}

impl Writer for Chunks {
    fn begin(&mut self, _: &[Reading]) -> Vec<Event> {
        let echoes = self.echoes.iter().enumerate();
        let echoes = echoes.filter(|(_, e)| !e.ids.is_empty());
        let pieces = echoes.map(|(i, e)| self.piece(i, e.text(&self.head.hosted), None));
        pieces.map(|p| Event::data(&p)).collect()
    }

    fn said(&mut self, i: usize, said: &Said, readings: &[Reading]) -> Vec<Event> {
        match said {
            Said::Prompt { .. } => Vec::new(),
            Said::Parts(parts, metrics) => self.parts(i, parts, metrics.as_deref()),
            Said::End(parts) => {
                let mut events = self.parts(i, parts, None);
                let answer = &readings[i].answer;
                let mut last = self.head.completion(vec![CompletionChoice {
                    index: i,
                    text: String::new(),
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
            let mut chunk = self.head.completion(Vec::new());
            let answers = readings.iter().map(|r| &r.answer);
            chunk.usage = Some(Usage::of(answers, self.head.tokens));
            Event::data(&chunk)
        });
        usage.into_iter().chain([Event::done()]).collect()
    }
}
