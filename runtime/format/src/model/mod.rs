//! A model as data: widths, a vocabulary and a list of blocks, each a mixer and a feed-forward part.
//!
//! The list is the only place that says which matrices a model has: [`ModelSpec::tensors`] gives their order in a file,
//! [`ModelSpec::branches`] what each of them reads and writes. Plan, converter and reference pass are loops over these.

mod block;
mod metadata;
mod numbers;
mod part;

pub use block::{
    Activation, Attention, Block, Branch, FeedForward, Function, Gated, Input, Mixer, Output, Site,
};
pub use numbers::{Fixed, Integers, Numbers, Reals};
pub use part::{Part, Shape, Tensor};

use crate::{FormatError, Pooling};

/// A model's hyper-parameters, in integers as a file and the engine have them or in [`Reals`] as a checkpoint states
/// them. Its normal form: RMSNorm before each part of a block, rotary positions, grouped-query attention. What an
/// architecture has beyond is folded into the weights by the converter.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec<N: Numbers = Integers> {
    /// Architecture of the checkpoint, e.g. `llama`.
    pub source_architecture: String,
    /// Rows of the embedding (may exceed the tokenizer's tokens).
    pub vocab_size: u32,
    /// Positions the model was trained for.
    pub context_length: u32,
    /// Width of the residual stream, D.
    pub embedding_length: u32,
    /// The blocks in order.
    pub blocks: Vec<Block<N>>,
    /// ε of every RMSNorm, added to the mean of squares.
    pub epsilon: N::Value,
    /// Tables of rotary positions: a phase increment per position for each rotated pair `(i, i + head_dim/2)` of a head.
    /// Integers: turns as 0.64 fixed point; reals: radians.
    pub rope_tables: Vec<Vec<N::Angle>>,
    /// Logits `z` become `cap · tanh(z / cap)`.
    pub logits_softcap: Option<N::Value>,
    /// The embedding serves as head.
    pub tied: bool,
    /// The checkpoint has no head: the model turns texts into vectors and generates none. Logits are products with the
    /// embedding, with which a device proves itself.
    pub headless: bool,
    /// How the checkpoint makes a vector of a text, where it says so.
    pub pooling: Option<Pooling>,
    /// The residual stream's i32 have the unit `2^residual_exponent`; a checkpoint states none.
    pub residual_exponent: i32,
}

/// The hyper-parameters of a checkpoint.
pub type Hyper = ModelSpec<Reals>;

/// Upper bounds for which the kernels' arithmetic is proved.
pub mod bounds {
    /// Longest row of a matrix (1,024 groups) and widest residual stream.
    pub const MAX_COLS: u32 = 32_768;
    /// Largest head.
    pub const MAX_HEAD_DIM: u32 = 256;
    /// Accepted power-of-two exponents anywhere in a file.
    pub const EXPONENTS: core::ops::RangeInclusive<i32> = -96..=64;
    /// Accepted exponents of a product's unit; keys and values store theirs in 8 bits.
    pub const PRODUCT_EXPONENTS: core::ops::RangeInclusive<i32> = -64..=32;
    /// Accepted exponents of the residual stream.
    pub const RESIDUAL_EXPONENTS: core::ops::RangeInclusive<i32> = -31..=16;
    /// Most blocks (transformer layers).
    pub const MAX_BLOCKS: u32 = 1024;
    /// Most rows of an embedding.
    pub const MAX_VOCAB: u32 = 1 << 22;
    /// Longest context.
    pub const MAX_CONTEXT: u32 = 1 << 24;
    /// Most tables of rotary positions.
    pub const MAX_ROPE_TABLES: usize = 8;
}

/// The tensors of a model whose parts these are.
fn whole(parts: impl Iterator<Item = Tensor>, tied: bool) -> Vec<Tensor> {
    let mut list = vec![Tensor::TokenEmbedding];
    list.extend(parts);
    list.push(Tensor::OutputNorm);
    if !tied {
        list.push(Tensor::Output);
    }
    list
}

