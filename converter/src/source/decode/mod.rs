//! Element types of source tensors, one row each in a table: how many elements a block has, how many
//! bytes, and how to decode it. The layouts are those of ggml's `ggml-common.h`; values equal
//! `dequantize` of the Python package `gguf` bit for bit, and of types that it does not decode (Q1_0, Q2_0, Q8_K) those of
//! ggml's `dequantize_row_*`. PQ2_0 and PTQ1_0 are of PrismML's fork, the same codes as Q2_0 and TQ1_0 in blocks of 128.

mod codebook;
mod fp8;
mod grid;
mod k;
mod points;
mod ternary;
mod uniform;

pub(super) use codebook::E2M1;
pub(super) use fp8::{e4m3, e5m2};

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

impl ElementType {
    const fn new(
        name: &'static str,
        elements: usize,
        bytes: usize,
        decode: fn(&[u8], &mut [f32]),
    ) -> Self {
        Self {
            name,
            elements,
            bytes,
            decode,
        }
    }
}

pub(super) static F32: ElementType = ElementType::new("F32", 1, 4, decode_f32);
pub(super) static F16: ElementType = ElementType::new("F16", 1, 2, decode_f16);
pub(super) static BF16: ElementType = ElementType::new("BF16", 1, 2, decode_bf16);
/// Scales of quantized matrices.
pub(super) static F8_E4M3: ElementType = ElementType::new("F8_E4M3", 1, 1, fp8::decode_e4m3);
pub(super) static F8_E8M0: ElementType = ElementType::new("F8_E8M0", 1, 1, fp8::decode_e8m0);
static Q4_0: ElementType = ElementType::new("Q4_0", 32, 18, uniform::q4_0);
static Q4_1: ElementType = ElementType::new("Q4_1", 32, 20, uniform::q4_1);
static Q5_0: ElementType = ElementType::new("Q5_0", 32, 22, uniform::q5_0);
static Q5_1: ElementType = ElementType::new("Q5_1", 32, 24, uniform::q5_1);
static Q8_0: ElementType = ElementType::new("Q8_0", 32, 34, uniform::q8_0);
static Q2_K: ElementType = ElementType::new("Q2_K", 256, 84, k::q2);
static Q3_K: ElementType = ElementType::new("Q3_K", 256, 110, k::q3);
static Q4_K: ElementType = ElementType::new("Q4_K", 256, 144, k::q4);
static Q5_K: ElementType = ElementType::new("Q5_K", 256, 176, k::q5);
static Q6_K: ElementType = ElementType::new("Q6_K", 256, 210, k::q6);
static IQ4_NL: ElementType = ElementType::new("IQ4_NL", 32, 18, codebook::iq4_nl);
static IQ4_XS: ElementType = ElementType::new("IQ4_XS", 256, 136, codebook::iq4_xs);
static MXFP4: ElementType = ElementType::new("MXFP4", 32, 17, codebook::mxfp4);
static TQ1_0: ElementType = ElementType::new("TQ1_0", 256, 54, ternary::tq1_0);
static TQ2_0: ElementType = ElementType::new("TQ2_0", 256, 66, ternary::tq2_0);
static PTQ1_0: ElementType = ElementType::new("PTQ1_0", 128, 28, ternary::ptq1_0);
static Q1_0: ElementType = ElementType::new("Q1_0", 128, 18, uniform::q1_0);
static Q2_0: ElementType = ElementType::new("Q2_0", 64, 18, uniform::q2_0);
static PQ2_0: ElementType = ElementType::new("PQ2_0", 128, 34, uniform::pq2_0);
static Q8_K: ElementType = ElementType::new("Q8_K", 256, 292, k::q8);
static NVFP4: ElementType = ElementType::new("NVFP4", 64, 36, codebook::nvfp4);
static IQ1_S: ElementType = ElementType::new("IQ1_S", 256, 50, grid::iq1_s);
static IQ1_M: ElementType = ElementType::new("IQ1_M", 256, 56, grid::iq1_m);
static IQ2_XXS: ElementType = ElementType::new("IQ2_XXS", 256, 66, grid::iq2_xxs);
static IQ2_XS: ElementType = ElementType::new("IQ2_XS", 256, 74, grid::iq2_xs);
static IQ2_S: ElementType = ElementType::new("IQ2_S", 256, 82, grid::iq2_s);
static IQ3_XXS: ElementType = ElementType::new("IQ3_XXS", 256, 98, grid::iq3_xxs);
static IQ3_S: ElementType = ElementType::new("IQ3_S", 256, 110, grid::iq3_s);

/// ggml's types that are read.
static GGML: &[(TensorType, &ElementType)] = &[
    (TensorType::F32, &F32),
    (TensorType::F16, &F16),
    (TensorType::BF16, &BF16),
    (TensorType::Q8_0, &Q8_0),
    (TensorType::Q4_0, &Q4_0),
    (TensorType::Q4_1, &Q4_1),
    (TensorType::Q5_0, &Q5_0),
    (TensorType::Q5_1, &Q5_1),
    (TensorType::Q2_K, &Q2_K),
    (TensorType::Q3_K, &Q3_K),
    (TensorType::Q4_K, &Q4_K),
    (TensorType::Q5_K, &Q5_K),
    (TensorType::Q6_K, &Q6_K),
    (TensorType::IQ4_NL, &IQ4_NL),
    (TensorType::IQ4_XS, &IQ4_XS),
    (TensorType::MXFP4, &MXFP4),
    (TensorType::TQ1_0, &TQ1_0),
    (TensorType::TQ2_0, &TQ2_0),
    (TensorType::PTQ1_0, &PTQ1_0),
    (TensorType::Q1_0, &Q1_0),
    (TensorType::Q2_0, &Q2_0),
    (TensorType::PQ2_0, &PQ2_0),
    (TensorType::Q8_K, &Q8_K),
    (TensorType::NVFP4, &NVFP4),
    (TensorType::IQ1_S, &IQ1_S),
    (TensorType::IQ1_M, &IQ1_M),
    (TensorType::IQ2_XXS, &IQ2_XXS),
    (TensorType::IQ2_XS, &IQ2_XS),
    (TensorType::IQ2_S, &IQ2_S),
    (TensorType::IQ3_XXS, &IQ3_XXS),
    (TensorType::IQ3_S, &IQ3_S),
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

/// Decodes block after block of `BYTES` bytes to `N` elements.
fn blocks<const BYTES: usize, const N: usize>(
    src: &[u8],
    dst: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    for (s, d) in src.as_chunks().0.iter().zip(dst.as_chunks_mut().0) {
        block(s, d);
    }
}

/// The f16 in the two bytes from `at`.
fn half_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> f32 {
    f16::from_bits(short_at(block, at)).to_f32()
}

/// The u16 in the two bytes from `at`.
fn short_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

/// The u32 in the four bytes from `at`.
fn word_at<const BYTES: usize>(block: &[u8; BYTES], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
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
            // Every element of every block is written, by a decoder of blocks of this size.
            let mut out = vec![f32::NAN; 3 * element.elements];
            (element.decode)(&vec![0; 3 * element.bytes], &mut out);
            assert!(out.iter().all(|x| x.is_finite()), "{}", element.name);
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
        (Q8_0.decode)(&block, &mut out);
        assert_eq!((out[0], out[1], out[31]), (63.5, 0.0, -64.0));
    }
}
