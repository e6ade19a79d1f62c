//! `/v1/embeddings`.

use super::usage::PromptDetails;
use crate::app::App;
use crate::read;
use crate::refusal::{Kind, Refusal};
use crate::sampling::OneOrMany;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use carat_format::Pooling;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most texts of a request.
const MOST_TEXTS: usize = 2048;

/// Texts of which vectors are wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EmbeddingsRequest {
    model: Option<String>,
    #[serde(alias = "content")]
    input: Input,
    /// `float` or `base64` (f32, little endian).
    encoding_format: Option<String>,
    /// As many dimensions as the model has.
    dimensions: Option<u32>,
}

/// Texts or tokens.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Input {
    /// Texts.
    Texts(OneOrMany),
    /// The tokens of one.
    Tokens(Vec<u32>),
    /// The tokens of several.
    ManyTokens(Vec<Vec<u32>>),
}

/// Vectors.
#[derive(Debug, Serialize, ToSchema)]
pub struct Embeddings {
    object: &'static str,
    data: Vec<EmbeddingEntry>,
    model: String,
    usage: EmbeddingsUsage,
}

#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingEntry {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// Of length 1.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Debug, Serialize, ToSchema)]
struct EmbeddingsUsage {
    prompt_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

/// `POST /v1/embeddings`.
pub async fn create(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Embeddings>, Refusal> {
    let request: EmbeddingsRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "'encoding_format' is '{other}'; expected 'float' or 'base64'"
            ))
            .at("encoding_format"));
        }
    };
    let width = hosted.model().spec().embedding_length;
    if let Some(n) = request.dimensions.filter(|n| *n != width) {
        return Err(Refusal::invalid(format!(
            "'dimensions' is {n}; this model has {width}, leave it out"
        ))
        .at("dimensions"));
    }
    let tokenizer = hosted.tokenizer()?;
    let texts: Vec<Vec<u32>> = match request.input {
        Input::Texts(texts) => {
            let texts: Vec<String> = texts.into();
            let encode = |t: &String| tokenizer.encode_whole(t, false);
            texts.iter().map(encode).collect()
        }
        Input::Tokens(ids) => vec![ids],
        Input::ManyTokens(all) => all,
    };
    if texts.is_empty() || texts.len() > MOST_TEXTS {
        return Err(Refusal::invalid(format!(
            "'input' has {} texts; expected 1 to {MOST_TEXTS}",
            texts.len()
        ))
        .at("input"));
    }
    let pooling = match hosted.model().spec().pooling {
        None | Some(Pooling::None) => Pooling::Mean,
        Some(pooling) => pooling,
    };
    let _place = app.place()?;
    let mut data = Vec::with_capacity(texts.len());
    let mut tokens = 0;
    for (index, ids) in texts.into_iter().enumerate() {
        if ids.len() > hosted.context as usize {
            return Err(Refusal::new(
                Kind::ContextLength,
                format!(
                    "text {index} has {} tokens, the context {} positions; shorten it",
                    ids.len(),
                    hosted.context
                ),
            )
            .at("input"));
        }
        tokens += ids.len();
        let mut made = hosted.embed(ids, pooling).await?;
        let unit = made.pop().map(|e| e.unit()).unwrap_or_default();
        let floats: Vec<f32> = unit.into_iter().map(|x| x as f32).collect();
        data.push(EmbeddingEntry {
            object: "embedding",
            index,
            embedding: match base64 {
                true => Vector::Base64(in_base64(&floats)),
                false => Vector::Floats(floats),
            },
        });
    }
    Ok(Json(Embeddings {
        object: "list",
        data,
        model: hosted.name.clone(),
        usage: EmbeddingsUsage {
            prompt_tokens: tokens,
            total_tokens: tokens,
            prompt_tokens_details: PromptDetails::default(),
        },
    }))
}

/// Base64 (RFC 4648, section 4) of the bytes of numbers.
fn in_base64(floats: &[f32]) -> String {
    let bytes: Vec<u8> = floats.iter().flat_map(|f| f.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
