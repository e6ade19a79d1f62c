//! Elements of an adapter's tensors.

use half::{bf16, f16};

/// A type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32,
    F16,
    Bf16,
}

impl Element {
    /// Names of all, for messages.
    pub const NAMES: &'static str = "F32, F16 or BF16";

    /// The elements of whole bytes.
    pub fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let two = || bytes.as_chunks::<2>().0.iter();
        match self {
            Element::F32 => {
                let four = bytes.as_chunks::<4>().0.iter();
                four.map(|b| f32::from_le_bytes(*b)).collect()
            }
            Element::F16 => two().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Element::Bf16 => two().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        }
    }
}
