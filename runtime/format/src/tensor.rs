//! The tensors that make up a model.

use crate::{Extras, ModelSpec};

/// A tensor of the model. The number is the block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tensor {
    /// Token embedding `[vocab, D]`; also the head where the file has no [`Tensor::Output`].
    TokenEmbedding,
    /// Gains of the last norm `[D]`.
    OutputNorm,
    /// Head `[vocab, D]`, absent when tied to the embedding.
    Output,
    /// Gains of the norm before attention `[D]`.
    AttnNorm(u32),
    /// Query projection `[H·head_dim, D]`.
    AttnQ(u32),
    /// Key projection `[Hkv·head_dim, D]`.
    AttnK(u32),
    /// Value projection `[Hkv·head_dim, D]`.
    AttnV(u32),
    /// Bias of the queries `[H·head_dim]`.
    AttnQBias(u32),
    /// Bias of the keys `[Hkv·head_dim]`.
    AttnKBias(u32),
    /// Bias of the values `[Hkv·head_dim]`.
    AttnVBias(u32),
    /// Gains of the norm of each head of the queries `[head_dim]`.
    AttnQNorm(u32),
    /// Gains of the norm of each head of the keys `[head_dim]`.
    AttnKNorm(u32),
    /// Gains of the norm of attention's result, before its output projection `[H·head_dim]`.
    AttnSubNorm(u32),
    /// Output projection of attention `[D, H·head_dim]`.
    AttnOutput(u32),
    /// Bias of the output projection `[D]`.
    AttnOutputBias(u32),
    /// Gains of the norm of what attention adds to the residual stream `[D]`.
    AttnPostNorm(u32),
    /// Gains of the norm before the feed-forward network `[D]`.
    FfnNorm(u32),
    /// Gate projection `[F, D]`.
    FfnGate(u32),
    /// Up projection `[F, D]`.
    FfnUp(u32),
    /// Bias of the gate `[F]`.
    FfnGateBias(u32),
    /// Bias of the up projection `[F]`.
    FfnUpBias(u32),
    /// Gains of the norm of the gated product, before the down projection `[F]`.
    FfnSubNorm(u32),
    /// Down projection `[D, F]`.
    FfnDown(u32),
    /// Bias of the down projection `[D]`.
    FfnDownBias(u32),
    /// Gains of the norm of what the feed-forward network adds to the residual stream `[D]`.
    FfnPostNorm(u32),
}

/// What a tensor is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A quantized matrix.
    Matrix,
    /// Gains of a norm: i32 mantissas, the square root of their number folded in.
    Gains,
    /// A bias: i32 mantissas.
    Bias,
}

