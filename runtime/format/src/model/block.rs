//! Blocks: what mixes positions, what works on each of them, and the matrices of both.

use super::{Integers, Numbers, Part, Shape};

/// A block of a model. Each of its two parts reads the residual stream and adds to it; either may be missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block<N: Numbers = Integers> {
    /// What mixes positions.
    pub mixer: Option<Mixer<N>>,
    /// What works on each position alone.
    pub feed_forward: Option<FeedForward>,
}

/// What mixes positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixer<N: Numbers = Integers> {
    /// Causal attention over keys and values of earlier positions.
    Attention(Attention<N>),
}

/// Grouped-query attention with rotary positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention<N: Numbers = Integers> {
    /// Query heads, H.
    pub heads: u32,
    /// Key/value heads; divides `heads`.
    pub kv_heads: u32,
    /// Dimensions of a head; even.
    pub head_dim: u32,
    /// Positions that a position sees, its own included; all where absent.
    pub window: Option<u32>,
    /// Index into [`ModelSpec::rope_tables`](super::ModelSpec::rope_tables).
    pub rope: u32,
    /// Factor of a query's product with a key; integers: times log2(e), so that scores are in units of log2.
    pub scale: N::Value,
    /// Scores `s` become `cap · tanh(s / cap)`; the cap in the scores' unit.
    pub softcap: Option<N::Value>,
    /// Biases of queries, keys and values.
    pub bias: bool,
    /// Bias of the output projection.
    pub output_bias: bool,
    /// RMSNorm over each head of queries and keys, before rotation.
    pub head_norm: bool,
    /// RMSNorm of the output projection's input.
    pub sub_norm: bool,
    /// RMSNorm of what is added to the residual stream.
    pub post_norm: bool,
}

/// What works on each position alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// `down(activation(gate(x)) · up(x))`.
    Gated(Gated),
}

/// A gated feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gated {
    /// Width, F.
    pub width: u32,
    /// What the gate passes through.
    pub activation: Activation,
    /// Biases of gate, up and down.
    pub bias: bool,
    /// RMSNorm of the down projection's input.
    pub sub_norm: bool,
    /// RMSNorm of what is added to the residual stream.
    pub post_norm: bool,
}

