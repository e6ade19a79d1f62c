//! Texts and tokens.

use crate::app::App;
use crate::describe::forms::{ChatMessageForm, ToolForm};
use crate::hosted::Hosted;
use crate::refusal::Refusal;
use crate::{openai, read};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use carat_text::template::{Clock, Conversation, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A text whose tokens are wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TokenizeRequest {
    model: Option<String>,
    /// A text, or a list of texts and tokens.
    #[schema(schema_with = crate::describe::anything)]
    #[serde(alias = "prompt")]
    content: Value,
    /// With the tokens that begin a text.
    #[serde(alias = "add_special_tokens")]
    add_special: Option<bool>,
    /// Whether what the text spells may be control tokens.
    parse_special: Option<bool>,
    /// With the text of each token.
    with_pieces: Option<bool>,
}

/// Tokens of a text.
#[derive(Serialize, ToSchema)]
pub struct Tokens {
    tokens: TokenList,
    count: usize,
    /// Positions of a text.
    max_model_len: u32,
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum TokenList {
    Ids(Vec<u32>),
    Pieces(Vec<TokenPiece>),
}

#[derive(Serialize, ToSchema)]
struct TokenPiece {
    id: u32,
    piece: PieceText,
}

/// The text of a token, or its bytes where they are no UTF-8.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum PieceText {
    Text(String),
    Bytes(Vec<u8>),
}

/// `POST /tokenize`.
pub async fn tokenize(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Tokens>, Refusal> {
    let request: TokenizeRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let special = request.parse_special.unwrap_or(true);
    let begins = request.add_special.unwrap_or(false);
    let ids = mixed(&hosted, &request.content, special, begins)?;
    let count = ids.len();
    let tokens = match request.with_pieces.unwrap_or(false) {
        false => TokenList::Ids(ids),
        true => {
            let piece = |id: u32| {
                let (text, bytes) = openai::logprobs::token(&hosted, id);
                let piece = match std::str::from_utf8(&bytes) {
                    Ok(_) => PieceText::Text(text),
                    Err(_) => PieceText::Bytes(bytes),
                };
                TokenPiece { id, piece }
            };
            TokenList::Pieces(ids.into_iter().map(piece).collect())
        }
    };
    Ok(Json(Tokens {
        tokens,
        count,
        max_model_len: hosted.context,
    }))
}

/// The tokens of a text, of tokens, or of a list of both.
///
/// Errors: something else, a token outside the vocabulary.
pub fn mixed(
    hosted: &Hosted,
    given: &Value,
    special: bool,
    begins: bool,
) -> Result<Vec<u32>, Refusal> {
    let wrong = || Refusal::invalid("the prompt is neither a text nor a list of texts and tokens");
    let tokenizer = hosted.tokenizer()?;
    let encode = |text: &str, begins: bool| match begins {
        true => tokenizer.encode_prompt(text, special),
        false => tokenizer.encode(text, special),
    };
    if let Some(text) = given.as_str() {
        return Ok(encode(text, begins));
    }
    // llama.cpp's form of a text that may have images beside it.
    if let Some(text) = given.get("prompt_string").and_then(Value::as_str) {
        if given.get("multimodal_data").is_some() {
            return Err(Refusal::invalid(
                "'multimodal_data' is given; this model reads texts alone",
            ));
        }
        return Ok(encode(text, begins));
    }
    let vocab = hosted.model().spec().vocab_size;
    let mut ids = Vec::new();
    for (i, item) in given.items().ok_or_else(wrong)?.iter().enumerate() {
        match (item.as_str(), item.as_i64()) {
            (Some(text), _) => ids.extend(encode(text, begins && i == 0)),
            (None, Some(id)) => match u32::try_from(id) {
                Ok(id) if id < vocab => ids.push(id),
                _ => {
                    return Err(Refusal::invalid(format!(
                        "token {id} is outside the vocabulary of {vocab}"
                    )));
                }
            },
            _ => return Err(wrong()),
        }
    }
    Ok(ids)
}

/// Tokens whose text is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<u32>,
}

/// The text of tokens.
#[derive(Serialize, ToSchema)]
pub struct Detokenized {
    /// Clients of llama.cpp read this one.
    content: String,
    /// Clients of vLLM read this one.
    prompt: String,
}

/// `POST /detokenize`.
pub async fn detokenize(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<Json<Detokenized>, Refusal> {
    let request: DetokenizeRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let text = hosted.model().detokenize(&request.tokens)?;
    Ok(Json(Detokenized {
        content: text.clone(),
        prompt: text,
    }))
}

/// What clients need that tokenize here.
#[derive(Serialize, ToSchema)]
pub struct TokenizerInfo {
    #[schema(required)]
    bos_token: Option<String>,
    #[schema(required)]
    eos_token: Option<String>,
    #[schema(required)]
    pad_token: Option<String>,
    #[schema(required)]
    chat_template: Option<String>,
    vocab_size: usize,
    /// Positions of a text.
    model_max_length: u32,
}

/// `GET /tokenizer_info`.
pub async fn tokenizer_info(State(app): State<Arc<App>>) -> Result<Json<TokenizerInfo>, Refusal> {
    let hosted = app.shelf.get(None).await?;
    let tokenizer = hosted.tokenizer()?;
    let piece = |id: Option<u32>| id.map(|id| openai::logprobs::token(&hosted, id).0);
    let template = hosted.prompter().template();
    let template =
        template.and_then(|t| t.source(&Conversation::default()).ok().map(str::to_owned));
    Ok(Json(TokenizerInfo {
        bos_token: piece(tokenizer.bos()),
        eos_token: piece(tokenizer.eos()),
        pad_token: None,
        chat_template: template,
        vocab_size: tokenizer.vocab_size(),
        model_max_length: hosted.context,
    }))
}

/// A conversation whose prompt is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TemplateRequest {
    model: Option<String>,
    /// What was said.
    #[schema(value_type = Vec<ChatMessageForm>)]
    messages: Value,
    /// Functions that may be called.
    #[serde(default)]
    #[schema(value_type = Option<Vec<ToolForm>>)]
    tools: Value,
    add_generation_prompt: Option<bool>,
    /// Variables of the template.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Value,
}

/// The prompt of a conversation.
#[derive(Serialize, ToSchema)]
pub struct Fitted {
    /// As a text.
    prompt: String,
}

/// `POST /apply-template`: the prompt of a conversation as a text.
pub async fn apply_template(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<Json<Fitted>, Refusal> {
    let request: TemplateRequest = read::json(&body)?;
    let hosted = app.shelf.get(request.model.as_deref()).await?;
    let given = request.chat_template_kwargs.entries().into_iter().flatten();
    let talk = Conversation {
        messages: openai::chat::messages(&request.messages)?,
        tools: Some(request.tools).filter(|t| t.items().is_some_and(|t| !t.is_empty())),
        add_generation_prompt: request.add_generation_prompt,
        variables: given
            .map(|(name, value)| (name.as_str().unwrap_or_default().to_owned(), value.clone()))
            .collect(),
        ..Conversation::default()
    };
    let talk = hosted.dialect.fitted(&talk)?;
    let prompt = match hosted.prompter().template() {
        Some(template) => template.render(&talk, Clock::now(), &|text| text.to_owned())?,
        None => talk.plain()?,
    };
    Ok(Json(Fitted { prompt }))
}
