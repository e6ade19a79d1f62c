//! Shapes of models whose weights are random: speed depends on shapes alone.

use carat_gguf::TensorType;

/// A llama.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub blocks: u32,
    pub width: u64,
    pub heads: u32,
    pub kv_heads: u32,
    pub head_dim: u64,
    pub feed_forward: u64,
    pub vocab: u64,
}

/// Whose embedding is the head, each.
pub const SHAPES: &[Shape] = &[
    // Llama-3.2-1B
    Shape {
        name: "1.2b",
        blocks: 16,
        width: 2048,
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
        feed_forward: 8192,
        vocab: 128_256,
    },
    // SmolLM2-135M with a width that 256 divides, which the K types of llama.cpp need
    Shape {
        name: "135m",
        blocks: 30,
        width: 512,
        heads: 8,
        kv_heads: 2,
        head_dim: 64,
        feed_forward: 1536,
        vocab: 49_152,
    },
    Shape {
        name: "tiny",
        blocks: 2,
        width: 256,
        heads: 4,
        kv_heads: 2,
        head_dim: 64,
        feed_forward: 512,
        vocab: 1024,
    },
];

/// A tensor of a shape; `dims[0]` is contiguous.
pub struct Tensor {
    pub name: String,
    pub dims: Vec<u64>,
    pub kind: Kind,
}

pub enum Kind {
    /// Values of one, as F32.
    Norm,
    /// In the type of the file.
    Matrix,
}

impl Shape {
    pub fn of(name: &str) -> Option<Self> {
        SHAPES.iter().copied().find(|s| s.name == name)
    }

    pub fn tensors(&self) -> Vec<Tensor> {
        let norm = |name: String| Tensor {
            name,
            dims: vec![self.width],
            kind: Kind::Norm,
        };
        let matrix = |name: String, columns, rows| Tensor {
            name,
            dims: vec![columns, rows],
            kind: Kind::Matrix,
        };
        let q = u64::from(self.heads) * self.head_dim;
        let kv = u64::from(self.kv_heads) * self.head_dim;
        let (d, ff) = (self.width, self.feed_forward);
        let mut all = vec![matrix("token_embd.weight".into(), d, self.vocab)];
        for b in 0..self.blocks {
            let name = |n: &str| format!("blk.{b}.{n}.weight");
            all.extend([
                norm(name("attn_norm")),
                matrix(name("attn_q"), d, q),
                matrix(name("attn_k"), d, kv),
                matrix(name("attn_v"), d, kv),
                matrix(name("attn_output"), q, d),
                norm(name("ffn_norm")),
                matrix(name("ffn_gate"), d, ff),
                matrix(name("ffn_up"), d, ff),
                matrix(name("ffn_down"), ff, d),
            ]);
        }
        all.push(norm("output_norm.weight".into()));
        all
    }
}

/// Where a block of a ggml type has its half-precision scales, in bytes (ggml-common.h). All else of a block may be
/// anything. `None` where nothing here uses the type.
pub fn scales(ty: TensorType) -> Option<&'static [usize]> {
    Some(match ty {
        TensorType::Q4_0 | TensorType::Q8_0 | TensorType::IQ4_XS => &[0],
        TensorType::IQ3_XXS | TensorType::IQ2_XXS => &[0],
        TensorType::Q4_K | TensorType::Q5_K => &[0, 2],
        TensorType::Q3_K => &[108],
        TensorType::Q2_K => &[80, 82],
        TensorType::Q6_K => &[208],
        TensorType::F16 => &[0],
        _ => return None,
    })
}
