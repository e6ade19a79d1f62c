//! What each architecture is, one row of a table each. The rows are read only while a checkpoint is
//! opened: hyper-parameters and weights come out in one normal form, and nothing later knows the row.
//!
//! Sources: the configurations and models of Hugging Face transformers 5, llama.cpp's `llama-model.cpp`.

use super::Hyper;
use carat_format::{Activation, Part, Tensor};

/// A row of the table.
pub(super) struct Architecture {
    /// `model_type` of `config.json`.
    pub hugging_face: &'static [&'static str],
    /// `general.architecture` of GGUF files.
    pub gguf: &'static [&'static str],
    /// In GGUF files the two dimensions of a rotated pair lie side by side.
    pub pairs_together: bool,
    /// What transformers takes where `config.json` is silent.
    pub defaults: Defaults,
    /// The function of the gate where the source does not name it.
    pub activation: Activation,
    pub attention_bias: Presence,
    pub attention_output_bias: Presence,
    pub feed_forward_bias: Presence,
    pub head_norm: bool,
    pub post_norm: bool,
    pub sub_norm: bool,
    /// Hugging Face stores gains less one.
    pub gains_about_zero: bool,
    /// Embeddings are multiplied by √D.
    pub scaled_embedding: bool,
    /// Query, key and value are one matrix; gate and up likewise.
    pub fused: bool,
    /// Only the first dimensions of a head may be rotated.
    pub partial_rotation: bool,
    pub windows: Windowing,
    /// The number under the root in the attention's scale has a key of its own; GGUF files lack it, and
    /// only the model of this many blocks has other than the head dimension: the embedding length over
    /// the heads.
    pub query_scale: Option<u32>,
    /// Soft-caps of scores and of logits where the source does not name them.
    pub softcaps: Option<[Option<f64>; 2]>,
}

/// Values of keys that may be absent from `config.json`; `None` where the key must be there.
pub(super) struct Defaults {
    pub heads: Option<u32>,
    /// Of the key/value heads; all heads where there is no default.
    pub kv_heads: Option<u32>,
    /// Of the head dimension; D over the heads where there is no default.
    pub head_dim: Option<u32>,
    pub vocab: Option<u32>,
    pub context: Option<u32>,
    pub epsilon: f64,
    pub rope_base: f64,
    /// Base of the blocks with a window, where it is another.
    pub local_rope_base: Option<f64>,
    pub tied: bool,
}

/// Whether a model has a tensor.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Presence {
    Never,
    Always,
    /// As this switch of `config.json` says; off where it is absent. In a GGUF, where the tensor is there.
    Key(&'static str),
}

/// Which blocks see a window of the positions only.
#[derive(Clone, Copy)]
pub(super) enum Windowing {
    Never,
    /// All, where there is a window; its length where the key is absent.
    All {
        default: Option<u32>,
    },
    /// Where `use_sliding_window` is on, those from `max_window_layers` on.
    From {
        layer: u32,
        default: u32,
    },
    /// All but every n-th.
    Pattern {
        period: u32,
        default: u32,
        /// Where a GGUF file lacks the key; without a value its blocks all see everything.
        unstated: Option<u32>,
    },
}

impl Windowing {
    /// Whether block `b` has a window by the rule alone.
    pub fn has(self, b: u32) -> bool {
        match self {
            Windowing::Never => false,
            Windowing::All { .. } => true,
            Windowing::From { layer, .. } => b >= layer,
            Windowing::Pattern { period, .. } => !(b + 1).is_multiple_of(period.max(1)),
        }
    }
}

const PLAIN: Defaults = Defaults {
    heads: None,
    kv_heads: None,
    head_dim: None,
    vocab: None,
    context: None,
    epsilon: 1e-6,
    rope_base: 10_000.0,
    local_rope_base: None,
    tied: false,
};

const LLAMA: Architecture = Architecture {
    hugging_face: &["llama"],
    gguf: &["llama"],
    pairs_together: true,
    defaults: PLAIN,
    activation: Activation::Silu,
    attention_bias: Presence::Key("attention_bias"),
    attention_output_bias: Presence::Key("attention_bias"),
    feed_forward_bias: Presence::Key("mlp_bias"),
    head_norm: false,
    post_norm: false,
    sub_norm: false,
    gains_about_zero: false,
    scaled_embedding: false,
    fused: false,
    partial_rotation: false,
    windows: Windowing::Never,
    query_scale: None,
    softcaps: None,
};

const NEOX: Architecture = Architecture {
    pairs_together: false,
    attention_bias: Presence::Never,
    attention_output_bias: Presence::Never,
    feed_forward_bias: Presence::Never,
    ..LLAMA
};

const QWEN_WINDOWS: Windowing = Windowing::From {
    layer: 28,
    default: 4096,
};

