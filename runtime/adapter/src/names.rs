//! Names of an adapter's tensors.

use carat_format::Part;

/// The matrices that a pair of an adapter is for, of the block of that number. Fused ones are several of the model's, one
/// range of rows after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The block.
    pub block: u32,
    /// Its matrices.
    pub parts: &'static [Part],
}

impl Target {
    /// The matrices by ggml's names, as in `blk.0.attn_q`.
    pub fn name(&self) -> String {
        let stem = |p: &Part| p.name().trim_end_matches(".weight").to_owned();
        let parts: Vec<String> = self.parts.iter().map(stem).collect();
        format!("blk.{}.{}", self.block, parts.join("+"))
    }
}

/// Which of both matrices of a pair a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// What a tensor's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A matrix of a pair, and the name of what it changes.
    Matrix(Target, Side, String),
    /// Of the embedding or the head.
    Outside,
    /// A tensor of an adapter that is no matrix of a pair.
    Other,
}

/// PEFT's module, ggml's name and the matrices of a block.
const TABLE: &[(&str, &str, &[Part])] = &[
    ("self_attn.q_proj", "attn_q", &[Part::AttnQ]),
    ("self_attn.k_proj", "attn_k", &[Part::AttnK]),
    ("self_attn.v_proj", "attn_v", &[Part::AttnV]),
    ("self_attn.o_proj", "attn_output", &[Part::AttnOutput]),
    (
        "self_attn.qkv_proj",
        "attn_qkv",
        &[Part::AttnQ, Part::AttnK, Part::AttnV],
    ),
    ("mlp.gate_proj", "ffn_gate", &[Part::FfnGate]),
    ("mlp.up_proj", "ffn_up", &[Part::FfnUp]),
    ("mlp.down_proj", "ffn_down", &[Part::FfnDown]),
    (
        "mlp.gate_up_proj",
        "ffn_gate_up",
        &[Part::FfnGate, Part::FfnUp],
    ),
];

/// What stands before `layers` in the names of a text model, of its backbone alone, and of one within a larger model.
const BEFORE: [&str; 5] = [
    "",
    "model.",
    "language_model.",
    "model.language_model.",
    "language_model.model.",
];

/// The meaning of a tensor's name in a file of PEFT: `base_model.model.model.layers.N.MODULE.lora_A.weight`.
pub(crate) fn peft(name: &str) -> Named {
    let own = name.strip_prefix("base_model.model.").unwrap_or(name);
    if ["embed_tokens", "lm_head"].iter().any(|m| own.contains(m)) {
        return Named::Outside;
    }
    let sides = [(".lora_A.", Side::A), (".lora_B.", Side::B)];
    let found = sides
        .into_iter()
        .find_map(|(mark, side)| Some((own.split_once(mark)?, side)));
    let Some(((module, "weight" | "default.weight"), side)) = found else {
        return Named::Other;
    };
    let rest = BEFORE
        .iter()
        .find_map(|b| module.strip_prefix(b)?.strip_prefix("layers."));
    target(rest, |row| row.0).map_or(Named::Other, |t| Named::Matrix(t, side, module.into()))
}

/// The same in a GGUF file of llama.cpp: `blk.N.NAME.weight.lora_a`.
pub(crate) fn ggml(name: &str) -> Named {
    if ["token_embd.", "output."]
        .iter()
        .any(|n| name.starts_with(n))
    {
        return Named::Outside;
    }
    let sides = [(".weight.lora_a", Side::A), (".weight.lora_b", Side::B)];
    let found = sides
        .into_iter()
        .find_map(|(end, side)| Some((name.strip_suffix(end)?, side)));
    let Some((stem, side)) = found else {
        return Named::Other;
    };
    let rest = stem.strip_prefix("blk.");
    target(rest, |row| row.1).map_or(Named::Other, |t| Named::Matrix(t, side, stem.into()))
}

/// `N.NAME`.
fn target(
    rest: Option<&str>,
    name: impl Fn(&(&'static str, &'static str, &'static [Part])) -> &'static str,
) -> Option<Target> {
    let (number, own) = rest?.split_once('.')?;
    let row = TABLE.iter().find(|row| name(row) == own)?;
    Some(Target {
        block: number.parse().ok()?,
        parts: row.2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds() {
        let matrix = |named| match named {
            Named::Matrix(t, side, _) => Some((t.name(), side)),
            _ => None,
        };
        let q = |side| Some(("blk.7.attn_q".to_string(), side));
        let module = "layers.7.self_attn.q_proj";
        for before in ["base_model.model.model.", "base_model.model.", ""] {
            let a = format!("{before}{module}.lora_A.weight");
            assert_eq!(matrix(peft(&a)), q(Side::A));
        }
        let b = format!("base_model.model.model.language_model.{module}.lora_B.default.weight");
        assert_eq!(matrix(peft(&b)), q(Side::B));
        assert_eq!(matrix(ggml("blk.7.attn_q.weight.lora_a")), q(Side::A));
        let fused = matrix(ggml("blk.0.attn_qkv.weight.lora_b"));
        assert_eq!(fused, Some(("blk.0.attn_q+attn_k+attn_v".into(), Side::B)));
        for outside in [
            "base_model.model.lm_head.lora_A.weight",
            "base_model.model.model.embed_tokens.lora_embedding_A",
        ] {
            assert_eq!(peft(outside), Named::Outside);
        }
        assert_eq!(ggml("token_embd.weight.lora_a"), Named::Outside);
        assert_eq!(ggml("output.weight.lora_b"), Named::Outside);
        for other in [
            "",
            "layers.x.self_attn.q_proj.lora_A.weight",
            "model.layers.0.mlp.router.lora_A.weight",
            "model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        ] {
            assert_eq!(peft(other), Named::Other, "{other}");
        }
        assert_eq!(ggml("blk.0.attn_norm.weight"), Named::Other);
    }
}
