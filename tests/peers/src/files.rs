//! The files of a comparison: made once, kept in a folder.

use crate::shape::{Kind, Shape, scales};
use anyhow::{Context, Result, anyhow, bail};
use carat_converter::convert::{self, Options};
use carat_converter::progress::Silent;
use carat_format::ScaleGroup;
use carat_gguf::{OwnedArray, OwnedValue, TensorType, Writer};
use half::f16;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A GGUF of the shape with every matrix in `ty`.
pub fn ggml(folder: &Path, shape: Shape, ty: TensorType) -> Result<PathBuf> {
    let name = ty
        .name()
        .ok_or_else(|| anyhow!("type {} is unknown", ty.0))?;
    made(folder, &format!("{}-{name}.gguf", shape.name), |path| {
        write(path, shape, ty)
    })
}

/// A Carat file of the shape, of `bits` bits a code, a scale for each `group` weights.
pub fn carat(folder: &Path, shape: Shape, bits: f64, group: u32) -> Result<PathBuf> {
    let name = format!("{}-{bits}bits-{group}.carat.gguf", shape.name);
    let source = ggml(folder, shape, TensorType::F16)?;
    made(folder, &name, |path| {
        let options = Options {
            source: source.clone(),
            output: path.into(),
            bits,
            group: ScaleGroup::from_weights(group).context("no such group")?,
            force: true,
            ..Options::default()
        };
        convert::convert(&options, &Silent)?;
        Ok(())
    })
}

/// The file of that name, made beside and renamed where it is not there.
fn made(folder: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("making {}", path.display());
        let beside = folder.join(format!("{name}.part"));
        make(&beside).with_context(|| format!("making {}", path.display()))?;
        std::fs::rename(&beside, &path)?;
    }
    forget(&path)?;
    Ok(path)
}

/// Takes the file out of the system's cache: every program finds its file as after a start of the machine, not in the small
/// pages in which it was written.
fn forget(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

fn write(path: &Path, shape: Shape, ty: TensorType) -> Result<()> {
    let Some(at) = scales(ty) else {
        bail!("it is not known where type {} has its scales", ty.0);
    };
    let mut w = Writer::new();
    let n = |v: u64| OwnedValue::U32(v as u32);
    w.kv("general.architecture", "llama")?;
    w.kv("general.name", format!("random {}", shape.name))?;
    for (key, value) in [
        ("block_count", u64::from(shape.blocks)),
        ("context_length", 131_072),
        ("embedding_length", shape.width),
        ("feed_forward_length", shape.feed_forward),
        ("attention.head_count", u64::from(shape.heads)),
        ("attention.head_count_kv", u64::from(shape.kv_heads)),
        ("rope.dimension_count", shape.head_dim),
        ("vocab_size", shape.vocab),
    ] {
        w.kv(format!("llama.{key}"), n(value))?;
    }
    w.kv("llama.rope.freq_base", OwnedValue::F32(500_000.0))?;
    let eps = "llama.attention.layer_norm_rms_epsilon";
    w.kv(eps, OwnedValue::F32(1e-5))?;
    // llama.cpp can do without a tokenizer; Carat wants one, whatever it is.
    if ty == TensorType::F16 {
        let name = |i: u64| match i {
            0 => "<unk>".into(),
            1..=256 => format!("<0x{:02X}>", i - 1),
            _ => format!("t{i}"),
        };
        let kind = |i: u64| [2, 6, 1][(i > 0) as usize + (i > 256) as usize];
        let all = || 0..shape.vocab;
        w.kv("tokenizer.ggml.model", "llama")?;
        for (key, value) in [
            ("tokens", OwnedArray::Str(all().map(name).collect())),
            ("scores", OwnedArray::F32(all().map(|_| 0.0).collect())),
            ("token_type", OwnedArray::I32(all().map(kind).collect())),
        ] {
            w.kv(format!("tokenizer.ggml.{key}"), OwnedValue::Array(value))?;
        }
    } else {
        w.kv("tokenizer.ggml.model", "none")?;
    }
    let facts = |ty: TensorType| Some((ty.block_size()?, ty.type_size()?));
    let (block, bytes) = facts(ty).context("a type without a block")?;
    let tensors = shape.tensors();
    let mut sizes = Vec::new();
    for t in &tensors {
        let elements: u64 = t.dims.iter().product();
        let (ty, size) = match t.kind {
            Kind::Norm => (TensorType::F32, elements * 4),
            Kind::Matrix => (ty, elements / block * bytes),
        };
        w.tensor(t.name.as_str(), &t.dims, ty, size)?;
        sizes.push(size);
    }
    let layout = w.finish()?;
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    out.write_all(&layout.header)?;
    let mut written = layout.header.len() as u64;
    let mut random = Random(1);
    for ((t, &offset), size) in tensors.iter().zip(&layout.tensor_offsets).zip(sizes) {
        while written < offset {
            out.write_all(&[0])?;
            written += 1;
        }
        written += size;
        match t.kind {
            Kind::Norm => {
                for _ in 0..size / 4 {
                    out.write_all(&1f32.to_le_bytes())?;
                }
            }
            Kind::Matrix => random.blocks(&mut out, size, bytes as usize, at)?,
        }
    }
    for _ in written..layout.file_len {
        out.write_all(&[0])?;
    }
    out.flush()?;
    Ok(())
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// `size` bytes of blocks whose scales are of about 0.01.
    fn blocks(
        &mut self,
        out: &mut impl Write,
        size: u64,
        bytes: usize,
        at: &[usize],
    ) -> Result<()> {
        let mut block = vec![0u8; bytes];
        for _ in 0..size / bytes as u64 {
            for part in block.chunks_mut(8) {
                let word = self.next().to_le_bytes();
                part.copy_from_slice(&word[..part.len()]);
            }
            for &at in at {
                let small = ((self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.04;
                block[at..at + 2].copy_from_slice(&f16::from_f32(small).to_le_bytes());
            }
            out.write_all(&block)?;
        }
        Ok(())
    }
}
