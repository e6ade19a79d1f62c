//! Synthetic Carat files: random codes in any shape, written by the same packer as real ones.

use super::Rng;
use carat_format::model::{Attention, Block, FeedForward, Gated, Mixer};
use carat_format::{
    Activation, Coding, Directory, Encoding, Fixed, ModelSpec, PackedRow, RowScale, ScaleGroup,
    Shape as Kind, Table, TensorEntry, TensorLayout, Vector, keys, pack_rows,
};
use carat_gguf::{Layout, OwnedValue, TensorType, Writer};

/// What of an architecture beyond the plain one a synthetic model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// Nothing.
    #[default]
    Plain,
    /// Biases of every matrix that may have one.
    Biases,
    /// Norms of heads, windows on every other block.
    HeadNorms,
    /// Norms of branches and heads, windows, two rotary tables, GELU, caps of scores and logits.
    BranchNorms,
    /// Norms before the output and down projections, squared ReLU.
    SubNorms,
    /// Five blocks, each of another kind: other heads, another width, a window, no feed-forward part, no attention.
    Mixed,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Flavour; 6] = [
        Flavour::Plain,
        Flavour::Biases,
        Flavour::HeadNorms,
        Flavour::BranchNorms,
        Flavour::SubNorms,
        Flavour::Mixed,
    ];

    /// The model's optional parts.
    fn apply(self, spec: &mut ModelSpec, second_table: Vec<u64>) {
        let cap = |x: f64| Fixed::from_f64(x);
        for (b, block) in spec.blocks.iter_mut().enumerate() {
            let (Some(Mixer::Attention(a)), Some(FeedForward::Gated(g))) =
                (&mut block.mixer, &mut block.feed_forward)
            else {
                continue;
            };
            // On every other block.
            let windowed = |window: u32| (b % 2 == 1).then_some(window);
            match self {
                Flavour::Plain => {}
                Flavour::Biases => {
                    (a.bias, a.output_bias, g.bias) = (true, true, true);
                }
                Flavour::HeadNorms => {
                    a.head_norm = true;
                    a.window = windowed(3);
                }
                Flavour::BranchNorms => {
                    (a.head_norm, a.post_norm, g.post_norm) = (true, true, true);
                    a.window = windowed(260);
                    a.rope = windowed(1).unwrap_or(0);
                    a.softcap = cap(12.5);
                    g.activation = Activation::GeluTanh;
                }
                Flavour::SubNorms => {
                    (a.sub_norm, g.sub_norm) = (true, true);
                    g.activation = Activation::ReluSquared;
                }
                Flavour::Mixed => {}
            }
        }
        if self == Flavour::BranchNorms {
            spec.rope_tables.push(second_table);
            spec.logits_softcap = cap(30.0);
        }
        if self == Flavour::Mixed {
            mix(spec);
        }
    }
}

/// Five blocks of different kinds instead of a model's own, which are alike.
fn mix(spec: &mut ModelSpec) {
    let Some(plain) = spec.blocks.first().copied() else {
        return;
    };
    let with = |change: &dyn Fn(&mut Attention, &mut Gated)| {
        let mut block = plain;
        if let (Some(Mixer::Attention(a)), Some(FeedForward::Gated(g))) =
            (&mut block.mixer, &mut block.feed_forward)
        {
            change(a, g);
        }
        block
    };
    // A table of as many pairs as heads of half the dimensions have.
    let half = spec.rope_tables.iter().take(1);
    let half = half.map(|t| t.iter().copied().step_by(2).collect());
    let half: Vec<Vec<u64>> = half.collect();
    spec.rope_tables.extend(half);
    spec.blocks = vec![
        with(&|a, _| a.window = Some(3)),
        with(&|a, g| {
            (a.heads, a.kv_heads) = ((a.heads / 2).max(1), 1);
            g.width += g.width / 2;
        }),
        Block {
            mixer: None,
            ..with(&|_, g| g.activation = Activation::GeluTanh)
        },
        with(&|a, g| {
            // As many pairs as every second one of an odd number leaves.
            (a.head_dim, a.rope) = (2 * (a.head_dim / 2).div_ceil(2), 1);
            (a.head_norm, a.post_norm, g.sub_norm) = (true, true, true);
        }),
        Block {
            feed_forward: None,
            ..with(&|a, _| (a.bias, a.window) = (true, Some(300)))
        },
    ];
}

