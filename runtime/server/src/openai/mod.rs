//! The API of OpenAI: <https://platform.openai.com/docs/api-reference>.

pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod logprobs;
pub mod models;
pub mod responses;
pub mod usage;