/// A row of the table of a block's tensors: how to make it, ggml's name, and whether a model has it.
type BlockTensor = (fn(u32) -> Tensor, &'static str, fn(&Extras) -> bool);

/// Every tensor of a block in file order.
const BLOCK: [BlockTensor; 22] = {
    use Tensor::*;
    const ALWAYS: fn(&Extras) -> bool = |_| true;
    const QKV_BIAS: fn(&Extras) -> bool = |e| e.attention_bias;
    const OUTPUT_BIAS: fn(&Extras) -> bool = |e| e.attention_output_bias;
    const FFN_BIAS: fn(&Extras) -> bool = |e| e.feed_forward_bias;
    const QK_NORM: fn(&Extras) -> bool = |e| e.qk_norm;
    const POST_NORM: fn(&Extras) -> bool = |e| e.post_norm;
    const SUB_NORM: fn(&Extras) -> bool = |e| e.sub_norm;
    [
        (AttnNorm, "attn_norm.weight", ALWAYS),
        (AttnQ, "attn_q.weight", ALWAYS),
        (AttnQBias, "attn_q.bias", QKV_BIAS),
        (AttnK, "attn_k.weight", ALWAYS),
        (AttnKBias, "attn_k.bias", QKV_BIAS),
        (AttnV, "attn_v.weight", ALWAYS),
        (AttnVBias, "attn_v.bias", QKV_BIAS),
        (AttnQNorm, "attn_q_norm.weight", QK_NORM),
        (AttnKNorm, "attn_k_norm.weight", QK_NORM),
        (AttnSubNorm, "attn_sub_norm.weight", SUB_NORM),
        (AttnOutput, "attn_output.weight", ALWAYS),
        (AttnOutputBias, "attn_output.bias", OUTPUT_BIAS),
        (AttnPostNorm, "post_attention_norm.weight", POST_NORM),
        (FfnNorm, "ffn_norm.weight", ALWAYS),
        (FfnGate, "ffn_gate.weight", ALWAYS),
        (FfnGateBias, "ffn_gate.bias", FFN_BIAS),
        (FfnUp, "ffn_up.weight", ALWAYS),
        (FfnUpBias, "ffn_up.bias", FFN_BIAS),
        (FfnSubNorm, "ffn_sub_norm.weight", SUB_NORM),
        (FfnDown, "ffn_down.weight", ALWAYS),
        (FfnDownBias, "ffn_down.bias", FFN_BIAS),
        (FfnPostNorm, "post_ffw_norm.weight", POST_NORM),
    ]
};

impl Tensor {
    /// The tensors of a model in file order.
    pub fn all(block_count: u32, tied: bool, extras: Extras) -> Vec<Tensor> {
        let mut list = vec![Tensor::TokenEmbedding];
        for b in 0..block_count {
            let there = BLOCK.iter().filter(|(_, _, has)| has(&extras));
            list.extend(there.map(|(tensor, ..)| tensor(b)));
        }
        list.push(Tensor::OutputNorm);
        if !tied {
            list.push(Tensor::Output);
        }
        list
    }

    /// The matrices of a block in file order.
    pub fn matrices(block: u32) -> [Tensor; 7] {
        use Tensor::*;
        [AttnQ, AttnK, AttnV, AttnOutput, FfnGate, FfnUp, FfnDown].map(|matrix| matrix(block))
    }

    /// ggml's name.
    pub fn name(self) -> String {
        match self {
            Tensor::TokenEmbedding => "token_embd.weight".into(),
            Tensor::OutputNorm => "output_norm.weight".into(),
            Tensor::Output => "output.weight".into(),
            _ => {
                let block = self.block().unwrap_or(0);
                let part = BLOCK.iter().find(|(tensor, ..)| tensor(block) == self);
                format!("blk.{block}.{}", part.map_or("", |p| p.1))
            }
        }
    }

    /// The block it belongs to, if any.
    pub fn block(self) -> Option<u32> {
        use Tensor::*;
        match self {
            TokenEmbedding | OutputNorm | Output => None,
            AttnNorm(b) | AttnQ(b) | AttnK(b) | AttnV(b) | AttnQBias(b) | AttnKBias(b)
            | AttnVBias(b) | AttnQNorm(b) | AttnKNorm(b) | AttnSubNorm(b) | AttnOutput(b)
            | AttnOutputBias(b) | AttnPostNorm(b) | FfnNorm(b) | FfnGate(b) | FfnUp(b)
            | FfnGateBias(b) | FfnUpBias(b) | FfnSubNorm(b) | FfnDown(b) | FfnDownBias(b)
            | FfnPostNorm(b) => Some(b),
        }
    }

    /// What it is stored as.
    pub fn kind(self) -> Shape {
        use Tensor::*;
        match self {
            TokenEmbedding | Output | AttnQ(_) | AttnK(_) | AttnV(_) | AttnOutput(_)
            | FfnGate(_) | FfnUp(_) | FfnDown(_) => Shape::Matrix,
            OutputNorm | AttnNorm(_) | AttnQNorm(_) | AttnKNorm(_) | AttnSubNorm(_)
            | AttnPostNorm(_) | FfnNorm(_) | FfnSubNorm(_) | FfnPostNorm(_) => Shape::Gains,
            AttnQBias(_) | AttnKBias(_) | AttnVBias(_) | AttnOutputBias(_) | FfnGateBias(_)
            | FfnUpBias(_) | FfnDownBias(_) => Shape::Bias,
        }
    }

    /// True for a vector, which is stored as i32 mantissas and not quantized.
    pub fn is_vector(self) -> bool {
        self.kind() != Shape::Matrix
    }

    /// The bias that is added to a product with this matrix, where a model has one.
    pub fn bias(self) -> Option<Tensor> {
        use Tensor::*;
        Some(match self {
            AttnQ(b) => AttnQBias(b),
            AttnK(b) => AttnKBias(b),
            AttnV(b) => AttnVBias(b),
            AttnOutput(b) => AttnOutputBias(b),
            FfnGate(b) => FfnGateBias(b),
            FfnUp(b) => FfnUpBias(b),
            FfnDown(b) => FfnDownBias(b),
            _ => return None,
        })
    }

    /// `(rows, cols)`; a vector has one row.
    pub fn shape(self, spec: &ModelSpec) -> (u64, u64) {
        use Tensor::*;
        let d = u64::from(spec.embedding_length);
        let f = u64::from(spec.feed_forward_length);
        let q = u64::from(spec.head_count) * u64::from(spec.head_dim);
        let kv = u64::from(spec.head_count_kv) * u64::from(spec.head_dim);
        match self {
            TokenEmbedding | Output => (u64::from(spec.vocab_size), d),
            OutputNorm | AttnNorm(_) | AttnOutputBias(_) | AttnPostNorm(_) | FfnNorm(_)
            | FfnDownBias(_) | FfnPostNorm(_) => (1, d),
            AttnQ(_) => (q, d),
            AttnK(_) | AttnV(_) => (kv, d),
            AttnQBias(_) | AttnSubNorm(_) => (1, q),
            AttnKBias(_) | AttnVBias(_) => (1, kv),
            AttnQNorm(_) | AttnKNorm(_) => (1, u64::from(spec.head_dim)),
            AttnOutput(_) => (d, q),
            FfnGate(_) | FfnUp(_) => (f, d),
            FfnGateBias(_) | FfnUpBias(_) | FfnSubNorm(_) => (1, f),
            FfnDown(_) => (d, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_every_tensor_has_one() {
        let extras = Extras {
            attention_bias: true,
            attention_output_bias: true,
            feed_forward_bias: true,
            qk_norm: true,
            post_norm: true,
            sub_norm: true,
        };
        let all = Tensor::all(3, false, extras);
        assert_eq!(all.len(), 3 + 3 * BLOCK.len());
        let names: BTreeSet<String> = all.iter().map(|t| t.name()).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(Tensor::AttnKNorm(2).name(), "blk.2.attn_k_norm.weight");
        assert_eq!(Tensor::all(1, true, Extras::default()).len(), 2 + 9);
        let matrices = all
            .iter()
            .filter(|t| t.block() == Some(2) && !t.is_vector());
        assert!(matrices.copied().eq(Tensor::matrices(2)));
    }
}