/// The shape of a synthetic model.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Width of the residual stream.
    pub dim: u32,
    /// Blocks.
    pub blocks: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Dimensions of a head.
    pub head_dim: u32,
    /// Width of the feed-forward network.
    pub ff: u32,
    /// Rows of the embedding.
    pub vocab: u32,
    /// What it has beyond the plain architecture.
    pub flavour: Flavour,
    /// Encoding of every matrix.
    pub encoding: Encoding,
    /// Weights of a scale of every matrix.
    pub group: ScaleGroup,
    /// No head of its own.
    pub tied: bool,
    /// log2 of a factor on every weight: 0 gives activations of ordinary size.
    pub gain: i16,
    /// Seed of the codes.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            dim: 64,
            blocks: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            ff: 96,
            vocab: 128,
            flavour: Flavour::Plain,
            encoding: Encoding::Pow4,
            group: ScaleGroup::W32,
            tied: true,
            gain: 0,
            seed: 1,
        }
    }
}

impl Shape {
    /// Its hyper-parameters.
    pub fn spec(&self) -> ModelSpec {
        let fixed = |x: f64| {
            Fixed::from_f64(x).unwrap_or(Fixed {
                mantissa: 1 << 30,
                exponent: -30,
            })
        };
        let rope = |base: f64| -> Vec<u64> {
            let turns = |i| {
                libm::pow(base, -2.0 * f64::from(i) / f64::from(self.head_dim))
                    / std::f64::consts::TAU
            };
            let pairs = 0..self.head_dim / 2;
            pairs
                .map(|i| (turns(i) * 18_446_744_073_709_551_616.0) as u64)
                .collect()
        };
        let block = Block {
            mixer: Some(Mixer::Attention(Attention {
                heads: self.heads,
                kv_heads: self.kv_heads,
                head_dim: self.head_dim,
                window: None,
                rope: 0,
                scale: fixed(std::f64::consts::LOG2_E / f64::from(self.head_dim).sqrt()),
                softcap: None,
                bias: false,
                output_bias: false,
                head_norm: false,
                sub_norm: false,
                post_norm: false,
            })),
            feed_forward: Some(FeedForward::Gated(Gated {
                width: self.ff,
                activation: Activation::Silu,
                bias: false,
                sub_norm: false,
                post_norm: false,
            })),
        };
        let mut spec = ModelSpec {
            source_architecture: "synthetic".into(),
            vocab_size: self.vocab,
            context_length: 2048,
            embedding_length: self.dim,
            blocks: vec![block; self.blocks as usize],
            epsilon: fixed(1e-5),
            rope_tables: vec![rope(10_000.0)],
            logits_softcap: None,
            tied: self.tied,
            headless: false,
            pooling: None,
            residual_exponent: -17,
        };
        self.flavour.apply(&mut spec, rope(1000.0));
        spec
    }

    /// The file's bytes, hashes included.
    pub fn bytes(&self) -> Vec<u8> {
        let spec = self.spec();
        let mut rng = Rng(self.seed);
        let mut directory = Directory::default();
        let mut payloads = Vec::new();
        for tensor in spec.tensors() {
            let (rows, cols) = spec.shape(tensor);
            if tensor.is_vector() {
                // Gains of about the root of their number, biases about 1, in units of 2^-25, or of what fits 31 bits.
                let about = match tensor.kind() {
                    Kind::Bias => 1.0,
                    _ => (cols as f64).sqrt(),
                };
                let bits = 25 - i32::max(0, cols.max(1).ilog2().div_ceil(2) as i32 - 5);
                let unit = (about * f64::from(1 << bits)) as i32;
                let data: Vec<u8> = (0..cols)
                    .flat_map(|_| (unit / 2 + (rng.below(unit as u64) as i32)).to_le_bytes())
                    .collect();
                let hash = hash(&data);
                directory.vectors.push(Vector {
                    tensor,
                    len: cols,
                    exponent: -bits,
                    hash,
                    offset: 0,
                });
                payloads.push(data);
                continue;
            }
            let coding = Coding {
                encoding: self.encoding,
                group: self.group,
            };
            let layout = match TensorLayout::new(coding, rows, cols) {
                Ok(l) => l,
                Err(e) => unreachable!("{e}"),
            };
            let data = pack_rows(&layout, &self.rows(&mut rng, rows, cols)).unwrap_or_default();
            let hash = hash(&data);
            directory.matrices.push(TensorEntry {
                tensor,
                layout,
                table: Table::power(self.encoding, 1.3),
                power: 1.3,
                exponent: -22,
                error: 0.0,
                hash,
                offset: 0,
            });
            payloads.push(data);
        }
        self.write(&spec, &directory, &payloads)
    }

