//! `quantization_config`: how the matrices of a checkpoint are quantized, one method a row of [`METHODS`]. What rounds
//! activations is no part of the model's definition here.

use super::fields::{Fields, show};
use crate::source::SourceError;
use crate::source::packed::{self, Layout};
use serde_json::Value;

pub(super) const KEY: &str = "quantization_config";

/// How the weights of a checkpoint are packed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantization {
    /// BitNet's ternary codes.
    Ternary(Packed),
    /// Codes, scales and what else lie in tensors of their own.
    Packed(Layout),
}

/// How packed weights of BitNet are scaled: by the stored scale, or divided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    Times,
    Over,
}

type Read = fn(&Fields<'_>) -> Result<Quantization, SourceError>;

/// What is read of each `quant_method`.
const METHODS: [(&str, Read); 6] = [
    ("bitnet", bitnet),
    ("fp8", fp8),
    ("compressed-tensors", compressed_tensors),
    ("mxfp4", mxfp4),
    ("gptq", gptq),
    ("awq", awq),
];

/// The packing of the weights; `None` where there is none.
pub fn read(f: &Fields<'_>) -> Result<Option<Quantization>, SourceError> {
    let Some(q) = f.object(KEY)?.filter(|q| !q.map.is_empty()) else {
        return Ok(None);
    };
    let method = q.text("quant_method")?;
    match METHODS.iter().find(|(name, _)| Some(*name) == method) {
        Some((_, read)) => read(&q).map(Some),
        None => {
            let found = show(&Value::Object(q.map.clone()));
            let hint = "; read are bitnet, fp8, compressed-tensors, mxfp4, gptq and awq, else give the unquantized checkpoint";
            Err(f.unsupported(KEY, found, hint))
        }
    }
}

/// Refuses weights that MLX packed, whose key is not [`KEY`] alone.
pub fn refuse_mlx(f: &Fields<'_>) -> Result<(), SourceError> {
    const MLX: &str = "quantization";
    let Some(value) = f.get(MLX) else {
        return Ok(());
    };
    let is_mlx = ["group_size", "bits"]
        .iter()
        .all(|k| value.get(k).is_some());
    match is_mlx {
        true => {
            let hint = "; MLX packed these weights, give the unquantized checkpoint";
            Err(f.unsupported(MLX, show(value), hint))
        }
        false => Ok(()),
    }
}

fn bitnet(q: &Fields<'_>) -> Result<Quantization, SourceError> {
    match q.text("quantization_mode")?.unwrap_or("offline") {
        "offline" => {}
        mode => {
            let hint =
                "; its weights are made ternary as they are used, give the packed checkpoint";
            return Err(q.unsupported("quantization_mode", format!("'{mode}'"), hint));
        }
    }
    match q.text("linear_class")?.unwrap_or("bitlinear") {
        "autobitlinear" => Ok(Quantization::Ternary(Packed::Times)),
        "bitlinear" => Ok(Quantization::Ternary(Packed::Over)),
        other => Err(q.unsupported("linear_class", format!("'{other}'"), "")),
    }
}

/// A block's rows and columns; `None` where the key is absent or null.
fn block(q: &Fields<'_>, key: &str) -> Result<Option<(u64, u64)>, SourceError> {
    let Some(value) = q.get(key) else {
        return Ok(None);
    };
    let size = |v: &Value| v.as_u64().filter(|n| (1..=1 << 16).contains(n));
    match value.as_array().map(Vec::as_slice) {
        Some([rows, cols]) => size(rows).zip(size(cols)),
        _ => None,
    }
    .map(Some)
    .ok_or_else(|| q.wrong(key, value, "a list of two positive integers"))
}

/// DeepSeek's, Qwen's and Mistral's FP8: `weight_scale_inv`, one of a block or of the matrix.
fn fp8(q: &Fields<'_>) -> Result<Quantization, SourceError> {
    match q.text("fmt")?.unwrap_or("e4m3") {
        "e4m3" | "e5m2" => {}
        other => return Err(q.unsupported("fmt", format!("'{other}'"), "; e4m3 and e5m2 are")),
    }
    let block = block(q, "weight_block_size")?;
    Ok(Quantization::Packed(Layout {
        block,
        ..Layout::of(&packed::FP8)
    }))
}

/// gpt-oss's MXFP4.
fn mxfp4(_: &Fields<'_>) -> Result<Quantization, SourceError> {
    Ok(Quantization::Packed(Layout::of(&packed::MXFP4)))
}

/// Bits of a code that words of 32 bits hold a whole number of, and bytes too.
fn bits(q: &Fields<'_>, key: &str) -> Result<u32, SourceError> {
    let bits = q.needed_size(key)?;
    match bits {
        2 | 4 | 8 => Ok(bits),
        _ => Err(q.unsupported(key, bits.to_string(), "; 2, 4 and 8 are")),
    }
}

/// Rows and columns of a scale of one row; −1 stands for all columns.
fn of_row(q: &Fields<'_>) -> Result<Option<(u64, u64)>, SourceError> {
    const KEY: &str = "group_size";
    match q.get(KEY) {
        Some(v) if v.as_i64() == Some(-1) => Ok(Some((1, u64::MAX))),
        _ => q.needed_size(KEY).map(|n| Some((1, n.into()))),
    }
}

/// Refuses a key that has another value than `allowed`, where it has one.
fn only(
    q: &Fields<'_>,
    key: &str,
    allowed: &[&str],
    hint: &'static str,
) -> Result<(), SourceError> {
    match q.text(key)? {
        Some(found) if !allowed.contains(&found.to_lowercase().as_str()) => {
            Err(q.unsupported(key, format!("'{found}'"), hint))
        }
        _ => Ok(()),
    }
}

/// Refuses keys that change the arithmetic unless they say "off".
fn off(q: &Fields<'_>, keys: &[&str], hint: &'static str) -> Result<(), SourceError> {
    for key in keys {
        if let Some(found) = q.get(key).filter(|v| !super::keys::is_off(v)) {
            return Err(q.unsupported(key, show(found), hint));
        }
    }
    Ok(())
}

/// GPTQ of AutoGPTQ and GPTQModel; its first format has zero points less one.
fn gptq(q: &Fields<'_>) -> Result<Quantization, SourceError> {
    const FORMATS: &[&str] = &["gptq", "gptq_v2"];
    let hint = "; gptq and gptq_v2 are";
    only(q, "checkpoint_format", FORMATS, hint)?;
    only(q, "format", FORMATS, hint)?;
    only(q, "pack_dtype", &["int32"], "; int32 is")?;
    off(q, &["is_marlin_format", "rotation"], hint)?;
    let hint = "; all matrices must have the same bits and groups";
    off(q, &["dynamic"], hint)?;
    let format = match q.text("checkpoint_format")? {
        Some(format) => Some(format),
        None => q.text("format")?,
    };
    let of = match format {
        Some("gptq_v2") => &packed::GPTQ_V2,
        _ => &packed::GPTQ,
    };
    Ok(Quantization::Packed(Layout {
        bits: bits(q, "bits")?,
        block: of_row(q)?,
        zeros: true,
        ..Layout::of(of)
    }))
}

/// AWQ of AutoAWQ in the version `gemm`.
fn awq(q: &Fields<'_>) -> Result<Quantization, SourceError> {
    only(
        q,
        "version",
        &["gemm"],
        "; gemm is, save the model in that version",
    )?;
    let bits = match q.get("bits") {
        None => 4,
        Some(_) => bits(q, "bits")?,
    };
    if bits != 4 {
        return Err(q.unsupported("bits", bits.to_string(), "; 4 is"));
    }
    if q.flag("zero_point")? == Some(false) {
        return Err(q.unsupported("zero_point", "false", "; true is"));
    }
    Ok(Quantization::Packed(Layout {
        bits,
        block: of_row(q)?,
        zeros: true,
        ..Layout::of(&packed::AWQ)
    }))
}

/// The formats of the library compressed-tensors; all groups of matrices must be quantized alike.
fn compressed_tensors(q: &Fields<'_>) -> Result<Quantization, SourceError> {
    const GROUPS: &str = "config_groups";
    // Rotations of activations between matrices.
    off(q, &["transform_config"], "; give a checkpoint without")?;
    if let Some(sparsity) = q.object("sparsity_config")? {
        let hint = "; dense is";
        only(&sparsity, "format", &["dense"], hint)?;
    }
    let groups = q.object(GROUPS)?;
    let groups = q.need(GROUPS, groups, "an object of groups of quantized matrices")?;
    let mut found: Option<Layout> = None;
    for (name, value) in groups.map {
        let group = groups.object(name)?;
        let group = groups.need(name, group, "an object")?;
        let weights = group.object("weights")?;
        let weights = group.need("weights", weights, "how the weights are quantized")?;
        let format = match group.text("format")? {
            Some(own) => own,
            None => q.need("format", q.text("format")?, "the name of a format")?,
        };
        let layout = scheme(&weights, q, format)?;
        if found.is_some_and(|f| f != layout) {
            let hint = "; all groups must be quantized alike";
            return Err(groups.unsupported(name, show(value), hint));
        }
        found = Some(layout);
    }
    let layout = q.need(GROUPS, found, "at least one group of quantized matrices")?;
    Ok(Quantization::Packed(layout))
}

/// The layout of one group's weights.
fn scheme(w: &Fields<'_>, q: &Fields<'_>, format: &str) -> Result<Layout, SourceError> {
    let kind = w.text("type")?.unwrap_or("int");
    let num_bits = w.size("num_bits")?.unwrap_or(8);
    let of = match (format, kind, num_bits) {
        ("float-quantized" | "naive-quantized", "float", 8) => &packed::FLOAT,
        ("int-quantized" | "naive-quantized", "int", 8) => &packed::INT,
        ("pack-quantized", "int", _) => &packed::PACK,
        ("mxfp4-pack-quantized", "float", 4) => &packed::MXFP4_PACK,
        ("nvfp4-pack-quantized", "float", 4) => &packed::NVFP4_PACK,
        _ => {
            let found = format!("'{format}' of {num_bits} bits, type '{kind}'");
            let hint = "; float-quantized and int-quantized of 8 bits, pack-quantized of 2, 4 and 8, mxfp4- and nvfp4-pack-quantized are";
            return Err(q.unsupported("format", found, hint));
        }
    };
    let plain = Layout::of(of);
    let fixed = plain.block;
    let block = match w.text("strategy")? {
        Some("channel") => Some((1, u64::MAX)),
        Some("block") => {
            const BLOCK: &str = "block_structure";
            Some(w.need(BLOCK, block(w, BLOCK)?, "rows and columns")?)
        }
        Some("group" | "tensor_group") => of_row(w)?,
        // As the library infers it.
        None if w.get("group_size").is_some() => of_row(w)?,
        Some("tensor") | None => None,
        Some(other) => {
            let hint = "; tensor, channel, group, tensor_group and block are";
            return Err(w.unsupported("strategy", format!("'{other}'"), hint));
        }
    };
    if fixed.is_some() && block != fixed {
        let found = w.get("group_size").map_or("absent".into(), show);
        return Err(w.unsupported("group_size", found, "; MXFP4 has 32 and NVFP4 16"));
    }
    Ok(Layout {
        bits: match of.bits {
            Some(bits) => bits,
            None => bits(w, "num_bits")?,
        },
        block,
        zeros: w.flag("symmetric")? == Some(false),
        ..plain
    })
}
