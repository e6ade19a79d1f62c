//! The file's header: first laid out with placeholders, at the end with the results.

use super::ConvertError;
use crate::calibrate::Methods;
use crate::hf_tokenizer::HfTokenizer;
use crate::source::{Checkpoint, Generation, TokenizerSource};
use carat_format::{
    Card, Coding, Directory, ModelSpec, Table, Tensor, TensorEntry, TensorLayout, Vector, keys,
};
use carat_gguf::{Layout, OwnedValue, Parse, TensorType, Writer, parse};

/// Until the integer engine has been probed: ±2^19 with 12 bits of fraction.
pub(super) const DEFAULT_RESIDUAL_EXPONENT: i32 = -12;

/// Everything that the header says.
pub(super) struct Plan {
    pub spec: ModelSpec,
    pub directory: Directory,
    /// A hash for each 4 MiB of tensor data.
    pub segments: Vec<[u8; 32]>,
    /// The quality card, its figures unset.
    pub card: Option<Card>,
    /// Name, tokenizer, defaults for sampling.
    extra: Vec<(String, OwnedValue)>,
}

impl Plan {
    /// Matrices in the coding of their names, everything that needs weights still unset.
    pub fn new(
        source: &Checkpoint,
        card: Option<Card>,
        coding: impl Fn(Tensor) -> Coding,
    ) -> Result<Self, ConvertError> {
        let hyper = source.hyper();
        let mut directory = Directory::default();
        // Every tensor starts at a multiple of the alignment, as the container's writer has it.
        let mut data = 0u64;
        for tensor in hyper.tensors() {
            let (rows, cols) = hyper.shape(tensor);
            let hash = [0; 32];
            data += if tensor.is_vector() {
                directory.vectors.push(Vector {
                    tensor,
                    len: cols,
                    exponent: 0,
                    hash,
                    offset: 0,
                });
                cols * 4
            } else {
                let layout = TensorLayout::new(coding(tensor), rows, cols)?;
                let bytes = layout.payload_bytes();
                let table = Table::default();
                let entry = TensorEntry {
                    tensor,
                    layout,
                    table,
                    power: 1.0,
                    exponent: 0,
                    error: 0.0,
                    hash,
                    offset: 0,
                };
                directory.matrices.push(entry);
                bytes
            }
            .next_multiple_of(keys::FILE_ALIGNMENT);
        }
        Ok(Self {
            spec: hyper.spec(DEFAULT_RESIDUAL_EXPONENT),
            directory,
            segments: vec![[0; 32]; data.div_ceil(keys::SEGMENT) as usize],
            card,
            extra: extra(source)?,
        })
    }

    /// Notes what was folded into the weights.
    pub fn note_folded(&mut self, methods: Methods) {
        let names = [
            (methods.awq, "awq"),
            (methods.rotate_heads, "rotate-heads"),
            (methods.rotate_stream, "rotate-stream"),
        ];
        let names = names.into_iter().filter(|n| n.0);
        let names: Vec<String> = names.map(|n| n.1.to_string()).collect();
        if !names.is_empty() {
            self.extra.push((keys::FOLDED.into(), names.into()));
        }
    }

    /// Lays the file out and checks that the header reads back.
    pub fn lay_out(&self) -> Result<Layout, ConvertError> {
        let mut writer = Writer::new().alignment(keys::FILE_ALIGNMENT);
        for (key, value) in self.spec.to_metadata() {
            writer.kv(key, value)?;
        }
        for (key, value) in self.directory.to_metadata(&self.spec)? {
            writer.kv(key, value)?;
        }
        writer.kv(keys::SEGMENT_BYTES, keys::SEGMENT)?;
        writer.kv(keys::SEGMENT_HASH, self.segments.concat())?;
        writer.kv(keys::GOLDEN_PROMPT, vec![0u32; keys::GOLDEN_PROMPT_LEN])?;
        writer.kv(keys::GOLDEN_CHECKSUMS, vec![0u64; keys::GOLDEN_POSITIONS])?;
        for (key, value) in self.card.iter().flat_map(Card::to_metadata) {
            writer.kv(key, value)?;
        }
        for (key, value) in &self.extra {
            writer.kv(key.as_str(), value.clone())?;
        }
        for tensor in self.spec.tensors() {
            let name = tensor.name();
            if let Some(v) = self.directory.vector(tensor) {
                writer.tensor(name, &[v.len], TensorType::I32, v.len * 4)?;
            } else if let Some(e) = self.directory.matrix(tensor) {
                let bytes = e.layout.payload_bytes();
                writer.tensor(name, &[bytes], TensorType::I8, bytes)?;
            }
        }
        let layout = writer.finish()?;
        self.check(&layout)?;
        Ok(layout)
    }

    fn check(&self, layout: &Layout) -> Result<(), ConvertError> {
        let fault = |e: carat_gguf::Error| ConvertError::HeaderCheck {
            fault: e.to_string(),
        };
        match parse(&layout.header, layout.file_len).map_err(fault)? {
            Parse::Complete(header) => {
                let spec = ModelSpec::from_header(&header)?;
                Directory::from_header(&header, &spec)?;
                Card::from_header(&header, spec.vocab_size, spec.context_length)?;
                Ok(())
            }
            Parse::NeedMore(n) => Err(ConvertError::HeaderCheck {
                fault: format!("{n} bytes are asked for"),
            }),
        }
    }
}

/// Keys beside those of the format, none of them twice.
fn extra(source: &Checkpoint) -> Result<Vec<(String, OwnedValue)>, ConvertError> {
    let mut out: Vec<(String, OwnedValue)> = Vec::new();
    if let Some(name) = source.name() {
        out.push((keys::NAME.into(), name.into()));
    }
    match source.tokenizer() {
        TokenizerSource::Directory(path) => out.extend(HfTokenizer::load(path)?.to_gguf()),
        TokenizerSource::Metadata => {
            let header = source.header();
            let metadata = header.iter().flat_map(|h| h.metadata());
            let tokenizer = metadata.filter(|(key, _)| key.starts_with("tokenizer."));
            out.extend(tokenizer.map(|(key, value)| ((*key).into(), value.into())));
        }
    }
    let generation = source.generation();
    if !generation.eos_token_ids.is_empty() {
        out.push((
            keys::EOS_TOKEN_IDS.into(),
            generation.eos_token_ids.clone().into(),
        ));
    }
    out.extend(sampling(generation));
    let mut seen = std::collections::BTreeSet::new();
    out.retain(|(key, _)| seen.insert(key.clone()));
    Ok(out)
}

/// Defaults for sampling under llama.cpp's keys.
fn sampling(g: &Generation) -> Vec<(String, OwnedValue)> {
    let mut out: Vec<(String, OwnedValue)> = Vec::new();
    let numbers = [
        ("temp", g.temperature),
        ("top_p", g.top_p),
        ("min_p", g.min_p),
        ("penalty_repeat", g.repetition_penalty),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            out.push((format!("general.sampling.{key}"), (value as f32).into()));
        }
    }
    if let Some(k) = g.top_k.and_then(|k| i32::try_from(k).ok()) {
        out.push(("general.sampling.top_k".into(), k.into()));
    }
    out
}