    fn rows(&self, rng: &mut Rng, rows: u64, cols: u64) -> Vec<PackedRow> {
        let limit = u64::from(self.encoding.codes());
        // Weights of about 1/√cols: level · scale is about 2^13, the mantissa 2^15.
        let exponent = -28 - (cols as f64).sqrt().log2() as i16 + self.gain;
        (0..rows)
            .map(|_| PackedRow {
                codes: (0..cols)
                    .map(|_| {
                        let c = rng.below(limit) as u8;
                        if self.encoding == Encoding::Int8 && c == 0x80 {
                            0
                        } else {
                            c
                        }
                    })
                    .collect(),
                scales: (0..cols.div_ceil(self.group.weights() as u64))
                    .map(|_| 1 + rng.below(255) as u8)
                    .collect(),
                scale: RowScale {
                    mantissa: 0x8000 | rng.bits() as u16,
                    exponent,
                },
            })
            .collect()
    }

    fn write(&self, spec: &ModelSpec, directory: &Directory, payloads: &[Vec<u8>]) -> Vec<u8> {
        // How many segments there are is known from the data's length, their hashes from the data.
        let data_of = |layout: &Layout| layout.file_len - layout.data_start;
        let data = data_of(&self.lay_out(spec, directory, payloads, &[]));
        let none = vec![[0; 32]; data.div_ceil(keys::SEGMENT) as usize];
        let layout = self.lay_out(spec, directory, payloads, &none);
        let mut bytes = vec![0; layout.file_len as usize];
        for (at, data) in layout.tensor_offsets.iter().zip(payloads) {
            bytes[*at as usize..*at as usize + data.len()].copy_from_slice(data);
        }
        let segments = bytes[layout.data_start as usize..].chunks(keys::SEGMENT as usize);
        let segments: Vec<[u8; 32]> = segments.map(hash).collect();
        let header = self.lay_out(spec, directory, payloads, &segments).header;
        bytes[..header.len()].copy_from_slice(&header);
        bytes
    }

    fn lay_out(
        &self,
        spec: &ModelSpec,
        directory: &Directory,
        payloads: &[Vec<u8>],
        segments: &[[u8; 32]],
    ) -> Layout {
        let mut w = Writer::new().alignment(keys::FILE_ALIGNMENT);
        let metadata = spec
            .to_metadata()
            .into_iter()
            .chain(directory.to_metadata(spec).unwrap_or_default());
        let mut add = |key: &str, value: OwnedValue| {
            if let Err(e) = w.kv(key, value) {
                unreachable!("{e}");
            }
        };
        for (key, value) in metadata {
            add(key, value);
        }
        // The merge's parts and its result, and names.
        let text = |i: u32| match i {
            0 => "<".into(),
            1 => "1".into(),
            2 => "<1".into(),
            i => format!("<{i}>"),
        };
        let tokens: Vec<String> = (0..spec.vocab_size).map(text).collect();
        add(keys::SEGMENT_BYTES, keys::SEGMENT.into());
        add(keys::SEGMENT_HASH, segments.concat().into());
        add("tokenizer.ggml.model", "gpt2".to_string().into());
        add("tokenizer.ggml.pre", "gpt-2".to_string().into());
        add("tokenizer.ggml.tokens", tokens.into());
        add("tokenizer.ggml.merges", vec!["< 1".to_string()].into());
        for (tensor, data) in spec.tensors().into_iter().zip(payloads) {
            let (ty, n) = if tensor.is_vector() {
                (TensorType::I32, data.len() / 4)
            } else {
                (TensorType::I8, data.len())
            };
            if let Err(e) = w.tensor(tensor.name(), &[n as u64], ty, data.len() as u64) {
                unreachable!("{e}");
            }
        }
        let Ok(layout) = w.finish() else {
            unreachable!("a small file can be laid out")
        };
        layout
    }
}

fn hash(data: &[u8]) -> [u8; 32] {
    *blake3::hash(data).as_bytes()
}
