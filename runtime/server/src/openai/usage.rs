//! How many tokens a request took.

use crate::parts::Answer;
use serde::Serialize;
use utoipa::ToSchema;

/// Tokens of a request.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: usize,
    /// Of all answers.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// Of the prompt.
    pub prompt_tokens_details: PromptDetails,
    /// Of the answers.
    pub completion_tokens_details: CompletionDetails,
}

/// Tokens of a prompt.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct PromptDetails {
    /// Those that were kept of earlier texts, and were not computed again.
    pub cached_tokens: usize,
}

/// Tokens of answers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CompletionDetails {
    /// Those of reasoning.
    pub reasoning_tokens: usize,
}

impl Usage {
    /// Of all choices of a request, which share their prompts.
    pub fn of<'a>(answers: impl Iterator<Item = &'a Answer> + Clone, prompts: usize) -> Self {
        let completion_tokens = answers.clone().map(Answer::tokens).sum();
        let cached_tokens = answers.clone().next().map_or(0, |a| a.cached);
        Self {
            prompt_tokens: prompts,
            completion_tokens,
            total_tokens: prompts + completion_tokens,
            prompt_tokens_details: PromptDetails { cached_tokens },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: answers.map(|a| a.reasoning_tokens).sum(),
            },
        }
    }
}

/// What is known of an answer that has ended; nothing of it before.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Facts {
    /// blake3 over everything that the tokens were chosen from: equal wherever the same was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits_hash: Option<String>,
    /// Where the draws began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

impl Facts {
    /// Of an answer that has ended.
    pub fn of(answer: &Answer) -> Self {
        Self {
            logits_hash: Some(answer.hash.clone()),
            seed: Some(answer.seed),
            timings: Some(Timings::of(answer)),
        }
    }
}

/// How long an answer took.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Timings {
    /// Tokens of the prompt that were kept.
    pub cache_n: usize,
    /// Those that were computed.
    pub prompt_n: usize,
    /// Milliseconds from the request to the first token.
    pub prompt_ms: f64,
    /// Tokens of the prompt per second.
    pub prompt_per_second: f64,
    /// Tokens chosen.
    pub predicted_n: usize,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// Tokens per second.
    pub predicted_per_second: f64,
}

impl Timings {
    /// Of an answer.
    pub fn of(answer: &Answer) -> Self {
        let (prompt_ms, predicted_ms) = answer.ms;
        let prompt_n = answer.prompt.saturating_sub(answer.cached);
        let predicted_n = answer.tokens();
        let rate = |n: usize, ms: f64| if ms > 0.0 { n as f64 / ms * 1e3 } else { 0.0 };
        Self {
            cache_n: answer.cached,
            prompt_n,
            prompt_ms,
            prompt_per_second: rate(prompt_n, prompt_ms),
            predicted_n,
            predicted_ms,
            // The first token came with the prompt.
            predicted_per_second: rate(predicted_n.saturating_sub(1), predicted_ms),
        }
    }
}