/// Every architecture that is read.
pub(super) const TABLE: &[Architecture] = &[
    LLAMA,
    Architecture {
        hugging_face: &["mistral"],
        // llama.cpp calls it llama.
        gguf: &[],
        defaults: Defaults {
            kv_heads: Some(8),
            ..PLAIN
        },
        windows: Windowing::All {
            default: Some(4096),
        },
        ..NEOX
    },
    Architecture {
        hugging_face: &["qwen2"],
        gguf: &["qwen2"],
        attention_bias: Presence::Always,
        defaults: Defaults {
            kv_heads: Some(32),
            ..PLAIN
        },
        windows: QWEN_WINDOWS,
        ..NEOX
    },
    Architecture {
        hugging_face: &["qwen3"],
        gguf: &["qwen3"],
        attention_bias: Presence::Key("attention_bias"),
        attention_output_bias: Presence::Key("attention_bias"),
        head_norm: true,
        defaults: Defaults {
            kv_heads: Some(32),
            head_dim: Some(128),
            ..PLAIN
        },
        windows: QWEN_WINDOWS,
        ..NEOX
    },
    Architecture {
        hugging_face: &["phi3"],
        gguf: &["phi3"],
        fused: true,
        partial_rotation: true,
        defaults: Defaults {
            epsilon: 1e-5,
            ..PLAIN
        },
        windows: Windowing::All { default: None },
        ..NEOX
    },
    Architecture {
        hugging_face: &["gemma2"],
        gguf: &["gemma2"],
        windows: Windowing::Pattern {
            period: 2,
            default: 4096,
            unstated: Some(4096),
        },
        query_scale: Some(46),
        softcaps: Some([Some(50.0), Some(30.0)]),
        ..GEMMA
    },
    Architecture {
        hugging_face: &["gemma3_text"],
        gguf: &["gemma3"],
        head_norm: true,
        defaults: Defaults {
            vocab: Some(262_208),
            context: Some(131_072),
            rope_base: 1_000_000.0,
            local_rope_base: Some(10_000.0),
            ..GEMMA.defaults
        },
        windows: Windowing::Pattern {
            period: 6,
            default: 4096,
            unstated: None,
        },
        query_scale: Some(62),
        softcaps: Some([None, None]),
        ..GEMMA
    },
    // BitNet b1.58 of Microsoft.
    Architecture {
        hugging_face: &["bitnet"],
        gguf: &["bitnet-b1.58", "bitnet-25"],
        activation: Activation::ReluSquared,
        ..BITNET
    },
    // The first reproductions of it; llama.cpp's own name.
    Architecture {
        hugging_face: &[],
        gguf: &["bitnet"],
        ..BITNET
    },
];

const GEMMA: Architecture = Architecture {
    activation: Activation::GeluTanh,
    attention_bias: Presence::Key("attention_bias"),
    attention_output_bias: Presence::Key("attention_bias"),
    post_norm: true,
    gains_about_zero: true,
    scaled_embedding: true,
    defaults: Defaults {
        heads: Some(8),
        kv_heads: Some(4),
        head_dim: Some(256),
        tied: true,
        ..PLAIN
    },
    ..NEOX
};

const BITNET: Architecture = Architecture {
    sub_norm: true,
    attention_bias: Presence::Key("attention_bias"),
    attention_output_bias: Presence::Key("attention_bias"),
    defaults: Defaults {
        kv_heads: Some(5),
        epsilon: 1e-5,
        rope_base: 500_000.0,
        ..PLAIN
    },
    ..NEOX
};

/// The row of a `model_type`.
pub(super) fn hugging_face(name: &str) -> Option<&'static Architecture> {
    TABLE.iter().find(|a| a.hugging_face.contains(&name))
}

/// The row of a `general.architecture`.
pub(super) fn gguf(name: &str) -> Option<&'static Architecture> {
    TABLE.iter().find(|a| a.gguf.contains(&name))
}

/// Names of all rows in a kind of source, for messages.
pub(super) fn names(of: fn(&Architecture) -> &'static [&'static str]) -> String {
    let names: Vec<&str> = TABLE.iter().flat_map(|a| of(a).iter().copied()).collect();
    names.join(", ")
}

/// Where a tensor lies in a source.
pub(super) struct Place {
    pub name: String,
    /// The first of its rows in the stored tensor.
    pub first: u64,
    /// Rows of the stored tensor.
    pub rows: u64,
}

/// How a kind of source names tensors.
pub(super) struct Names {
    /// Of a tensor of its own.
    pub own: fn(&Architecture, Tensor) -> String,
    /// Of the block's query, key and value in one.
    pub qkv: fn(u32) -> String,
    /// Of the block's gate and up in one.
    pub gate_up: fn(u32) -> String,
}

impl Architecture {
    /// Where a tensor lies.
    pub fn place(&self, names: &Names, hyper: &Hyper, tensor: Tensor) -> Place {
        let rows = |t| hyper.shape(t).0;
        if let (true, Tensor::Block(b, part)) = (self.fused, tensor) {
            let (q, k) = (rows(Part::AttnQ.of(b)), rows(Part::AttnK.of(b)));
            let own = rows(tensor);
            let fused = match part {
                Part::AttnQ => Some(((names.qkv)(b), 0, q + 2 * k)),
                Part::AttnK => Some(((names.qkv)(b), q, q + 2 * k)),
                Part::AttnV => Some(((names.qkv)(b), q + k, q + 2 * k)),
                Part::FfnGate => Some(((names.gate_up)(b), 0, 2 * own)),
                Part::FfnUp => Some(((names.gate_up)(b), own, 2 * own)),
                _ => None,
            };
            if let Some((name, first, rows)) = fused {
                return Place { name, first, rows };
            }
        }
        Place {
            name: (names.own)(self, tensor),
            first: 0,
            rows: rows(tensor),
        }
    }
}