/// The function of the gate in a gated feed-forward network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x · σ(x)` (SwiGLU).
    #[default]
    Silu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))` (GeGLU with the tanh approximation).
    GeluTanh,
    /// `max(x, 0)²`.
    ReluSquared,
}

impl Activation {
    /// Every function.
    pub const ALL: [Activation; 3] = [
        Activation::Silu,
        Activation::GeluTanh,
        Activation::ReluSquared,
    ];

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Silu => "silu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::ReluSquared => "relu_squared",
        }
    }

    /// The function of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// A part of a block that reads the residual stream through a norm and adds to it: matrices that read, a function of
/// their products, a matrix that writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What it computes between its matrices.
    pub function: Function,
    /// Gains of the norm `[D]` of what it reads.
    pub norm: Part,
    /// The matrices that read the normalised stream.
    pub readers: Vec<Site>,
    /// Gains that the function has, with their number.
    pub gains: Vec<(Part, u64)>,
    /// Gains of the norm of the writer's input, where there is one.
    pub sub_norm: Option<Part>,
    /// The matrix whose product is added to the stream.
    pub writer: Site,
    /// Gains of the norm `[D]` of what is added, where there is one.
    pub post_norm: Option<Part>,
}

/// What a branch computes between its matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// [`Attention`] of queries, keys and values, which are the readers in this order.
    Attention,
    /// The [`Gated`] product of gate and up, which are the readers in this order.
    Gated,
}

/// A matrix of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in the block.
    pub part: Part,
    /// Outputs.
    pub rows: u64,
    /// Inputs.
    pub cols: u64,
    /// What is added to its product, where the block has it.
    pub bias: Option<Part>,
    /// What it multiplies.
    pub input: Input,
    /// Where its product goes.
    pub output: Output,
}

/// What a matrix multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The residual stream through the norm of these gains.
    Stream(Part),
    /// Averages over positions of products with this reader, head by head: a rotation of each head of the reader's rows
    /// is one of these columns.
    Averages {
        /// The reader.
        of: Part,
        /// Dimensions of a head.
        head_dim: u32,
    },
    /// Products with this reader, each times a number: a factor of a row of the reader is one of the column here.
    Scaled {
        /// The reader.
        of: Part,
    },
}

/// Where the product with a matrix goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Into the branch's function.
    Function,
    /// Into the residual stream, through the norm of these gains where there is one.
    Stream(Option<Part>),
}

impl<N: Numbers> Block<N> {
    /// Its attention, if that is its mixer.
    pub fn attention(&self) -> Option<&Attention<N>> {
        match &self.mixer {
            Some(Mixer::Attention(a)) => Some(a),
            None => None,
        }
    }

    /// The same to be changed.
    pub fn attention_mut(&mut self) -> Option<&mut Attention<N>> {
        match &mut self.mixer {
            Some(Mixer::Attention(a)) => Some(a),
            None => None,
        }
    }

    /// Its gated feed-forward network, if it has one.
    pub fn gated(&self) -> Option<&Gated> {
        match &self.feed_forward {
            Some(FeedForward::Gated(g)) => Some(g),
            None => None,
        }
    }

    /// The same to be changed.
    pub fn gated_mut(&mut self) -> Option<&mut Gated> {
        match &mut self.feed_forward {
            Some(FeedForward::Gated(g)) => Some(g),
            None => None,
        }
    }

    /// Its branches in order, for a residual stream of `width` values.
    pub fn branches(&self, width: u32) -> Vec<Branch> {
        let mixer = self
            .mixer
            .as_ref()
            .map(|Mixer::Attention(a)| a.branch(width));
        let feed_forward = self.feed_forward.as_ref();
        let feed_forward = feed_forward.map(|FeedForward::Gated(g)| g.branch(width));
        mixer.into_iter().chain(feed_forward).collect()
    }
}

impl<N: Numbers> Attention<N> {
    /// Query heads that share a key/value head.
    pub fn heads_per_kv(&self) -> u32 {
        self.heads / self.kv_heads.max(1)
    }

    /// Values of a position's queries.
    pub fn width(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Values of a position's keys, and of its values.
    pub fn kv_width(&self) -> u32 {
        self.kv_heads * self.head_dim
    }

    fn branch(&self, width: u32) -> Branch {
        let biased = |bias: Part| self.bias.then_some(bias);
        let reader = |part, bias, rows: u32| Site {
            part,
            rows: rows.into(),
            cols: width.into(),
            bias: biased(bias),
            input: Input::Stream(Part::AttnNorm),
            output: Output::Function,
        };
        let post_norm = self.post_norm.then_some(Part::AttnPostNorm);
        let gains = match self.head_norm {
            true => vec![Part::AttnQNorm, Part::AttnKNorm],
            false => Vec::new(),
        };
        Branch {
            function: Function::Attention,
            norm: Part::AttnNorm,
            readers: vec![
                reader(Part::AttnQ, Part::AttnQBias, self.width()),
                reader(Part::AttnK, Part::AttnKBias, self.kv_width()),
                reader(Part::AttnV, Part::AttnVBias, self.kv_width()),
            ],
            gains: gains
                .into_iter()
                .map(|g| (g, self.head_dim.into()))
                .collect(),
            sub_norm: self.sub_norm.then_some(Part::AttnSubNorm),
            writer: Site {
                part: Part::AttnOutput,
                rows: width.into(),
                cols: self.width().into(),
                bias: self.output_bias.then_some(Part::AttnOutputBias),
                input: Input::Averages {
                    of: Part::AttnV,
                    head_dim: self.head_dim,
                },
                output: Output::Stream(post_norm),
            },
            post_norm,
        }
    }
}

impl Gated {
    fn branch(&self, width: u32) -> Branch {
        let biased = |bias: Part| self.bias.then_some(bias);
        let reader = |part, bias| Site {
            part,
            rows: self.width.into(),
            cols: width.into(),
            bias: biased(bias),
            input: Input::Stream(Part::FfnNorm),
            output: Output::Function,
        };
        let post_norm = self.post_norm.then_some(Part::FfnPostNorm);
        Branch {
            function: Function::Gated,
            norm: Part::FfnNorm,
            readers: vec![
                reader(Part::FfnGate, Part::FfnGateBias),
                reader(Part::FfnUp, Part::FfnUpBias),
            ],
            gains: Vec::new(),
            sub_norm: self.sub_norm.then_some(Part::FfnSubNorm),
            writer: Site {
                part: Part::FfnDown,
                rows: width.into(),
                cols: self.width.into(),
                bias: biased(Part::FfnDownBias),
                input: Input::Scaled { of: Part::FfnUp },
                output: Output::Stream(post_norm),
            },
            post_norm,
        }
    }
}

impl Branch {
    /// Its matrices in file order.
    pub fn into_sites(self) -> impl Iterator<Item = Site> {
        self.readers.into_iter().chain([self.writer])
    }

    /// Its matrices in file order.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.readers.iter().chain([&self.writer])
    }

    /// The reader of that name.
    pub fn reader(&self, part: Part) -> Option<&Site> {
        self.readers.iter().find(|s| s.part == part)
    }

    /// Its tensors in file order as `(part, rows, cols)`, for a residual stream of `width` values; vectors have one row.
    pub fn tensors(&self, width: u32) -> Vec<(Part, u64, u64)> {
        let width = u64::from(width);
        let mut all = vec![(self.norm, 1, width)];
        let site = |s: &Site, all: &mut Vec<(Part, u64, u64)>| {
            all.push((s.part, s.rows, s.cols));
            all.extend(s.bias.map(|b| (b, 1, s.rows)));
        };
        self.readers.iter().for_each(|s| site(s, &mut all));
        all.extend(self.gains.iter().map(|(part, n)| (*part, 1, *n)));
        all.extend(self.sub_norm.map(|n| (n, 1, self.writer.cols)));
        site(&self.writer, &mut all);
        all.extend(self.post_norm.map(|n| (n, 1, width)));
        debug_assert!(
            all.iter()
                .all(|(p, r, _)| *r == 1 || p.kind() == Shape::Matrix)
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fixed, ModelSpec, Tensor};
    use std::collections::BTreeSet;

    fn attention(all: bool) -> Attention {
        Attention {
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            window: None,
            rope: 0,
            scale: Fixed::default(),
            softcap: None,
            bias: all,
            output_bias: all,
            head_norm: all,
            sub_norm: all,
            post_norm: all,
        }
    }

    fn block(all: bool) -> Block {
        Block {
            mixer: Some(Mixer::Attention(attention(all))),
            feed_forward: Some(FeedForward::Gated(Gated {
                width: 96,
                activation: Activation::Silu,
                bias: all,
                sub_norm: all,
                post_norm: all,
            })),
        }
    }

    fn model(blocks: Vec<Block>, tied: bool) -> ModelSpec {
        ModelSpec {
            source_architecture: String::new(),
            vocab_size: 100,
            context_length: 10,
            embedding_length: 64,
            blocks,
            epsilon: Fixed::default(),
            rope_tables: vec![vec![0; 4]],
            logits_softcap: None,
            tied,
            headless: false,
            pooling: None,
            residual_exponent: 0,
        }
    }

    #[test]
    fn names_are_distinct_and_every_part_has_its_place() {
        let m = model(vec![block(true); 3], false);
        let all = m.tensors();
        assert_eq!(all.len(), 3 + 3 * Part::ALL.len());
        let names: BTreeSet<String> = all.iter().map(|t| t.name()).collect();
        assert_eq!(names.len(), all.len());
        // In the order of the declaration.
        let second: Vec<Tensor> = Part::ALL.iter().map(|p| p.of(1)).collect();
        let found = all.iter().copied().filter(|t| t.block() == Some(1));
        assert!(found.eq(second));
        assert_eq!(Part::AttnKNorm.of(2).name(), "blk.2.attn_k_norm.weight");
        assert_eq!(model(vec![block(false)], true).tensors().len(), 2 + 9);
        let matrices = all
            .iter()
            .copied()
            .filter(|t| t.block() == Some(2) && !t.is_vector());
        assert!(matrices.eq(m.matrices(2)));
        assert!(all.iter().all(|t| m.shape(*t).1 > 0));
    }

    #[test]
    fn a_block_may_lack_either_part() {
        let (mut first, mut second) = (block(false), block(false));
        first.feed_forward = None;
        second.mixer = None;
        let m = model(vec![first, second, block(false)], true);
        assert_eq!(m.matrices(0).len(), 4);
        assert_eq!(m.matrices(1).len(), 3);
        assert_eq!(m.shape(Part::FfnUp.of(0)), (0, 0));
        assert_eq!(m.shape(Part::FfnUp.of(1)), (96, 64));
        assert!(m.mixes_after(0) && m.mixes_after(1) && !m.mixes_after(2));
        m.check().unwrap();
    }

    #[test]
    fn sizes_that_are_not_proved_are_refused() {
        let ill = |change: &dyn Fn(&mut ModelSpec)| {
            let mut m = model(vec![block(false); 2], true);
            change(&mut m);
            m.check().unwrap_err().to_string()
        };
        let of =
            |change: fn(&mut Attention)| ill(&|m| change(m.blocks[1].attention_mut().unwrap()));
        assert!(of(|a| a.kv_heads = 3).contains("a divisor of the 4 heads"));
        assert!(of(|a| a.kv_heads = 0).contains("key/value heads"));
        assert!(of(|a| a.head_dim = 9).contains("an even number"));
        assert!(of(|a| a.head_dim = 258).contains("2 to 256"));
        assert!(of(|a| a.heads = 1 << 20).contains("1 to 32768"));
        assert!(ill(&|m| m.blocks.clear()).contains("the number of blocks"));
        assert!(ill(&|m| m.blocks[0].gated_mut().unwrap().width = 0).contains("feed-forward"));
    }
}
