//! Element types of source tensors, one row each in a table: how many elements a block has, how many
//! bytes, and how to decode it.

use carat_gguf::TensorType;
use half::{bf16, f16};

/// A type of a source tensor's elements.
#[derive(Debug)]
pub(super) struct ElementType {
    /// Name for messages.
    pub name: &'static str,
    /// Elements of a block; a row is a whole number of blocks.
    pub elements: usize,
    /// Bytes of a block.
    pub bytes: usize,
    /// Decodes whole blocks: `src.len() / bytes == dst.len() / elements`.
    pub decode: fn(src: &[u8], dst: &mut [f32]),
}

pub(super) static F32: ElementType = ElementType {
    name: "F32",
    elements: 1,
    bytes: 4,
    decode: decode_f32,
};
pub(super) static F16: ElementType = ElementType {
    name: "F16",
    elements: 1,
    bytes: 2,
    decode: decode_f16,
};
pub(super) static BF16: ElementType = ElementType {
    name: "BF16",
    elements: 1,
    bytes: 2,
    decode: decode_bf16,
};
static Q8_0: ElementType = ElementType {
    name: "Q8_0",
    elements: 32,
    bytes: 34,
    decode: decode_q8_0,
};

/// ggml's types that are read.
static GGML: &[(TensorType, &ElementType)] = &[
    (TensorType::F32, &F32),
    (TensorType::F16, &F16),
    (TensorType::BF16, &BF16),
    (TensorType::Q8_0, &Q8_0),
];

/// The decoder of a ggml type, if it is read.
pub(super) fn ggml(ty: TensorType) -> Option<&'static ElementType> {
    GGML.iter().find(|(t, _)| *t == ty).map(|(_, e)| *e)
}

/// Names of the ggml types that are read, for messages.
pub(super) fn ggml_names() -> String {
    GGML.iter()
        .map(|(_, e)| e.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn decode_f32(src: &[u8], dst: &mut [f32]) {
    for (d, s) in dst.iter_mut().zip(src.as_chunks::<4>().0) {
        *d = f32::from_le_bytes(*s);
    }
}

fn decode_f16(src: &[u8], dst: &mut [f32]) {
    for (d, s) in dst.iter_mut().zip(src.as_chunks::<2>().0) {
        *d = f16::from_le_bytes(*s).to_f32();
    }
}

fn decode_bf16(src: &[u8], dst: &mut [f32]) {
    for (d, s) in dst.iter_mut().zip(src.as_chunks::<2>().0) {
        *d = bf16::from_le_bytes(*s).to_f32();
    }
}

/// `block_q8_0` of ggml: an f16 scale, then 32 int8.
fn decode_q8_0(src: &[u8], dst: &mut [f32]) {
    for (d, s) in dst.chunks_exact_mut(32).zip(src.as_chunks::<34>().0) {
        let scale = f16::from_le_bytes([s[0], s[1]]).to_f32();
        for (d, q) in d.iter_mut().zip(&s[2..]) {
            *d = f32::from(*q as i8) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_container() {
        for (ty, element) in GGML {
            assert_eq!(ty.name(), Some(element.name));
            assert_eq!(ty.block_size(), Some(element.elements as u64));
            assert_eq!(ty.type_size(), Some(element.bytes as u64));
        }
    }

    #[test]
    fn known_values() {
        let mut one = [0f32];
        decode_f16(&[0x00, 0x3c], &mut one);
        assert_eq!(one, [1.0]);
        decode_f16(&[0x01, 0x00], &mut one);
        assert_eq!(one, [2f32.powi(-24)]);
        decode_bf16(&[0x80, 0xbf], &mut one);
        assert_eq!(one, [-1.0]);
        let mut block = [0u8; 34];
        block[..2].copy_from_slice(&[0x00, 0x38]); // 0.5
        block[2] = 127;
        block[33] = 0x80;
        let mut out = [0f32; 32];
        decode_q8_0(&block, &mut out);
        assert_eq!((out[0], out[1], out[31]), (63.5, 0.0, -64.0));
    }
}
