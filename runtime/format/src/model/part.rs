//! Tensors of a model by name.

/// A tensor of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tensor {
    /// Token embedding `[vocab, D]`; also the head where the file has no [`Tensor::Output`].
    TokenEmbedding,
    /// A part of the block of that number.
    Block(u32, Part),
    /// Gains of the last norm `[D]`.
    OutputNorm,
    /// Head `[vocab, D]`, absent when tied to the embedding.
    Output,
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

/// Declares the parts of blocks: variants, ggml's names and what they are stored as.
macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident $name:literal $shape:ident)*) => {
        /// A tensor of a block. Which of them a block has follows from its mixer and feed-forward part.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Part {
            $($(#[$doc])* $part,)*
        }

        impl Part {
            /// Every part.
            pub const ALL: &[Part] = &[$(Part::$part),*];

            /// ggml's name within a block.
            pub fn name(self) -> &'static str {
                match self { $(Part::$part => $name,)* }
            }

            /// What it is stored as.
            pub fn kind(self) -> Shape {
                match self { $(Part::$part => Shape::$shape,)* }
            }
        }
    };
}

parts! {
    /// Gains of the norm before attention `[D]`.
    AttnNorm "attn_norm.weight" Gains
    /// Query projection `[H·head_dim, D]`.
    AttnQ "attn_q.weight" Matrix
    /// Bias of the queries `[H·head_dim]`.
    AttnQBias "attn_q.bias" Bias
    /// Key projection `[Hkv·head_dim, D]`.
    AttnK "attn_k.weight" Matrix
    /// Bias of the keys `[Hkv·head_dim]`.
    AttnKBias "attn_k.bias" Bias
    /// Value projection `[Hkv·head_dim, D]`.
    AttnV "attn_v.weight" Matrix
    /// Bias of the values `[Hkv·head_dim]`.
    AttnVBias "attn_v.bias" Bias
    /// Gains of the norm of each head of the queries `[head_dim]`.
    AttnQNorm "attn_q_norm.weight" Gains
    /// Gains of the norm of each head of the keys `[head_dim]`.
    AttnKNorm "attn_k_norm.weight" Gains
    /// Gains of the norm of attention's result, before its output projection `[H·head_dim]`.
    AttnSubNorm "attn_sub_norm.weight" Gains
    /// Output projection of attention `[D, H·head_dim]`.
    AttnOutput "attn_output.weight" Matrix
    /// Bias of the output projection `[D]`.
    AttnOutputBias "attn_output.bias" Bias
    /// Gains of the norm of what attention adds to the residual stream `[D]`.
    AttnPostNorm "post_attention_norm.weight" Gains
    /// Gains of the norm before the feed-forward network `[D]`.
    FfnNorm "ffn_norm.weight" Gains
    /// Gate projection `[F, D]`.
    FfnGate "ffn_gate.weight" Matrix
    /// Bias of the gate `[F]`.
    FfnGateBias "ffn_gate.bias" Bias
    /// Up projection `[F, D]`.
    FfnUp "ffn_up.weight" Matrix
    /// Bias of the up projection `[F]`.
    FfnUpBias "ffn_up.bias" Bias
    /// Gains of the norm of the gated product, before the down projection `[F]`.
    FfnSubNorm "ffn_sub_norm.weight" Gains
    /// Down projection `[D, F]`.
    FfnDown "ffn_down.weight" Matrix
    /// Bias of the down projection `[D]`.
    FfnDownBias "ffn_down.bias" Bias
    /// Gains of the norm of what the feed-forward network adds to the residual stream `[D]`.
    FfnPostNorm "post_ffw_norm.weight" Gains
}

impl Part {
    /// The part of the block of that number.
    pub fn of(self, block: u32) -> Tensor {
        Tensor::Block(block, self)
    }
}

impl Tensor {
    /// ggml's name.
    pub fn name(self) -> String {
        match self {
            Tensor::TokenEmbedding => "token_embd.weight".into(),
            Tensor::OutputNorm => "output_norm.weight".into(),
            Tensor::Output => "output.weight".into(),
            Tensor::Block(block, part) => format!("blk.{block}.{}", part.name()),
        }
    }

    /// The block it belongs to, if any.
    pub fn block(self) -> Option<u32> {
        match self {
            Tensor::TokenEmbedding | Tensor::OutputNorm | Tensor::Output => None,
            Tensor::Block(block, _) => Some(block),
        }
    }

    /// What it is stored as.
    pub fn kind(self) -> Shape {
        match self {
            Tensor::TokenEmbedding | Tensor::Output => Shape::Matrix,
            Tensor::OutputNorm => Shape::Gains,
            Tensor::Block(_, part) => part.kind(),
        }
    }

    /// True for a vector, which is stored as i32 mantissas and not quantized.
    pub fn is_vector(self) -> bool {
        self.kind() != Shape::Matrix
    }
}
