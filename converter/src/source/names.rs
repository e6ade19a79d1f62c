//! Names of a model's tensors in a Hugging Face checkpoint.

use carat_format::Tensor;

/// Name of the tensor in a checkpoint of `LlamaForCausalLM`.
pub(super) fn hugging_face(tensor: Tensor) -> String {
    use Tensor::*;
    let (block, part) = match tensor {
        TokenEmbedding => return "model.embed_tokens.weight".into(),
        OutputNorm => return "model.norm.weight".into(),
        Output => return "lm_head.weight".into(),
        AttnNorm(b) => (b, "input_layernorm.weight"),
        AttnQ(b) => (b, "self_attn.q_proj.weight"),
        AttnQBias(b) => (b, "self_attn.q_proj.bias"),
        AttnQNorm(b) => (b, "self_attn.q_norm.weight"),
        AttnK(b) => (b, "self_attn.k_proj.weight"),
        AttnKBias(b) => (b, "self_attn.k_proj.bias"),
        AttnKNorm(b) => (b, "self_attn.k_norm.weight"),
        AttnV(b) => (b, "self_attn.v_proj.weight"),
        AttnVBias(b) => (b, "self_attn.v_proj.bias"),
        AttnSubNorm(b) => (b, "self_attn.attn_sub_norm.weight"),
        AttnOutput(b) => (b, "self_attn.o_proj.weight"),
        AttnOutputBias(b) => (b, "self_attn.o_proj.bias"),
        FfnNorm(b) => (b, "post_attention_layernorm.weight"),
        FfnGate(b) => (b, "mlp.gate_proj.weight"),
        FfnGateBias(b) => (b, "mlp.gate_proj.bias"),
        FfnUp(b) => (b, "mlp.up_proj.weight"),
        FfnUpBias(b) => (b, "mlp.up_proj.bias"),
        FfnSubNorm(b) => (b, "mlp.ffn_sub_norm.weight"),
        FfnDown(b) => (b, "mlp.down_proj.weight"),
        FfnDownBias(b) => (b, "mlp.down_proj.bias"),
        // Of architectures with these, the norm before the feed-forward network has another name.
        AttnPostNorm(b) => (b, "post_attention_layernorm.weight"),
        FfnPostNorm(b) => (b, "post_feedforward_layernorm.weight"),
    };
    format!("model.layers.{block}.{part}")
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
