//! What is known of a model that is open.

use carat_format::Card;
use serde::Serialize;

/// What is known of a model that is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "objects", derive(uniffi::Record))]
pub struct Info {
    /// The model's name, as its checkpoint had it.
    pub name: String,
    /// The architecture, `llama` for instance.
    pub architecture: String,
    /// Weights.
    pub parameters: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bits per weight, everything in the file counted.
    pub bits_per_weight: f64,
    /// Positions of the context.
    pub context: u32,
    /// Positions that the model was trained for.
    pub context_length: u32,
    /// Tokens of the vocabulary.
    pub vocab_size: u32,
    /// Numbers of an embedding.
    pub embedding_size: u32,
    /// Whether the model has a chat template.
    pub has_template: bool,
    /// The quality card that the file carries, as JSON.
    pub card: Option<String>,
}

impl Info {
    pub(super) fn of(model: &carat::Model) -> Self {
        let info = model.info();
        Self {
            card: info.card.as_ref().map(card),
            context: model.context(),
            has_template: model.has_template(),
            name: info.name,
            architecture: info.architecture,
            parameters: info.parameters,
            bytes: info.bytes,
            bits_per_weight: info.bits_per_weight,
            context_length: info.context_length,
            vocab_size: info.vocab_size,
            embedding_size: info.embedding_size,
        }
    }
}

/// A card under the names of the npm package.
fn card(card: &Card) -> String {
    let f = card.figures;
    serde_json::json!({
        "tokens": card.predictions(),
        "perplexity": f.ppl,
        "referencePerplexity": f.reference_ppl,
        "meanKl": f.kl_mean,
        "p99Kl": f.kl_p99,
        "sameTop": f.top1,
        "text": card.text,
    })
    .to_string()
}
