//! Synthetic Carat files: random codes in any shape, written by the same packer as real ones.

use super::Rng;
use carat_format::{
    Activation, Coding, Directory, Encoding, Extras, Fixed, ModelSpec, PackedRow, RowScale,
    ScaleGroup, Shape as Kind, Table, TensorEntry, TensorLayout, Vector, keys, pack_rows,
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
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Flavour; 5] = [
        Flavour::Plain,
        Flavour::Biases,
        Flavour::HeadNorms,
        Flavour::BranchNorms,
        Flavour::SubNorms,
    ];

    /// The model's optional parts.
    fn apply(self, spec: &mut ModelSpec, second_table: Vec<u64>) {
        let windowed = |window: u32| (0..spec.block_count).map(|b| (b % 2) * window).collect();
        let cap = |x: f64| Fixed::from_f64(x);
        match self {
            Flavour::Plain => {}
            Flavour::Biases => {
                spec.extras.attention_bias = true;
                spec.extras.attention_output_bias = true;
                spec.extras.feed_forward_bias = true;
            }
            Flavour::HeadNorms => {
                spec.extras.qk_norm = true;
                spec.block_window = windowed(3);
            }
            Flavour::BranchNorms => {
                spec.extras.qk_norm = true;
                spec.extras.post_norm = true;
                spec.block_window = windowed(260);
                spec.block_rope = windowed(1);
                spec.rope_tables.push(second_table);
                spec.activation = Activation::GeluTanh;
                spec.attention_softcap = cap(12.5);
                spec.logits_softcap = cap(30.0);
            }
            Flavour::SubNorms => {
                spec.extras.sub_norm = true;
                spec.activation = Activation::ReluSquared;
            }
        }
    }
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
        let mut spec = ModelSpec {
            source_architecture: "synthetic".into(),
            vocab_size: self.vocab,
            context_length: 2048,
            embedding_length: self.dim,
            block_count: self.blocks,
            feed_forward_length: self.ff,
            head_count: self.heads,
            head_count_kv: self.kv_heads,
            head_dim: self.head_dim,
            epsilon: fixed(1e-5),
            attention_scale: fixed(std::f64::consts::LOG2_E / f64::from(self.head_dim).sqrt()),
            rope_tables: vec![rope(10_000.0)],
            block_rope: vec![0; self.blocks as usize],
            block_window: vec![0; self.blocks as usize],
            activation: Activation::Silu,
            extras: Extras::default(),
            attention_softcap: None,
            logits_softcap: None,
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
        for tensor in spec.tensors(self.tied) {
            let (rows, cols) = tensor.shape(&spec);
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
        for (tensor, data) in spec.tensors(self.tied).into_iter().zip(payloads) {
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
