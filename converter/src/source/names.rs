//! Names of a model's tensors in a Hugging Face checkpoint.

use carat_format::Tensor;

/// Name of the tensor in a checkpoint of `LlamaForCausalLM`.
pub(super) fn hugging_face(tensor: Tensor) -> String {
    use Tensor::*;
    let (block, part) = match tensor {
        TokenEmbedding => return "model.embed_tokens.weight".into(),
        OutputNorm => return "model.norm.weight".into(),
        Output => return "lm_head.weight".into(),
        AttnNorm(b) => (b, "input_layernorm"),
        AttnQ(b) => (b, "self_attn.q_proj"),
        AttnK(b) => (b, "self_attn.k_proj"),
        AttnV(b) => (b, "self_attn.v_proj"),
        AttnOutput(b) => (b, "self_attn.o_proj"),
        FfnNorm(b) => (b, "post_attention_layernorm"),
        FfnGate(b) => (b, "mlp.gate_proj"),
        FfnUp(b) => (b, "mlp.up_proj"),
        FfnDown(b) => (b, "mlp.down_proj"),
    };
    format!("model.layers.{block}.{part}.weight")
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
