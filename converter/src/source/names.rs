//! Names of a model's tensors in checkpoints.

use super::architecture::{Architecture, Names};
use carat_format::{Part, Tensor};

/// The head in a Hugging Face checkpoint.
pub(super) const HEAD: &str = "lm_head.weight";

/// The embedding in one.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";

/// Names in a Hugging Face checkpoint.
pub(super) static HUGGING_FACE: Names = Names {
    own: hugging_face,
    qkv: |b| format!("model.layers.{b}.self_attn.qkv_proj.weight"),
    gate_up: |b| format!("model.layers.{b}.mlp.gate_up_proj.weight"),
};

/// ggml's names.
pub(super) static GGML: Names = Names {
    own: |_, tensor| tensor.name(),
    qkv: |b| format!("blk.{b}.attn_qkv.weight"),
    gate_up: |b| format!("blk.{b}.ffn_up.weight"),
};

/// Names of the same tensor in a text model, in its backbone alone (`Qwen3Model` and others of embedding checkpoints), and in
/// one that is part of a larger model.
const PREFIXES: [(&str, &str); 4] = [
    ("", ""),
    ("model.", ""),
    ("", "language_model."),
    ("model.", "model.language_model."),
];

/// The name of a text model's tensor and those it has alone or as a part of a larger model.
pub(super) fn alternatives(name: &str) -> impl Iterator<Item = String> {
    PREFIXES.iter().filter_map(move |(from, to)| {
        let rest = name.strip_prefix(from)?;
        Some(format!("{to}{rest}"))
    })
}

/// Tensors of the parts of a larger model that are not text.
pub(super) fn is_not_text(name: &str) -> bool {
    ["vision_tower.", "multi_modal_projector."]
        .iter()
        .any(|part| {
            name.strip_prefix("model.")
                .unwrap_or(name)
                .starts_with(part)
        })
}

fn hugging_face(architecture: &Architecture, tensor: Tensor) -> String {
    use Part::*;
    let (block, part) = match tensor {
        Tensor::TokenEmbedding => return EMBEDDING.into(),
        Tensor::OutputNorm => return "model.norm.weight".into(),
        Tensor::Output => return HEAD.into(),
        Tensor::Block(block, part) => (block, part),
    };
    let name = match part {
        AttnNorm => "input_layernorm.weight",
        AttnQ => "self_attn.q_proj.weight",
        AttnQBias => "self_attn.q_proj.bias",
        AttnQNorm => "self_attn.q_norm.weight",
        AttnK => "self_attn.k_proj.weight",
        AttnKBias => "self_attn.k_proj.bias",
        AttnKNorm => "self_attn.k_norm.weight",
        AttnV => "self_attn.v_proj.weight",
        AttnVBias => "self_attn.v_proj.bias",
        AttnSubNorm => "self_attn.attn_sub_norm.weight",
        AttnOutput => "self_attn.o_proj.weight",
        AttnOutputBias => "self_attn.o_proj.bias",
        // Where attention's result has a norm, the name is that norm's.
        FfnNorm if architecture.post_norm => "pre_feedforward_layernorm.weight",
        FfnNorm => "post_attention_layernorm.weight",
        FfnGate => "mlp.gate_proj.weight",
        FfnGateBias => "mlp.gate_proj.bias",
        FfnUp => "mlp.up_proj.weight",
        FfnUpBias => "mlp.up_proj.bias",
        FfnSubNorm => "mlp.ffn_sub_norm.weight",
        FfnDown => "mlp.down_proj.weight",
        FfnDownBias => "mlp.down_proj.bias",
        AttnPostNorm => "post_attention_layernorm.weight",
        FfnPostNorm => "post_feedforward_layernorm.weight",
    };
    format!("model.layers.{block}.{name}")
}

/// Tensors that some checkpoints store although every program derives them from the configuration.
pub(super) fn is_derived(name: &str) -> bool {
    const ENDS: &[&str] = &[
        "rotary_emb.inv_freq",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
        "self_attn.masked_bias",
        "attn_rot_embd.weight",
        "attn.rot_embd",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}