impl<N: Numbers> ModelSpec<N> {
    /// How many blocks there are.
    pub fn block_count(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// The branches of a block in order; none of a block that the model does not have.
    pub fn branches(&self, block: u32) -> Vec<Branch> {
        let found = self.blocks.get(block as usize);
        found.map_or(Vec::new(), |b| b.branches(self.embedding_length))
    }

    /// The matrices of a block in file order.
    pub fn sites(&self, block: u32) -> Vec<Site> {
        let branches = self.branches(block).into_iter();
        branches.flat_map(Branch::into_sites).collect()
    }

    /// The matrices of a block in file order.
    pub fn matrices(&self, block: u32) -> Vec<Tensor> {
        let sites = self.sites(block).into_iter();
        sites.map(|s| Tensor::Block(block, s.part)).collect()
    }

    /// The branch and the place of a matrix of a block.
    pub fn site(&self, tensor: Tensor) -> Option<(Branch, Site)> {
        let Tensor::Block(b, part) = tensor else {
            return None;
        };
        self.branches(b).into_iter().find_map(|branch| {
            let site = branch.sites().find(|s| s.part == part).copied()?;
            Some((branch, site))
        })
    }

    /// The bias that is added to a product with this matrix, where the model has one.
    pub fn bias(&self, tensor: Tensor) -> Option<Tensor> {
        let bias = self.site(tensor)?.1.bias?;
        Some(bias.of(tensor.block()?))
    }

    /// The matrix that gives logits.
    pub fn head(&self) -> Tensor {
        match self.tied {
            true => Tensor::TokenEmbedding,
            false => Tensor::Output,
        }
    }

    /// The tensors of the model in file order; a tied model has no head of its own.
    pub fn tensors(&self) -> Vec<Tensor> {
        let parts = (0..self.block_count()).flat_map(|b| {
            let branches = self.branches(b).into_iter();
            let parts = branches.flat_map(|branch| branch.tensors(self.embedding_length));
            parts.map(move |(part, ..)| Tensor::Block(b, part))
        });
        whole(parts, self.tied)
    }

    /// `(rows, cols)` of a tensor; a vector has one row. `(0, 0)` of one that the model does not have.
    pub fn shape(&self, tensor: Tensor) -> (u64, u64) {
        let d = u64::from(self.embedding_length);
        match tensor {
            Tensor::TokenEmbedding | Tensor::Output => (self.vocab_size.into(), d),
            Tensor::OutputNorm => (1, d),
            Tensor::Block(b, part) => {
                let branches = self.branches(b).into_iter();
                let mut all = branches.flat_map(|branch| branch.tensors(self.embedding_length));
                let found = all.find(|(p, ..)| *p == part);
                found.map_or((0, 0), |(_, rows, cols)| (rows, cols))
            }
        }
    }

    /// Number of weights, norms included.
    pub fn weights(&self) -> u64 {
        let size = |t: Tensor| {
            let (rows, cols) = self.shape(t);
            rows * cols
        };
        self.tensors().into_iter().map(size).sum()
    }

    /// Whether anything after this block mixes positions: where nothing does, a block's results are wanted of those
    /// positions alone whose logits are.
    pub fn mixes_after(&self, block: u32) -> bool {
        let later = self.blocks.iter().skip(block as usize + 1);
        later.into_iter().any(|b| b.mixer.is_some())
    }

    /// Checks every size against what the arithmetic is proved for.
    ///
    /// Errors: [`FormatError::Range`] with the size's name.
    pub fn check(&self) -> Result<(), FormatError> {
        use bounds::{MAX_BLOCKS, MAX_COLS, MAX_CONTEXT, MAX_HEAD_DIM, MAX_VOCAB};
        check("the vocabulary size", self.vocab_size, 1..=MAX_VOCAB)?;
        check("the context length", self.context_length, 1..=MAX_CONTEXT)?;
        check("the embedding length", self.embedding_length, 1..=MAX_COLS)?;
        let blocks = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        check("the number of blocks", blocks, 1..=MAX_BLOCKS)?;
        for block in &self.blocks {
            match &block.mixer {
                Some(Mixer::Attention(a)) => {
                    let heads = a.heads;
                    check("the number of heads", heads, 1..=MAX_COLS)?;
                    check("the number of key/value heads", a.kv_heads, 1..=heads)?;
                    check("the head dimension", a.head_dim, 2..=MAX_HEAD_DIM)?;
                    let width = heads.saturating_mul(a.head_dim);
                    check("heads times head dimension", width, 2..=MAX_COLS)?;
                    let ill = |field: &str, found: u32, expected: String| FormatError::Range {
                        field: field.into(),
                        found: found.to_string(),
                        expected,
                    };
                    if !heads.is_multiple_of(a.kv_heads) {
                        let expected = format!("a divisor of the {heads} heads");
                        return Err(ill("the number of key/value heads", a.kv_heads, expected));
                    }
                    if !a.head_dim.is_multiple_of(2) {
                        let expected = "an even number".into();
                        return Err(ill("the head dimension", a.head_dim, expected));
                    }
                }
                None => {}
            }
            match &block.feed_forward {
                Some(FeedForward::Gated(g)) => {
                    check("the feed-forward length", g.width, 1..=MAX_COLS)?;
                }
                None => {}
            }
        }
        Ok(())
    }
}

fn check<T: PartialOrd + core::fmt::Display + Copy>(
    field: &str,
    v: T,
    range: core::ops::RangeInclusive<T>,
) -> Result<T, FormatError> {
    if range.contains(&v) {
        return Ok(v);
    }
    Err(FormatError::Range {
        field: field.into(),
        found: v.to_string(),
        expected: format!("{} to {}", range.start(), range.end()),
    })
}
